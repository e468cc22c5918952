//! The port to where rows live. Rows, guards, digest and checkpoint move in one transaction, or not at all.

use crate::fold::Batch;
use crate::{
    BuildId, Exporting, Fold, FoldError, Group, Lease, Mark, Partition, PartitionState, Passed, RawExport,
    RawFind, Readiness, RowsStamp, Schema, Shares, WorkerId,
};
use diptych_core::{BoxFuture, Fault, Position, RawFact, Tenant, Timestamp, Value};
use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// How far a group has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The last entry applied.
    pub mark: Mark,
    /// When the checkpoint was written.
    pub updated_at: Timestamp,
    /// Why it does not move on, when an event stopped it.
    pub stopped: Option<Stopped>,
}

/// An event that stopped a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// The fact it could not take.
    pub position: Position,
    /// Why, in a sentence with a code.
    pub reason: String,
}

/// The identity of a row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RowRef {
    /// Whose row.
    pub tenant: Tenant,
    /// Its key's values.
    pub key: Vec<Value>,
}

impl RowRef {
    /// The order of rows in their table: by tenant, then by key.
    #[must_use]
    pub fn table_cmp(&self, other: &Self) -> Ordering {
        let mut keys = self.key.iter().zip(&other.key);
        self.tenant.cmp(&other.tenant).then_with(|| {
            keys.find_map(|(a, b)| Some(a.portable_cmp(b)).filter(|order| order.is_ne()))
                .unwrap_or(Ordering::Equal)
        })
    }
}

/// A row, or the tombstone of one, as a store keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRow {
    /// Which row.
    pub row: RowRef,
    /// Its columns; none for a tombstone.
    pub values: Option<Vec<Value>>,
    /// The position up to which facts are in it.
    pub guard: Position,
    /// The first 64 bits of its hash; 0 for a tombstone.
    pub hash: u64,
}

/// Rows of a table by what they hold in an indexed column.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Matching {
    /// Whose rows.
    pub tenant: Tenant,
    /// The column, by its index in the declaration.
    pub column: usize,
    /// What it holds.
    pub value: Value,
}

/// The rows of a table that a fold needs before it can go on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableNeeds {
    /// Rows, and tombstones, by their keys.
    pub rows: Vec<RowRef>,
    /// All rows that hold a value in a column, as they are stored.
    pub matching: Vec<Matching>,
}

impl TableNeeds {
    /// Whether nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.matching.is_empty()
    }
}

/// A row that a fold leaves behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowChange {
    /// The row as it must be kept; without values it is deleted and its guard kept as a tombstone.
    pub stored: StoredRow,
    /// Whether the store holds the row, not a tombstone, before the change.
    pub existed: bool,
    /// Which of [`Schema::indexed_columns`] differ from what the store holds.
    pub changed: Changed,
}

/// Which of a table's indexed columns a change touches, as bits in the order of [`Schema::indexed_columns`].
/// Beyond [`Changed::COLUMNS_MAX`] columns, the rest share one bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Changed(u128);

impl Changed {
    /// All of them, as far as anybody knows.
    pub const ALL: Self = Self(u128::MAX);

    /// How many columns have a bit of their own.
    pub const COLUMNS_MAX: usize = u128::BITS as usize - 1;

    /// Those of which it is said.
    #[must_use]
    pub fn of(differ: impl Iterator<Item = bool>) -> Self {
        let bits = differ.enumerate().filter(|(_, differs)| *differs);
        Self(bits.fold(0, |changed, (column, _)| changed | 1 << column.min(Self::COLUMNS_MAX)))
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a column is among them, by its place in [`Schema::indexed_columns`].
    #[must_use]
    pub fn has(self, column: usize) -> bool {
        self.0 >> column.min(Self::COLUMNS_MAX) & 1 == 1
    }
}

/// A bucket of a digest: its number, its row count (or the change of it), its sum (or the change of it).
pub type BucketDigest = (u8, i64, u128);

/// What a fold changes in one table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableChanges {
    /// The rows, each once, in the order of their table.
    pub rows: Vec<RowChange>,
    /// For each touched bucket: its number, the change of its row count and of its digest.
    pub digest: Vec<BucketDigest>,
    /// The facts that the statements of a table kept by SQL are to take.
    pub facts: Vec<Arc<RawFact>>,
}

/// What an advance did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advanced {
    /// Where the group stands now.
    pub checkpoint: Checkpoint,
    /// How many rows were written or deleted.
    pub rows: usize,
    /// The facts that changed nothing, table by table.
    pub passed: Vec<Passed>,
}

