//! Supplying a fold with the rows and tombstones it needs, by prepared look-ups in the order of the key.

use super::Table;
use super::rows::{Binder, values_of};
use crate::fault::OrFault;
use diptych_core::{Position, Value};
use diptych_query::{AdvanceError, Fold, RowRef, StoredRow};
use rusqlite::Connection;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// What was met while loading one table, and is needed again when writing.
#[derive(Default)]
pub(crate) struct Loaded {
    /// The indexed columns of each row as the table holds them.
    pub(crate) indexed: HashMap<RowRef, Vec<Value>, foldhash::fast::RandomState>,
    /// The rows that are tombstones now.
    pub(crate) tombstones: HashSet<RowRef, foldhash::fast::RandomState>,
}

/// Supplies what a fold needs and runs it. Reads only.
pub(crate) fn drive(
    connection: &Connection,
    tables: &[Table],
    fold: &mut Fold,
) -> Result<Vec<Loaded>, AdvanceError> {
    let mut loaded: Vec<Loaded> = tables.iter().map(|_| Loaded::default()).collect();
    loop {
        let needs = fold.needs();
        if needs.is_empty() {
            break;
        }
        for (index, wanted) in needs {
            let (Some(table), Some(loaded)) = (tables.get(index), loaded.get_mut(index)) else {
                continue;
            };
            let rows = load(connection, table, wanted, loaded).or_fault()?;
            fold.supply(index, rows)?;
        }
    }
    fold.run()?;
    Ok(loaded)
}

/// The order of rows in their table, so that neighbours are read and written together.
pub(crate) fn in_table_order(a: &RowRef, b: &RowRef) -> Ordering {
    let by_tenant = a.tenant.cmp(&b.tenant);
    let mut keys = a.key.iter().zip(&b.key);
    by_tenant.then_with(|| {
        keys.find_map(|(a, b)| Some(a.portable_cmp(b)).filter(|order| order.is_ne()))
            .unwrap_or(Ordering::Equal)
    })
}

fn load(
    connection: &Connection,
    table: &Table,
    mut wanted: Vec<RowRef>,
    loaded: &mut Loaded,
) -> rusqlite::Result<Vec<StoredRow>> {
    wanted.sort_unstable_by(in_table_order);
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
            if !table.indexed.is_empty() {
                let indexed = table.indexed.iter().map(|column| values[*column].clone()).collect();
                loaded.indexed.insert(row.clone(), indexed);
            }
            found.push(StoredRow {
                row,
                values: Some(values),
                guard: Position(held.get::<_, i64>(next)?.cast_unsigned()),
                hash: held.get::<_, i64>(next + 1)?.cast_unsigned(),
            });
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
            loaded.tombstones.insert(row.clone());
            found.push(StoredRow { row, values: None, guard, hash: 0 });
        }
    }
    Ok(found)
}
