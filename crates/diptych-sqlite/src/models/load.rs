//! Supplying a fold with the rows and tombstones it needs, by prepared look-ups in the order of the key.

use super::Table;
use super::rows::{Binder, key_of, stored_row, values_of};
use crate::fault::OrFault;
use diptych_core::{Position, Value};
use diptych_query::fold::ROWS_PER_FACT_MAX;
use diptych_query::{AdvanceError, Fold, Matching, RowRef, StoredRow, TableNeeds, sort_in_table_order};
use rusqlite::Connection;
use std::cmp::Ordering;
use std::collections::HashSet;

/// What was met while loading one table, and is needed again when writing.
#[derive(Default)]
pub(crate) struct Loaded {
    /// The indexed columns of each row as the table holds them.
    indexed: Vec<(RowRef, Vec<Value>)>,
    /// The rows that are tombstones now.
    tombstones: HashSet<RowRef, foldhash::fast::RandomState>,
}

impl Loaded {
    /// The indexed columns that the table holds, for whoever asks in the order of the table.
    pub(crate) fn in_order(&self) -> InOrder<'_> {
        debug_assert!(self.indexed.is_sorted_by(|(a, _), (b, _)| a.table_cmp(b).is_le()));
        InOrder { rest: &self.indexed, tombstones: &self.tombstones }
    }

    /// Notes that a row is a tombstone.
    pub(crate) fn note_tombstone(&mut self, row: &RowRef) {
        self.tombstones.insert(row.clone());
    }

    fn hold(&mut self, table: &Table, row: &RowRef, values: &[Value]) {
        if !table.indexed.is_empty() {
            let indexed = table.indexed.iter().map(|column| values[*column].clone()).collect();
            self.indexed.push((row.clone(), indexed));
        }
    }
}

/// Loaded rows, walked once beside others in the same order.
pub(crate) struct InOrder<'l> {
    rest: &'l [(RowRef, Vec<Value>)],
    tombstones: &'l HashSet<RowRef, foldhash::fast::RandomState>,
}

impl<'l> InOrder<'l> {
    /// Whether a row is a tombstone in the table.
    pub(crate) fn is_tombstone(&self, row: &RowRef) -> bool {
        self.tombstones.contains(row)
    }

    /// The indexed columns of a row, which stands after those that were asked for before.
    pub(crate) fn of(&mut self, row: &RowRef) -> Option<&'l [Value]> {
        while let Some(((held, values), rest)) = self.rest.split_first() {
            match held.table_cmp(row) {
                Ordering::Less => self.rest = rest,
                Ordering::Equal => return Some(values),
                Ordering::Greater => return None,
            }
        }
        None
    }
}

/// Supplies what a fold needs and runs it. Reads only.
pub(crate) fn drive(
    connection: &Connection,
    tables: &[Table],
    fold: &mut Fold,
) -> Result<Vec<Loaded>, AdvanceError> {
    let mut loaded: Vec<Loaded> = tables.iter().map(|_| Loaded::default()).collect();
    while let Some(needs) = fold.run()? {
        for (index, TableNeeds { rows, matching }) in needs {
            let (Some(table), Some(loaded)) = (tables.get(index), loaded.get_mut(index)) else {
                continue;
            };
            let found = load(connection, table, rows, loaded).or_fault()?;
            fold.supply(index, found)?;
            for wanted in matching {
                let found = load_matching(connection, table, &wanted, loaded).or_fault()?;
                fold.supply(index, found)?;
            }
        }
    }
    for loaded in &mut loaded {
        loaded.indexed.sort_unstable_by(|(a, _), (b, _)| a.table_cmp(b));
    }
    Ok(loaded)
}

fn load(
    connection: &Connection,
    table: &Table,
    wanted: Vec<RowRef>,
    loaded: &mut Loaded,
) -> rusqlite::Result<Vec<StoredRow>> {
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
            loaded.hold(table, &row, &values);
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
            loaded.tombstones.insert(row.clone());
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
    loaded: &mut Loaded,
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
        loaded.hold(table, &row, &values);
        found.push(stored_row(row, values, held, next)?);
    }
    Ok(found)
}
