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
mod chunked;
mod correction;
mod decoded;
mod digest;
mod earlier;
mod error;
mod excepted;
mod guarded;
mod history;
mod index;
mod near;
mod slots;
mod stored;
mod table;
mod table_fold;

pub(crate) use batch::SqlBatch;
pub use decoded::{Decoded, DecodedFacts};
pub use digest::{BUCKETS, bucket_of, row_digest};
pub use earlier::Earlier;
pub(crate) use earlier::Looked;
pub use error::{FailedRow, FoldError, FoldErrorKind};
pub use slots::TableUse;
pub use table::TypedTable;
pub use table_fold::{Ran, TableFold};

use near::ROWS_AT_ONCE;
pub use near::approach_texts;

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

impl Passed {
    /// What has come since it was as much as before.
    fn since(self, before: Self) -> Self {
        Self { no_ops: self.no_ops - before.no_ops, ignored: self.ignored - before.ignored }
    }
}

/// What a fold has made of the facts between two places of the log, for a store to write in one transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Where the group's checkpoint must stand before.
    pub from: Position,
    /// Where it stands after.
    pub through: Mark,
    /// Under which lease it was folded, if under any.
    pub lease: Option<Lease>,
    /// What changes, table by table.
    pub changes: Vec<TableChanges>,
    /// The facts that changed nothing, table by table.
    pub passed: Vec<Passed>,
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
    /// What was told of facts that changed nothing, when a batch was last taken.
    told: Vec<Passed>,
    /// Whether rows were moved out of it, which nothing can be folded into any more.
    ended: bool,
}

/// What a fold knows of its store, and whether it goes on.
#[derive(Clone, Copy)]
pub(crate) struct Use {
    pub(crate) fresh: bool,
    pub(crate) lasting: bool,
}

