//! The tables of a group with their checkpoint.

use crate::log::Log;
use diptych_core::{Code, Fault, Position, Timestamp, Value};
use diptych_query::fold::ROWS_PER_FACT_MAX;
use diptych_query::{
    BuildId, Checkpoint, Fence, Fold, FoldError, Group, Mark, Parked, Partition, RawFind, RowRef, RowsStamp,
    Schema, StoredRow, TableChanges, TableNeeds, WorkerId,
};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a store keeps of one revision of a group.
#[derive(Clone)]
pub(crate) struct GroupRows {
    shapes: Vec<String>,
    parts: Vec<Part>,
    tables: Vec<Table>,
    parked: Vec<Parked>,
    /// How often rows were put right, parked or removed where they stand.
    repairs: u64,
}

/// What a store keeps of one partition.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) checkpoint: Checkpoint,
    /// When the checkpoint came to stand where.
    passed: Vec<(Position, Timestamp)>,
    /// The last lease.
    pub(crate) fence: Fence,
    /// Who holds it, until when.
    pub(crate) holder: Option<(WorkerId, Timestamp)>,
}

impl Part {
    fn new(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, passed: Vec::new(), fence: Fence(0), holder: None }
    }

    /// Who holds a lease that has not run out.
    pub(crate) fn held_by(&self, now: Timestamp) -> Option<&WorkerId> {
        self.holder.as_ref().filter(|(_, until)| now < *until).map(|(worker, _)| worker)
    }
}

#[derive(Clone, Default)]
struct Table {
    /// Rows and tombstones.
    rows: BTreeMap<Place, StoredRow>,
    digest: BTreeMap<u8, (i64, u128)>,
}

impl GroupRows {
    pub(crate) fn new(group: &Group, log: &Log, now: Timestamp) -> Self {
        let part = Part::new(start(log, now));
        Self {
            shapes: shapes(group),
            parts: vec![part; group.partitions().count()],
            tables: vec![Table::default(); group.models().len()],
            parked: Vec::new(),
            repairs: 0,
        }
    }

    pub(crate) fn part(&self, partition: Partition) -> &Part {
        &self.parts[usize::from(partition.index())]
    }

