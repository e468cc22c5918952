//! The fold over a table that a store's own SQL keeps: it checks the facts and hands them on.

use super::{Decoded, Earlier, FoldError, Ran, TableFold};
use crate::{RowRef, SqlProjection, StoredRow, TableChanges, TableNeeds};
use diptych_core::{EventSet, Position, RawFact};
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// The facts of a batch for the statements of `M`.
pub(crate) struct SqlBatch<M> {
    facts: Vec<Arc<RawFact>>,
    ignored: u64,
    model: PhantomData<fn() -> M>,
}

impl<M> SqlBatch<M> {
    pub(crate) fn new() -> Self {
        Self { facts: Vec::new(), ignored: 0, model: PhantomData }
    }
}

impl<M: SqlProjection> TableFold for SqlBatch<M> {
    fn plan(
        &mut self,
        facts: &[Arc<RawFact>],
        decoded: &mut Decoded,
        _: Earlier<'_>,
    ) -> Result<(), FoldError> {
        let typed = decoded.facts::<M::Event>(facts)?;
        let ignored =
            |raw: &&Arc<RawFact>| M::Event::ignores(raw.stream.stream.category.as_str(), &raw.event.name);
        self.ignored += facts.iter().filter(ignored).count() as u64;
        let read = facts.iter().zip(typed.iter()).filter(|(_, fact)| fact.is_some());
        self.facts.extend(read.map(|(raw, _)| Arc::clone(raw)));
        Ok(())
    }

    fn needs(&mut self) -> TableNeeds {
        TableNeeds::default()
    }

    fn supply(&mut self, _: Vec<StoredRow>) -> Result<(), FoldError> {
        Ok(())
    }

    fn run(&mut self, clock: Position, _: Earlier<'_>) -> Result<Ran, FoldError> {
        // Without guards, the checkpoint alone keeps a fact from being taken twice.
        self.facts.retain(|fact| fact.position > clock);
        Ok(Ran::Done)
    }

    fn want(&mut self, _: &RowRef) {}

    fn settle(&mut self) -> Result<(), FoldError> {
        Ok(())
    }

    fn changes(&mut self) -> Result<TableChanges, FoldError> {
        Ok(TableChanges { facts: std::mem::take(&mut self.facts), ..TableChanges::default() })
    }

    /// Rows that SQL keeps have no slot to be passed over; a table kept by SQL cannot declare that it parks.
    fn hold(&mut self, _: Vec<(RowRef, Position)>) {}

    fn skip(&mut self, _: Vec<(RowRef, Position)>) {}

    /// Nobody folds such a table beside its store.
    fn only(&mut self, _: Vec<(RowRef, Position)>) {}

    fn no_ops(&self) -> u64 {
        0
    }

    fn ignored(&self) -> u64 {
        self.ignored
    }

    fn rows_held(&self) -> usize {
        self.facts.len()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
