//! Drives one rebuild, slice by slice, from where its record and its builds stand. Every move of a build is
//! judged by the store; whatever is lost with a process is found again from the record and the stages, so
//! that a step that was done already is passed over.

use super::filling::Filling;
use super::{Driver, Held, Rebuild, RebuildProgress, RebuildStep, Records, Switching};
use crate::compare::{CompareReport, Compared, Comparison, Sides, uncomparable};
use crate::shadow::{Followed, Shadow};
use crate::steward::{StewardParts, Tended};
use diptych_core::{Fault, Position};
use diptych_query::{
    AdvanceError, Build, BuildId, BuildMove, Feed, FoldError, Group, Mode, Order, ProgressEntry, Stage,
    TransitError, as_declared,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often progress is written down at most.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Over how long the rate is measured.
const RATE_OVER: Duration = Duration::from_secs(5);

/// How often a build is brought up to date and tried again, when the one that answers moved meanwhile.
const TAKE_OVER_ATTEMPTS_MAX: usize = 50;

/// How often a record is written against operators who write into it.
const SAVE_ATTEMPTS_MAX: usize = 10;

/// What a process keeps of a rebuild that it drives. All of it can be lost.
pub(crate) struct Drive {
    to: BuildId,
    /// The new build, while it does not answer.
    pub(super) shadow: Shadow,
    /// The old build with the eyes of the code that declared it, or why it cannot be read.
    pub(super) old: Result<Arc<Group>, String>,
    /// The old build after a switch, as long as a rollback is possible.
    pub(super) former: Option<Shadow>,
    /// Since when the old build is wanted back and is behind.
    pub(super) taking_back_since: Option<Instant>,
    pub(super) filling: Option<Filling>,
    /// What the group is folded from: the log or an export.
    pub(super) feed: Arc<dyn Feed>,
    /// What the new build is filled from.
    pub(super) filled_by: Arc<dyn Feed>,
    /// Whether the new build goes on in batches.
    pub(super) batches: bool,
    pub(super) fill_target: Position,
    /// About how many bytes a row takes in memory.
    pub(super) row_bytes: u64,
    pub(super) comparison: Option<Comparison>,
    pub(super) worked: Duration,
    rate: VecDeque<(Instant, Position)>,
    saved: Instant,
}

impl Drive {
    fn new(parts: &StewardParts, group: &Arc<Group>, builds: &[Build], rebuild: &Rebuild) -> Self {
        let StewardParts { worker, follower, progress, .. } = parts;
        let build = |id: BuildId| builds.iter().find(|build| build.id == id);
        let from = rebuild.from.and_then(build);
        let old = match (from, build(rebuild.to)) {
            (Some(from), Some(to)) if from.shape == to.shape => Ok(Arc::new(group.at(from.id))),
            (Some(from), _) => as_declared(group, from).map(Arc::new),
            (None, _) => Err("there is no build to compare it with".to_owned()),
        };
        let feed = follower.feeds().of(group);
        Self {
            to: rebuild.to,
            shadow: Shadow::new(group, rebuild.to, progress, worker, follower),
            old,
            former: None,
            taking_back_since: None,
            filling: None,
            filled_by: Arc::clone(&feed),
            feed,
            batches: false,
            fill_target: Position::START,
            row_bytes: 1_024,
            comparison: None,
            worked: Duration::ZERO,
            rate: VecDeque::new(),
            saved: Instant::now(),
        }
    }

    pub(crate) fn to(&self) -> BuildId {
        self.to
    }

    /// Gives leases and record back to whoever comes next.
    pub(crate) async fn let_go(
        mut self,
        held: &mut Held,
        records: &Records,
        worker: &str,
    ) -> Result<(), Fault> {
        self.shadow.let_go().await?;
        if let Some(mut former) = self.former.take() {
            former.let_go().await?;
        }
        if held.rebuild.is_driven_by(worker) {
            held.rebuild.driver = None;
            records.write(held).await?;
        }
        Ok(())
    }

    /// Where the feed ends that the group is folded from.
    async fn head(&self) -> Result<Position, Fault> {
        Ok(self.feed.head().await?.position())
    }

    pub(super) fn note_progress(
        &mut self,
        progress: &mut RebuildProgress,
        position: Position,
        target: Position,
    ) {
        let now = Instant::now();
        self.rate.push_back((now, position));
        while self.rate.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_OVER)
            && self.rate.len() > 2
        {
            self.rate.pop_front();
        }
        let passed = self.rate.front().map(|(at, from)| (now.duration_since(*at), from.lag_to(position)));
        let rate = passed
            .filter(|(took, _)| !took.is_zero())
            .map_or(0.0, |(took, events)| events as f64 / took.as_secs_f64());
        let left = position.lag_to(target) as f64;
        let seconds_left = (rate > 0.0).then(|| left / rate);
        *progress = RebuildProgress { position, target, events_per_second: rate, seconds_left };
    }
}

