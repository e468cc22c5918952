//! Reading rows with the checkpoint of the same snapshot. Read-only connections only.

use super::checkpoint::{COLUMNS, checkpoint_of, existing};
use super::file::Attached;
use super::rows::{Binder, key_of, stored_row, values_of};
use super::{Table, sql};
use crate::fault::{OrFault, damaged};
use crate::pool::Reader;
use diptych_core::{Fault, Tenant, Value};
use diptych_query::{Found, RawFind, RowRef, RowsStamp, ScannedRow, TableSnapshot};
use rusqlite::Connection;
use rusqlite::types::{Value as Parameter, ValueRef};
use std::time::Instant;

/// How many of SQLite's steps lie between two looks at the clock.
const STEPS_PER_LOOK: i32 = 10_000;

/// Columns of the checkpoint that stand before a row's.
const CHECKPOINT_COLUMNS: usize = 7;

const SELECT_DIGEST: &str = "SELECT bucket, rows, sum FROM digest \
    WHERE table_name = ?1 AND (rows <> 0 OR sum <> zeroblob(16)) \
    ORDER BY bucket";

/// Rows of one tenant, filtered and in order; interrupted at the deadline.
pub(crate) fn find(
    reader: &mut Reader,
    attached: &Attached,
    table: &Table,
    asked: &RawFind,
    deadline: Instant,
) -> Result<Found, Fault> {
    let expired = move || Instant::now() >= deadline;
    reader.connection.progress_handler(STEPS_PER_LOOK, Some(expired)).or_fault()?;
    let found = find_in_snapshot(&reader.connection, attached, table, asked);
    reader.connection.progress_handler(0, None::<fn() -> bool>).or_fault()?;
    found
}

fn find_in_snapshot(
    connection: &Connection,
    attached: &Attached,
    table: &Table,
    asked: &RawFind,
) -> Result<Found, Fault> {
    let snapshot = connection.unchecked_transaction().or_fault()?;
    let checkpoint = existing(&snapshot, attached.place)?;
    let mut rows = Vec::new();
    for part in sql::find(&table.name, table.schema, asked)? {
        let left = asked.rows_max.saturating_sub(rows.len());
        if left > 0 {
            run_part(&snapshot, table, part, left, &mut rows).or_fault()?;
        }
    }
    snapshot.commit().or_fault()?;
    Ok(Found { rows, checkpoint, build: attached.place.build() })
}

fn run_part(
    connection: &Connection,
    table: &Table,
    part: sql::Part,
    rows_max: usize,
    found: &mut Vec<Vec<Value>>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&part.sql)?;
    let limit = Parameter::Integer(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let parameters = part.parameters.into_iter().chain(std::iter::once(limit));
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        found.push(values_of(table.schema, row, 0)?.0);
    }
    Ok(())
}

/// The row of one key and the checkpoint, by one statement.
pub(crate) fn get(reader: &Reader, attached: &Attached, table: &Table, row: &RowRef) -> Result<Found, Fault> {
    debug_assert!(table.select_with_checkpoint.contains(COLUMNS), "checkpoints are read by column number");
    let read = || -> rusqlite::Result<Option<Found>> {
        let mut statement = reader.connection.prepare_cached(&table.select_with_checkpoint)?;
        let mut binder = Binder::new(&mut statement);
        binder.text(attached.place.group)?;
        binder.integer(i64::from(attached.place.revision))?;
        binder.integer(i64::from(attached.place.generation))?;
        binder.row(table.schema, row)?;
        let mut rows = statement.raw_query();
        let Some(held) = rows.next()? else {
            return Ok(None);
        };
        let present = held.get_ref(CHECKPOINT_COLUMNS)? != ValueRef::Null;
        let values =
            if present { vec![values_of(table.schema, held, CHECKPOINT_COLUMNS + 1)?.0] } else { Vec::new() };
        Ok(Some(Found { rows: values, checkpoint: checkpoint_of(held, 0)?, build: attached.place.build() }))
    };
    let found = read().or_fault()?;
    found.ok_or_else(|| damaged(format!("read model `{}` has lost its checkpoint", attached.place.group)))
}

/// Rows of all tenants in order of tenant and key.
pub(crate) fn scan(
    reader: &Reader,
    table: &Table,
    after: Option<&RowRef>,
    rows_max: usize,
) -> rusqlite::Result<Vec<ScannedRow>> {
    let sql = sql::scan(&table.name, table.schema, after.is_some());
    let mut statement = reader.connection.prepare_cached(&sql)?;
    let mut binder = Binder::new(&mut statement);
    if let Some(after) = after {
        binder.row(table.schema, after)?;
    }
    binder.integer(i64::try_from(rows_max).unwrap_or(i64::MAX))?;
    let mut rows = statement.raw_query();
    let mut scanned = Vec::new();
    while let Some(held) = rows.next()? {
        let tenant = Tenant::from_stored(held.get::<_, String>(0)?);
        let (values, next) = values_of(table.schema, held, 1)?;
        let row = key_of(table.schema, tenant, &values);
        scanned.push(stored_row(row, values, held, next)?);
    }
    Ok(scanned)
}

/// The digest as kept: bucket, rows, sum; buckets without anything left out.
pub(crate) fn digest(reader: &Reader, table: &Table) -> rusqlite::Result<Vec<(u8, i64, u128)>> {
    let mut statement = reader.connection.prepare_cached(SELECT_DIGEST)?;
    let rows = statement.query_map([&table.name], |row| {
        Ok((row.get(0)?, row.get(1)?, u128::from_be_bytes(row.get::<_, [u8; 16]>(2)?)))
    })?;
    rows.collect()
}

/// Rows of a table with its digest and the checkpoint of its group, all of one moment.
pub(crate) fn snapshot(
    reader: &Reader,
    attached: &Attached,
    table: &Table,
    after: Option<&RowRef>,
    rows_max: usize,
) -> Result<TableSnapshot, Fault> {
    let moment = reader.connection.unchecked_transaction().or_fault()?;
    let checkpoints = vec![existing(&moment, attached.place)?];
    let digest = digest(reader, table).or_fault()?;
    let rows = scan(reader, table, after, rows_max).or_fault()?;
    moment.commit().or_fault()?;
    Ok(TableSnapshot { checkpoints, digest, rows })
}

/// What tells the rows of a build from others.
pub(crate) fn stamp(reader: &Reader, attached: &Attached) -> Result<RowsStamp, Fault> {
    let moment = reader.connection.unchecked_transaction().or_fault()?;
    let token = existing(&moment, attached.place)?.mark.token;
    let repairs = attached.place.repairs(&moment).or_fault()?;
    moment.commit().or_fault()?;
    Ok(RowsStamp::of(attached.place.build(), [token], repairs))
}

/// How many rows a table has: as its digest says, or counted where SQL keeps them.
pub(crate) fn row_count(reader: &Reader, table: &Table) -> rusqlite::Result<u64> {
    let count: i64 = match &table.statements {
        None => digest(reader, table)?.iter().map(|(_, rows, _)| rows).sum(),
        Some(_) => {
            let sql = format!("SELECT count(*) FROM {}", super::sql::quoted(&table.name));
            reader.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?
        }
    };
    Ok(u64::try_from(count).unwrap_or(0))
}
