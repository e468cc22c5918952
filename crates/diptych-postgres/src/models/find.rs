//! Reading rows with the checkpoint of the same snapshot. Read-only connections only.

use super::attach::Attached;
use super::checkpoint::{COLUMNS_COUNT, checkpoint_of, existing};
use super::pipeline::together;
use super::question::{self, Part};
use super::rows::{Cells, Parameter, Typed, is_storable, key_cells, stored_row, values_of};
use super::table::Table;
use crate::fault::{OrFault, damaged};
use crate::shared::{Schema, Shared};
use diptych_core::{Code, Fault};
use diptych_query::{BucketDigest, Found, RawFind, RowRef, ScannedRow, TableSnapshot};
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// At least one row of a build that is there, should it have no row.
const SELECT_DIGEST: &str = "SELECT digest.bucket, digest.rows, digest.sum::text \
    FROM diptych.checkpoint LEFT JOIN diptych.digest \
        ON digest.table_name = $4 AND (digest.rows <> 0 OR digest.sum <> 0) \
    WHERE checkpoint.group_name = $1 AND checkpoint.revision = $2 AND checkpoint.generation = $3 \
    AND checkpoint.partition = 0 ORDER BY digest.bucket";

/// Rows of one tenant, filtered and in order; ended at the deadline.
///
/// Everything is sent at once, from the beginning of the transaction to its end: should the caller go away,
/// the connection is as it was all the same.
pub(crate) async fn find(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
    table: &Table,
    asked: &RawFind,
    deadline: Instant,
) -> Result<Found, Fault> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Fault::transient(Code::TimedOut, "the query took longer than allowed"));
    }
    let parts = question::find(&table.name, table.schema, asked)?;
    let begin = begin(left);
    let (began, checkpoint, found, ended) = tokio::join!(
        biased;
        client.batch_execute(&begin),
        attached.checkpoint(client, schema),
        together(parts.iter().map(|part| run(client, part))),
        client.batch_execute("COMMIT"),
    );
    began.or_fault()?;
    let checkpoint = checkpoint?;
    let mut rows = Vec::new();
    for held in found {
        for row in held.or_fault()?.iter().take(asked.rows_max - rows.len()) {
            rows.push(values_of(table.schema, row, 0)?.0);
        }
    }
    ended.or_fault()?;
    Ok(Found { rows, checkpoint, build: attached.build() })
}

/// One snapshot for checkpoint and rows, and a limit for each statement.
fn begin(left: Duration) -> String {
    // 0 would be no limit at all.
    let millis = left.as_millis().clamp(1, i32::MAX as u128);
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {millis}")
}

pub(super) async fn run(client: &Client, part: &Part) -> Result<Vec<Row>, tokio_postgres::Error> {
    let parameters: Vec<_> = part.parameters.iter().map(Parameter::typed).collect();
    client.query_typed(&part.sql, &parameters).await
}

/// The row of one key and the checkpoint, by one statement.
pub(crate) async fn get(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
    table: &Table,
    row: &RowRef,
) -> Result<Found, Fault> {
    let place = attached.owner(row);
    if !row.key.iter().all(is_storable) {
        let checkpoint = existing(client, schema, place).await?;
        return Ok(Found { rows: Vec::new(), checkpoint, build: attached.build() });
    }
    let key = key_parameters(table, row);
    let mut parameters: Vec<Typed<'_>> = place.typed().to_vec();
    parameters.extend(key.iter().map(Parameter::typed));
    let held = client.query_typed_opt(&table.select_with_checkpoint, &parameters).await.or_fault()?;
    let held = held.ok_or_else(|| place.lost())?;
    let tenant: Option<&str> = held.try_get(COLUMNS_COUNT).or_fault()?;
    let rows = match tenant {
        Some(_) => vec![values_of(table.schema, &held, COLUMNS_COUNT + 1)?.0],
        None => Vec::new(),
    };
    Ok(Found { rows, checkpoint: checkpoint_of(&held, 0)?, build: attached.build() })
}

/// Tenant and key as parameters, in the order of the key's physical columns.
fn key_parameters(table: &Table, row: &RowRef) -> Vec<Parameter> {
    key_cells(table.schema, &[row]).iter().map(first).collect()
}

