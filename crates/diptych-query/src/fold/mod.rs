//! The pure fold over a group's tables. It does no I/O: it says what it needs and is told.
//!
//! A store drives it inside one transaction: `plan` the facts, `supply` what `needs` names, `run`, and write
//! the `changes`. Asynchronous and synchronous stores do so alike, inline or behind a worker.

mod digest;
mod error;
mod table;

pub use digest::{BUCKETS, bucket_of, row_digest};
pub use error::{FoldError, FoldErrorKind};
pub use table::{TableFold, TypedTable};

use crate::{Block, Checkpoint, Group, Mark, RowRef, StoredRow, TableChanges};
use diptych_core::{Position, RawFact};
use std::sync::Arc;

/// The most rows one fact may touch.
pub const ROWS_PER_FACT_MAX: usize = 10_000;

/// A fold under way over the tables of one group.
pub struct Fold {
    tables: Vec<Box<dyn TableFold>>,
    fresh: bool,
    from: Position,
    through: Mark,
    facts: usize,
}

impl Fold {
    /// Starts where a group's checkpoint stands. A group at the start has no rows: nothing is ever needed
    /// then.
    #[must_use]
    pub fn new(group: &Group, checkpoint: &Checkpoint) -> Self {
        Self::from_mark(group, checkpoint.mark)
    }

    /// Starts at a mark.
    #[must_use]
    pub fn from_mark(group: &Group, mark: Mark) -> Self {
        let fresh = mark.position() == Position::START;
        let tables = group.models().iter().map(|model| model.table(fresh)).collect();
        Self { tables, fresh, from: mark.position(), through: mark, facts: 0 }
    }

    /// Starts at a mark over tables that may hold rows all the same, as when facts are delivered again.
    #[must_use]
    pub fn redelivery(group: &Group, mark: Mark) -> Self {
        let tables = group.models().iter().map(|model| model.table(false)).collect();
        Self { tables, fresh: false, from: mark.position(), through: mark, facts: 0 }
    }

    /// Decodes and routes a block that follows what was planned before.
    ///
    /// # Errors
    /// A fact that cannot be decoded or routed; the fold is then of no further use.
    pub fn plan(&mut self, block: &Block) -> Result<(), FoldError> {
        debug_assert!(block.after <= self.through.position(), "a block must not leave a gap");
        self.plan_facts(&block.facts, block.through)
    }

    /// Decodes and routes facts that end at a mark.
    ///
    /// # Errors
    /// As [`Fold::plan`].
    pub fn plan_facts(&mut self, facts: &[Arc<RawFact>], through: Mark) -> Result<(), FoldError> {
        for table in &mut self.tables {
            table.plan(facts)?;
        }
        self.facts += facts.len();
        if through.position() > self.through.position() {
            self.through = through;
        }
        Ok(())
    }

    /// Whether the tables are known to be empty, so that a store may load first and index afterwards.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Where the group's checkpoint must stand before.
    #[must_use]
    pub fn from(&self) -> Position {
        self.from
    }

    /// Where the group's checkpoint stands after.
    #[must_use]
    pub fn through(&self) -> Mark {
        self.through
    }

    /// How many facts were planned.
    #[must_use]
    pub fn facts(&self) -> usize {
        self.facts
    }

    /// The rows still to be supplied, with the index of their table; empty when the fold can run.
    pub fn needs(&mut self) -> Vec<(usize, Vec<RowRef>)> {
        let needs = self.tables.iter_mut().enumerate().map(|(index, table)| (index, table.needs()));
        needs.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Hands over stored rows and tombstones of a table. Needed rows that do not exist are simply not among
    /// them.
    ///
    /// # Errors
    /// A row whose columns do not have the hash it was written with: somebody edited it.
    pub fn supply(&mut self, table: usize, rows: Vec<StoredRow>) -> Result<(), FoldError> {
        match self.tables.get_mut(table) {
            Some(table) => table.supply(rows),
            None => Ok(()),
        }
    }

    /// Folds everything planned so far.
    ///
    /// # Errors
    /// A fact at which a projection failed; the fold is then of no further use.
    pub fn run(&mut self) -> Result<(), FoldError> {
        let clock = self.from;
        self.tables.iter_mut().try_for_each(|table| table.run(clock))
    }

    /// What has changed since the changes were last taken, table by table.
    ///
    /// # Errors
    /// A row that no store can keep; the fold is then of no further use.
    pub fn changes(&mut self) -> Result<Vec<TableChanges>, FoldError> {
        self.tables.iter_mut().map(|table| table.changes()).collect()
    }

    /// How many facts met no row and left none, since the fold began, table by table.
    #[must_use]
    pub fn no_ops(&self) -> Vec<u64> {
        self.tables.iter().map(|table| table.no_ops()).collect()
    }

    /// How many rows are held in memory.
    #[must_use]
    pub fn rows_held(&self) -> usize {
        self.tables.iter().map(|table| table.rows_held()).sum()
    }
}

impl std::fmt::Debug for Fold {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Fold({}..{}, {} facts)", self.from, self.through.position(), self.facts)
    }
}
