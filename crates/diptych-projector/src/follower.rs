//! One partition of a group being followed: read a block, fold it, commit rows and checkpoint, and judge what
//! went wrong. Who may follow it is decided elsewhere.

use crate::ProjectionMetrics;
use crate::ahead::{self, Planned};
use crate::feeds::Feeds;
use crate::lasting::{Ahead, Folded, Going, Lasting, Reach, Seen};
use crate::parking::Aside;
use crate::skips::Exceptions;
use diptych_core::{Clock, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, AnyModel, Block, Checkpoint, Feed, Fold, FoldError, FoldErrorKind, Group, Health,
    Lease, Mark, ModelStore, Partition, Progress, ProgressEntry, Registry, RowRef, Sources, Stopped,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The limits of following.
#[derive(Clone, Debug)]
pub struct ProjectorLimits {
    /// The most positions of one transaction. A model that lags takes as many as wait, up to this.
    pub batch_positions_max: usize,
    /// The most positions that a first build reads at once: few, to keep them in the processor's cache.
    pub build_block_positions_max: usize,
    /// The most rows that a first build holds in memory before it writes them.
    pub build_rows_max: usize,
    /// How often a fact that fails is folded again before the model stops.
    pub fold_retries_max: u32,
    /// The most keys of a group that are held back; at the next one the model stops.
    pub parked_keys_max: usize,
    /// The first pause after a failure; it doubles with every further one.
    pub retry_pause_min: Duration,
    /// The longest pause between two tries.
    pub retry_pause_max: Duration,
    /// How long a lease on a partition lasts beyond the last sign of life of the process that holds it: after
    /// that, another process takes the partition over.
    pub lease_duration: Duration,
    /// How often a process gives a sign of life and looks whether partitions should change hands.
    pub lease_beat: Duration,
    /// How long the patrol rests between two passes over a group, and before the first.
    pub patrol_interval: Duration,
    /// The most positions of the log that the patrol folds in a second.
    pub patrol_events_per_second: usize,
    /// The most rows that the patrol holds in memory to compare them with the log, as far as a 64th part of a
    /// table is not more; those of a group that looks rows up in others are held all at once.
    pub patrol_rows_max: usize,
    /// How often a drain looks whether another process has brought a partition to where it should be.
    pub foreign_poll: Duration,
    /// The share of one processor's time that rebuilds take while commands come or questions are asked,
    /// above 0 to 1; while nobody asks anything they take all of it.
    pub rebuild_share: f64,
    /// About how many bytes of rows a rebuild holds in memory before it writes them and goes on in batches.
    pub rebuild_memory_bytes_max: u64,
    /// How long an old build follows after a switch, so that it can answer again at once.
    pub rollback_window: Duration,
    /// How many differing rows, columns and answers a comparison names at most.
    pub differences_max: usize,
}

impl Default for ProjectorLimits {
    fn default() -> Self {
        Self {
            batch_positions_max: 10_000,
            build_block_positions_max: 2_000,
            build_rows_max: 2_000_000,
            fold_retries_max: 2,
            parked_keys_max: 1_000,
            retry_pause_min: Duration::from_millis(20),
            retry_pause_max: Duration::from_secs(5),
            lease_duration: Duration::from_secs(5),
            lease_beat: Duration::from_secs(1),
            patrol_interval: Duration::from_secs(900),
            patrol_events_per_second: 20_000,
            patrol_rows_max: 100_000,
            foreign_poll: Duration::from_millis(50),
            rebuild_share: 0.5,
            rebuild_memory_bytes_max: 512 * 1024 * 1024,
            rollback_window: Duration::from_secs(24 * 60 * 60),
            differences_max: 20,
        }
    }
}

/// Up to how many facts are counted at once by whoever follows; more are left to another thread.
const SEEN_IN_PLACE_MAX: usize = 256;

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The checkpoint moved; more may be waiting.
    Advanced,
    /// The checkpoint is at the head.
    CaughtUp,
    /// Infrastructure failed; try again after a pause.
    Retry(Duration),
    /// A fact stopped the partition; an operator must look.
    Stopped,
    /// Another lease has followed: the partition is somebody else's now.
    Lost,
}

