//! Supplying a fold with the rows and tombstones it needs, by prepared look-ups in the order of the key.

use super::Table;
use super::rows::{Binder, key_of, stored_row, values_of};
use crate::fault::OrFault;
use diptych_core::Position;
use diptych_query::fold::ROWS_PER_FACT_MAX;
use diptych_query::{AdvanceError, Fold, Matching, RowRef, StoredRow, TableNeeds, sort_in_table_order};
use rusqlite::Connection;
use std::collections::HashSet;

/// The rows of one table that were met as tombstones while loading; writing needs to know them again.
pub(crate) type Tombstones = HashSet<RowRef, foldhash::fast::RandomState>;

/// Supplies what a fold needs and runs it. Reads only. Answers the tombstones met, table by table.
pub(crate) fn drive(
    connection: &Connection,
    tables: &[Table],
    fold: &mut Fold,
) -> Result<Vec<Tombstones>, AdvanceError> {
    let mut met: Vec<Tombstones> = tables.iter().map(|_| Tombstones::default()).collect();
    while let Some(needs) = fold.run()? {
        for (index, TableNeeds { rows, matching }) in needs {
            let (Some(table), Some(met)) = (tables.get(index), met.get_mut(index)) else {
                continue;
            };
            let found = load(connection, table, rows, met).or_fault()?;
            fold.supply(index, found)?;
            for wanted in matching {
                fold.supply(index, load_matching(connection, table, &wanted).or_fault()?)?;
            }
        }
    }
    Ok(met)
}

fn load(
    connection: &Connection,
    table: &Table,
    wanted: Vec<RowRef>,
    met: &mut Tombstones,
) -> rusqlite::Result<Vec<StoredRow>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = sort_in_table_order(wanted, |row| row);
    let mut found = Vec::with_capacity(wanted.len());
    let mut select = connection.prepare_cached(&table.select_row)?;
    let mut has_tombstones = connection.prepare_cached(&table.has_tombstones)?;
    let mut tombstone = connection.prepare_cached(&table.select_tombstone)?;
    let deleted: bool = has_tombstones.query_row([], |row| row.get(0))?;
    for row in wanted {
        Binder::new(&mut select).row(table.schema, &row)?;
        let mut rows = select.raw_query();
        if let Some(held) = rows.next()? {
            let (values, next) = values_of(table.schema, held, 0)?;
            found.push(stored_row(row, values, held, next)?);
            continue;
        }
        drop(rows);
        if !deleted {
            continue;
        }
        Binder::new(&mut tombstone).row(table.schema, &row)?;
        let mut rows = tombstone.raw_query();
        if let Some(held) = rows.next()? {
            let guard = Position(held.get::<_, i64>(0)?.cast_unsigned());
            met.insert(row.clone());
            found.push(StoredRow { row, values: None, guard, hash: 0 });
        }
    }
    Ok(found)
}

/// The rows that hold a value in an indexed column; one more than a fact may touch is enough to refuse it.
fn load_matching(
    connection: &Connection,
    table: &Table,
    wanted: &Matching,
) -> rusqlite::Result<Vec<StoredRow>> {
    let Some(sql) = table.select_matching.get(&wanted.column) else {
        return Ok(Vec::new());
    };
    let mut select = connection.prepare_cached(sql)?;
    let mut binder = Binder::new(&mut select);
    binder.text(wanted.tenant.as_str())?;
    binder.value(&table.schema.columns[wanted.column], &wanted.value)?;
    binder.integer(i64::try_from(ROWS_PER_FACT_MAX + 1).unwrap_or(i64::MAX))?;
    let mut rows = select.raw_query();
    let mut found = Vec::new();
    while let Some(held) = rows.next()? {
        let (values, next) = values_of(table.schema, held, 0)?;
        let row = key_of(table.schema, wanted.tenant.clone(), &values);
        found.push(stored_row(row, values, held, next)?);
    }
    Ok(found)
}
