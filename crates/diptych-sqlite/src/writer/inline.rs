//! Inline groups inside the transaction that appends: brought to the head first, then folded command by
//! command.

use super::State;
use crate::fault::{OrFault, is_about_the_row, storage};
use crate::log::{self, Gathered, Names};
use crate::models::{Attached, Digests, Table, drive, existing, move_to, open_tables, write};
use crate::shared::Shared;
use diptych_core::{Code, Fault, Position, RawFact, Timestamp};
use diptych_query::{AdvanceError, Checkpoint, Fold, Group, Mark, Passed, ProgressEntry, Standing, Stopped};
use rusqlite::Connection;
use std::sync::Arc;

/// Statements around what user code can make fail.
pub(super) const SAVEPOINT: &str = "SAVEPOINT diptych";
pub(super) const RELEASE: &str = "RELEASE diptych";
pub(super) const ROLLBACK_TO: &str = "ROLLBACK TO diptych";

/// An inline group as the writer sees it.
pub(crate) struct InlineGroup {
    pub(crate) group: Arc<Group>,
    pub(crate) attached: Arc<Attached>,
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
    let transaction = connection.transaction().or_fault()?;
    let mut all = Vec::new();
    for group in groups {
        let attached = Attached::in_log(group)?;
        open_tables(&transaction, group, &attached.tables, start, now)?;
        all.push(InlineGroup {
            group: Arc::clone(group),
            attached: Arc::new(attached),
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

    /// Finds out where the group stands; folds what it lacks if that is little.
    pub(super) fn prepare(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        state: &State,
        now: Timestamp,
    ) -> Result<(), Fault> {
        self.passed = vec![Passed::default(); self.attached.tables.len()];
        let checkpoint = existing(connection, self.attached.place)?;
        let (from, head) = (checkpoint.mark.position(), state.head.position());
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
        // Only for these few facts.
        let facts_max = usize::try_from(from.lag_to(head.position())).unwrap_or(usize::MAX);
        let mut names = Names::new(shared.limits.stream_names_max.min(facts_max));
        let (range, wanted) = ((from, head.position()), self.group.categories());
        let facts = log::range(connection, &mut names, range, wanted, Gathered::default())?.rest();
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
                Err(InlineFailure::Store(crate::fault::damaged(message)))
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
        let tables: &[Table] = &self.attached.tables;
        let mut fold = Fold::from_mark(&self.group, from);
        fold.plan_facts(facts, through)?;
        let loaded = drive(connection, tables, &mut fold)?;
        let fresh = fold.is_fresh();
        for ((table, changes), loaded) in tables.iter().zip(&fold.changes()?).zip(&loaded) {
            write(connection, table, changes, &mut loaded.in_order(), fresh).map_err(|error| {
                let about_the_row = is_about_the_row(&error);
                let fault = storage(error);
                if about_the_row {
                    let message =
                        format!("read model `{}` made a row that its table refuses", table.schema.name);
                    Fault::permanent(Code::InlineFailed, message).because(fault)
                } else {
                    fault
                }
            })?;
            digests.add(table, changes);
        }
        self.passed.iter_mut().zip(fold.passed()).for_each(|(held, more)| *held += more);
        Ok(())
    }

    /// Tells those who wait, once the transaction is committed.
    pub(super) fn committed(&mut self, position: Position) {
        self.entry.count_passed(&self.group, &std::mem::take(&mut self.passed));
        if self.is_live() {
            self.entry.advance(position);
        }
        self.entry.tell(&mut self.told, &self.standing);
    }
}

pub(super) fn run(connection: &Connection, statement: &str) -> Result<(), Fault> {
    connection.prepare_cached(statement).and_then(|mut prepared| prepared.execute([])).or_fault()?;
    Ok(())
}
