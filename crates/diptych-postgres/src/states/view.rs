//! The view `state_{category}` and the indexes of its columns, for people who ask by SQL. The role that reads
//! may read it like every table that is made here later.

use crate::fault::OrFault;
use crate::log::Parameter;
use crate::models::literal;
use crate::shared::{Shared, quoted};
use diptych_command::{StateColumn, StateColumnKind, StateIndex};
use diptych_core::Fault;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// What processes that start together wait for. Ends with the transaction, so that it holds through a pooler.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('diptych states of ' || $1, 0))";
/// A view says in its comment what it was made from.
const SELECT_MADE: &str = "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'v'";
const SELECT_INDEXES: &str = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind = 'i' AND starts_with(c.relname, $2)";
/// Names are made under the lock of the head only, so that none is made twice.
const LOCK_HEAD: &str = "SELECT 1 FROM diptych.head FOR UPDATE";
const SELECT_CATEGORY: &str = "SELECT id FROM diptych.category WHERE name = $1";
const INSERT_CATEGORY: &str = "INSERT INTO diptych.category (name) VALUES ($1)";

/// Makes the view and its indexes, where they are not so already.
pub(super) async fn show(shared: &Shared, category: &str, columns: &[StateColumn]) -> Result<(), Fault> {
    let mut connection = shared.models().await?;
    let made_from = fingerprint(columns);
    if made(&connection, shared, category).await?.as_deref() == Some(&*made_from) {
        return Ok(());
    }
    let transaction = connection.transaction().await.or_fault()?;
    // Making an index takes as long as it takes.
    transaction.batch_execute(&shared.limits.idle_setting()).await.or_fault()?;
    transaction.execute_typed(LOCK, &[(&shared.schema.name(), Type::TEXT)]).await.or_fault()?;
    let client = transaction.client();
    if made(client, shared, category).await?.as_deref() == Some(&*made_from) {
        return Ok(());
    }
    let id = category_id(client, shared, category).await?;
    remove(client, shared, category).await?;
    let schema = shared.schema.quoted();
    let name = format!("{schema}.{}", quoted(&view_name(category)));
    client.batch_execute(&shared.sql(&view(&name, id, columns))).await.or_fault()?;
    let comment = format!("COMMENT ON VIEW {name} IS {}", literal(&made_from));
    client.batch_execute(&comment).await.or_fault()?;
    for column in columns.iter().filter(|column| column.index == StateIndex::Indexed) {
        let index = quoted(&format!("{}{}", index_prefix(category), column.name));
        let index =
            format!("CREATE INDEX {index} ON diptych.state (({})) WHERE category = {id}", shown_as(column));
        client.batch_execute(&shared.sql(&index)).await.or_fault()?;
    }
    transaction.commit().await.or_fault()
}

/// Removes the view and its indexes.
pub(super) async fn hide(shared: &Shared, category: &str) -> Result<(), Fault> {
    let mut connection = shared.models().await?;
    let transaction = connection.transaction().await.or_fault()?;
    transaction.batch_execute(&shared.limits.idle_setting()).await.or_fault()?;
    transaction.execute_typed(LOCK, &[(&shared.schema.name(), Type::TEXT)]).await.or_fault()?;
    remove(transaction.client(), shared, category).await?;
    transaction.commit().await.or_fault()
}

