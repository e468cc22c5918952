//! A read model as a Rust type: one row, its key, its columns.

use crate::{Find, Schema, Tables};
use diptych_core::{DecodeError, Timestamp, Value};
use std::fmt::Debug;
use std::hash::Hash;

/// A typed row. Derived by `#[derive(ReadModel)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a read model",
    note = "write `#[derive(Clone, ReadModel)]` and `#[read_model(name = \"..\", revision = 1, owner = ..)]`"
)]
pub trait ReadModel: Clone + Send + Sync + 'static {
    /// What identifies a row within its tenant; a tuple where several fields are marked `#[key]`.
    type Key: Clone + Eq + Hash + Debug + Send + Sync + 'static;

    /// The declaration.
    const SCHEMA: &'static Schema;

    /// The key of this row.
    fn key(&self) -> Self::Key;

    /// Whether this row has a key; derived without a copy of it.
    fn has_key(&self, key: &Self::Key) -> bool {
        self.key() == *key
    }

    /// The key as values, in the order of `SCHEMA.key`.
    fn key_values(key: &Self::Key) -> Vec<Value>;

    /// A key from its values.
    ///
    /// # Errors
    /// Values of other types.
    fn key_from_values(values: &[Value]) -> Result<Self::Key, DecodeError>;

    /// The row as values, in the order of `SCHEMA.columns`.
    fn to_row(&self) -> Vec<Value>;

    /// The row as values, without a copy of its texts; what [`ReadModel::to_row`] answers.
    fn into_row(self) -> Vec<Value> {
        self.to_row()
    }

    /// One column's value, by its index in `SCHEMA.columns`; null where there is no such column.
    fn value_at(&self, column: usize) -> Value {
        self.to_row().into_iter().nth(column).unwrap_or(Value::Null)
    }

    /// A row from its values.
    ///
    /// # Errors
    /// Values of other types.
    fn from_row(values: &[Value]) -> Result<Self, DecodeError>;

    /// The computed columns at a time, in the order of `SCHEMA.computed`.
    fn computed(&self, now: Timestamp) -> Vec<Value> {
        let _ = now;
        Vec::new()
    }

    /// The JSON Schema of a `#[json]` column; none for other columns.
    fn json_schema(column: usize, generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
        let _ = (column, generator);
        None
    }

    /// Adds the read models that its projection looks rows up in, in the order in which they fold.
    fn siblings(tables: &mut Tables) {
        let _ = tables;
    }

    /// Starts a query.
    #[must_use]
    fn find() -> Find<Self> {
        Find::default()
    }
}
