//! Inline groups inside the transaction that appends: brought to the head first, then folded with what the
//! transaction appends.

use super::attach::Attached;
use super::load::{Driven, drive};
use super::parked::{self, HeldBack};
use super::registry;
use super::write::{WriteError, write};
use crate::fault::{OrFault, damaged};
use crate::log;
use crate::shared::{Schema, Shared};
use diptych_core::{Code, Fault, Position, RawFact, Timestamp};
use diptych_query::{
    AdvanceError, Checkpoint, Fence, Fold, Group, Mark, Passed, ProgressEntry, Standing, Stopped,
};
use std::sync::Arc;
use tokio_postgres::Client;

/// Statements around what user code can make fail.
const SAVEPOINT: &str = "SAVEPOINT diptych_inline";
const RELEASE: &str = "RELEASE SAVEPOINT diptych_inline";
const ROLLBACK_TO: &str = "ROLLBACK TO SAVEPOINT diptych_inline";

/// An inline group as the writer sees it.
pub(crate) struct InlineGroup {
    pub(crate) group: Arc<Group>,
    /// The own build of its revision, as last seen.
    pub(crate) attached: Arc<Attached>,
    /// The fence that its checkpoint had then: with another one, somebody may have switched builds.
    fence: Option<Fence>,
    held_back: HeldBack,
    entry: Arc<ProgressEntry>,
    standing: Standing,
    told: Option<Standing>,
    passed: Vec<Passed>,
    swept: bool,
}

/// Why a fold inside an append failed.
#[derive(Debug)]
pub(crate) enum InlineFailure {
    /// The appended facts are to blame.
    Command(Fault),
    /// The store is.
    Store(Fault),
}

/// Opens the inline groups' tables, or makes them; those that are retired are left out. The caller owns the
/// transaction.
pub(crate) async fn inline_groups(
    client: &Client,
    schema: &Schema,
    groups: &[Arc<Group>],
    start: Mark,
    now: Timestamp,
    entry: impl Fn(&str) -> Arc<ProgressEntry>,
) -> Result<Vec<InlineGroup>, Fault> {
    let mut all = Vec::new();
    for group in groups {
        let attached = match Attached::open(client, schema, group, start, now).await {
            Err(fault) if fault.code() == Code::ModelRetired => {
                tracing::warn!(%fault, "an inline read model is not folded");
                continue;
            }
            attached => attached?,
        };
        all.push(InlineGroup {
            group: Arc::clone(group),
            attached: Arc::new(attached),
            fence: None,
            held_back: HeldBack::new(),
            entry: entry(group.name()),
            standing: Standing::Behind,
            told: None,
            passed: Vec::new(),
            swept: false,
        });
    }
    Ok(all)
}

impl InlineGroup {
    /// Whether the group folds in this transaction.
    pub(crate) fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// Finds out where the group stands; folds what it lacks if that is little. The caller has locked the
    /// head.
    pub(crate) async fn prepare(
        &mut self,
        client: &Client,
        shared: &Shared,
        head: Mark,
        now: Timestamp,
    ) -> Result<(), Fault> {
        self.passed = vec![Passed::default(); self.attached.tables.len()];
        self.swept = false;
        // A group that is far behind is being folded by a worker, who may hold its checkpoint for a while:
        // the append looks before it waits.
        if !self.is_live() {
            let Some(checkpoint) = self.own_checkpoint(client, shared, false).await? else {
                return Ok(());
            };
            if let Some(standing) = self.judged(shared, &checkpoint, head) {
                self.standing = standing;
                return Ok(());
            }
        }
        let Some(checkpoint) = self.own_checkpoint(client, shared, true).await? else {
            self.standing = Standing::Behind;
            return Ok(());
        };
        self.standing = match self.judged(shared, &checkpoint, head) {
            Some(standing) => standing,
            None if checkpoint.mark.position() == head.position() => Standing::Live,
            None => self.catch_up(client, shared, &checkpoint, head, now).await?,
        };
        Ok(())
    }