/// A rebuild with everything that is needed to drive it for one slice.
pub(crate) struct Driving<'a> {
    pub(crate) parts: &'a StewardParts,
    pub(crate) records: Records,
    pub(crate) group: &'a Arc<Group>,
    pub(crate) entry: &'a ProgressEntry,
    pub(crate) builds: &'a mut Vec<Build>,
    pub(crate) held: &'a mut Held,
    pub(crate) drive: &'a mut Option<Drive>,
}

impl Driving<'_> {
    /// Does one slice of what the rebuild needs, if this process may.
    pub(crate) async fn slice(&mut self) -> Result<Tended, Fault> {
        if self.held.rebuild.step.is_over() {
            self.records.close(self.held).await?;
            return Ok(Tended::Moved);
        }
        if !self.hold_record().await? {
            *self.drive = None;
            return Ok(Tended::AtRest);
        }
        let Some(mut drive) = self.drive.take() else {
            let drive = Drive::new(self.parts, self.group, self.builds, &self.held.rebuild);
            *self.drive = Some(drive);
            return Ok(Tended::Moved);
        };
        let done = match self.see_to_wish(&mut drive).await {
            Ok(None) => self.step(&mut drive).await,
            Ok(Some(done)) => Ok(done),
            Err(fault) => Err(fault),
        };
        *self.drive = Some(drive);
        done
    }

    async fn step(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        match self.held.rebuild.step {
            RebuildStep::Building => self.fill(drive).await,
            RebuildStep::CatchingUp => self.catch_up(drive).await,
            RebuildStep::Shadowing => self.shadow(drive).await,
            RebuildStep::Comparing => self.compare(drive).await,
            RebuildStep::Ready if self.held.rebuild.switching == Switching::Automatic => {
                let Rebuild { order, switch_ordered, .. } = &self.held.rebuild;
                let order = switch_ordered.as_ref().unwrap_or(order).clone();
                self.switch(drive, &order).await
            }
            RebuildStep::Ready | RebuildStep::Blocked | RebuildStep::RolledBack => {
                if !drive.shadow.hold().await? {
                    return Ok(Tended::AtRest);
                }
                let targets = self.targets(drive).await?;
                self.follow(drive, &targets).await
            }
            RebuildStep::Switched => self.keep_former(drive).await,
            RebuildStep::Paused | RebuildStep::Failed => Ok(Tended::AtRest),
            RebuildStep::Finished | RebuildStep::Cancelled => Ok(Tended::Moved),
        }
    }

    /// Takes the new build from where it stands into the step of shadowing.
    async fn catch_up(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        if !drive.shadow.hold().await? {
            return Ok(Tended::AtRest);
        }
        let targets = self.targets(drive).await?;
        if self.follow(drive, &targets).await? == Tended::Moved {
            return Ok(Tended::Moved);
        }
        if self.held.rebuild.step != RebuildStep::CatchingUp || !reached(&drive.shadow, &targets) {
            return Ok(Tended::AtRest);
        }
        self.go_to(RebuildStep::Shadowing).await
    }

    async fn shadow(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        let to = self.held.rebuild.to;
        if self.stage(to) == Some(Stage::Building) {
            let order = Order::of_the_hinge("it has caught up with the build that answers");
            let moves = [BuildMove { build: to, from: Stage::Building, to: Stage::Shadowing }];
            if let Err(reason) = self.transit(&moves, &order).await? {
                return self.fail(reason.to_string()).await;
            }
        }
        if !drive.shadow.hold().await? {
            return Ok(Tended::AtRest);
        }
        let targets = self.targets(drive).await?;
        if self.follow(drive, &targets).await? == Tended::Moved
            || self.held.rebuild.step != RebuildStep::Shadowing
        {
            return Ok(Tended::Moved);
        }
        if !reached(&drive.shadow, &targets) {
            return Ok(Tended::AtRest);
        }
        drive.comparison = None;
        self.go_to(RebuildStep::Comparing).await
    }

    async fn compare(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        if !drive.shadow.hold().await? {
            return Ok(Tended::AtRest);
        }
        let now = self.parts.follower.clock.now();
        let mut comparison = match drive.comparison.take() {
            Some(comparison) => comparison,
            None => match self.new_comparison(drive) {
                Ok(comparison) => comparison,
                Err(why) => {
                    return self.compared(uncomparable(&self.held.rebuild, self.group, &why, now)).await;
                }
            },
        };
        match comparison.slice(&mut drive.shadow, now).await {
            Ok(Compared::Over(report)) => self.compared(*report).await,
            Ok(Compared::Stopped(reason)) => self.fail(reason).await,
            Ok(Compared::Further) => {
                drive.comparison = Some(comparison);
                Ok(Tended::Moved)
            }
            Ok(Compared::NotNow) => {
                drive.comparison = Some(comparison);
                Ok(Tended::AtRest)
            }
            Err(AdvanceError::Fault(fault)) if fault.is_transient() => Err(fault),
            Err(AdvanceError::Fault(fault)) => {
                let why = fault.to_string();
                self.compared(uncomparable(&self.held.rebuild, self.group, &why, now)).await
            }
            Err(AdvanceError::Fold(error)) => self.fail(error.to_string()).await,
            Err(_) => {
                drive.shadow.forget();
                Ok(Tended::AtRest)
            }
        }
    }

    fn new_comparison(&self, drive: &Drive) -> Result<Comparison, String> {
        let Rebuild { from, to, intended, compared, .. } = &self.held.rebuild;
        let build = |id: BuildId| self.builds.iter().find(|build| build.id == id);
        let (Some(from), Some(to)) = (from.and_then(build), build(*to)) else {
            return Err("one of the builds is gone".to_owned());
        };
        let ports = (Arc::clone(&self.parts.follower.store), Arc::clone(&self.parts.registry));
        let sides = Sides::new(ports, drive.shadow.group(), from, to, intended)?;
        // What was folded afresh once proves the same rows the next time: the log does not change.
        let refolded = compared.as_ref().map(|report| report.refolded.clone());
        let refolded = refolded.filter(|refolded| refolded.bucket.is_some() && refolded.differing == 0);
        let feed = Arc::clone(&self.parts.follower.feed);
        let questions = self.entry.samples().kept();
        let most = self.parts.follower.limits.differences_max;
        let at = self.parts.follower.clock.now();
        Ok(Comparison::new(sides, feed, questions, most, at, refolded))
    }

    async fn compared(&mut self, report: CompareReport) -> Result<Tended, Fault> {
        let step = if report.is_clean() { RebuildStep::Ready } else { RebuildStep::Blocked };
        let rebuild = &mut self.held.rebuild;
        rebuild.reason = blocked_by(&report);
        rebuild.compared = Some(report);
        self.go_to(step).await
    }

    /// Moves the new build by one batch towards its targets.
    pub(super) async fn follow(&mut self, drive: &mut Drive, targets: &[Position]) -> Result<Tended, Fault> {
        let followed = drive.shadow.step(Some(targets)).await;
        let lowest = |positions: &[Position]| positions.iter().min().copied().unwrap_or(Position::START);
        let (position, target) = (lowest(&drive.shadow.positions()), lowest(targets));
        drive.note_progress(&mut self.held.rebuild.progress, position, target);
        match followed {
            Followed::Moved => {
                self.save_now_and_then(drive).await?;
                Ok(Tended::Moved)
            }
            Followed::There | Followed::NotNow => Ok(Tended::AtRest),
            Followed::Stopped(reason) => self.fail(reason).await,
        }
    }

    /// How far the new build may go: to where the one that answers stands, so that the two can be compared.
    pub(super) async fn targets(&self, drive: &Drive) -> Result<Vec<Position>, Fault> {
        let store = &self.parts.follower.store;
        let own = store.partitions_of(drive.shadow.group()).len();
        let Ok(old) = &drive.old else {
            return Ok(vec![drive.head().await?; own]);
        };
        let mut targets = Vec::new();
        for partition in store.partitions_of(old) {
            match store.checkpoint_of(old, partition).await {
                Ok(checkpoint) => targets.push(checkpoint.mark.position()),
                Err(fault) if fault.is_transient() => return Err(fault),
                // What cannot be read cannot be compared either, which is said then.
                Err(_) => return Ok(vec![drive.head().await?; own]),
            }
        }
        if targets.len() != own {
            let lowest = targets.iter().min().copied().unwrap_or(Position::START);
            targets = vec![lowest; own];
        }
        Ok(targets)
    }

    /// Lets the new build take the place of the one that answers.
    pub(super) async fn switch(&mut self, drive: &mut Drive, order: &Order) -> Result<Tended, Fault> {
        let Rebuild { from, to, .. } = self.held.rebuild.clone();
        if self.stage(to).is_some_and(Stage::answers) {
            return self.switched(drive).await;
        }
        for _ in 0..TAKE_OVER_ATTEMPTS_MAX {
            if !drive.shadow.hold().await? {
                return Ok(Tended::AtRest);
            }
            if let Some(reason) = self.bring_up_to_date(drive).await? {
                return self.fail(reason).await;
            }
            let mut moves = Vec::new();
            if let Some((build, stage)) = from.and_then(|from| Some((from, self.stage(from)?)))
                && stage.answers()
            {
                moves.push(BuildMove { build, from: stage, to: Stage::Shadowing });
            }
            moves.push(BuildMove { build: to, from: Stage::Shadowing, to: Stage::Serving });
            match self.transit(&moves, order).await? {
                Ok(()) => return self.switched(drive).await,
                Err(TransitError::Behind { .. }) => {}
                Err(error @ TransitError::Elsewhere { .. }) => {
                    self.reload_builds().await?;
                    if self.stage(to).is_some_and(Stage::answers) {
                        return self.switched(drive).await;
                    }
                    return self.refuse(error.to_string()).await;
                }
                Err(error @ TransitError::Unfit { .. }) => return self.fail(error.to_string()).await,
                Err(error) => return self.refuse(error.to_string()).await,
            }
        }
        Ok(Tended::AtRest)
    }

    /// Brings the new build to where the one that answers stands, or beyond. Says what stopped it.
    async fn bring_up_to_date(&mut self, drive: &mut Drive) -> Result<Option<String>, Fault> {
        // One that is drained answers from where it was drained to, and must not run ahead of its time.
        let targets = match self.group.mode() {
            Mode::OnDemand => Some(self.targets(drive).await?),
            Mode::Inline | Mode::Asynchronous => None,
        };
        loop {
            match drive.shadow.step(targets.as_deref()).await {
                Followed::Moved => {}
                Followed::There | Followed::NotNow => return Ok(None),
                Followed::Stopped(reason) => return Ok(Some(reason)),
            }
        }
    }

    async fn switched(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        drive.shadow.let_go().await?;
        self.measure(drive).await?;
        let now = self.parts.follower.clock.now();
        let rebuild = &mut self.held.rebuild;
        rebuild.switched_at = Some(now);
        rebuild.reason = None;
        self.parts.keeper.notify_one();
        self.go_to(RebuildStep::Switched).await
    }

    /// Counts what the new build holds.
    async fn measure(&mut self, drive: &Drive) -> Result<(), Fault> {
        let (store, group) = (&self.parts.follower.store, drive.shadow.group());
        let (mut rows, mut digest) = (0, Vec::new());
        for model in group.models() {
            rows += store.row_count(group, model.schema()).await?;
            let sums = store.digest(group, model.schema()).await?;
            let sum = sums.iter().fold(0_u128, |all, (_, _, sum)| all.wrapping_add(*sum));
            digest.push(format!("{sum:032x}"));
        }
        let bytes = self.parts.registry.build_bytes(self.group, self.held.rebuild.to).await?;
        let measured = &mut self.held.rebuild.measured;
        (measured.rows, measured.digest, measured.bytes) = (rows, digest, bytes);
        Ok(())
    }

    /// Keeps the old build ready for a rollback, and lets it go when its time is over.
    async fn keep_former(&mut self, drive: &mut Drive) -> Result<Tended, Fault> {
        let Rebuild { from, .. } = self.held.rebuild;
        let window = self.parts.follower.limits.rollback_window;
        let now = self.parts.follower.clock.now();
        if self.held.rebuild.window_ends(window).is_some_and(|ends| ends <= now) {
            let order = Order::of_the_hinge("its rollback window is over");
            return self.finish(drive, &order).await;
        }
        let Some(from) = from.filter(|from| from.revision == self.group.revision()) else {
            // That of another revision is moved by the processes that run its code.
            return Ok(Tended::AtRest);
        };
        let mut former = self.former(drive, from);
        let followed = self.follow_former(&mut former).await;
        drive.former = Some(former);
        match followed? {
            Followed::Moved => Ok(Tended::Moved),
            // A build that stopped is no reason to take the other one back.
            _ => Ok(Tended::AtRest),
        }
    }

    /// The old build, to be followed from here.
    pub(super) fn former(&self, drive: &mut Drive, from: BuildId) -> Shadow {
        drive.former.take().unwrap_or_else(|| {
            let StewardParts { worker, follower, progress, .. } = self.parts;
            Shadow::new(self.group, from, progress, worker, follower)
        })
    }

    pub(super) async fn follow_former(&self, former: &mut Shadow) -> Result<Followed, Fault> {
        if !former.hold().await? {
            return Ok(Followed::NotNow);
        }
        let targets = match self.group.mode() {
            Mode::OnDemand => {
                let position = self.parts.follower.store.checkpoint(self.group).await?.mark.position();
                Some(vec![position; former.positions().len()])
            }
            Mode::Inline | Mode::Asynchronous => None,
        };
        Ok(former.step(targets.as_deref()).await)
    }

    pub(super) fn stage(&self, build: BuildId) -> Option<Stage> {
        self.builds.iter().find(|held| held.id == build).map(|held| held.stage)
    }

    pub(super) async fn reload_builds(&mut self) -> Result<(), Fault> {
        *self.builds = self.parts.registry.builds(self.group.name()).await?;
        Ok(())
    }

    /// Moves builds; a fault of infrastructure is no answer.
    pub(super) async fn transit(
        &mut self,
        moves: &[BuildMove],
        order: &Order,
    ) -> Result<Result<(), TransitError>, Fault> {
        match self.parts.registry.transit(self.group, moves, order).await {
            Ok(after) => {
                *self.builds = after;
                Ok(Ok(()))
            }
            Err(TransitError::Fault(fault)) if is_about_the_build(&fault) => {
                Ok(Err(TransitError::Unfit { fault }))
            }
            Err(TransitError::Fault(fault)) => Err(fault),
            Err(error) => Ok(Err(error)),
        }
    }

    pub(super) async fn go_to(&mut self, step: RebuildStep) -> Result<Tended, Fault> {
        let now = self.parts.follower.clock.now();
        self.held.rebuild.go_to(step, now);
        self.save().await?;
        Ok(Tended::Moved)
    }

    /// The rebuild cannot go on by itself.
    pub(super) async fn fail(&mut self, reason: String) -> Result<Tended, Fault> {
        let build = self.held.rebuild.to;
        tracing::error!(model = self.group.name(), %build, %reason, "a rebuild failed");
        self.held.rebuild.resumes_at = Some(match self.held.rebuild.step {
            RebuildStep::Building => RebuildStep::Building,
            _ => RebuildStep::CatchingUp,
        });
        self.held.rebuild.reason = Some(reason);
        self.go_to(RebuildStep::Failed).await
    }

    /// An order cannot be carried out; the rebuild stays where it is and waits for another one.
    pub(super) async fn refuse(&mut self, reason: String) -> Result<Tended, Fault> {
        self.held.rebuild.reason = Some(reason);
        self.held.rebuild.switching = Switching::Ordered;
        self.save().await?;
        Ok(Tended::Moved)
    }

    /// Makes sure that this process drives the rebuild, and that others see that it lives.
    async fn hold_record(&mut self) -> Result<bool, Fault> {
        let now = self.parts.follower.clock.now();
        let (me, lasting) = (self.parts.worker.as_str(), self.parts.follower.limits.lease_duration);
        if !self.held.rebuild.may_be_driven_by(me, now) {
            return Ok(false);
        }
        let fresh = self
            .held
            .rebuild
            .driver
            .as_ref()
            .is_some_and(|driver| driver.worker == me && driver.until >= now.plus(lasting / 2));
        if fresh {
            return Ok(true);
        }
        self.held.rebuild.driver = Some(Driver { worker: me.to_owned(), until: now.plus(lasting) });
        // Whoever wrote meanwhile is seen at the next look.
        self.records.write(self.held).await
    }

    pub(super) async fn save_now_and_then(&mut self, drive: &mut Drive) -> Result<(), Fault> {
        if drive.saved.elapsed() >= PROGRESS_INTERVAL {
            drive.saved = Instant::now();
            drive.shadow.prolong().await?;
            self.save().await?;
        }
        Ok(())
    }

    /// Writes the record, keeping what an operator has written into it meanwhile.
    pub(super) async fn save(&mut self) -> Result<(), Fault> {
        let (now, lasting) = (self.parts.follower.clock.now(), self.parts.follower.limits.lease_duration);
        let me = self.parts.worker.as_str();
        self.held.rebuild.driver = Some(Driver { worker: me.to_owned(), until: now.plus(lasting) });
        for _ in 0..SAVE_ATTEMPTS_MAX {
            if self.records.write(self.held).await? {
                return Ok(());
            }
            let Some(fresh) = self.records.of(&self.held.rebuild.group).await? else { break };
            if fresh.rebuild.to != self.held.rebuild.to || !fresh.rebuild.may_be_driven_by(me, now) {
                break;
            }
            self.held.version = fresh.version;
            self.held.rebuild.asked = fresh.rebuild.asked;
        }
        let message = format!("the rebuild of `{}` is driven by another process now", self.group.name());
        Err(Fault::transient(diptych_core::Code::MoveRefused, message))
    }
}

/// Whether what a store met is a fact that a build cannot take, and nothing that passes.
fn is_about_the_build(fault: &Fault) -> bool {
    std::error::Error::source(fault).is_some_and(|cause| cause.is::<FoldError>())
}

/// Why a new build that was compared so cannot switch by itself; none where nothing stands against it.
pub(super) fn blocked_by(report: &CompareReport) -> Option<String> {
    let differing =
        || format!("{} rows or answers differ in ways that were not declared", report.undeclared());
    (!report.is_clean()).then(differing)
}

fn reached(shadow: &Shadow, targets: &[Position]) -> bool {
    shadow.positions().iter().zip(targets).all(|(position, target)| position >= target)
}
