//! Inline groups inside the transaction that appends: brought to the head first, then folded with what the
//! transaction appends.

use super::attach::Attached;
use super::checkpoint::existing;
use super::load::{Driven, drive};
use super::write::{WriteError, write};
use crate::fault::{OrFault, damaged};
use crate::log;
use crate::shared::{Schema, Shared};
use diptych_core::{Code, Fault, Position, RawFact, Timestamp};
use diptych_query::{AdvanceError, Checkpoint, Fold, Group, Mark, Passed, ProgressEntry, Standing, Stopped};
use std::sync::Arc;
use tokio_postgres::Client;

/// Statements around what user code can make fail.
const SAVEPOINT: &str = "SAVEPOINT diptych_inline";
const RELEASE: &str = "RELEASE SAVEPOINT diptych_inline";
const ROLLBACK_TO: &str = "ROLLBACK TO SAVEPOINT diptych_inline";

/// An inline group as the writer sees it.
pub(crate) struct InlineGroup {
    pub(crate) group: Arc<Group>,
    pub(crate) attached: Arc<Attached>,
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

/// Opens the inline groups' tables, or makes them. The caller owns the transaction.
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
        let attached = Attached::open(client, schema, group, start, now).await?;
        all.push(InlineGroup {
            group: Arc::clone(group),
            attached: Arc::new(attached),
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
        let (schema, place) = (&shared.schema, self.attached.place);
        // A group that is far behind is being folded by a worker, who may hold its checkpoint for a while:
        // the append looks before it waits.
        if !self.is_live() {
            let checkpoint = existing(client, schema, place).await?;
            if let Some(standing) = self.judged(shared, &checkpoint, head) {
                self.standing = standing;
                return Ok(());
            }
        }
        let (checkpoint, _) = place.lock(client, schema).await?;
        self.standing = match self.judged(shared, &checkpoint, head) {
            Some(standing) => standing,
            None if checkpoint.mark.position() == head.position() => Standing::Live,
            None => self.catch_up(client, shared, &checkpoint, head, now).await?,
        };
        Ok(())
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
        let categories = self.group.categories();
        let facts = log::range(client, shared, from.position(), head.position(), categories).await?;
        client.batch_execute(SAVEPOINT).await.or_fault()?;
        let (place, history_max) = (self.attached.place, shared.limits.checkpoint_history_max);
        let moved = (from.position(), head);
        let moving = place.move_and_remember(client, &shared.schema, moved, now, history_max);
        let standing = match self.take(client, shared, from, head, &facts, moving).await {
            Ok(()) => Standing::Live,
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
        match self.take(client, shared, from, through, facts, moving).await {
            Ok(()) => {}
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

    /// Folds facts and writes what that changes. The checkpoint's move goes with the last statements, so that
    /// nobody waits for it alone.
    async fn take(
        &mut self,
        client: &Client,
        shared: &Shared,
        from: Mark,
        through: Mark,
        facts: &[Arc<RawFact>],
        moving: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), AdvanceError> {
        let (attached, schema) = (Arc::clone(&self.attached), &shared.schema);
        let wanted =
            |fact: &Arc<RawFact>| self.group.categories().contains(fact.stream.stream.category.as_str());
        if facts.iter().any(wanted) {
            let mut fold = Fold::from_mark(&self.group, from);
            fold.plan_facts(facts, through)?;
            let fresh = fold.is_fresh();
            let Driven { fold, changes, tombstones } = drive(client, &attached.tables, fold).await?;
            let writing = write(client, schema, &attached.tables, &changes, &tombstones, fresh);
            let (written, moved) = tokio::join!(biased; writing, moving);
            written.map_err(|error| self.judged_write(error))?;
            moved?;
            self.passed.iter_mut().zip(fold.passed()).for_each(|(held, more)| *held += more);
        } else {
            moving.await?;
        }
        if from.position() == Position::START && through.position() > Position::START {
            attached.create_indexes(client).await?;
        }
        Ok(())
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