    /// The checkpoint of the own build, and which keys are held back in it. None where the last build of the
    /// revision is retired: nothing is folded then.
    ///
    /// INVARIANT: whoever moves builds does so under the lock of the head, which the caller has, and gives
    /// each another fence. So the build whose fence is known is the own build still, and nothing more is
    /// asked.
    async fn own_checkpoint(
        &mut self,
        client: &Client,
        shared: &Shared,
        locked: bool,
    ) -> Result<Option<Checkpoint>, Fault> {
        if let Some((checkpoint, fence)) = self.look(client, shared, locked).await?
            && self.fence == Some(fence)
        {
            return Ok(Some(checkpoint));
        }
        if !self.find_own(client, shared).await? {
            return Ok(None);
        }
        let (checkpoint, fence) =
            self.look(client, shared, locked).await?.ok_or_else(|| self.attached.place.lost())?;
        self.fence = Some(fence);
        Ok(Some(checkpoint))
    }

    async fn look(
        &mut self,
        client: &Client,
        shared: &Shared,
        locked: bool,
    ) -> Result<Option<(Checkpoint, Fence)>, Fault> {
        let (schema, attached) = (&shared.schema, &self.attached);
        let (found, held_back) = tokio::join!(
            biased;
            attached.place.look(client, schema, locked),
            parked::held_back(client, schema, attached, &self.group),
        );
        self.held_back = held_back?;
        found
    }

    /// Looks which build is the own one now. Answers whether there is one.
    async fn find_own(&mut self, client: &Client, shared: &Shared) -> Result<bool, Fault> {
        let builds = registry::builds(client, &shared.schema, self.group.name()).await?;
        let own = match registry::own(&builds, &self.group) {
            Err(fault) if fault.code() == Code::ModelRetired => None,
            own => own?,
        };
        shared.builds.learn(self.group.name(), &builds);
        let Some(own) = own else { return Ok(false) };
        if own != self.attached.build() {
            let attached = Attached::existing(client, &shared.schema, &self.group, own).await?;
            let model = self.group.name();
            tracing::info!(model, build = %own, "an inline read model is folded into another build");
            self.attached = shared.builds.keep(Arc::new(attached));
        }
        Ok(true)
    }

    /// Where the group stands, unless it is at the head or near it.
    fn judged(&self, shared: &Shared, checkpoint: &Checkpoint, head: Mark) -> Option<Standing> {
        let (from, head) = (checkpoint.mark.position(), head.position());
        match &checkpoint.stopped {
            Some(stopped) => Some(Standing::Stopped(stopped.clone())),
            None if from > head || from.lag_to(head) > shared.limits.inline_catch_up_events_max => {
                Some(Standing::Behind)
            }
            None => None,
        }
    }

    /// Folds the missing facts. One that cannot be taken stops the group: the command at hand is not to
    /// blame.
    async fn catch_up(
        &mut self,
        client: &Client,
        shared: &Shared,
        checkpoint: &Checkpoint,
        head: Mark,
        now: Timestamp,
    ) -> Result<Standing, Fault> {
        let from = checkpoint.mark;
        client.batch_execute(SAVEPOINT).await.or_fault()?;
        let bringing = bring(client, shared, (&self.attached, &self.group), from, head, &self.held_back, now);
        let standing = match bringing.await {
            Ok(passed) => {
                self.count(passed);
                Standing::Live
            }
            Err(AdvanceError::Fold(error)) => {
                self.stop(client, shared, error.position, error.to_string()).await?
            }
            Err(AdvanceError::Fault(fault)) if fault.code() == Code::InlineFailed => {
                self.stop(client, shared, from.position().next(), fault.to_string()).await?
            }
            Err(AdvanceError::Fault(fault)) => return Err(fault),
            Err(_) => Standing::Behind,
        };
        client.batch_execute(RELEASE).await.or_fault()?;
        Ok(standing)
    }

    /// Takes back what the catching up has written, and writes down why it ended.
    async fn stop(
        &self,
        client: &Client,
        shared: &Shared,
        position: Position,
        reason: String,
    ) -> Result<Standing, Fault> {
        client.batch_execute(ROLLBACK_TO).await.or_fault()?;
        let stopped = Stopped { position, reason };
        self.attached.place.stop(client, &shared.schema, Some(&stopped)).await?;
        Ok(Standing::Stopped(stopped))
    }