/// Follows the log for one partition of a group.
pub struct Follower {
    pub(crate) group: Arc<Group>,
    pub(crate) partition: Partition,
    /// Under which lease; none where the writer itself keeps others out.
    pub(crate) lease: Option<Lease>,
    pub(crate) feed: Arc<dyn Feed>,
    pub(crate) store: Arc<dyn ModelStore>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entry: Arc<ProgressEntry>,
    metrics: ProjectionMetrics,
    pub(crate) limits: ProjectorLimits,
    /// Where it must not go beyond; none is the head.
    until: Option<Position>,
    /// Facts recorded before this were never awaited by anybody in this process.
    started_at: Timestamp,
    checkpoint: Option<Checkpoint>,
    /// What the folds from the checkpoint on are told beside their facts.
    exceptions: Exceptions,
    /// What follows the checkpoint, prepared while the last transaction ran.
    planned: Option<Planned>,
    /// What is folded ahead of the checkpoint.
    ahead: Ahead,
    /// How many steps in a row have failed.
    failures: u32,
    /// Where the last fold failed, and how often.
    failing: Option<(Position, u32)>,
    /// The key that was held back last, until the partition moves on: one that fails there again is not.
    pub(crate) aside: Option<(Position, RowRef)>,
}

/// What a follower needs.
#[derive(Clone)]
pub(crate) struct FollowerParts {
    /// The log.
    pub(crate) feed: Arc<dyn Feed>,
    /// What groups are folded from that are not folded from the log.
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) store: Arc<dyn ModelStore>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ProjectionMetrics,
    pub(crate) limits: ProjectorLimits,
}

impl FollowerParts {
    /// The log and the exports.
    pub(crate) fn feeds(&self) -> Feeds {
        Feeds { log: Arc::clone(&self.feed), sources: Arc::clone(&self.sources) }
    }
}

