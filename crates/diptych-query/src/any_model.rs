//! Read models without their types.

use crate::fold::{Decoded, SqlBatch, TableFold, TableUse, TypedTable};
use crate::{
    Correction, Corrections, Dialect, FoldError, JoinedProjection, ReadModel, Schema, SqlProjection,
    Statements, Touch,
};
use diptych_core::{DecodeError, EventSet, EventType, Fact, Language, RawFact, Timestamp, Value};
use schemars::SchemaGenerator;
use std::marker::PhantomData;
use std::sync::Arc;

/// A read model with its projection, without its types.
pub trait AnyModel: Send + Sync + 'static {
    /// The declaration.
    fn schema(&self) -> &'static Schema;
    /// The categories whose facts it reads.
    fn categories(&self) -> &'static [&'static str];
    /// The event languages that it reads.
    fn languages(&self) -> &'static [Language];
    /// The event types whose facts it reads.
    fn event_types(&self) -> Vec<EventType> {
        self.languages().iter().flat_map(|language| language.types).copied().collect()
    }
    /// An empty working set for a fold.
    fn table(&self, purpose: TableUse) -> Box<dyn TableFold>;
    /// Decodes facts for its table before the fold comes to them; one that does not leaves them to the fold.
    fn decode(&self, facts: &[Arc<RawFact>], decoded: &mut Decoded) {
        let _ = (facts, decoded);
    }
    /// A fingerprint of what decides its table's shape.
    fn shape(&self) -> String {
        self.schema().shape()
    }
    /// The statements that keep its rows, where SQL keeps them.
    fn statements(&self) -> Option<Statements> {
        None
    }
    /// Whether a fact may touch any row.
    ///
    /// # Errors
    /// A fact that the code cannot read.
    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError>;
    /// The rows that a fact touches, by its route alone; a route by column says which column and value.
    ///
    /// # Errors
    /// A fact that the code cannot read.
    fn routed(&self, raw: &Arc<RawFact>) -> Result<Vec<Touch>, FoldError>;
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
pub fn erase<M: JoinedProjection>() -> Arc<dyn AnyModel> {
    Arc::new(Erased::<M>(PhantomData))
}

struct Erased<M>(PhantomData<fn() -> M>);

impl<M: JoinedProjection> AnyModel for Erased<M> {
    fn schema(&self) -> &'static Schema {
        M::SCHEMA
    }

    fn categories(&self) -> &'static [&'static str] {
        M::Event::CATEGORIES
    }

    fn languages(&self) -> &'static [Language] {
        M::Event::LANGUAGES
    }

    fn table(&self, purpose: TableUse) -> Box<dyn TableFold> {
        Box::new(TypedTable::<M>::new(purpose))
    }

    fn decode(&self, facts: &[Arc<RawFact>], decoded: &mut Decoded) {
        decoded.prepare::<M::Event>(facts);
    }

    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError> {
        if corrected::<M>(raw)?.is_some() {
            return Ok(true);
        }
        if !self.categories().contains(&raw.stream.stream.category.as_str()) {
            return Ok(false);
        }
        let event = raw.decode::<M::Event>().map_err(|error| FoldError::undecodable(raw, error))?;
        let Some(event) = event else { return Ok(false) };
        Ok(M::route(&Fact::new(event, Arc::clone(raw))).names_rows())
    }

    fn routed(&self, raw: &Arc<RawFact>) -> Result<Vec<Touch>, FoldError> {
        let mut touches: Vec<Touch> = corrected::<M>(raw)?.map(Touch::Row).into_iter().collect();
        if self.categories().contains(&raw.stream.stream.category.as_str()) {
            let event = raw.decode::<M::Event>().map_err(|error| FoldError::undecodable(raw, error))?;
            if let Some(event) = event {
                M::route(&Fact::new(event, Arc::clone(raw))).touches(&mut touches);
            }
        }
        Ok(touches)
    }

    fn computed(&self, row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError> {
        computed::<M>(row, now)
    }

    fn json_schema(&self, column: usize, generator: &mut SchemaGenerator) -> Option<schemars::Schema> {
        M::json_schema(column, generator)
    }
}

/// The key of the row that a fact corrects, if it is a correction of this model.
fn corrected<M: ReadModel>(raw: &Arc<RawFact>) -> Result<Option<Vec<Value>>, FoldError> {
    if M::SCHEMA.upkeep.corrections == Corrections::Refused {
        return Ok(None);
    }
    let correction = Correction::of(raw).map_err(|error| FoldError::undecodable(raw, error))?;
    let own = correction.filter(|correction| correction.model == M::SCHEMA.name);
    // A key of another shape names no row.
    Ok(own.and_then(|correction| correction.key_of(M::SCHEMA).ok()))
}

/// Takes the types off a read model that SQL keeps.
#[must_use]
pub fn erase_sql<M: SqlProjection>() -> Arc<dyn AnyModel> {
    Arc::new(KeptBySql::<M>(PhantomData))
}

struct KeptBySql<M>(PhantomData<fn() -> M>);

impl<M: SqlProjection> AnyModel for KeptBySql<M> {
    fn schema(&self) -> &'static Schema {
        M::SCHEMA
    }

    fn categories(&self) -> &'static [&'static str] {
        M::Event::CATEGORIES
    }

    fn languages(&self) -> &'static [Language] {
        M::Event::LANGUAGES
    }

    fn table(&self, _: TableUse) -> Box<dyn TableFold> {
        Box::new(SqlBatch::<M>::new())
    }

    fn decode(&self, facts: &[Arc<RawFact>], decoded: &mut Decoded) {
        decoded.prepare::<M::Event>(facts);
    }

    fn shape(&self) -> String {
        // Other statements make other rows, so they need another revision as another column does.
        let texts = [Dialect::Sqlite, Dialect::Postgres].map(|dialect| M::statements(dialect).join(";"));
        format!("{}+{}", M::SCHEMA.shape(), &blake3::hash(texts.join("|").as_bytes()).to_hex()[..16])
    }

    fn statements(&self) -> Option<Statements> {
        Some(M::statements)
    }

    fn touches(&self, raw: &Arc<RawFact>) -> Result<bool, FoldError> {
        // What a statement does with a fact is known to the database alone.
        Ok(self.categories().contains(&raw.stream.stream.category.as_str()))
    }

    fn routed(&self, raw: &Arc<RawFact>) -> Result<Vec<Touch>, FoldError> {
        Ok(if self.touches(raw)? { vec![Touch::BySql] } else { Vec::new() })
    }

    fn computed(&self, row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError> {
        computed::<M>(row, now)
    }

    fn json_schema(&self, column: usize, generator: &mut SchemaGenerator) -> Option<schemars::Schema> {
        M::json_schema(column, generator)
    }
}

fn computed<M: ReadModel>(row: &[Value], now: Timestamp) -> Result<Vec<Value>, DecodeError> {
    if M::SCHEMA.computed.is_empty() { Ok(Vec::new()) } else { Ok(M::from_row(row)?.computed(now)) }
}
