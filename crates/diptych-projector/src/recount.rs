//! A pass over the rows of a table: each against its own hash, and their sum against the digest that is
//! kept. Looks at no log.

use crate::refold::hash_of;
use diptych_core::{Fault, Position};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{BucketDigest, Checkpoint, Group, ModelStore, Partition, RowRef, Schema, StoredRow};
use std::collections::BTreeMap;

/// How many rows are read at once.
pub(crate) const PAGE_ROWS_MAX: usize = 5_000;

/// A pass under way.
#[derive(Default)]
pub(crate) struct Recount {
    after: Option<RowRef>,
    /// By bucket, the rows and their sum.
    counted: BTreeMap<u8, (i64, u128)>,
    /// The digest as kept when the pass began, and as it is kept now.
    kept: Option<BTreeMap<u8, (i64, u128)>>,
    /// Where the partitions stood when the pass began.
    checkpoints: Vec<Checkpoint>,
    /// Whether the digest or a partition has changed meanwhile, partition by partition.
    moved: Vec<bool>,
    /// Rows that do not have the hash that they were written with, with the one that they have.
    pub(crate) edited: Vec<(RowRef, u64)>,
    /// How many rows there are.
    pub(crate) rows: u64,
}

impl Recount {
    /// Counts the next rows; `of` are the partitions of the group. Answers whether there are more.
    pub(crate) async fn page(
        &mut self,
        store: &dyn ModelStore,
        group: &Group,
        schema: &'static Schema,
        of: &[Partition],
    ) -> Result<bool, Fault> {
        let snapshot = store.snapshot(group, schema, self.after.as_ref(), PAGE_ROWS_MAX).await?;
        let kept = by_bucket(snapshot.digest);
        let first = self.kept.get_or_insert_with(|| kept.clone());
        if self.checkpoints.is_empty() {
            self.checkpoints.clone_from(&snapshot.checkpoints);
            self.moved = vec![false; of.len()];
        }
        for (moved, partition) in self.moved.iter_mut().zip(of) {
            let index = usize::from(partition.index());
            let stands = |all: &[Checkpoint]| all.get(index).map(|checkpoint| checkpoint.mark.position());
            let own = |sums: &BTreeMap<u8, (i64, u128)>| -> Vec<_> {
                let own = sums.iter().filter(|(bucket, _)| partition.owns_bucket(**bucket));
                own.map(|(bucket, sum)| (*bucket, *sum)).collect()
            };
            *moved |= stands(&self.checkpoints) != stands(&snapshot.checkpoints) || own(first) != own(&kept);
        }
        let more = snapshot.rows.len() == PAGE_ROWS_MAX;
        self.after = snapshot.rows.last().map(|row| row.row.clone());
        for StoredRow { row, values, hash, .. } in snapshot.rows {
            let values = values.unwrap_or_default();
            let counted = self.counted.entry(bucket_of(&row.tenant, &row.key)).or_default();
            counted.0 += 1;
            counted.1 = counted.1.wrapping_add(row_digest(&row.tenant, &values));
            self.rows += 1;
            if hash_of(&row, &values) != hash {
                self.edited.push((row, hash));
            }
        }
        Ok(more)
    }

    /// The buckets whose rows are not what the digest says: as kept, and as counted. Those of partitions
    /// that have moved meanwhile have nothing to be compared with; the others are counted, and how many
    /// of all.
    pub(crate) fn differing(&self, of: &[Partition]) -> Vec<Recounted> {
        let still = |bucket: u8| {
            let mut moved = self.moved.iter().zip(of);
            moved.any(|(moved, partition)| !moved && partition.owns_bucket(bucket))
        };
        let kept = self.kept.clone().unwrap_or_default();
        let mut buckets: Vec<u8> = self.counted.keys().chain(kept.keys()).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        let pairs = buckets.into_iter().filter(|bucket| still(*bucket)).map(|bucket| {
            let sum = |sums: &BTreeMap<u8, (i64, u128)>| sums.get(&bucket).copied().unwrap_or_default();
            Recounted { bucket, kept: sum(&kept), counted: sum(&self.counted) }
        });
        pairs.filter(|recounted| recounted.kept != recounted.counted).collect()
    }

    /// Whether any partition has moved meanwhile.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved.contains(&true)
    }

    /// Whether a partition stood still at a position while its rows were counted.
    pub(crate) fn stood_still_at(&self, of: &[Partition], partition: Partition, at: Position) -> bool {
        let mut moved = self.moved.iter().zip(of).zip(&self.checkpoints);
        moved.any(|((moved, held), checkpoint)| {
            *held == partition && !moved && checkpoint.mark.position() == at
        })
    }
}

/// A bucket whose rows are not what the digest says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recounted {
    pub(crate) bucket: u8,
    /// The rows and their sum, as the digest says.
    pub(crate) kept: (i64, u128),
    /// The rows and their sum, as they are.
    pub(crate) counted: (i64, u128),
}

impl Recounted {
    /// What has to be added to the digest.
    pub(crate) fn change(&self) -> BucketDigest {
        let ((kept_rows, kept), (rows, sum)) = (self.kept, self.counted);
        (self.bucket, rows - kept_rows, sum.wrapping_sub(kept))
    }

    /// A side of it, for people.
    pub(crate) fn told((rows, sum): (i64, u128)) -> serde_json::Value {
        serde_json::json!({ "rows": rows, "sum": format!("{sum:032x}") })
    }
}

fn by_bucket(digest: Vec<BucketDigest>) -> BTreeMap<u8, (i64, u128)> {
    let held = digest.into_iter().filter(|(_, rows, sum)| (*rows, *sum) != (0, 0));
    held.map(|(bucket, rows, sum)| (bucket, (rows, sum))).collect()
}
