//! Writing what a fold has changed: rows, tombstones, digest. The caller owns the transaction.

use super::load::Tombstones;
use super::rows::Binder;
use super::table::{INSERT_ROWS, Table, Update};
use diptych_core::{Position, Value};
use diptych_query::fold::approach_texts;
use diptych_query::{Changed, RowChange, StoredRow, TableChanges};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Statement};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const SELECT_DIGEST: &str = "SELECT rows, sum FROM digest WHERE table_name = ?1 AND bucket = ?2";
const UPSERT_DIGEST: &str = "INSERT INTO digest (table_name, bucket, rows, sum) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (table_name, bucket) DO UPDATE SET rows = excluded.rows, sum = excluded.sum";

/// Changes of digests, gathered so that each bucket is written once in a transaction.
#[derive(Default)]
pub(crate) struct Digests(BTreeMap<(String, u8), (i64, u128)>);

impl Digests {
    /// Adds the changes of a table.
    pub(crate) fn add(&mut self, table: &Table, changes: &TableChanges) {
        for (bucket, rows, sum) in &changes.digest {
            let held = self.0.entry((table.name.clone(), *bucket)).or_default();
            held.0 += rows;
            held.1 = held.1.wrapping_add(*sum);
        }
    }

    /// Adds other changes.
    pub(crate) fn merge(&mut self, other: Self) {
        for (place, (rows, sum)) in other.0 {
            let held = self.0.entry(place).or_default();
            held.0 += rows;
            held.1 = held.1.wrapping_add(sum);
        }
    }

    /// Writes them.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut select = connection.prepare_cached(SELECT_DIGEST)?;
        let mut upsert = connection.prepare_cached(UPSERT_DIGEST)?;
        for ((table, bucket), (rows, sum)) in &self.0 {
            let held = select.query_row((table, bucket), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let (held_rows, held_sum): (i64, [u8; 16]) = held.unwrap_or_default();
            let sum = u128::from_be_bytes(held_sum).wrapping_add(*sum);
            upsert.execute((table, bucket, held_rows + rows, sum.to_be_bytes()))?;
        }
        Ok(())
    }
}

/// Writes rows of one table, which come in the order of its key, after those that were written before.
/// `fresh` says that it was empty.
pub(crate) fn write(
    connection: &Connection,
    table: &Table,
    changes: &TableChanges,
    tombstones: &Tombstones,
    fresh: bool,
) -> rusqlite::Result<usize> {
    let rows = &changes.rows;
    debug_assert!(rows.is_sorted_by(|a, b| a.stored.row.table_cmp(&b.stored.row).is_lt()));
    let mut statements = Statements::new(connection, table)?;
    let mut new = Vec::with_capacity(INSERT_ROWS);
    for change in rows {
        let RowChange { stored, existed, .. } = change;
        match &stored.values {
            Some(values) if *existed => statements.update(connection, table, change, values)?,
            Some(values) => {
                if !fresh && tombstones.contains(&stored.row) {
                    let delete = &mut statements.delete_tombstone;
                    Binder::new(delete).row(table.schema, &stored.row)?;
                    delete.raw_execute()?;
                }
                new.push((stored, &**values));
                if new.len() == INSERT_ROWS {
                    approach_texts(new.iter().flat_map(|(_, values)| *values));
                    insert(statements.insert_many(connection, table)?, table, new.drain(..))?;
                }
            }
            None => {
                if *existed {
                    Binder::new(&mut statements.delete).row(table.schema, &stored.row)?;
                    statements.delete.raw_execute()?;
                }
                let mut binder = Binder::new(&mut statements.upsert_tombstone);
                binder.row(table.schema, &stored.row)?;
                binder.integer(stored.guard.0.cast_signed())?;
                statements.upsert_tombstone.raw_execute()?;
            }
        }
    }
    new.into_iter().try_for_each(|row| insert(&mut statements.insert, table, [row]))?;
    Ok(rows.len())
}

