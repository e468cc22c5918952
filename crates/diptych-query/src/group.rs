//! Read models without their types, and the groups that share one checkpoint.

use crate::fold::{TableFold, TypedTable};
use crate::{Categories, FoldError, Mode, Projection, Schema};
use diptych_core::{DecodeError, EventSet, EventType, Fact, RawFact, Timestamp, Value};
use schemars::SchemaGenerator;
use std::marker::PhantomData;
use std::sync::Arc;

/// A read model with its projection, without its types.
pub trait AnyModel: Send + Sync + 'static {
    /// The declaration.
    fn schema(&self) -> &'static Schema;
    /// The categories whose facts it reads.
    fn categories(&self) -> &'static [&'static str];
    /// The event types whose facts it reads.
    fn event_types(&self) -> Vec<EventType>;
    /// An empty working set for a fold; `fresh` when the table is known to be empty.
    fn table(&self, fresh: bool) -> Box<dyn TableFold>;
    /// Whether a fact touches any row.
    ///
    /// # Errors
    /// A fact that the code cannot read.
    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError>;
    /// The computed columns of a row at a time.
    ///
    /// # Errors
    /// Values that are not this model's row.
    fn computed(&self, row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError>;
    /// The JSON Schema of a `#[json]` column; none for other columns.
    fn json_schema(&self, column: usize, generator: &mut SchemaGenerator) -> Option<schemars::Schema>;
}

/// Takes the types off a read model.
#[must_use]
pub fn erase<M: Projection>() -> Arc<dyn AnyModel> {
    Arc::new(Erased::<M>(PhantomData))
}

struct Erased<M>(PhantomData<fn() -> M>);

impl<M: Projection> AnyModel for Erased<M> {
    fn schema(&self) -> &'static Schema {
        M::SCHEMA
    }

    fn categories(&self) -> &'static [&'static str] {
        M::Event::CATEGORIES
    }

    fn event_types(&self) -> Vec<EventType> {
        M::Event::types()
    }

    fn table(&self, fresh: bool) -> Box<dyn TableFold> {
        Box::new(TypedTable::<M>::new(fresh))
    }

    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError> {
        if !self.categories().contains(&raw.stream.stream.category.as_str()) {
            return Ok(false);
        }
        let event = raw.decode::<M::Event>().map_err(|error| FoldError::undecodable(raw, error))?;
        let Some(event) = event else { return Ok(false) };
        Ok(match M::route(&Fact::new(event, Arc::clone(raw))) {
            crate::Route::None => false,
            crate::Route::Key(_) => true,
            crate::Route::Keys(keys) => !keys.is_empty(),
            crate::Route::Starting(rows) => !rows.is_empty(),
        })
    }

    fn computed(&self, row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError> {
        if M::SCHEMA.computed.is_empty() { Ok(Vec::new()) } else { Ok(M::from_row(row)?.computed(now)) }
    }

    fn json_schema(&self, column: usize, generator: &mut SchemaGenerator) -> Option<schemars::Schema> {
        M::json_schema(column, generator)
    }
}

/// Tables that move together under one checkpoint. A read model by itself is a group of one.
#[derive(Clone)]
pub struct Group {
    name: &'static str,
    revision: u32,
    mode: Mode,
    models: Vec<Arc<dyn AnyModel>>,
    categories: Categories,
}

impl Group {
    /// A read model by itself.
    #[must_use]
    pub fn of_one(model: Arc<dyn AnyModel>) -> Self {
        let schema = model.schema();
        let categories = Categories::Only(model.categories().to_vec());
        Self {
            name: schema.name,
            revision: schema.revision,
            mode: schema.mode,
            models: vec![model],
            categories,
        }
    }

    /// The name that its checkpoint goes by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The code's version of it.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// When its facts are folded.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its tables, in the order in which they fold.
    #[must_use]
    pub fn models(&self) -> &[Arc<dyn AnyModel>] {
        &self.models
    }

    /// The categories whose facts it reads.
    #[must_use]
    pub fn categories(&self) -> &Categories {
        &self.categories
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Group({} r{}, {})", self.name, self.revision, self.mode.as_str())
    }
}