    pub(crate) fn part_mut(&mut self, partition: Partition) -> &mut Part {
        &mut self.parts[usize::from(partition.index())]
    }

    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.parts.iter_mut()
    }

    /// The lowest mark of the partitions, with the first fact that stopped one of them.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let checkpoints = || self.parts.iter().map(|part| &part.checkpoint);
        let lowest = checkpoints().min_by_key(|checkpoint| checkpoint.mark.position());
        let stopped = checkpoints().filter_map(|checkpoint| checkpoint.stopped.clone());
        let mut lowest = lowest.unwrap_or(&self.parts[0].checkpoint).clone();
        lowest.stopped = stopped.min_by_key(|stopped| stopped.position);
        lowest
    }

    /// What its tables were made from.
    pub(crate) fn shape(&self) -> String {
        self.shapes.join(" ")
    }

    /// Takes the leases on all partitions from whoever has them.
    pub(crate) fn fence_off(&mut self) {
        for part in &mut self.parts {
            part.fence = Fence(part.fence.0 + 1);
            part.holder = None;
        }
    }

    /// About how many bytes its rows take.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.tables.iter().flat_map(|table| table.rows.values());
        rows.map(|row| format!("{:?}", row.values).len() as u64).sum()
    }

    /// Holds back what is parked.
    pub(crate) fn hold(&self, fold: &mut Fold, group: &Group) {
        for (index, model) in group.models().iter().enumerate() {
            let own = self.parked.iter().filter(|parked| parked.model == model.schema().name);
            fold.hold(index, own.map(|parked| (parked.row.clone(), parked.position)).collect());
        }
    }

    pub(crate) fn park(&mut self, parked: &[Parked]) {
        self.repairs += 1;
        for parked in parked {
            let same = |held: &Parked| held.model == parked.model && held.row == parked.row;
            if !self.parked.iter().any(same) {
                self.parked.push(parked.clone());
            }
        }
        self.parked.sort_by_key(|parked| parked.position);
    }

    pub(crate) fn parked(&self) -> Vec<Parked> {
        self.parked.clone()
    }

    /// Puts rows right; the checkpoint stays.
    pub(crate) fn mend(&mut self, group: &Group, changes: Vec<TableChanges>, healed: &[(usize, RowRef)]) {
        self.repairs += 1;
        self.write(changes);
        for (table, row) in healed {
            let name = group.models().get(*table).map(|model| model.schema().name);
            self.parked.retain(|parked| Some(&*parked.model) != name || parked.row != *row);
        }
    }

    /// What tells these rows from others.
    pub(crate) fn stamp(&self, build: BuildId) -> RowsStamp {
        RowsStamp::of(build, self.parts.iter().map(|part| part.checkpoint.mark.token), self.repairs)
    }

    /// Where every partition stands.
    pub(crate) fn checkpoints(&self) -> Vec<Checkpoint> {
        self.parts.iter().map(|part| part.checkpoint.clone()).collect()
    }

    /// Refuses a fold of another partition's rows, or of all where the group is split.
    pub(crate) fn owns(&self, partition: Partition) -> bool {
        usize::from(partition.of()) == self.parts.len()
    }

    /// Refuses another shape under the same revision, and a checkpoint that is not of this log.
    pub(crate) fn check(&self, group: &Group, log: &Log) -> Result<(), Fault> {
        let (name, revision) = (group.name(), group.revision());
        if self.shapes != shapes(group) {
            let message =
                format!("read model `{name}` has another shape than revision {revision} was built with");
            return Err(Fault::permanent(Code::ShapeChanged, message));
        }
        for mark in self.parts.iter().map(|part| part.checkpoint.mark) {
            if log.mark(mark.position()).as_ref() != Some(&mark) {
                let message =
                    format!("the checkpoint `{}` of `{name}` is not an entry of this log", mark.token);
                return Err(Fault::permanent(Code::LogDiffers, message));
            }
        }
        Ok(())
    }

    /// Supplies a fold with what it needs and runs it. Changes nothing yet.
    pub(crate) fn fold(&self, fold: &mut Fold) -> Result<Vec<TableChanges>, FoldError> {
        while let Some(needs) = fold.run()? {
            for (index, TableNeeds { rows, matching }) in needs {
                let table = &self.tables[index].rows;
                let held = rows.into_iter().filter_map(|row| table.get(&Place(row)).cloned());
                fold.supply(index, held.collect())?;
                for wanted in matching {
                    let fits = |held: &&StoredRow| {
                        let values = held.values.as_ref().filter(|_| held.row.tenant == wanted.tenant);
                        values.is_some_and(|values| values[wanted.column] == wanted.value)
                    };
                    let held = table.values().filter(fits).take(ROWS_PER_FACT_MAX + 1).cloned();
                    fold.supply(index, held.collect())?;
                }
            }
        }
        fold.changes()
    }

    /// Writes what a fold changed, and the checkpoint with it. Answers how many rows were written.
    pub(crate) fn apply(
        &mut self,
        partition: Partition,
        changes: Vec<TableChanges>,
        through: Mark,
        now: Timestamp,
    ) -> usize {
        let written = self.write(changes);
        let part = self.part_mut(partition);
        part.checkpoint.mark = through;
        part.checkpoint.updated_at = now;
        part.passed.push((through.position(), now));
        written
    }

    fn write(&mut self, changes: Vec<TableChanges>) -> usize {
        let mut written = 0;
        for (table, TableChanges { rows, digest, .. }) in self.tables.iter_mut().zip(changes) {
            written += rows.len();
            for change in rows {
                let place = Place(change.stored.row.clone());
                table.rows.insert(place, change.stored);
            }
            for (bucket, rows, sum) in digest {
                let held = table.digest.entry(bucket).or_default();
                held.0 += rows;
                held.1 = held.1.wrapping_add(sum);
            }
        }
        written
    }

    /// When the last of the partitions passed a position.
    pub(crate) fn passed_at(&self, position: Position) -> Option<Timestamp> {
        let mut last = None;
        for part in &self.parts {
            let (_, at) = part.passed.iter().find(|(reached, _)| *reached >= position)?;
            last = last.max(Some(*at));
        }
        last
    }

    pub(crate) fn reset(&mut self, log: &Log, now: Timestamp) {
        self.tables = vec![Table::default(); self.tables.len()];
        self.parked = Vec::new();
        self.repairs += 1;
        for part in &mut self.parts {
            part.passed = Vec::new();
            part.checkpoint = start(log, now);
        }
    }

    /// The partition of a row.
    pub(crate) fn owner(&self, row: &RowRef) -> Partition {
        let of = u8::try_from(self.parts.len()).unwrap_or(u8::MAX);
        Partition::owner(of, &row.tenant, &row.key)
    }

    pub(crate) fn get(&self, table: usize, row: &RowRef) -> Option<Vec<Value>> {
        let held = self.tables[table].rows.get(&Place(row.clone()))?;
        held.values.clone()
    }

    pub(crate) fn find(&self, table: usize, schema: &Schema, find: &RawFind) -> Vec<Vec<Value>> {
        let rows = self.tables[table].rows.values();
        let own = rows.filter(|held| held.row.tenant == find.tenant);
        let values = own.filter_map(|held| held.values.as_ref());
        let mut fit: Vec<_> =
            values.filter(|row| find.fits(schema, row) && find.is_beyond(schema, row)).collect();
        fit.sort_by(|a, b| find.compare(schema, a, b));
        fit.into_iter().take(find.rows_max).cloned().collect()
    }

    pub(crate) fn scan(&self, table: usize, after: Option<&RowRef>, most: usize) -> Vec<StoredRow> {
        let after = after.map(|row| Place(row.clone()));
        let rows = self.tables[table].rows.iter();
        let beyond = rows.filter(|(place, _)| after.as_ref().is_none_or(|after| *place > after));
        let live = beyond.filter(|(_, held)| held.values.is_some());
        live.take(most).map(|(_, held)| held.clone()).collect()
    }

    pub(crate) fn digest(&self, table: usize) -> Vec<(u8, i64, u128)> {
        let buckets = self.tables[table].digest.iter();
        buckets.map(|(bucket, (rows, sum))| (*bucket, *rows, *sum)).collect()
    }
}

/// A row's place in a table: by tenant, then by key.
#[derive(Clone)]
struct Place(RowRef);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.table_cmp(&other.0)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

fn shapes(group: &Group) -> Vec<String> {
    let partitions = group.partitions().count();
    let models = group.models().iter();
    models.map(|model| format!("{} in {partitions}", model.shape())).collect()
}

fn start(log: &Log, now: Timestamp) -> Checkpoint {
    Checkpoint {
        mark: log.mark(Position::START).unwrap_or_else(|| log.head()),
        updated_at: now,
        stopped: None,
    }
}
