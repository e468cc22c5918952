//! Records of the hinge as rows: written only by whoever has seen the last version.

use super::rows::{Typed, time_at};
use crate::fault::{OrFault, unsigned};
use crate::shared::Schema;
use crate::time::Stamp;
use diptych_core::{Fault, Timestamp};
use diptych_query::Record;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

const SELECT: &str = "SELECT kind, name, version, body, updated_at FROM diptych.record \
    WHERE kind = $1 AND name = $2";
const SELECT_KIND: &str = "SELECT kind, name, version, body, updated_at FROM diptych.record \
    WHERE kind = $1 ORDER BY updated_at DESC, name DESC LIMIT $2";
const INSERT: &str = "INSERT INTO diptych.record (kind, name, version, body, updated_at) \
    SELECT $1, $2, 1, $4, $5 WHERE $3 = 0 ON CONFLICT (kind, name) DO NOTHING RETURNING version";
const UPDATE: &str = "UPDATE diptych.record SET version = version + 1, body = $4, updated_at = $5 \
    WHERE kind = $1 AND name = $2 AND version = $3 RETURNING version";
const DELETE: &str = "DELETE FROM diptych.record WHERE kind = $1 AND name = $2";

/// A record.
pub(crate) async fn record(
    client: &Client,
    schema: &Schema,
    kind: &str,
    name: &str,
) -> Result<Option<Record>, Fault> {
    let asked: [Typed<'_>; 2] = [(&kind, Type::TEXT), (&name, Type::TEXT)];
    let row = client.query_typed_opt(&schema.sql(SELECT), &asked).await.or_fault()?;
    row.as_ref().map(record_at).transpose()
}

/// The records of a kind, the last written first.
pub(crate) async fn records(
    client: &Client,
    schema: &Schema,
    kind: &str,
    most: usize,
) -> Result<Vec<Record>, Fault> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let asked: [Typed<'_>; 2] = [(&kind, Type::TEXT), (&most, Type::INT8)];
    let rows = client.query_typed(&schema.sql(SELECT_KIND), &asked).await.or_fault()?;
    rows.iter().map(record_at).collect()
}

/// Writes a record over the version that was seen. Answers the one it has now; none if somebody was first.
pub(crate) async fn write(
    client: &Client,
    schema: &Schema,
    (kind, name): (&str, &str),
    seen: u64,
    body: &str,
    now: Timestamp,
) -> Result<Option<u64>, Fault> {
    let (statement, seen) = (if seen == 0 { INSERT } else { UPDATE }, seen.cast_signed());
    let row: [Typed<'_>; 5] = [
        (&kind, Type::TEXT),
        (&name, Type::TEXT),
        (&seen, Type::INT8),
        (&body, Type::TEXT),
        (&Stamp(now), Type::TIMESTAMPTZ),
    ];
    let written = client.query_typed_opt(&schema.sql(statement), &row).await.or_fault()?;
    written.map(|row| unsigned(&row, 0)).transpose()
}

/// Forgets a record.
pub(crate) async fn forget(client: &Client, schema: &Schema, kind: &str, name: &str) -> Result<(), Fault> {
    let asked: [Typed<'_>; 2] = [(&kind, Type::TEXT), (&name, Type::TEXT)];
    client.execute_typed(&schema.sql(DELETE), &asked).await.or_fault()?;
    Ok(())
}

fn record_at(row: &Row) -> Result<Record, Fault> {
    Ok(Record {
        kind: row.try_get(0).or_fault()?,
        name: row.try_get(1).or_fault()?,
        version: unsigned(row, 2)?,
        body: row.try_get(3).or_fault()?,
        updated_at: time_at(row, 4)?,
    })
}
