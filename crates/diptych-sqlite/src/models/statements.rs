//! Tables whose rows the author's own SQL keeps: a batch of facts becomes a table, and the statements run
//! over it. The caller owns the transaction.

use super::{Table, money};
use crate::fault::{OrFault, storage};
use diptych_core::{Code, Fault, RawFact, ValueType};
use diptych_query::{AdvanceError, ColumnSpec, FoldError, FoldErrorKind};
use rusqlite::Connection;
use std::sync::Arc;

/// The batch, which is the connection's own: no other sees it, and no file keeps it.
const CREATE_FACTS: &str = "CREATE TEMP TABLE IF NOT EXISTS facts ( \
    position INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, category TEXT NOT NULL, key TEXT NOT NULL, \
    version INTEGER NOT NULL, type TEXT NOT NULL, schema_version INTEGER NOT NULL, \
    recorded_at INTEGER NOT NULL, occurred_at INTEGER NOT NULL, \
    metadata TEXT NOT NULL, payload TEXT NOT NULL)";
const INSERT_FACT: &str = "INSERT INTO temp.facts (position, tenant_id, category, key, version, type, \
    schema_version, recorded_at, occurred_at, metadata, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const CLEAR_FACTS: &str = "DELETE FROM temp.facts";

/// Refuses statements that SQLite does not understand, before any fact comes.
pub(crate) fn check(connection: &Connection, tables: &[Table]) -> Result<(), Fault> {
    for table in tables {
        let Some(statements) = &table.statements else { continue };
        connection.execute_batch(CREATE_FACTS).or_fault()?;
        for (index, statement) in statements.iter().enumerate() {
            if let Err(error) = connection.prepare(statement) {
                let number = index + 1;
                let message = format!("statement {number} of read model `{}` is not SQL", table.schema.name);
                return Err(Fault::permanent(Code::ServiceInvalid, message).because(error));
            }
        }
    }
    Ok(())
}

/// Lets the statements of a table take a batch. Answers how many rows they changed.
pub(crate) fn take(
    connection: &Connection,
    table: &Table,
    facts: &[Arc<RawFact>],
) -> Result<usize, AdvanceError> {
    let (Some(statements), false) = (&table.statements, facts.is_empty()) else {
        return Ok(0);
    };
    fill(connection, facts).or_fault()?;
    let mut rows = 0;
    for (index, statement) in statements.iter().enumerate() {
        let done = connection.prepare_cached(statement).and_then(|mut statement| statement.execute([]));
        rows += done.map_err(|error| judged(table, index + 1, error))?;
    }
    connection.prepare_cached(CLEAR_FACTS).and_then(|mut clear| clear.execute([])).or_fault()?;
    Ok(rows)
}

fn fill(connection: &Connection, facts: &[Arc<RawFact>]) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE_FACTS)?;
    let mut insert = connection.prepare_cached(INSERT_FACT)?;
    for fact in facts {
        let stream = &fact.stream.stream;
        insert.execute((
            fact.position.0.cast_signed(),
            fact.stream.tenant.as_str(),
            stream.category.as_str(),
            stream.key.as_str(),
            fact.version.0.cast_signed(),
            &*fact.event.name,
            fact.event.schema_version,
            fact.recorded_at.as_micros(),
            fact.occurred_at.as_micros(),
            &*fact.metadata,
            &*fact.payload,
        ))?;
    }
    Ok(())
}

/// A statement that fails by itself stops the model, as a projection does; what the store is to blame for is
/// tried again.
fn judged(table: &Table, number: usize, error: rusqlite::Error) -> AdvanceError {
    let text = error.to_string();
    let fault = storage(error);
    if fault.is_transient() {
        return fault.into();
    }
    let model = table.schema.name;
    let kind = match guarded(table, &text) {
        Some(field) => FoldErrorKind::MoneyRefused { model, field: field.to_owned(), reason: text },
        None => FoldErrorKind::StatementFailed { model, number, text },
    };
    FoldError::of_no_fact(kind).into()
}

/// The column whose guard of money a statement met, or that is computed from a document and has no value
/// where the document has no money. SQLite tells both in its text only, by names that the table has given.
fn guarded(table: &Table, text: &str) -> Option<&'static str> {
    let (_, met) = text.rsplit_once(": ")?;
    let is_met = |column: &&ColumnSpec| {
        let missing = || format!("{}.{}", table.name, column.name);
        met == money::constraint(table.schema, column)
            || column.value_type == ValueType::Money && (met == missing() || met == missing() + "_currency")
    };
    table.schema.columns.iter().find(is_met).map(|column| column.public)
}