impl Follower {
    pub(crate) fn new(
        group: Arc<Group>,
        partition: Partition,
        progress: &Progress,
        parts: FollowerParts,
    ) -> Self {
        let feed = parts.feeds().of(&group);
        let FollowerParts { store, registry, clock, metrics, limits, .. } = parts;
        let entry = progress.entry(&group.label());
        let started_at = clock.now();
        Self {
            group,
            partition,
            lease: None,
            feed,
            store,
            registry,
            clock,
            entry,
            metrics,
            limits,
            until: None,
            started_at,
            checkpoint: None,
            exceptions: Exceptions::default(),
            planned: None,
            ahead: Ahead::default(),
            failures: 0,
            failing: None,
            aside: None,
        }
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Under which lease it follows.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// Follows under another lease from now on, or under none.
    pub fn set_lease(&mut self, lease: Option<Lease>) {
        self.lease = lease;
        self.forget();
    }

    /// Goes no further than a position from now on; none is the head.
    pub(crate) fn set_until(&mut self, until: Option<Position>) {
        self.until = until;
    }

    /// Reads from another feed from now on.
    pub(crate) fn set_feed(&mut self, feed: Arc<dyn Feed>) {
        self.feed = feed;
        self.planned = None;
        drop(self.ahead.take());
    }

    /// How far it may go.
    fn reach(&self) -> Reach {
        Reach { until: self.until, positions_max: self.limits.batch_positions_max }
    }

    /// Where the partition stands, as far as this follower knows.
    #[must_use]
    pub fn position(&self) -> Position {
        self.checkpoint.as_ref().map_or(Position::START, |checkpoint| checkpoint.mark.position())
    }

    /// Forgets what it knows: the rows were reset, or somebody else moved the checkpoint.
    pub fn forget(&mut self) {
        self.checkpoint = None;
        self.planned = None;
        self.failing = None;
        self.failures = 0;
    }

    /// Takes what waits, one transaction's worth.
    pub async fn step(&mut self) -> Step {
        match self.advance().await {
            Ok(step) => {
                self.failures = 0;
                if matches!(self.health(), Health::Retrying { .. }) {
                    self.set_health(Health::Live);
                }
                step
            }
            Err(AdvanceError::Moved { .. }) => {
                self.checkpoint = None;
                Step::Advanced
            }
            Err(AdvanceError::Fenced) => {
                self.forget();
                Step::Lost
            }
            Err(AdvanceError::Fold(error)) => self.judge(error).await,
            Err(AdvanceError::Fault(fault)) if fault.code() == Code::ExportDamaged => {
                // No time mends a file: somebody has to bring it back.
                self.stop_at(self.position().next(), Code::ExportDamaged, fault.to_string()).await;
                self.forget();
                Step::Stopped
            }
            Err(AdvanceError::Fault(fault)) => self.pause(&fault),
            Err(error) => self.pause(&Fault::transient(Code::Storage, format!("{error:?}"))),
        }
    }

    async fn advance(&mut self) -> Result<Step, AdvanceError> {
        let checkpoint = self.known_checkpoint().await?;
        // INVARIANT: what was planned ahead has seen no row, so it holds for whoever stands at its start.
        let reach = self.reach();
        let near = |planned: &Planned| {
            reach.holds(planned.block.through.position()) && planned.from == checkpoint.mark
        };
        if let Some(planned) = self.planned.take().filter(near) {
            return self.apply(&checkpoint, planned).await;
        }
        let room = reach.room(checkpoint.mark.position());
        if room == 0 {
            return Ok(Step::CaughtUp);
        }
        if let Some(step) = self.step_ahead(&checkpoint).await? {
            return Ok(step);
        }
        let block = self.read(checkpoint.mark.position(), room).await?;
        if block.through.position() == checkpoint.mark.position() {
            return Ok(Step::CaughtUp);
        }
        let fresh = checkpoint.mark.position() == Position::START;
        let more = block.through.position() < block.head;
        if fresh && more && self.until.is_none() && !self.group.has_statements() {
            return self.build(&checkpoint, block).await;
        }
        let planned = ahead::plan(self.fold(checkpoint.mark), checkpoint.mark, block).await?;
        self.apply(&checkpoint, planned).await
    }

    /// Writes what is folded ahead, while what follows it is folded. Nothing where that cannot be had, and
    /// where it failed: it is then done again from what the store holds, and fails where that can be judged.
    async fn step_ahead(&mut self, checkpoint: &Checkpoint) -> Result<Option<Step>, AdvanceError> {
        let (held, at) = (self.ahead.take(), checkpoint.mark.position());
        if at == Position::START || self.failing.is_some() {
            return Ok(None);
        }
        let ahead = match held {
            Ahead::Unasked => self.begin_ahead(checkpoint.mark).await?,
            begun => begun,
        };
        if matches!(ahead, Ahead::Never) {
            self.ahead = ahead;
            return Ok(None);
        }
        let (feed, group, reach) = (Arc::clone(&self.feed), Arc::clone(&self.group), self.reach());
        let next = ahead.next(Going { feed, group, reach, young: self.started_at }).await;
        let (ahead, folded) = match next {
            Ok((Ahead::Rests(lasting), None)) if lasting.fold.through() == checkpoint.mark => {
                self.ahead = Ahead::Rests(lasting);
                return Ok(Some(Step::CaughtUp));
            }
            Ok((ahead, Some(folded))) if folded.follows(at, reach) => (ahead, folded),
            _ => return Ok(None),
        };
        let Folded { mut batch, rows, seen } = folded;
        batch.lease = self.lease;
        let advanced = match self.store.write_ahead(&self.group, &rows, batch).await {
            Ok(advanced) => advanced,
            Err(AdvanceError::Overtaken) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.ahead = ahead;
        self.written(checkpoint, advanced, seen).await.map(Some)
    }

    /// Asks the store whether it has folds ahead, and begins where it has.
    async fn begin_ahead(&mut self, mark: Mark) -> Result<Ahead, AdvanceError> {
        let fold = Fold::lasting(&self.group, self.lease, mark);
        let Some((mut fold, rows)) = self.store.ahead(&self.group, fold).await? else {
            return Ok(Ahead::Never);
        };
        self.exceptions.tell_skips(&mut fold);
        Ok(Ahead::Rests(Lasting { fold, rows }))
    }

    /// Applies what is planned; what follows it is read and planned meanwhile, where no more than that can
    /// be had ahead.
    async fn apply(&mut self, checkpoint: &Checkpoint, planned: Planned) -> Result<Step, AdvanceError> {
        let Planned { block, mut fold, .. } = planned;
        self.exceptions.tell_skips(&mut fold);
        let (feed, group) = (Arc::clone(&self.feed), Arc::clone(&self.group));
        let through = block.through;
        let positions_max = self.reach().room(through.position());
        let more = through.position() < block.head && positions_max > 0;
        let plans = more && matches!(self.ahead, Ahead::Never);
        let lease = self.lease;
        let next = async {
            if !plans {
                return None;
            }
            ahead::plan_next(&*feed, &group, begin(&group, lease, through), through, positions_max).await
        };
        let (advanced, next) = tokio::join!(self.store.advance(&self.group, fold), next);
        let advanced = advanced?;
        self.planned = next;
        let seen = Seen::young(&block.facts, self.started_at).collect();
        self.written(checkpoint, advanced, seen).await
    }

    /// What was written is visible: whatever stopped the partition before is over.
    async fn written(
        &mut self,
        before: &Checkpoint,
        advanced: Advanced,
        seen: Vec<Seen>,
    ) -> Result<Step, AdvanceError> {
        self.observe_seen(seen);
        self.note(advanced);
        if before.stopped.is_some() {
            self.store.set_stopped(&self.group, self.partition, None).await?;
            self.checkpoint = None;
        }
        Ok(Step::Advanced)
    }

    /// The first build of a group with much to read: rows are held in memory and written once.
    async fn build(&mut self, checkpoint: &Checkpoint, first: Block) -> Result<Step, AdvanceError> {
        let started = Instant::now();
        let ProjectorLimits { build_block_positions_max, build_rows_max, .. } = self.limits;
        let fold = self.fold(checkpoint.mark);
        let fold = ahead::fold_through(
            &self.feed,
            &self.group,
            fold,
            first,
            build_block_positions_max,
            build_rows_max,
        );
        let fold = fold.await?;
        let (facts, folded_in) = (fold.facts(), started.elapsed());
        let advanced = self.store.advance(&self.group, fold).await?;
        let (model, rows, took) = (self.group.name(), advanced.rows, started.elapsed());
        tracing::info!(model, facts, rows, ?folded_in, written_in = ?took - folded_in, "built a read model");
        self.note(advanced);
        self.models().for_each(|model| self.metrics.built(model.schema().name, took));
        Ok(Step::Advanced)
    }

    async fn read(&mut self, after: Position, positions_max: usize) -> Result<Block, Fault> {
        self.feed.read(after, self.group.categories(), positions_max).await
    }

    async fn known_checkpoint(&mut self) -> Result<Checkpoint, Fault> {
        if let Some(checkpoint) = &self.checkpoint {
            return Ok(checkpoint.clone());
        }
        let checkpoint = self.store.checkpoint_of(&self.group, self.partition).await?;
        let exceptions = crate::parking::exceptions(&*self.store, &*self.registry, &self.group).await?;
        if !exceptions.skips_as(&self.exceptions) {
            drop(self.ahead.take());
        }
        self.exceptions = exceptions;
        self.entry.advance_in(self.partition, checkpoint.mark.position());
        self.checkpoint = Some(checkpoint.clone());
        Ok(checkpoint)
    }

    /// A fold that starts at a mark, under the lease at hand.
    fn fold(&self, mark: Mark) -> Fold {
        let mut fold = begin(&self.group, self.lease, mark);
        if fold.is_fresh() {
            // It folds each fact as it is planned, before its store says which keys are held back.
            self.exceptions.tell(&mut fold);
        }
        fold
    }

    fn health(&self) -> Health {
        self.entry.health_in(self.partition)
    }

    fn set_health(&self, health: Health) {
        self.entry.set_health_in(self.partition, health);
    }

    fn note(&mut self, advanced: Advanced) {
        // Before whoever waits is woken: an answer must not carry a health that is over.
        if self.health() != Health::Live {
            self.set_health(Health::Live);
        }
        self.entry.count_passed(&self.group, &advanced.passed);
        for (model, passed) in self.models().zip(&advanced.passed) {
            self.metrics.passed(model.schema().name, *passed);
        }
        self.entry.advance_in(self.partition, advanced.checkpoint.mark.position());
        self.checkpoint = Some(advanced.checkpoint);
        self.failing = None;
        self.aside = None;
    }

    /// A fact failed: everything before it is applied, it is tried again a bounded number of times, then it
    /// stops the group where everybody can see it.
    async fn judge(&mut self, error: FoldError) -> Step {
        let error = match self.apply_up_to(error).await {
            Ok(error) => error,
            Err(AdvanceError::Fenced) => {
                self.forget();
                return Step::Lost;
            }
            Err(_) => return Step::Retry(self.limits.retry_pause_min),
        };
        self.failed(&error.event);
        let tries = match self.failing {
            Some((position, tries)) if position == error.position => tries + 1,
            _ => 1,
        };
        self.failing = Some((error.position, tries));
        let hopeless = matches!(error.kind, FoldErrorKind::Undecodable(_));
        if !hopeless && tries <= self.limits.fold_retries_max {
            return Step::Retry(self.backoff(tries));
        }
        match self.set_aside(&error).await {
            Ok(Aside::Parked) => {
                self.forget();
                Step::Advanced
            }
            Ok(Aside::Not(reason)) => {
                self.stop(&error, reason).await;
                Step::Stopped
            }
            Err(AdvanceError::Fenced) => {
                self.forget();
                Step::Lost
            }
            Err(AdvanceError::Fault(fault)) => self.pause(&fault),
            Err(_) => Step::Retry(self.limits.retry_pause_min),
        }
    }

    /// Applies everything before the first fact that fails. A failure may hide an earlier one: of a table
    /// that folds later, or of a fact that is read and routed but cannot be folded.
    async fn apply_up_to(&mut self, mut error: FoldError) -> Result<FoldError, AdvanceError> {
        loop {
            let before = Position(error.position.0.saturating_sub(1));
            if before <= self.position() {
                return Ok(error);
            }
            match self.apply_before(before).await {
                Ok(()) => return Ok(error),
                Err(AdvanceError::Fold(earlier)) if earlier.position < error.position => error = earlier,
                Err(other) => return Err(other),
            }
        }
    }

    async fn apply_before(&mut self, before: Position) -> Result<(), AdvanceError> {
        let checkpoint = self.known_checkpoint().await?;
        let after = checkpoint.mark.position();
        let count = usize::try_from(after.lag_to(before)).unwrap_or(usize::MAX);
        let block = self.read(after, count.min(self.limits.batch_positions_max)).await?;
        let mut fold = self.fold(checkpoint.mark);
        fold.plan(&block)?;
        self.exceptions.tell_skips(&mut fold);
        let advanced = self.store.advance(&self.group, fold).await?;
        let failing = self.failing;
        self.note(advanced);
        self.failing = failing;
        Ok(())
    }

    async fn stop(&mut self, error: &FoldError, reason: String) {
        let position =
            if error.position == Position::START { self.position().next() } else { error.position };
        self.stop_at(position, error.code(), reason).await;
    }

    async fn stop_at(&mut self, position: Position, code: Code, reason: String) {
        tracing::error!(model = self.group.name(), %position, %reason, "the read model stopped");
        let stopped = Stopped { position, reason: reason.clone() };
        if let Err(fault) = self.store.set_stopped(&self.group, self.partition, Some(stopped)).await {
            tracing::error!(%fault, "the reason could not be written down");
        }
        self.set_health(match code {
            Code::OlderCode => Health::OlderCode { position, reason },
            _ => Health::Stopped { position, reason },
        });
    }

    fn pause(&mut self, fault: &Fault) -> Step {
        self.failures += 1;
        self.checkpoint = None;
        let pause = self.backoff(self.failures);
        tracing::warn!(model = self.group.name(), %fault, ?pause, "the read model could not advance");
        self.failed("");
        self.set_health(Health::Retrying { reason: fault.to_string() });
        Step::Retry(pause)
    }

    fn backoff(&self, tries: u32) -> Duration {
        let doubled = self.limits.retry_pause_min.saturating_mul(1 << tries.min(16));
        doubled.min(self.limits.retry_pause_max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// How long each fact took from its recording to being visible; facts from before this process are left
    /// out. Nobody needs to wait until many are counted.
    fn observe_seen(&self, seen: Vec<Seen>) {
        let (now, group, metrics) = (self.clock.now(), Arc::clone(&self.group), self.metrics.clone());
        let many = seen.len() > SEEN_IN_PLACE_MAX;
        let observe = move || metrics.visible(&group, now, &seen);
        if many { drop(tokio::task::spawn_blocking(observe)) } else { observe() }
    }

    /// A failure holds up every table of the group.
    fn failed(&self, event: &str) {
        self.models().for_each(|model| self.metrics.failed(model.schema().name, event));
    }

    fn models(&self) -> impl Iterator<Item = &Arc<dyn AnyModel>> {
        self.group.models().iter()
    }
}

fn begin(group: &Group, lease: Option<Lease>, mark: Mark) -> Fold {
    match lease {
        Some(lease) => Fold::under(group, lease, mark),
        None => Fold::from_mark(group, mark),
    }
}