/// Inserts as many rows as a statement has room for.
fn insert<'r>(
    statement: &mut Statement<'_>,
    table: &Table,
    rows: impl IntoIterator<Item = (&'r StoredRow, &'r [Value])>,
) -> rusqlite::Result<()> {
    let mut binder = Binder::new(statement);
    for (stored, values) in rows {
        binder.text(stored.row.tenant.as_str())?;
        for written in &table.written {
            binder.written(table.schema, *written, values)?;
        }
        binder.integer(stored.guard.0.cast_signed())?;
        binder.integer(stored.hash.cast_signed())?;
    }
    statement.raw_execute()?;
    Ok(())
}

/// The rows among these, not held yet, that are tombstones so far.
pub(crate) fn buried(
    connection: &Connection,
    table: &Table,
    changes: &TableChanges,
) -> rusqlite::Result<Tombstones> {
    let mut found = Tombstones::default();
    let mut has_tombstones = connection.prepare_cached(&table.has_tombstones)?;
    if !has_tombstones.query_row([], |row| row.get(0))? {
        return Ok(found);
    }
    let mut tombstone = connection.prepare_cached(&table.select_tombstone)?;
    for RowChange { stored, existed, .. } in &changes.rows {
        if *existed || stored.values.is_none() {
            continue;
        }
        Binder::new(&mut tombstone).row(table.schema, &stored.row)?;
        if tombstone.raw_query().next()?.is_some() {
            found.insert(stored.row.clone());
        }
    }
    Ok(found)
}

/// Forgets tombstones whose guard is at or below a position.
pub(crate) fn sweep_tombstones(
    connection: &Connection,
    tables: &[Table],
    through: Position,
) -> rusqlite::Result<()> {
    for table in tables {
        connection.prepare_cached(&table.sweep_tombstones)?.execute([through.0.cast_signed()])?;
    }
    Ok(())
}

/// The statements of one table for one batch, taken from the connection once.
struct Statements<'c> {
    insert: CachedStatement<'c>,
    /// Prepared when first needed: most batches of a model that keeps up have few new rows.
    insert_many: Option<CachedStatement<'c>>,
    updates: HashMap<Changed, (CachedStatement<'c>, Arc<Update>)>,
    delete: CachedStatement<'c>,
    upsert_tombstone: CachedStatement<'c>,
    delete_tombstone: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn new(connection: &'c Connection, table: &Table) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: connection.prepare_cached(&table.insert)?,
            insert_many: None,
            updates: HashMap::new(),
            delete: connection.prepare_cached(&table.delete)?,
            upsert_tombstone: connection.prepare_cached(&table.upsert_tombstone)?,
            delete_tombstone: connection.prepare_cached(&table.delete_tombstone)?,
        })
    }

    fn insert_many(
        &mut self,
        connection: &'c Connection,
        table: &Table,
    ) -> rusqlite::Result<&mut CachedStatement<'c>> {
        Ok(match &mut self.insert_many {
            Some(prepared) => prepared,
            free => free.insert(connection.prepare_cached(&table.insert_many)?),
        })
    }

    /// Rewrites a row. Indexed columns that are as before are left out, and so their indexes are left alone.
    fn update(
        &mut self,
        connection: &'c Connection,
        table: &Table,
        change: &RowChange,
        values: &[Value],
    ) -> rusqlite::Result<()> {
        let RowChange { stored, changed, .. } = change;
        let (statement, update) = match self.updates.entry(*changed) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let update = table.update(*changed);
                free.insert((connection.prepare_cached(&update.sql)?, update))
            }
        };
        let mut binder = Binder::new(statement);
        for written in &update.written {
            binder.written(table.schema, *written, values)?;
        }
        binder.integer(stored.guard.0.cast_signed())?;
        binder.integer(stored.hash.cast_signed())?;
        binder.row(table.schema, &stored.row)?;
        statement.raw_execute()?;
        Ok(())
    }
}
