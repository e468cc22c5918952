//! Inline groups inside the transaction that appends: brought to the head first, then folded command by
//! command.

use super::State;
use crate::fault::{OrFault, damaged, is_about_the_row, storage};
use crate::log::{self, Gathered, Names};
use crate::models::{
    Attached, Digests, Place, Table, drive, existing, hold_parked, move_to, open_tables, registry, write,
};
use crate::shared::Shared;
use diptych_core::{Code, Fault, Position, RawFact, Timestamp};
use diptych_query::{
    AdvanceError, Checkpoint, Fold, Group, Mark, Passed, ProgressEntry, Standing, Stopped, TransitError,
};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;

/// How many facts a build may lack that takes over: they are folded while every command waits.
const TAKE_OVER_EVENTS_MAX: u64 = 10_000;

/// Statements around what user code can make fail.
pub(super) const SAVEPOINT: &str = "SAVEPOINT diptych";
pub(super) const RELEASE: &str = "RELEASE diptych";
pub(super) const ROLLBACK_TO: &str = "ROLLBACK TO diptych";

/// An inline group as the writer sees it.
pub(crate) struct InlineGroup {
    pub(crate) group: Arc<Group>,
    /// The build that it folds into.
    pub(crate) attached: Arc<Attached>,
    /// Whether there is no such build, since all are retired or other code keeps them elsewhere: nothing is
    /// folded then.
    idle: bool,
    entry: Arc<ProgressEntry>,
    standing: Standing,
    told: Option<Standing>,
    passed: Vec<Passed>,
}

/// Why a fold inside a command failed.
pub(super) enum InlineFailure {
    /// The command's own facts are to blame: it alone fails.
    Command(Fault),
    /// The store is.
    Store(Fault),
}

/// Opens the inline groups' tables in `log.db`, or makes them.
pub(crate) fn inline_groups(
    connection: &mut Connection,
    groups: &[Arc<Group>],
    start: Mark,
    now: Timestamp,
    entry: impl Fn(&str) -> Arc<ProgressEntry>,
) -> Result<Vec<InlineGroup>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let mut all = Vec::new();
    for group in groups {
        let builds = registry::of_group_or_begun(&transaction, group, start, now)?;
        let own = registry::own_place(&builds, group);
        let last = builds.iter().rev().find(|build| build.id.revision == group.revision());
        let place = own.or_else(|| last.map(|build| Place::of(group, build.id)));
        let place = place.ok_or_else(|| damaged(format!("read model `{}` has no build", group.name())))?;
        let attached = Attached::in_log(group, place.build())?;
        if own.is_some() {
            open_tables(&transaction, group, place, &attached.tables, start, now)?;
            registry::note_declared(&transaction, group, place).or_fault()?;
        }
        all.push(InlineGroup {
            group: Arc::clone(group),
            attached: Arc::new(attached),
            idle: own.is_none(),
            entry: entry(group.name()),
            standing: Standing::Behind,
            told: None,
            passed: Vec::new(),
        });
    }
    transaction.commit().or_fault()?;
    Ok(all)
}

impl InlineGroup {
    /// Whether the group folds in this transaction.
    pub(super) fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// Whether facts of a category concern it, and it folds in this transaction.
    pub(super) fn folds(&self, category: &str) -> bool {
        self.is_live() && self.group.categories().contains(category)
    }

    /// The build that it folds into, if it follows the log.
    pub(crate) fn attached(&self) -> Option<&Arc<Attached>> {
        Some(&self.attached).filter(|_| !self.idle)
    }

    /// Looks which build is the group's own by now: any process may have moved the pointer.
    pub(super) fn follow(&mut self, connection: &Connection, shared: &Shared) -> Result<(), Fault> {
        let builds = shared.builds.learn_of(connection, self.group.name()).or_fault()?;
        let own = registry::own_place(&builds, &self.group);
        self.idle = match own {
            Some(place) => place.shape(connection).or_fault()?.as_ref() != Some(&self.attached.shape),
            None => true,
        };
        if let Some(place) = own.filter(|place| !self.idle && *place != self.attached.place) {
            let attached = match shared.builds.find(place) {
                Some(attached) => attached,
                None => shared.builds.keep(Arc::new(Attached::in_log(&self.group, place.build())?)),
            };
            self.attached = attached;
        }
        Ok(())
    }

