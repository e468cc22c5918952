//! The pure fold over a group's tables. It does no I/O: it says what it needs and is told.
//!
//! A store drives it inside one transaction: `plan` the facts, `run` and `supply` what it names until it
//! names nothing more, and write the `changes`. Asynchronous and synchronous stores do so alike, inline or
//! behind a worker.
//!
//! The tables of a group fold the same facts one after the other. A table may look rows up in earlier ones,
//! as they stood at the fact at hand; a row that is not in memory is noted, loaded, and the table folds
//! again, which is legal because projections are pure.

mod batch;
mod correction;
mod decoded;
mod digest;
mod earlier;
mod error;
mod excepted;
mod guarded;
mod history;
mod index;
mod kept;
mod slots;
mod table;
mod table_fold;

pub(crate) use batch::SqlBatch;
pub use decoded::Decoded;
pub use digest::{BUCKETS, bucket_of, row_digest};
pub use earlier::Earlier;
pub(crate) use earlier::Looked;
pub use error::{FailedRow, FoldError, FoldErrorKind};
pub use kept::{Kept, KeptTable};
pub use slots::TableUse;
pub use table::TypedTable;
pub use table_fold::{Ran, TableFold};

use crate::{Block, Checkpoint, Group, Lease, Mark, Partition, RowRef, StoredRow, TableChanges, TableNeeds};
use diptych_core::{Position, RawFact};
use std::cell::RefCell;
use std::ops::AddAssign;
use std::sync::Arc;

/// The most rows one fact may touch.
pub const ROWS_PER_FACT_MAX: usize = 10_000;

/// How often a table may ask for more rows of its siblings before its projection is taken for one that
/// never ends: each round is a look-up of a key that only the row before has told.
pub const LOOK_UP_ROUNDS_MAX: usize = 100;

/// How many facts changed nothing in a table, so that it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// They met no row and left none.
    pub no_ops: u64,
    /// The projection does not know their type, and says that it ignores those.
    pub ignored: u64,
}

impl AddAssign for Passed {
    fn add_assign(&mut self, more: Self) {
        self.no_ops += more.no_ops;
        self.ignored += more.ignored;
    }
}

