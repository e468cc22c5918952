//! Rows as the log says they are: a fold of some of them from the start of the log, and of one of them
//! on from where it stands. Writes nothing.

use crate::VerifyError;
use crate::skips::Exceptions;
use diptych_core::{Code, Fault, Position, RawFact, Value};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    BucketDigest, Feed, Fold, FoldError, Group, Mark, Partition, RowRef, Schema, StoredRow, TableChanges,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How many positions are folded at once.
pub(crate) const BLOCK_POSITIONS_MAX: usize = 10_000;

/// The rows that the log says there are, at a position that only moves on.
pub(crate) struct Expected {
    group: Arc<Group>,
    fold: Fold,
    pub(crate) position: Position,
    pub(crate) facts: usize,
    pub(crate) tables: Vec<HashMap<RowRef, Vec<Value>>>,
}

impl Expected {
    /// All rows of a partition, at the start of the log. The partition need not be one that a store knows.
    pub(crate) async fn of_partition(
        feed: &dyn Feed,
        group: &Arc<Group>,
        partition: Partition,
        exceptions: &Exceptions,
    ) -> Result<Self, Fault> {
        let fold = Fold::in_partition(group, partition, start(feed).await?);
        Ok(Self::begin(group, fold, exceptions))
    }

    /// One row, at the start of the log, with what it takes to fold it: where its table looks rows up in
    /// others, all of those.
    pub(crate) async fn of_row(
        feed: &dyn Feed,
        group: &Arc<Group>,
        (table, row): (usize, &RowRef),
        exceptions: &Exceptions,
    ) -> Result<Self, Fault> {
        let mut fold = Fold::from_mark(group, start(feed).await?);
        let looked_up = looked_up(group, group.models()[table].schema());
        for (index, model) in group.models().iter().enumerate() {
            if index == table && !looked_up.contains(model.schema().name) {
                fold.only(index, vec![(row.clone(), Position::START)]);
            } else if !looked_up.contains(model.schema().name) {
                fold.only(index, Vec::new());
            }
        }
        Ok(Self::begin(group, fold, exceptions))
    }

    fn begin(group: &Arc<Group>, mut fold: Fold, exceptions: &Exceptions) -> Self {
        exceptions.tell(&mut fold);
        let tables = vec![HashMap::new(); group.models().len()];
        Self { group: Arc::clone(group), fold, position: Position::START, facts: 0, tables }
    }

    /// Folds on to a position.
    pub(crate) async fn fold_to(&mut self, feed: &dyn Feed, target: Position) -> Result<(), VerifyError> {
        while self.fold_some(feed, target, BLOCK_POSITIONS_MAX).await? {}
        self.take_changes()
    }

    /// Folds on towards a position, over at most so many. Answers whether there is more to fold. The
    /// rows are told by [`Expected::take_changes`].
    pub(crate) async fn fold_some(
        &mut self,
        feed: &dyn Feed,
        target: Position,
        positions_max: usize,
    ) -> Result<bool, VerifyError> {
        if self.position >= target {
            return Ok(false);
        }
        let left = usize::try_from(self.position.lag_to(target)).unwrap_or(usize::MAX);
        let block = feed.read(self.position, self.group.categories(), left.min(positions_max)).await?;
        if block.through.position() == self.position {
            return Ok(false);
        }
        self.fold.plan(&block)?;
        self.fold.run()?;
        self.facts += block.facts.len();
        self.position = block.through.position();
        Ok(self.position < target)
    }

    /// Makes the rows what the fold has come to.
    pub(crate) fn take_changes(&mut self) -> Result<(), VerifyError> {
        for (table, TableChanges { rows, .. }) in self.fold.changes()?.into_iter().enumerate() {
            for change in rows {
                let StoredRow { row, values, .. } = change.stored;
                match values {
                    Some(values) => self.tables[table].insert(row, values),
                    None => self.tables[table].remove(&row),
                };
            }
        }
        Ok(())
    }
}

