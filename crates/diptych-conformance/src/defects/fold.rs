//! A fold to which the store hands its rows without what guards them.

use super::Defect;
use diptych_core::{DecodeError, EventType, Position, RawFact, Timestamp, Value};
use diptych_query::fold::TableFold;
use diptych_query::{AnyModel, FoldError, RowRef, Schema, StoredRow, TableChanges};
use schemars::SchemaGenerator;
use std::sync::Arc;

/// A model over a store that loses guards or tombstones.
pub(super) struct Unguarded {
    inner: Arc<dyn AnyModel>,
    defect: Defect,
}

impl Unguarded {
    pub(super) fn new(inner: Arc<dyn AnyModel>, defect: Defect) -> Self {
        Self { inner, defect }
    }
}

impl AnyModel for Unguarded {
    fn schema(&self) -> &'static Schema {
        self.inner.schema()
    }

    fn categories(&self) -> &'static [&'static str] {
        self.inner.categories()
    }

    fn event_types(&self) -> Vec<EventType> {
        self.inner.event_types()
    }

    fn table(&self, fresh: bool) -> Box<dyn TableFold> {
        Box::new(UnguardedTable { inner: self.inner.table(fresh), defect: self.defect })
    }

    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError> {
        self.inner.touches(raw)
    }

    fn computed(&self, row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError> {
        self.inner.computed(row, now)
    }

    fn json_schema(&self, column: usize, generator: &mut SchemaGenerator) -> Option<schemars::Schema> {
        self.inner.json_schema(column, generator)
    }
}

struct UnguardedTable {
    inner: Box<dyn TableFold>,
    defect: Defect,
}

impl TableFold for UnguardedTable {
    fn plan(&mut self, facts: &[Arc<RawFact>]) -> Result<(), FoldError> {
        self.inner.plan(facts)
    }

    fn needs(&mut self) -> Vec<RowRef> {
        self.inner.needs()
    }

    fn supply(&mut self, mut rows: Vec<StoredRow>) -> Result<(), FoldError> {
        if self.defect == Defect::GuardOff {
            rows.iter_mut().for_each(|row| row.guard = Position::START);
        } else {
            rows.retain(|row| row.values.is_some());
        }
        self.inner.supply(rows)
    }

    // The group's clock guards too: without it, a row is as old as the facts it took.
    fn run(&mut self, _: Position) -> Result<(), FoldError> {
        self.inner.run(Position::START)
    }

    fn changes(&mut self) -> Result<TableChanges, FoldError> {
        self.inner.changes()
    }

    fn no_ops(&self) -> u64 {
        self.inner.no_ops()
    }

    fn rows_held(&self) -> usize {
        self.inner.rows_held()
    }
}
