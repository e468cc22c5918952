//! Tables whose rows the author's own SQL keeps: a batch of facts becomes a table, and the statements run
//! over it. The caller owns the transaction.

use super::load::ROWS_PER_STATEMENT_MAX;
use super::pipeline::Statement;
use super::rows::{Cells, Kind, integers};
use super::table::Table;
use crate::fault::{DUPLICATE_STATEMENT, OrFault, storage};
use diptych_core::{Code, Fault, RawFact};
use diptych_query::{AdvanceError, FoldError, FoldErrorKind};
use std::sync::Arc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// The batch, which is the transaction's own: no other sees it, and nothing keeps it.
const CREATE_FACTS: &str = "CREATE TEMPORARY TABLE IF NOT EXISTS facts ( \
    position bigint PRIMARY KEY, tenant_id text COLLATE \"C\" NOT NULL, \
    category text COLLATE \"C\" NOT NULL, \
    key text COLLATE \"C\" NOT NULL, version bigint NOT NULL, type text COLLATE \"C\" NOT NULL, \
    schema_version bigint NOT NULL, recorded_at bigint NOT NULL, occurred_at bigint NOT NULL, \
    metadata text COLLATE \"C\" NOT NULL, payload text COLLATE \"C\" NOT NULL) ON COMMIT DROP";
const INSERT_FACTS: &str = "INSERT INTO pg_temp.facts (position, tenant_id, category, key, version, type, \
    schema_version, recorded_at, occurred_at, metadata, payload) \
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const CLEAR_FACTS: &str = "DELETE FROM pg_temp.facts";

/// Refuses statements that PostgreSQL does not understand, before any fact comes.
pub(crate) async fn check(client: &Client, tables: &[Table]) -> Result<(), Fault> {
    for table in tables {
        let Some(statements) = &table.statements else { continue };
        client.batch_execute(CREATE_FACTS).await.or_fault()?;
        for (index, statement) in statements.iter().enumerate() {
            // Preparing reads the statement and runs nothing. The name that the client gives it ends with it.
            if let Err(error) = client.prepare(statement).await {
                if !is_about_the_statement(&error) {
                    return Err(storage(error));
                }
                let number = index + 1;
                let message = format!("statement {number} of read model `{}` is not SQL", table.schema.name);
                return Err(Fault::permanent(Code::ServiceInvalid, message).because(error));
            }
        }
    }
    Ok(())
}

/// Lets the statements of a table take a batch. Answers how many rows they changed.
pub(crate) async fn take(
    client: &Client,
    table: &Table,
    facts: &[Arc<RawFact>],
) -> Result<usize, AdvanceError> {
    let (Some(statements), false) = (&table.statements, facts.is_empty()) else {
        return Ok(0);
    };
    client.batch_execute(CREATE_FACTS).await.or_fault()?;
    for facts in facts.chunks(ROWS_PER_STATEMENT_MAX) {
        Statement { sql: INSERT_FACTS, cells: cells_of(facts) }.execute(client).await.or_fault()?;
    }
    let mut rows = 0;
    for (index, statement) in statements.iter().enumerate() {
        let done = client.execute_typed(statement, &[]).await;
        let changed = done.map_err(|error| judged(table, index + 1, error))?;
        rows += usize::try_from(changed).unwrap_or(usize::MAX);
    }
    client.batch_execute(CLEAR_FACTS).await.or_fault()?;
    Ok(rows)
}

fn cells_of(facts: &[Arc<RawFact>]) -> Vec<Cells<'_>> {
    vec![
        integers(facts.iter().map(|fact| fact.position.0.cast_signed())),
        texts(facts, |fact| fact.stream.tenant.as_str()),
        texts(facts, |fact| fact.stream.stream.category.as_str()),
        texts(facts, |fact| fact.stream.stream.key.as_str()),
        integers(facts.iter().map(|fact| fact.version.0.cast_signed())),
        texts(facts, |fact| &fact.event.name),
        integers(facts.iter().map(|fact| i64::from(fact.event.schema_version))),
        integers(facts.iter().map(|fact| fact.recorded_at.as_micros())),
        integers(facts.iter().map(|fact| fact.occurred_at.as_micros())),
        texts(facts, |fact| &fact.metadata),
        texts(facts, |fact| &fact.payload),
    ]
}

fn texts<'f>(facts: &'f [Arc<RawFact>], text: impl Fn(&'f RawFact) -> &'f str) -> Cells<'f> {
    let mut cells = Cells::new(Kind::Text, facts.len());
    facts.iter().for_each(|fact| cells.text(text(fact)));
    cells
}

/// A statement that fails by itself stops the model, as a projection does; what the store is to blame for is
/// tried again.
fn judged(table: &Table, number: usize, error: Error) -> AdvanceError {
    if !is_about_the_statement(&error) {
        return storage(error).into();
    }
    let text = error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned());
    let model = table.schema.name;
    let kind = match error.as_db_error().and_then(|said| table.guarded_by(said)) {
        Some(field) => FoldErrorKind::MoneyRefused { model, field: field.to_owned(), reason: text },
        None => FoldErrorKind::StatementFailed { model, number, text },
    };
    FoldError::of_no_fact(kind).into()
}

/// Whether an error is about what a statement says or meets: data, integrity, syntax, names, limits, or what
/// it raises itself.
fn is_about_the_statement(error: &Error) -> bool {
    let code = error.code().map(SqlState::code).filter(|code| *code != DUPLICATE_STATEMENT);
    let class = code.and_then(|code| code.get(..2));
    matches!(class, Some("0A" | "21" | "22" | "23" | "42" | "44" | "54" | "P0"))
}