impl Advanced {
    /// How many facts met no row and left none, table by table.
    #[must_use]
    pub fn no_ops(&self) -> Vec<u64> {
        self.passed.iter().map(|passed| passed.no_ops).collect()
    }
}

/// Why an advance did not happen. Nothing of it is in the store.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdvanceError {
    /// A fact could not be folded.
    Fold(FoldError),
    /// The group's checkpoint is not where the fold started: somebody else moved it.
    Moved {
        /// Where it is.
        checkpoint: Position,
    },
    /// Somebody else has written to the group's tables since a fold ahead of them began: its rows may be
    /// others by now.
    Overtaken,
    /// Another lease has followed the one that the fold began under.
    Fenced,
    /// Infrastructure failed.
    Fault(Fault),
}

impl From<Fault> for AdvanceError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FoldError> for AdvanceError {
    fn from(error: FoldError) -> Self {
        Self::Fold(error)
    }
}

/// Rows with the checkpoint of the same snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The rows' columns.
    pub rows: Vec<Vec<Value>>,
    /// Where their group stood.
    pub checkpoint: Checkpoint,
    /// The build they came from.
    pub build: BuildId,
}

/// A row as verification sees it.
pub type ScannedRow = StoredRow;

/// What a table holds at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSnapshot {
    /// Where each partition of its group stands, in order.
    pub checkpoints: Vec<Checkpoint>,
    /// The digest as kept; buckets without anything may be left out.
    pub digest: Vec<BucketDigest>,
    /// Rows of every tenant in order of tenant and key, tombstones left out.
    pub rows: Vec<ScannedRow>,
}

/// A key that is held back from a fact on, because its row could not take that fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// The table, by the name of its declaration.
    pub model: String,
    /// The row.
    pub row: RowRef,
    /// The fact it could not take. Later ones for the row wait behind it.
    pub position: Position,
    /// The fact's type.
    pub event: String,
    /// Why, in a sentence with a code.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
}

/// Rows that are put right where a partition stands, without moving it.
#[derive(Debug)]
pub struct Mend {
    /// Of which partition.
    pub partition: Partition,
    /// Under which lease; none where nobody else can be at work.
    pub lease: Option<Lease>,
    /// Where the partition must stand.
    pub at: Position,
    /// What is written, table by table. A row that the digest already counts as it should be comes
    /// without a change of the digest.
    pub changes: Vec<TableChanges>,
    /// The keys that are held back no longer, by the index of their table.
    pub healed: Vec<(usize, RowRef)>,
    /// The keys that are held back from now on, some of them from another fact on than before: what is
    /// healed goes first.
    pub parked: Vec<Parked>,
}

/// The rows of a group for folds that run ahead of what is written.
///
/// Rows that the fold has met are its own, whether they are written yet or not; no batch under way has
/// touched the others.
pub trait RowsAhead: Any + Send + Sync {
    /// Supplies what a fold needs and runs it. May block the thread.
    ///
    /// # Errors
    /// As [`ModelStore::advance`]; the fold is then of no further use.
    fn drive(&self, fold: &mut Fold) -> Result<(), AdvanceError>;
    /// From how many bytes of rows on a fold makes room, once everything is written.
    fn bytes_max(&self) -> usize;
}

/// A fold ahead of what is written, with the rows that it may ask for.
pub type FoldAhead = (Fold, Arc<dyn RowsAhead>);