fn first(cells: &Cells<'_>) -> Parameter {
    match cells {
        Cells::Integers(cells) => Parameter::Integer(cells[0]),
        Cells::Ranks(cells) => Parameter::Rank(cells[0]),
        Cells::Bools(cells) => Parameter::Bool(cells[0]),
        Cells::Texts(cells) => Parameter::Text(cells[0].as_deref().map(str::to_owned)),
        Cells::Times(cells) => Parameter::Time(cells[0]),
        Cells::Bytes(cells) => Parameter::Bytes(cells[0].map(<[u8]>::to_vec)),
        // No column of a declaration is a document.
        Cells::Documents(_) => Parameter::Text(None),
    }
}

/// Rows of all tenants in order of tenant and key.
pub(crate) async fn scan(
    client: &Client,
    table: &Table,
    after: Option<&RowRef>,
    rows_max: usize,
) -> Result<Vec<ScannedRow>, Fault> {
    let sql = if after.is_some() { &table.scan_after } else { &table.scan };
    let mut place = after.map(|row| key_parameters(table, row)).unwrap_or_default();
    place.push(Parameter::Integer(Some(i64::try_from(rows_max).unwrap_or(i64::MAX))));
    let parameters: Vec<_> = place.iter().map(Parameter::typed).collect();
    let rows = client.query_typed(sql, &parameters).await.or_fault()?;
    rows.iter().map(|row| stored_row(table.schema, row)).collect()
}

/// Rows of all tenants, the digest and every checkpoint, all of one moment. Sent at once, as [`find`] does.
pub(crate) async fn snapshot(
    client: &Client,
    shared: &Shared,
    attached: &Attached,
    table: &Table,
    after: Option<&RowRef>,
    rows_max: usize,
) -> Result<TableSnapshot, Fault> {
    let (schema, begin) = (&shared.schema, begin(shared.limits.statement_timeout));
    let (began, checkpoints, digest, rows, ended) = tokio::join!(
        biased;
        client.batch_execute(&begin),
        attached.place.all(client, schema),
        digest(client, schema, attached, table),
        scan(client, table, after, rows_max),
        client.batch_execute("COMMIT"),
    );
    began.or_fault()?;
    let snapshot = TableSnapshot { checkpoints: checkpoints?, digest: digest?, rows: rows? };
    ended.or_fault()?;
    Ok(snapshot)
}

/// The digest as kept: bucket, rows, sum; buckets without anything left out.
pub(crate) async fn digest(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
    table: &Table,
) -> Result<Vec<BucketDigest>, Fault> {
    let [group, revision, generation] = attached.place.build();
    let asked = [group, revision, generation, (&table.name.name as _, Type::TEXT)];
    let rows = client.query_typed(&schema.sql(SELECT_DIGEST), &asked).await.or_fault()?;
    if rows.is_empty() {
        return Err(attached.place.lost());
    }
    let read = |row: &Row| {
        let Some(bucket) = row.try_get::<_, Option<i16>>(0).or_fault()? else { return Ok(None) };
        let sum: &str = row.try_get(2).or_fault()?;
        let (Ok(bucket), Ok(sum)) = (u8::try_from(bucket), sum.parse()) else {
            let message = format!("the digest of read model `{}` cannot be read", table.schema.name);
            return Err(damaged(message));
        };
        Ok(Some((bucket, row.try_get(1).or_fault()?, sum)))
    };
    rows.iter().filter_map(|row| read(row).transpose()).collect()
}

/// How many rows a table has: as its digest counts them, or counted one by one where SQL of the author's
/// keeps them, which has no digest.
pub(crate) async fn row_count(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
    table: &Table,
) -> Result<u64, Fault> {
    let rows: i64 = if table.statements.is_some() {
        let sql = format!("SELECT count(*) FROM {}", table.name.sql());
        client.query_typed_one(&sql, &[]).await.and_then(|row| row.try_get(0)).or_fault()?
    } else {
        digest(client, schema, attached, table).await?.iter().map(|(_, rows, _)| rows).sum()
    };
    Ok(u64::try_from(rows).unwrap_or(0))
}