/// The names of the tables that one looks rows up in, and that those do.
fn looked_up(group: &Group, schema: &'static Schema) -> HashSet<&'static str> {
    let mut names: HashSet<&'static str> = schema.reads.iter().map(|read| read.name).collect();
    // Those that are read come before those that read them.
    for model in group.models().iter().rev() {
        if names.contains(model.schema().name) {
            names.extend(model.schema().reads.iter().map(|read| read.name));
        }
    }
    names
}

/// The start of the log.
pub(crate) async fn start(feed: &dyn Feed) -> Result<Mark, Fault> {
    let start = feed.mark(Position::START).await?;
    start.ok_or_else(|| Fault::permanent(Code::Storage, "the log has no start"))
}

/// A row of a table without siblings, on its way from where it stands.
#[derive(Clone)]
pub(crate) struct Standing {
    /// Its table.
    pub(crate) table: usize,
    /// Which row.
    pub(crate) row: RowRef,
    /// Its columns; none where there is none.
    pub(crate) values: Option<Vec<Value>>,
}

impl Standing {
    /// Takes facts, in order, that come after a mark; `through` is where they end. Answers at which of
    /// them the row failed, if at any: it has taken those before then.
    pub(crate) fn take(
        &mut self,
        group: &Group,
        facts: &[Arc<RawFact>],
        (after, through): (Mark, Mark),
        exceptions: &Exceptions,
    ) -> Result<Option<FoldError>, FoldError> {
        let mut failed: Option<FoldError> = None;
        loop {
            let before = failed.as_ref().map(|error| error.position);
            let count = before.map_or(facts.len(), |at| facts.partition_point(|fact| fact.position < at));
            match self.folded(group, &facts[..count], (after, through), exceptions) {
                Ok(values) => {
                    self.values = values;
                    return Ok(failed);
                }
                // Each is before the last, so there is an end.
                Err(error) if error.poisoned().is_some() && before.is_none_or(|at| error.position < at) => {
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn folded(
        &self,
        group: &Group,
        facts: &[Arc<RawFact>],
        (after, through): (Mark, Mark),
        exceptions: &Exceptions,
    ) -> Result<Option<Vec<Value>>, FoldError> {
        let mut fold = Fold::redelivery(group, after);
        for table in 0..group.models().len() {
            let own = (table == self.table).then(|| (self.row.clone(), after.position().next()));
            fold.only(table, own.into_iter().collect());
        }
        fold.plan_facts(facts, through)?;
        exceptions.tell_of(&mut fold, self.table, &self.row);
        while let Some(needs) = fold.run()? {
            for (table, _) in needs {
                fold.supply(table, vec![self.stored(after.position())])?;
            }
        }
        let changes = fold.changes()?.into_iter().nth(self.table);
        let change = changes.and_then(|changes| changes.rows.into_iter().next());
        Ok(change.map_or_else(|| self.values.clone(), |change| change.stored.values))
    }

    /// As a store keeps it, with everything up to a position in it.
    pub(crate) fn stored(&self, guard: Position) -> StoredRow {
        let hash = self.values.as_ref().map_or(0, |values| hash_of(&self.row, values));
        StoredRow { row: self.row.clone(), values: self.values.clone(), guard, hash }
    }
}

/// The hash that a row keeps beside its columns: the first 64 bits of its digest.
pub(crate) fn hash_of(row: &RowRef, values: &[Value]) -> u64 {
    row_digest(&row.tenant, values) as u64
}

/// What a change of a row changes in the digest of its bucket.
pub(crate) fn digest_of_change(
    row: &RowRef,
    before: Option<&[Value]>,
    after: Option<&[Value]>,
) -> BucketDigest {
    let digest = |values: Option<&[Value]>| values.map_or(0, |values| row_digest(&row.tenant, values));
    let rows = i64::from(after.is_some()) - i64::from(before.is_some());
    (bucket_of(&row.tenant, &row.key), rows, digest(after).wrapping_sub(digest(before)))
}
