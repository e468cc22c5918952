//! The view `state_{category}` and the indexes of its columns, for people who ask by SQL.

use crate::fault::OrFault;
use crate::models::{literal, quoted};
use crate::writer::Writer;
use diptych_command::{StateColumn, StateIndex};
use diptych_core::Fault;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;

const SELECT_OBJECTS: &str = "SELECT type, name, sql FROM sqlite_schema \
    WHERE (type = 'view' AND name = ?1) OR (type = 'index' AND substr(name, 1, length(?2)) = ?2)";

/// Makes the view and its indexes, where they are not so already.
pub(super) fn show(writer: &mut Writer, category: &str, columns: &[StateColumn]) -> Result<(), Fault> {
    let shown = show_in(writer, category, columns);
    if shown.is_err() {
        // The category's number may have been taken back with the transaction.
        writer.recover();
    }
    shown
}

/// Removes the view and its indexes.
pub(super) fn hide(writer: &mut Writer, category: &str) -> Result<(), Fault> {
    let transaction =
        writer.connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    for (name, Object { kind, .. }) in objects(&transaction, category)? {
        transaction.execute_batch(&format!("DROP {kind} {}", quoted(&name))).or_fault()?;
    }
    transaction.commit().or_fault()
}

/// Something in the schema.
struct Object {
    /// `VIEW` or `INDEX`.
    kind: String,
    sql: String,
}

fn show_in(writer: &mut Writer, category: &str, columns: &[StateColumn]) -> Result<(), Fault> {
    let transaction =
        writer.connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let id = writer.state.names.category(&transaction, category).or_fault()?;
    let mut wanted = BTreeMap::from([(view_name(category), view(category, id, columns))]);
    for column in columns.iter().filter(|column| column.index == StateIndex::Indexed) {
        let name = format!("{}{}", index_prefix(category), column.name);
        let sql =
            format!("CREATE INDEX {} ON state ({}) WHERE category = {id}", quoted(&name), shown_as(column));
        wanted.insert(name, sql);
    }
    let held = objects(&transaction, category)?;
    for (name, Object { kind, sql }) in &held {
        if wanted.get(name) != Some(sql) {
            transaction.execute_batch(&format!("DROP {kind} {}", quoted(name))).or_fault()?;
        }
    }
    for (name, sql) in wanted {
        if held.get(&name).is_none_or(|held| held.sql != sql) {
            transaction.execute_batch(&sql).or_fault()?;
        }
    }
    transaction.commit().or_fault()
}

/// What of it is there.
fn objects(connection: &Connection, category: &str) -> Result<BTreeMap<String, Object>, Fault> {
    let mut statement = connection.prepare(SELECT_OBJECTS).or_fault()?;
    let rows = statement.query_map((view_name(category), index_prefix(category)), |row| {
        let kind = row.get::<_, String>(0)?.to_uppercase();
        Ok((row.get(1)?, Object { kind, sql: row.get(2)? }))
    });
    rows.or_fault()?.collect::<rusqlite::Result<_>>().or_fault()
}

fn view_name(category: &str) -> String {
    format!("state_{category}")
}

/// A category has no `.`, so that no other one's indexes begin like this.
fn index_prefix(category: &str) -> String {
    format!("state_{category}.")
}

fn view(category: &str, id: i64, columns: &[StateColumn]) -> String {
    let shown = columns.iter().map(|column| format!("  {} AS {},\n", shown_as(column), quoted(column.name)));
    format!(
        "CREATE VIEW {} AS\n\
         SELECT tenant.name AS tenant, stream.key AS key,\n  \
         state.version AS version, event.position AS position,\n  \
         strftime('%Y-%m-%dT%H:%M:%fZ', event.recorded_at / 1e6, 'unixepoch') AS updated_at,\n\
         {}  state.state AS state\n\
         FROM state\n\
         JOIN stream ON stream.id = state.stream\n\
         JOIN tenant ON tenant.id = stream.tenant\n\
         JOIN event ON event.stream = state.stream AND event.version = state.version\n\
         WHERE state.category = {id}",
        quoted(&view_name(category)),
        shown.collect::<String>()
    )
}

/// JSON has the types that SQLite knows; points in time are RFC 3339 text in both.
fn shown_as(column: &StateColumn) -> String {
    format!("json_extract(state, {})", literal(&format!("$.\"{}\"", column.property)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_as_a_person_would_have_written_it() {
        let columns = [StateColumn::text("status", "status"), StateColumn::timestamp("due_at", "dueAt")];
        let sql = view("decision", 3, &columns);
        assert!(sql.starts_with("CREATE VIEW \"state_decision\" AS\nSELECT tenant.name AS tenant"), "{sql}");
        assert!(
            sql.contains("\n  json_extract(state, '$.\"dueAt\"') AS \"due_at\",\n  state.state AS state\n"),
            "{sql}"
        );
        assert!(sql.ends_with("WHERE state.category = 3"), "{sql}");
    }
}
