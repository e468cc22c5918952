//! Records of the hinge in `log.db`: JSON with a version, so that nobody overwrites what he has not seen.

use diptych_core::Timestamp;
use diptych_query::Record;
use rusqlite::{Connection, OptionalExtension, Row};

const SELECT: &str = "SELECT kind, name, version, body, updated_at FROM record WHERE kind = ?1 AND name = ?2";
const SELECT_KIND: &str = "SELECT kind, name, version, body, updated_at FROM record WHERE kind = ?1 \
    ORDER BY updated_at DESC, name DESC LIMIT ?2";
const INSERT: &str = "INSERT INTO record (kind, name, version, body, updated_at) VALUES (?1, ?2, 1, ?3, ?4) \
    ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE record SET version = version + 1, body = ?3, updated_at = ?4 \
    WHERE kind = ?1 AND name = ?2 AND version = ?5";
const DELETE: &str = "DELETE FROM record WHERE kind = ?1 AND name = ?2";

/// A record.
pub(crate) fn record(connection: &Connection, kind: &str, name: &str) -> rusqlite::Result<Option<Record>> {
    connection.prepare_cached(SELECT)?.query_row((kind, name), record_of).optional()
}

/// The records of a kind, the last written first.
pub(crate) fn records(connection: &Connection, kind: &str, most: usize) -> rusqlite::Result<Vec<Record>> {
    let mut select = connection.prepare_cached(SELECT_KIND)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    select.query_map((kind, most), record_of)?.collect()
}

/// Writes a record by one statement, if the version seen stands there. Answers the version it has now.
pub(crate) fn write_record(
    connection: &Connection,
    (kind, name): (&str, &str),
    seen: u64,
    body: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<u64>> {
    let written = match seen {
        0 => connection.prepare_cached(INSERT)?.execute((kind, name, body, now.as_micros()))?,
        _ => {
            let row = (kind, name, body, now.as_micros(), seen.cast_signed());
            connection.prepare_cached(UPDATE)?.execute(row)?
        }
    };
    Ok((written == 1).then_some(seen + 1))
}

/// Forgets a record.
pub(crate) fn forget_record(connection: &Connection, kind: &str, name: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(DELETE)?.execute((kind, name))?;
    Ok(())
}

fn record_of(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        kind: row.get(0)?,
        name: row.get(1)?,
        version: row.get::<_, i64>(2)?.cast_unsigned(),
        body: row.get(3)?,
        updated_at: Timestamp::from_stored(row.get(4)?),
    })
}