async fn remove(client: &Client, shared: &Shared, category: &str) -> Result<(), Fault> {
    let schema = shared.schema.quoted();
    let view = format!("DROP VIEW IF EXISTS {schema}.{}", quoted(&view_name(category)));
    client.batch_execute(&view).await.or_fault()?;
    let asked: [Parameter<'_>; 2] =
        [(&shared.schema.name(), Type::TEXT), (&index_prefix(category), Type::TEXT)];
    for row in client.query_typed(SELECT_INDEXES, &asked).await.or_fault()? {
        let index = quoted(row.try_get(0).or_fault()?);
        client.batch_execute(&format!("DROP INDEX {schema}.{index}")).await.or_fault()?;
    }
    Ok(())
}

/// What the view that is there was made from.
async fn made(client: &Client, shared: &Shared, category: &str) -> Result<Option<String>, Fault> {
    let asked: [Parameter<'_>; 2] = [(&shared.schema.name(), Type::TEXT), (&view_name(category), Type::TEXT)];
    let row = client.query_typed_opt(SELECT_MADE, &asked).await.or_fault()?;
    row.map_or(Ok(None), |row| row.try_get(0).or_fault())
}

async fn category_id(client: &Client, shared: &Shared, category: &str) -> Result<i32, Fault> {
    let asked: [Parameter<'_>; 1] = [(&category, Type::TEXT)];
    let select = shared.sql(SELECT_CATEGORY);
    if let Some(row) = client.query_typed_opt(&select, &asked).await.or_fault()? {
        return row.try_get(0).or_fault();
    }
    client.batch_execute(&shared.sql(LOCK_HEAD)).await.or_fault()?;
    if client.query_typed_opt(&select, &asked).await.or_fault()?.is_none() {
        client.execute_typed(&shared.sql(INSERT_CATEGORY), &asked).await.or_fault()?;
    }
    client.query_typed_one(&select, &asked).await.or_fault()?.try_get(0).or_fault()
}

fn view_name(category: &str) -> String {
    format!("state_{category}")
}

/// A category has no `.`, so that no other one's indexes begin like this.
fn index_prefix(category: &str) -> String {
    format!("state_{category}.")
}

fn view(name: &str, id: i32, columns: &[StateColumn]) -> String {
    let shown = columns.iter().map(|column| format!("  {} AS {},\n", shown_as(column), quoted(column.name)));
    format!(
        "CREATE VIEW {name} AS\n\
         SELECT tenant.name AS tenant, stream.key AS key,\n  \
         state.version AS version, event.position AS position,\n  \
         event.recorded_at AS updated_at,\n\
         {}  state.state AS state\n\
         FROM diptych.state\n\
         JOIN diptych.stream ON stream.id = state.stream\n\
         JOIN diptych.tenant ON tenant.id = stream.tenant\n\
         JOIN diptych.event ON event.stream = state.stream AND event.version = state.version\n\
         WHERE state.category = {id}",
        shown.collect::<String>()
    )
}

fn shown_as(column: &StateColumn) -> String {
    let text = format!("(state.state::jsonb ->> {})", literal(column.property));
    match column.kind {
        StateColumnKind::Text => text,
        StateColumnKind::Integer => format!("{text}::bigint"),
        StateColumnKind::Boolean => format!("{text}::boolean"),
        StateColumnKind::Timestamp => format!("diptych.instant{text}"),
    }
}

/// Of what a view is made from: 128 bits of its text.
fn fingerprint(columns: &[StateColumn]) -> String {
    blake3::hash(view("", 0, columns).as_bytes()).to_hex()[..32].to_owned() + &indexed(columns)
}

fn indexed(columns: &[StateColumn]) -> String {
    let indexed = columns.iter().filter(|column| column.index == StateIndex::Indexed);
    indexed.map(|column| format!(" {}", column.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_as_a_person_would_have_written_it() {
        let columns = [
            StateColumn::text("status", "status"),
            StateColumn::integer("lines", "lineCount"),
            StateColumn::timestamp("due_at", "dueAt"),
        ];
        let sql = view("diptych.\"state_decision\"", 3, &columns);
        assert!(sql.contains("\n  (state.state::jsonb ->> 'status') AS \"status\",\n"), "{sql}");
        assert!(sql.contains("\n  (state.state::jsonb ->> 'lineCount')::bigint AS \"lines\",\n"), "{sql}");
        assert!(
            sql.contains("\n  diptych.instant(state.state::jsonb ->> 'dueAt') AS \"due_at\",\n"),
            "{sql}"
        );
        let other = [columns[0].indexed(), columns[1], columns[2]];
        assert_ne!(fingerprint(&columns), fingerprint(&other), "an index is made when it is declared later");
    }
}
