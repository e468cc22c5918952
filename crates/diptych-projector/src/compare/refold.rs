//! Some keys of a new build, folded once more from the start of the log: one bucket of 64, picked by chance, so
//! that each comparison looks at others.

use super::rows::{LeftOut, Named};
use super::sides::{Sides, whole};
use super::{BuildDifference, Refolded};
use crate::alone::Alone;
use crate::skips::Exceptions;
use diptych_core::{Fault, Position, Value};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    AdvanceError, Feed, Fold, Mark, PARTITIONS_MAX, Partition, RowRef, Schema, StoredRow, TableChanges,
};
use std::collections::{HashMap, HashSet};

/// How many positions are folded in one slice.
const BLOCK_POSITIONS_MAX: usize = 10_000;

/// How many rows of a bucket are looked at one by one, once the bucket is known to differ.
const ROWS_LOOKED_AT_MAX: usize = 1_000;

/// How many rows of a bucket are looked at one by one although its digest is right.
const ROWS_SAMPLED: usize = 20;

/// A bucket that is folded afresh.
pub(crate) struct Refold {
    bucket: u8,
    fold: Alone<Fold>,
    position: Position,
    target: Position,
    tables: Vec<HashMap<RowRef, Vec<Value>>>,
}

impl Refold {
    /// Begins with a bucket at the position of the partition that owns it; says why not where it cannot.
    pub(crate) fn begin(
        sides: &Sides,
        bucket: u8,
        positions: &[Position],
        start: Mark,
        exceptions: &Exceptions,
    ) -> Result<Self, &'static str> {
        let group = &*sides.new;
        if group.has_statements() {
            return Err("its rows are kept by SQL");
        }
        if group.models().iter().any(|model| !model.schema().reads.is_empty()) {
            return Err("its tables look each other up, so that keys cannot be folded by themselves");
        }
        let partition = Partition::all(PARTITIONS_MAX).nth(usize::from(bucket)).unwrap_or(Partition::WHOLE);
        let target = positions.get(usize::from(bucket) % positions.len().max(1));
        let mut fold = Fold::in_partition(group, partition, start);
        exceptions.tell(&mut fold);
        Ok(Self {
            bucket,
            fold: Alone::new(fold),
            position: Position::START,
            target: target.copied().unwrap_or(Position::START),
            tables: vec![HashMap::new(); group.models().len()],
        })
    }

    /// A bucket by chance, of those that have rows in the first table.
    pub(crate) async fn bucket(sides: &Sides) -> Result<u8, Fault> {
        let Some(model) = sides.new.models().first() else { return Ok(0) };
        let digest = sides.store.digest(&sides.new, model.schema()).await?;
        let filled = digest.iter().filter(|(_, rows, _)| *rows > 0).map(|(bucket, ..)| *bucket);
        let filled: Vec<_> = filled.collect();
        Ok(filled.get(fastrand::usize(..filled.len().max(1))).copied().unwrap_or(0))
    }

    /// Folds one block. Answers whether the target is reached.
    pub(crate) async fn slice(&mut self, sides: &Sides, feed: &dyn Feed) -> Result<bool, AdvanceError> {
        let left = usize::try_from(self.position.lag_to(self.target)).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(true);
        }
        let categories = sides.new.categories();
        let block = feed.read(self.position, categories, left.min(BLOCK_POSITIONS_MAX)).await?;
        if block.through.position() == self.position {
            return Ok(true);
        }
        let fold = self.fold.get();
        fold.plan(&block)?;
        fold.run()?;
        self.position = block.through.position();
        for (table, TableChanges { rows, .. }) in fold.changes()?.into_iter().enumerate() {
            for change in rows {
                let StoredRow { row, values, .. } = change.stored;
                match values {
                    Some(values) => self.tables[table].insert(row, values),
                    None => self.tables[table].remove(&row),
                };
            }
        }
        Ok(self.position >= self.target)
    }

    /// Holds what was folded against the rows of the new build, which has not moved meanwhile.
    pub(crate) async fn finish(
        self,
        sides: &Sides,
        left_out: &[LeftOut],
        named: &mut Named,
    ) -> Result<Refolded, AdvanceError> {
        let mut found = Refolded { bucket: Some(self.bucket), ..Refolded::default() };
        for (index, expected) in self.tables.iter().enumerate() {
            found.rows += expected.len() as u64;
            let schema = sides.new.models()[index].schema();
            let kept = sides.store.digest(&sides.new, schema).await?;
            let kept = kept.iter().find(|(bucket, ..)| *bucket == self.bucket);
            let (kept_rows, kept_sum) = kept.map_or((0, 0), |(_, rows, sum)| (*rows, *sum));
            let (mut rows, mut sum) = (0, 0_u128);
            for (row, values) in expected {
                debug_assert_eq!(bucket_of(&row.tenant, &row.key), self.bucket, "a fold keeps to its keys");
                (rows, sum) = (rows + 1, sum.wrapping_add(row_digest(&row.tenant, values)));
            }
            let alike = (rows, sum) == (kept_rows, kept_sum);
            // What the digest says is trusted but for some rows.
            let most = if alike { ROWS_SAMPLED } else { ROWS_LOOKED_AT_MAX };
            let parked = left_out.get(index).map(|left_out| &left_out.parked);
            let mut differing = 0;
            for (row, values) in expected.iter().take(most) {
                if parked.is_some_and(|parked| parked.contains(row)) {
                    continue;
                }
                let held = sides.store.get(&sides.new, schema, row).await?.rows.pop();
                if held.as_ref() != Some(values) {
                    differing += 1;
                    differences(schema, row, held.as_deref(), values).for_each(|found| named.add(found));
                }
            }
            if differing == 0 && !alike && parked.is_none_or(HashSet::is_empty) {
                // No row of the log is wrong, so rows stand there that the log does not know.
                differing = rows.abs_diff(kept_rows).max(1);
            }
            found.differing += differing;
        }
        let own = sides.store.partitions_of(&sides.new);
        let partition = own.get(usize::from(self.bucket) % own.len().max(1)).copied();
        let at = sides.store.checkpoint_of(&sides.new, partition.unwrap_or(Partition::WHOLE)).await?;
        if at.mark.position() != self.target {
            let left_out = Some("the new build moved meanwhile, with its commands".to_owned());
            return Ok(Refolded { left_out, ..Refolded::default() });
        }
        Ok(found)
    }
}

/// In what a row of the new build is not what the log says.
fn differences<'a>(
    schema: &'static Schema,
    row: &'a RowRef,
    held: Option<&'a [Value]>,
    expected: &'a [Value],
) -> impl Iterator<Item = BuildDifference> + 'a {
    let named = |column: Option<&str>, before, after| BuildDifference {
        table: schema.name.to_owned(),
        tenant: row.tenant.clone(),
        key: row.key.iter().map(Value::to_json).collect(),
        column: column.map(str::to_owned),
        before,
        after,
        declared: false,
    };
    let missing = held.is_none().then(|| named(None, serde_json::Value::Null, whole(schema, expected)));
    let pairs = schema.columns.iter().zip(held.unwrap_or_default().iter().zip(expected));
    let columns = pairs.filter(|(_, (held, expected))| held != expected);
    let columns = columns
        .map(move |(column, (held, expected))| named(Some(column.name), held.to_json(), expected.to_json()));
    missing.into_iter().chain(columns)
}
