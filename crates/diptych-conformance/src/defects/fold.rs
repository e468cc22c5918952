//! A fold with one promise broken: rows without what guards them, siblings as they stand later, routes by
//! column that overlook rows.

use super::Defect;
use diptych_core::{DecodeError, Language, Position, RawFact, Tenant, Timestamp, Value};
use diptych_query::fold::{Decoded, Earlier, Ran, TableFold, TableUse};
use diptych_query::{
    AnyModel, FoldError, Partition, RowRef, Schema, StoredRow, TableChanges, TableNeeds, Tenants, Touch,
};
use schemars::SchemaGenerator;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The events that the suite's read models are routed by a column for.
const BY_COLUMN: &[&str] = &["CaseRiskBandChanged", "PartyRenamed"];

/// A model whose fold keeps one promise less.
pub(super) struct BrokenModel {
    inner: Arc<dyn AnyModel>,
    defect: Defect,
    taken: Taken,
}

impl BrokenModel {
    pub(super) fn new(inner: Arc<dyn AnyModel>, defect: Defect) -> Self {
        Self { inner, defect, taken: Taken::default() }
    }
}

impl AnyModel for BrokenModel {
    fn schema(&self) -> &'static Schema {
        self.inner.schema()
    }

    fn categories(&self) -> &'static [&'static str] {
        self.inner.categories()
    }

    fn languages(&self) -> &'static [Language] {
        self.inner.languages()
    }

    fn table(&self, purpose: TableUse) -> Box<dyn TableFold> {
        // Without history, whoever looks a row up finds it as the whole batch has left it.
        let read = purpose.read && self.defect != Defect::SiblingsAtBatchEnd;
        let forgotten = self.defect == Defect::PartitionsForgotten;
        let partition = if forgotten { Partition::WHOLE } else { purpose.partition };
        let inner = self.inner.table(TableUse { read, partition, ..purpose });
        let taken = Arc::clone(&self.taken);
        Box::new(BrokenTable {
            inner,
            defect: self.defect,
            taken,
            facts: BTreeMap::new(),
            tenants: BTreeMap::new(),
        })
    }

    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError> {
        self.inner.touches(raw)
    }

    fn routed(&self, raw: &Arc<RawFact>) -> Result<Vec<Touch>, FoldError> {
        self.inner.routed(raw)
    }

    fn computed(&self, row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError> {
        self.inner.computed(row, now)
    }

    fn json_schema(&self, column: usize, generator: &mut SchemaGenerator) -> Option<schemars::Schema> {
        self.inner.json_schema(column, generator)
    }
}

struct BrokenTable {
    inner: Box<dyn TableFold>,
    defect: Defect,
    /// The last fact of each category that a row took, as a store would keep it that guards by source.
    taken: Taken,
    /// The facts of this fold: their categories by position.
    facts: BTreeMap<Position, String>,
    /// Whose they are.
    tenants: BTreeMap<Position, Tenant>,
}

/// What each row of a model last took of each category, over all folds of the model.
type Taken = Arc<Mutex<HashMap<RowRef, BTreeMap<String, Position>>>>;

impl BrokenTable {
    /// The guard that a row would have if it were guarded by the facts it took of the categories at hand.
    fn guard_by_facts(&self, row: &RowRef) -> Position {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let categories: BTreeSet<_> = self.facts.values().collect();
        let held = taken.get(row).into_iter().flatten();
        let guards =
            held.filter(|(category, _)| categories.contains(category)).map(|(_, position)| *position);
        guards.max().unwrap_or(Position::START)
    }

    fn remember(&self, changes: &TableChanges) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for change in &changes.rows {
            let StoredRow { row, guard, .. } = &change.stored;
            if let Some(category) = self.facts.get(guard) {
                taken.entry(row.clone()).or_default().insert(category.clone(), *guard);
            }
        }
    }
}