    /// Finds out where the group stands; folds what it lacks if that is little.
    pub(super) fn prepare(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        state: &State,
        now: Timestamp,
    ) -> Result<(), Fault> {
        self.passed = vec![Passed::default(); self.attached.tables.len()];
        if self.idle {
            self.standing = Standing::Behind;
            return Ok(());
        }
        let place = self.attached.place;
        let checkpoint = existing(connection, place)?;
        let (from, head) = (checkpoint.mark.position(), state.head.position());
        if from == Position::START && place.filling(connection).or_fault()? != 0 {
            self.standing = Standing::Behind;
            return Ok(());
        }
        self.standing = match &checkpoint.stopped {
            Some(stopped) => Standing::Stopped(stopped.clone()),
            None if from == head => Standing::Live,
            None if from > head || from.lag_to(head) > shared.limits.inline_catch_up_events_max => {
                Standing::Behind
            }
            None => self.catch_up(connection, shared, &checkpoint, state.head, now)?,
        };
        Ok(())
    }

    /// Folds the missing facts. One that cannot be taken stops the group: the command at hand is not to
    /// blame.
    fn catch_up(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        checkpoint: &Checkpoint,
        head: Mark,
        now: Timestamp,
    ) -> Result<Standing, Fault> {
        let from = checkpoint.mark.position();
        let facts = missing(connection, shared, &self.group, (from, head.position()))?;
        let mut digests = Digests::default();
        run(connection, SAVEPOINT)?;
        let standing = match self.fold(connection, checkpoint.mark, head, &facts, &mut digests) {
            Ok(()) => {
                let place = self.attached.place;
                digests.write(connection).or_fault()?;
                move_to(connection, place, head, now).or_fault()?;
                let moved = (from, head.position());
                place.remember(connection, moved, now, shared.limits.checkpoint_history_max).or_fault()?;
                Standing::Live
            }
            Err(AdvanceError::Fold(error)) => self.stop(connection, error.position, error.to_string())?,
            Err(AdvanceError::Fault(fault)) if fault.code() == Code::InlineFailed => {
                self.stop(connection, from.next(), fault.to_string())?
            }
            Err(AdvanceError::Fault(fault)) => return Err(fault),
            Err(_) => Standing::Behind,
        };
        run(connection, RELEASE)?;
        Ok(standing)
    }

    /// Takes back what the catching up has written, and writes down why it ended.
    fn stop(&self, connection: &Connection, position: Position, reason: String) -> Result<Standing, Fault> {
        run(connection, ROLLBACK_TO)?;
        let stopped = Stopped { position, reason };
        self.attached.place.stop(connection, Some(&stopped)).or_fault()?;
        Ok(Standing::Stopped(stopped))
    }

    /// Folds the facts of one command.
    pub(super) fn fold_command(
        &mut self,
        connection: &Connection,
        head: Mark,
        through: Mark,
        facts: &[Arc<RawFact>],
        digests: &mut Digests,
    ) -> Result<(), InlineFailure> {
        match self.fold(connection, head, through, facts, digests) {
            Ok(()) => Ok(()),
            Err(AdvanceError::Fold(error)) => {
                let message = format!("read model `{}` cannot take the event", self.group.name());
                Err(InlineFailure::Command(Fault::permanent(Code::InlineFailed, message).because(error)))
            }
            Err(AdvanceError::Fault(fault)) if fault.code() == Code::InlineFailed => {
                Err(InlineFailure::Command(fault))
            }
            Err(AdvanceError::Fault(fault)) => Err(InlineFailure::Store(fault)),
            Err(_) => {
                let message = format!("read model `{}` moved inside a transaction", self.group.name());
                Err(InlineFailure::Store(damaged(message)))
            }
        }
    }