/// A fold under way over the tables of one group.
pub struct Fold {
    tables: Vec<Box<dyn TableFold>>,
    /// Room for the facts of a block.
    decoded: Decoded,
    partition: Partition,
    /// Under which lease; none where nobody else can be at work.
    lease: Option<Lease>,
    fresh: bool,
    from: Position,
    through: Mark,
    facts: usize,
    /// How many tables have folded what is planned, while a run waits for rows.
    folded: usize,
    rounds: usize,
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
        Self::begin(group, Partition::WHOLE, mark, mark.position() == Position::START)
    }

    /// Starts at a mark with the rows of one partition, to be looked at: no store takes it.
    #[must_use]
    pub fn in_partition(group: &Group, partition: Partition, mark: Mark) -> Self {
        Self::begin(group, partition, mark, mark.position() == Position::START)
    }

    /// Starts at a mark with the rows of a leased partition. A store takes it only while no other lease has
    /// followed.
    #[must_use]
    pub fn under(group: &Group, lease: Lease, mark: Mark) -> Self {
        Self { lease: Some(lease), ..Self::in_partition(group, lease.partition, mark) }
    }

    /// Starts at a mark over tables that may hold rows all the same, as when facts are delivered again.
    #[must_use]
    pub fn redelivery(group: &Group, mark: Mark) -> Self {
        Self::begin(group, Partition::WHOLE, mark, false)
    }

    fn begin(group: &Group, partition: Partition, mark: Mark, fresh: bool) -> Self {
        let (tables, from) = (group.tables(partition, fresh), mark.position());
        let (decoded, lease) = (Decoded::between(tables.len()), None);
        Self { tables, decoded, partition, lease, fresh, from, through: mark, facts: 0, folded: 0, rounds: 0 }
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
        let misses = RefCell::new(Vec::new());
        self.decoded.clear();
        for index in 0..self.tables.len() {
            let (earlier, rest) = self.tables.split_at_mut(index);
            let planned = rest[0].plan(facts, &mut self.decoded, Earlier::new(earlier, &misses));
            planned.map_err(|error| error.in_table(index))?;
        }
        if self.fresh {
            self.settle();
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

    /// Whose rows it holds.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// Under which lease, if under any.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.lease
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

    /// Holds rows of a table back, each from a fact on: their facts are passed over until the rows are
    /// mended. Said when everything is planned and before the fold runs; or before anything is planned,
    /// of a group that has no rows yet.
    pub fn hold(&mut self, table: usize, rows: Vec<(RowRef, Position)>) {
        if let Some(table) = self.tables.get_mut(table) {
            table.hold(rows);
        }
    }

    /// Has rows of a table each pass over one fact, for good. Said when [`Fold::hold`] is.
    pub fn skip(&mut self, table: usize, rows: Vec<(RowRef, Position)>) {
        if let Some(table) = self.tables.get_mut(table) {
            table.skip(rows);
        }
    }

    /// Folds these rows of a table and no others, each from a fact on; said before anything is planned.
    /// Without rows, none of the table is folded, so that no later one may look there.
    pub fn only(&mut self, table: usize, rows: Vec<(RowRef, Position)>) {
        if let Some(table) = self.tables.get_mut(table) {
            table.only(rows);
        }
    }

    /// How many facts were planned.
    #[must_use]
    pub fn facts(&self) -> usize {
        self.facts
    }

    /// Hands over stored rows and tombstones of a table. Needed rows that do not exist are simply not among
    /// them. Rows that hold a value in a column come at once; one more than [`ROWS_PER_FACT_MAX`] are
    /// enough, and then no fact may touch the rows of that value until they are fewer when a fold begins.
    ///
    /// # Errors
    /// A row whose columns do not have the hash it was written with: somebody edited it.
    pub fn supply(&mut self, table: usize, rows: Vec<StoredRow>) -> Result<(), FoldError> {
        match self.tables.get_mut(table) {
            Some(held) => held.supply(rows).map_err(|error| error.in_table(table)),
            None => Ok(()),
        }
    }

    /// Hands over the rows that a fold before this one has kept, as [`Fold::keep`] gave them. Said before the
    /// fold runs, by a store that holds them exactly so: none of them is asked for.
    pub fn recall(&mut self, kept: Kept) {
        for (table, kept) in self.tables.iter_mut().zip(kept.into_tables()) {
            if let Some(kept) = kept {
                table.recall(kept);
            }
        }
    }

    /// Hands out the rows at hand, and those that it was told to recall, once all changes were taken and the
    /// store holds them; about `bytes_max` bytes of them. The fold is then of no further use.
    ///
    /// They are the rows that projections have answered, which the store need not read back: a type that
    /// reads back as something else than was written makes rows depend on how the log was cut into batches,
    /// be it by this or within one batch.
    pub fn keep(&mut self, bytes_max: usize) -> Kept {
        Kept::of(self.tables.iter_mut().map(|table| table.keep()).collect(), bytes_max)
    }

    /// Folds everything planned so far, as far as the rows at hand allow. Answers the rows still to be
    /// supplied, with the index of their table; none when everything is folded.
    ///
    /// # Errors
    /// A fact at which a projection failed; the fold is then of no further use.
    pub fn run(&mut self) -> Result<Option<Vec<(usize, TableNeeds)>>, FoldError> {
        let needs = self.needs();
        if !needs.is_empty() {
            return Ok(Some(needs));
        }
        while self.folded < self.tables.len() {
            let misses = RefCell::new(Vec::new());
            let (earlier, rest) = self.tables.split_at_mut(self.folded);
            let ran = rest[0].run(self.from, Earlier::new(earlier, &misses));
            let ran = ran.map_err(|error| error.in_table(self.folded))?;
            if ran == Ran::Missed {
                self.rounds += 1;
                if self.rounds > LOOK_UP_ROUNDS_MAX {
                    return Err(FoldError::endless(self.from));
                }
                for (table, row) in misses.into_inner() {
                    self.tables[table].want(&row);
                }
                return Ok(Some(self.needs()));
            }
            self.folded += 1;
        }
        self.settle();
        (self.folded, self.rounds) = (0, 0);
        Ok(None)
    }

    fn needs(&mut self) -> Vec<(usize, TableNeeds)> {
        let needs = self.tables.iter_mut().enumerate().map(|(index, table)| (index, table.needs()));
        needs.filter(|(_, needs)| !needs.is_empty()).collect()
    }

    fn settle(&mut self) {
        self.tables.iter_mut().for_each(|table| table.settle());
    }

    /// What has changed since the changes were last taken, table by table.
    ///
    /// # Errors
    /// A row that no store can keep; the fold is then of no further use.
    pub fn changes(&mut self) -> Result<Vec<TableChanges>, FoldError> {
        let changes = self.tables.iter_mut().enumerate().map(|(index, table)| {
            let changes = table.changes();
            changes.map_err(|error| error.in_table(index))
        });
        changes.collect()
    }

    /// What has changed in one table since its changes were last taken, at most so many rows; a store that
    /// takes part after part may write one while another is prepared. Fewer rows than that are the last.
    ///
    /// # Errors
    /// As [`Fold::changes`].
    pub fn changes_up_to(&mut self, table: usize, rows_max: usize) -> Result<TableChanges, FoldError> {
        let Some(held) = self.tables.get_mut(table) else { return Ok(TableChanges::default()) };
        held.changes_up_to(rows_max).map_err(|error| error.in_table(table))
    }

    /// How many facts met no row and left none, since the fold began, table by table.
    #[must_use]
    pub fn no_ops(&self) -> Vec<u64> {
        self.tables.iter().map(|table| table.no_ops()).collect()
    }

    /// The facts that changed nothing, since the fold began, table by table.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        let tables = self.tables.iter();
        tables.map(|table| Passed { no_ops: table.no_ops(), ignored: table.ignored() }).collect()
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