impl TableFold for BrokenTable {
    fn plan(
        &mut self,
        facts: &[Arc<RawFact>],
        decoded: &mut Decoded,
        earlier: Earlier<'_>,
    ) -> Result<(), FoldError> {
        for fact in facts {
            self.tenants.insert(fact.position, fact.stream.tenant.clone());
            self.facts.insert(fact.position, fact.stream.stream.category.as_str().to_owned());
        }
        if self.defect == Defect::BatchIndexMissing {
            // As if rows were found by a column only where they are stored: whatever is routed by a column
            // comes before the rows that the same batch makes.
            let by_column = |fact: &&Arc<RawFact>| BY_COLUMN.contains(&&*fact.event.name);
            let (first, then): (Vec<_>, Vec<_>) = facts.iter().partition(by_column);
            let facts: Vec<_> = first.into_iter().chain(then).cloned().collect();
            return self.inner.plan(&facts, &mut Decoded::default(), earlier);
        }
        self.inner.plan(facts, decoded, earlier)
    }

    fn needs(&mut self) -> TableNeeds {
        self.inner.needs()
    }

    fn supply(&mut self, mut rows: Vec<StoredRow>) -> Result<(), FoldError> {
        match self.defect {
            Defect::GuardOff => rows.iter_mut().for_each(|row| row.guard = Position::START),
            Defect::TombstonesLost => rows.retain(|row| row.values.is_some()),
            Defect::GuardedByFacts => {
                for row in &mut rows {
                    row.guard = self.guard_by_facts(&row.row);
                }
            }
            _ => {}
        }
        self.inner.supply(rows)
    }

    // The group's clock guards too: without it, a row is as old as the facts it took.
    fn run(&mut self, clock: Position, earlier: Earlier<'_>) -> Result<Ran, FoldError> {
        let clock = match self.defect {
            Defect::GuardOff | Defect::TombstonesLost | Defect::GuardedByFacts => Position::START,
            _ => clock,
        };
        match self.inner.run(clock, earlier) {
            Err(_) if self.defect == Defect::ErrorsSkipped => Ok(Ran::Done),
            ran => ran,
        }
    }

    fn want(&mut self, row: &RowRef) {
        self.inner.want(row);
    }

    fn settle(&mut self) -> Result<(), FoldError> {
        self.inner.settle()
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    fn let_go(&mut self) {
        self.inner.let_go();
    }

    fn empty(&mut self) {
        self.inner.empty();
    }

    fn changes(&mut self) -> Result<TableChanges, FoldError> {
        let mut changes = self.inner.changes()?;
        if self.defect == Defect::DigestForgotten {
            changes.digest.clear();
        }
        if self.defect == Defect::EverybodyApart {
            for StoredRow { row, guard, .. } in changes.rows.iter_mut().map(|change| &mut change.stored) {
                let of_all = *Tenants::All.owner(&row.tenant) == row.tenant;
                if let Some(tenant) = self.tenants.get(guard).filter(|_| of_all) {
                    row.tenant = tenant.clone();
                }
            }
        }
        self.remember(&changes);
        Ok(changes)
    }

    fn hold(&mut self, rows: Vec<(RowRef, Position)>) {
        let from_the_start = self.defect == Defect::ParkedFromTheStart;
        let from = |position| if from_the_start { Position::START } else { position };
        self.inner.hold(rows.into_iter().map(|(row, position)| (row, from(position))).collect());
    }

    fn skip(&mut self, rows: Vec<(RowRef, Position)>) {
        self.inner.skip(rows);
    }

    fn only(&mut self, rows: Vec<(RowRef, Position)>) {
        self.inner.only(rows);
    }

    fn no_ops(&self) -> u64 {
        self.inner.no_ops()
    }

    fn ignored(&self) -> u64 {
        self.inner.ignored()
    }

    fn rows_held(&self) -> usize {
        self.inner.rows_held()
    }

    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}