    fn fold(
        &mut self,
        connection: &Connection,
        from: Mark,
        through: Mark,
        facts: &[Arc<RawFact>],
        digests: &mut Digests,
    ) -> Result<(), AdvanceError> {
        let through = (from, through);
        let passed = fold(connection, &self.group, &self.attached, through, facts, digests)?;
        self.passed.iter_mut().zip(passed).for_each(|(held, more)| *held += more);
        Ok(())
    }

    /// Tells those who wait, once the transaction is committed.
    pub(super) fn committed(&mut self, position: Position) {
        self.entry.count_passed(&self.group, &std::mem::take(&mut self.passed));
        if self.is_live() {
            self.entry.advance(position);
        }
        if !self.idle {
            self.entry.tell(&mut self.told, &self.standing);
        }
    }
}

/// Brings a build that is to answer to the head, inside the transaction in which it takes over.
pub(super) fn bring_to_the_head(
    connection: &Connection,
    shared: &Shared,
    group: &Group,
    attached: &Attached,
    head: Mark,
    now: Timestamp,
) -> Result<(), TransitError> {
    let place = attached.place;
    let checkpoint = existing(connection, place)?;
    let (position, other) = (checkpoint.mark.position(), head.position());
    let unfilled = position == Position::START && place.filling(connection).or_fault()? != 0;
    if unfilled || position.lag_to(other) > TAKE_OVER_EVENTS_MAX {
        return Err(TransitError::Behind { position, other });
    }
    if position == other {
        return Ok(());
    }
    let facts = missing(connection, shared, group, (position, other))?;
    let mut digests = Digests::default();
    let through = (checkpoint.mark, head);
    fold(connection, group, attached, through, &facts, &mut digests).map_err(|error| {
        let message = format!("the new build of `{}` cannot take a fact", group.name());
        match error {
            AdvanceError::Fold(error) => Fault::permanent(error.code(), message).because(error),
            AdvanceError::Fault(fault) => fault,
            _ => damaged(message),
        }
    })?;
    digests.write(connection).or_fault()?;
    move_to(connection, place, head, now).or_fault()?;
    let moved = (position, other);
    place.remember(connection, moved, now, shared.limits.checkpoint_history_max).or_fault()?;
    Ok(())
}

/// The facts that a build lacks. Only for few.
fn missing(
    connection: &Connection,
    shared: &Shared,
    group: &Group,
    (from, to): (Position, Position),
) -> Result<Vec<Arc<RawFact>>, Fault> {
    let facts_max = usize::try_from(from.lag_to(to)).unwrap_or(usize::MAX);
    let mut names = Names::new(shared.limits.stream_names_max.min(facts_max));
    Ok(log::range(connection, &mut names, (from, to), group.categories(), Gathered::default())?.rest())
}

/// Folds facts into a build's tables. Answers which of them changed nothing.
fn fold(
    connection: &Connection,
    group: &Group,
    attached: &Attached,
    (from, through): (Mark, Mark),
    facts: &[Arc<RawFact>],
    digests: &mut Digests,
) -> Result<Vec<Passed>, AdvanceError> {
    let tables: &[Table] = &attached.tables;
    let mut fold = Fold::from_mark(group, from);
    fold.plan_facts(facts, through)?;
    hold_parked(connection, attached, &mut fold)?;
    let tombstones = drive(connection, tables, &mut fold)?;
    let fresh = fold.is_fresh();
    for ((table, changes), tombstones) in tables.iter().zip(&fold.changes()?).zip(&tombstones) {
        write(connection, table, changes, tombstones, fresh).map_err(|error| {
            let about_the_row = is_about_the_row(&error);
            let fault = storage(error);
            if about_the_row {
                let message = format!("read model `{}` made a row that its table refuses", table.schema.name);
                Fault::permanent(Code::InlineFailed, message).because(fault)
            } else {
                fault
            }
        })?;
        digests.add(table, changes);
    }
    Ok(fold.passed())
}

pub(super) fn run(connection: &Connection, statement: &str) -> Result<(), Fault> {
    connection.prepare_cached(statement).and_then(|mut prepared| prepared.execute([])).or_fault()?;
    Ok(())
}