    /// Folds what the transaction appends, and moves the checkpoint to its end. After a failure the caller
    /// takes the transaction back.
    pub(crate) async fn fold(
        &mut self,
        client: &Client,
        shared: &Shared,
        from: Mark,
        through: Mark,
        facts: &[Arc<RawFact>],
        now: Timestamp,
    ) -> Result<(), InlineFailure> {
        let attached = Arc::clone(&self.attached);
        let moving = attached.place.move_to(client, &shared.schema, through, now);
        let taking = Taking { attached: &attached, group: &self.group, held_back: &self.held_back };
        match taking.take(client, &shared.schema, (from, through), facts, moving).await {
            Ok(passed) => self.count(passed),
            Err(AdvanceError::Fold(error)) => {
                let message = format!("read model `{}` cannot take the event", self.group.name());
                let fault = Fault::permanent(Code::InlineFailed, message).because(error);
                return Err(InlineFailure::Command(fault));
            }
            Err(AdvanceError::Fault(fault)) if fault.code() == Code::InlineFailed => {
                return Err(InlineFailure::Command(fault));
            }
            Err(AdvanceError::Fault(fault)) => return Err(InlineFailure::Store(fault)),
            Err(_) => {
                let message = format!("read model `{}` moved inside a transaction", self.group.name());
                return Err(InlineFailure::Store(damaged(message)));
            }
        }
        let window_events = shared.limits.tombstone_window_events;
        let swept = attached.sweep(client, &shared.schema, through.position(), window_events).await;
        self.swept = swept.map_err(InlineFailure::Store)?;
        Ok(())
    }

    fn count(&mut self, passed: Vec<Passed>) {
        self.passed.iter_mut().zip(passed).for_each(|(held, more)| *held += more);
    }

    /// Tells those who wait, once the transaction is committed.
    pub(crate) fn committed(&mut self, position: Position) {
        self.entry.count_passed(&self.group, &std::mem::take(&mut self.passed));
        if self.is_live() {
            self.entry.advance(position);
        }
        if std::mem::take(&mut self.swept) {
            self.attached.note_sweep(position);
        }
        self.entry.tell(&mut self.told, &self.standing);
    }
}

/// Folds what a build lacks up to the head. The caller has locked its checkpoint and the head.
pub(crate) async fn bring(
    client: &Client,
    shared: &Shared,
    (attached, group): (&Attached, &Group),
    from: Mark,
    head: Mark,
    held_back: &HeldBack,
    now: Timestamp,
) -> Result<Vec<Passed>, AdvanceError> {
    let (after, through) = (from.position(), head.position());
    let facts = log::range(client, shared, after, through, group.categories()).await?;
    let history_max = shared.limits.checkpoint_history_max;
    let moving = attached.place.move_and_remember(client, &shared.schema, (after, head), now, history_max);
    let taking = Taking { attached, group, held_back };
    taking.take(client, &shared.schema, (from, head), &facts, moving).await
}

/// A build that takes facts inside of somebody else's transaction.
struct Taking<'a> {
    attached: &'a Attached,
    group: &'a Group,
    held_back: &'a HeldBack,
}

impl Taking<'_> {
    /// Folds facts and writes what that changes. The checkpoint's move goes with the last statements, so that
    /// nobody waits for it alone.
    async fn take(
        &self,
        client: &Client,
        schema: &Schema,
        (from, through): (Mark, Mark),
        facts: &[Arc<RawFact>],
        moving: impl Future<Output = Result<(), Fault>>,
    ) -> Result<Vec<Passed>, AdvanceError> {
        let Self { attached, group, held_back } = *self;
        let wanted = |fact: &Arc<RawFact>| group.categories().contains(fact.stream.stream.category.as_str());
        let mut passed = Vec::new();
        if facts.iter().any(wanted) {
            let mut fold = Fold::from_mark(group, from);
            fold.plan_facts(facts, through)?;
            parked::hold(&mut fold, attached, held_back);
            let fresh = fold.is_fresh();
            let Driven { fold, changes, tombstones } = drive(client, &attached.tables, fold).await?;
            let writing = write(client, schema, &attached.tables, &changes, &tombstones, fresh);
            let (written, moved) = tokio::join!(biased; writing, moving);
            written.map_err(|error| self.judged_write(error))?;
            moved?;
            passed = fold.passed();
        } else {
            moving.await?;
        }
        if from.position() == Position::START && through.position() > Position::START {
            attached.create_indexes(client).await?;
        }
        Ok(passed)
    }

    fn judged_write(&self, error: WriteError) -> Fault {
        match error {
            WriteError::Row(fault) => {
                let message = format!("read model `{}` made a row that its table refuses", self.group.name());
                Fault::permanent(Code::InlineFailed, message).because(fault)
            }
            WriteError::Store(fault) => fault,
        }
    }
}