/// Where rows live.
///
/// INVARIANT: a row is never visible without the checkpoint that covers it, nor the other way round.
pub trait ModelStore: Send + Sync + 'static {
    /// Opens a group's tables, or makes them. Refuses tables of another shape under the same revision.
    /// Answers as [`ModelStore::checkpoint`] does.
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>>;

    /// Applies a planned fold in one transaction: supplies what it needs, runs it, writes what it changes,
    /// and moves the checkpoint of its partition to where it ends.
    ///
    /// INVARIANT: a fold under a lease that another one has followed changes nothing.
    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>>;

    /// Begins to fold ahead of what is written: a [lasting](Fold::lasting) fold that has planned nothing is
    /// told which keys are held back, and comes with the rows that it may ask for. Nothing where a store
    /// could not tell whether others have written meanwhile; whoever asked folds one batch after the other
    /// then, by [`ModelStore::advance`].
    fn ahead<'a>(
        &'a self,
        group: &'a Group,
        fold: Fold,
    ) -> BoxFuture<'a, Result<Option<FoldAhead>, AdvanceError>> {
        let _ = (group, fold);
        Box::pin(async { Ok(None) })
    }

    /// Writes a batch that was folded ahead, with the checkpoint, in one transaction. Batches come in their
    /// order; the next may be folded while one is written, and is of no use when that one fails.
    ///
    /// INVARIANT: a batch is written only if nobody else has written to the tables of the group since its
    /// fold began.
    fn write_ahead<'a>(
        &'a self,
        group: &'a Group,
        rows: &'a Arc<dyn RowsAhead>,
        batch: Batch,
    ) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        let _ = (group, rows, batch);
        Box::pin(async { Err(AdvanceError::Overtaken) })
    }

    /// Writes down why a partition stopped, or that it no longer is.
    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Where a group stands: the lowest mark of its partitions, with the first fact that stopped one of
    /// them.
    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>>;

    /// Where a partition of a group stands.
    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        let _ = partition;
        self.checkpoint(group)
    }

    /// Notes for as long as `lasting` that a worker lives and which of these groups it can move, and
    /// prolongs the leases that it holds, also those that have run out if no other has followed.
    /// Answers, group by group, who can and who does.
    ///
    /// A store that shares no work between processes answers that nobody does.
    fn share<'a>(
        &'a self,
        worker: &'a WorkerId,
        groups: &'a [(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Shares>, Fault>> {
        let _ = lasting;
        Box::pin(async move {
            let mut all = Vec::with_capacity(groups.len());
            for (group, _) in groups {
                let checkpoint = self.checkpoint(group).await?;
                let Lease { partition, fence } = Lease::UNSHARED;
                let state = PartitionState { partition, checkpoint, holder: None, fence };
                all.push(Shares { workers: vec![worker.clone()], partitions: vec![state] });
            }
            Ok(all)
        })
    }

    /// The partitions that a group has here: those that were declared, or one where the store shares no
    /// work.
    fn partitions_of(&self, group: &Group) -> Vec<Partition> {
        let _ = group;
        vec![Partition::WHOLE]
    }

    /// Takes the lease on a partition, unless another worker's has not run out; a worker takes its own
    /// again.
    fn claim<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        worker: &'a WorkerId,
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Fault>> {
        let _ = (group, partition, worker, lasting);
        Box::pin(async { Ok(Some(Lease::UNSHARED)) })
    }

    /// Gives a lease back, if no other has followed it.
    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        let _ = (group, lease);
        Box::pin(async { Ok(()) })
    }

    /// Notes that a worker will move nothing any more. Its leases were given back before.
    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), Fault>> {
        let _ = worker;
        Box::pin(async { Ok(()) })
    }

    /// Rows of one tenant, filtered, in order, with the checkpoint of the same snapshot. The schema is one
    /// of the group's.
    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>>;

    /// Begins to read all rows of one tenant that fit, in the order of their keys, and all of one moment:
    /// that of the checkpoint. Appends and folds go on beside it; what a store must keep for that moment it
    /// keeps no longer than the export may last.
    fn export<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        export: &'a RawExport,
        at_most: Duration,
    ) -> BoxFuture<'a, Result<Exporting, Fault>>;

    /// The row of one key, with the checkpoint of its partition in the same snapshot.
    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>>;

    /// Every row of every tenant in order of tenant and key, tombstones left out, after a row, at most
    /// `rows_max`.
    fn scan<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>>;

    /// The digest as kept with the checkpoint: bucket, rows, sum.
    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<BucketDigest>, Fault>>;

    /// Rows of a table after one, at most `rows_max`, with its digest and the group's checkpoints, all
    /// of one moment.
    fn snapshot<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>>;

    /// Holds keys back from now on; one that is held back already stays where it is.
    ///
    /// INVARIANT: a fold meets every key that was held back before its transaction began.
    fn park<'a>(
        &'a self,
        group: &'a Group,
        lease: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>>;

    /// The keys that are held back, in order of position.
    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>>;

    /// Puts rows right in one transaction. The checkpoint stays where it is.
    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>>;

    /// How many rows a table has: as its digest counts them, where it has one.
    fn row_count<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let buckets = self.digest(group, schema).await?;
            let rows: i64 = buckets.iter().map(|(_, rows, _)| rows).sum();
            Ok(u64::try_from(rows).unwrap_or(0))
        })
    }

    /// When every partition of a group first stood at or beyond a position, as far back as is kept.
    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>>;

    /// What tells the rows of a group, as they are now, from what they were and will be. Looks at no row. To
    /// be read before rows: then nobody keeps newer rows under an older stamp for longer than until he asks
    /// again.
    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>>;

    /// Empties the group's tables and sets the checkpoint of every partition to the start.
    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>>;
}