impl Use {
    fn at(mark: Mark) -> Self {
        Self { fresh: mark.position() == Position::START, lasting: false }
    }
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
        Self::begin(group, Partition::WHOLE, mark, Use::at(mark))
    }

    /// Starts at a mark with rows that stay in memory: when what has changed is taken, more facts may be
    /// planned. Rows that the store holds are asked for once.
    ///
    /// They are the rows that projections have answered, which the store need not read back: a type that
    /// reads back as something else than was written makes rows depend on how the log was cut into batches,
    /// be it by this or within one batch.
    #[must_use]
    pub fn lasting(group: &Group, lease: Option<Lease>, mark: Mark) -> Self {
        let partition = lease.map_or(Partition::WHOLE, |lease| lease.partition);
        Self { lease, ..Self::begin(group, partition, mark, Use { fresh: false, lasting: true }) }
    }

    /// Starts at a mark with the rows of one partition, to be looked at: no store takes it.
    #[must_use]
    pub fn in_partition(group: &Group, partition: Partition, mark: Mark) -> Self {
        Self::begin(group, partition, mark, Use::at(mark))
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
        Self::begin(group, Partition::WHOLE, mark, Use { fresh: false, lasting: false })
    }

    fn begin(group: &Group, partition: Partition, mark: Mark, held: Use) -> Self {
        let tables = group.tables(partition, held);
        Self {
            tables,
            decoded: Decoded::default(),
            partition,
            lease: None,
            fresh: held.fresh,
            from: mark.position(),
            through: mark,
            facts: 0,
            folded: 0,
            rounds: 0,
            told: Vec::new(),
            ended: false,
        }
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
        if self.fresh {
            // They are folded at once: few at a time, so that what is decoded of them stays near.
            facts.chunks(ROWS_AT_ONCE).try_for_each(|few| self.plan_few(few))?;
        } else {
            self.plan_few(facts)?;
        }
        self.facts += facts.len();
        if through.position() > self.through.position() {
            self.through = through;
        }
        Ok(())
    }

    /// Routes facts that were decoded before; they end before the mark of those that are planned next.
    ///
    /// # Errors
    /// As [`Fold::plan`].
    pub fn plan_decoded(&mut self, facts: &mut DecodedFacts) -> Result<(), FoldError> {
        let DecodedFacts { facts, decoded } = facts;
        self.facts += facts.len();
        self.plan_in_turn(facts, decoded)
    }

    /// Decodes facts for all tables, and hands them on.
    fn plan_few(&mut self, facts: &[Arc<RawFact>]) -> Result<(), FoldError> {
        let mut decoded = std::mem::take(&mut self.decoded);
        let planned = self.plan_in_turn(facts, &mut decoded);
        decoded.clear();
        self.decoded = decoded;
        planned
    }

    /// Hands facts to one table after the other.
    fn plan_in_turn(&mut self, facts: &[Arc<RawFact>], decoded: &mut Decoded) -> Result<(), FoldError> {
        assert!(!self.ended, "nothing is planned once rows were moved out of a fold");
        let misses = RefCell::new(Vec::new());
        for index in 0..self.tables.len() {
            let (earlier, rest) = self.tables.split_at_mut(index);
            let planned = rest[0].plan(facts, decoded, Earlier::new(earlier, &misses));
            planned.map_err(|error| error.in_table(index))?;
        }
        if self.fresh { self.settle() } else { Ok(()) }
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

    /// Takes what was folded since this was last asked, of a fold whose rows stay; facts that are planned
    /// from then on are a batch of their own.
    ///
    /// # Errors
    /// As [`Fold::changes`].
    pub fn take_batch(&mut self) -> Result<Batch, FoldError> {
        let changes = self.changes()?;
        let passed = self.passed();
        let before = std::mem::replace(&mut self.told, passed.clone());
        let passed = passed.into_iter().zip(before.into_iter().chain(std::iter::repeat(Passed::default())));
        let batch = Batch {
            from: self.from,
            through: self.through,
            lease: self.lease,
            changes,
            passed: passed.map(|(passed, before)| passed.since(before)).collect(),
        };
        (self.from, self.facts) = (self.through.position(), 0);
        Ok(batch)
    }

    /// About how many bytes the rows in memory take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|table| table.bytes()).sum()
    }

    /// Makes room where rows take more than `bytes_max`: those go that were not met since rows last went, and
    /// all of them where that is not enough. Said when the store holds every batch that was taken.
    pub fn make_room(&mut self, bytes_max: usize) {
        if self.bytes() > bytes_max {
            self.tables.iter_mut().for_each(|table| table.let_go());
            // Half of the room, so that this is not done again and again for little.
            if self.bytes() > bytes_max / 2 {
                self.tables.iter_mut().for_each(|table| table.empty());
            }
        }
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
        self.settle()?;
        (self.folded, self.rounds) = (0, 0);
        // No table waits with a fact: all of them are free to be written over.
        self.decoded.clear();
        Ok(None)
    }

    fn needs(&mut self) -> Vec<(usize, TableNeeds)> {
        let needs = self.tables.iter_mut().enumerate().map(|(index, table)| (index, table.needs()));
        needs.filter(|(_, needs)| !needs.is_empty()).collect()
    }

    fn settle(&mut self) -> Result<(), FoldError> {
        let mut tables = self.tables.iter_mut().enumerate();
        tables.try_for_each(|(index, table)| table.settle().map_err(|error| error.in_table(index)))
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

    /// Moves what has changed in one table out of a fold that is at its end, at most so many rows; a store
    /// that takes part after part may write one while another is prepared. Fewer rows than that are the last.
    /// Whoever plans a fact after that panics.
    ///
    /// # Errors
    /// As [`Fold::changes`].
    pub fn rows_up_to(&mut self, table: usize, rows_max: usize) -> Result<TableChanges, FoldError> {
        let Some(held) = self.tables.get_mut(table) else { return Ok(TableChanges::default()) };
        self.ended = true;
        held.rows_up_to(rows_max).map_err(|error| error.in_table(table))
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
