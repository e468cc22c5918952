//! Keys that are held back: kept beside the checkpoint, told to every fold, forgotten when their rows are
//! mended.

use super::Table;
use super::file::Attached;
use crate::fault::{OrFault, damaged};
use diptych_core::{Fault, Position, Tenant, Timestamp, Value};
use diptych_query::{Fold, Parked, RowRef};
use rusqlite::Connection;

const SELECT_ROWS: &str = "SELECT tenant, key, position FROM parked_key WHERE table_name = ?1";
const SELECT: &str = "SELECT tenant, key, position, event, reason, parked_at FROM parked_key \
    WHERE table_name = ?1";
const INSERT: &str = "INSERT INTO parked_key \
    (table_name, tenant, key, key_json, position, event, reason, parked_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
const DELETE: &str = "DELETE FROM parked_key WHERE table_name = ?1 AND tenant = ?2 AND key = ?3";
const CLEAR: &str = "DELETE FROM parked_key WHERE table_name = ?1";

/// Tells a fold which keys are held back. For the transaction in which it runs.
pub(crate) fn hold_parked(
    connection: &Connection,
    attached: &Attached,
    fold: &mut Fold,
) -> Result<(), Fault> {
    if !attached.may_park {
        return Ok(());
    }
    for (index, table) in attached.tables.iter().enumerate() {
        let mut select = connection.prepare_cached(SELECT_ROWS).or_fault()?;
        let mut rows = select.query([&table.name]).or_fault()?;
        let mut held = Vec::new();
        while let Some(row) = rows.next().or_fault()? {
            let tenant = Tenant::from_stored(row.get::<_, String>(0).or_fault()?);
            let key = key_of(&row.get::<_, Vec<u8>>(1).or_fault()?)?;
            let position = Position(row.get::<_, i64>(2).or_fault()?.cast_unsigned());
            held.push((RowRef { tenant, key }, position));
        }
        if !held.is_empty() {
            fold.hold(index, held);
        }
    }
    Ok(())
}

/// Holds keys back; those that are held back already stay where they are. The caller owns the transaction.
pub(crate) fn park(connection: &Connection, attached: &Attached, parked: &[Parked]) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(INSERT).or_fault()?;
    for Parked { model, row, position, event, reason, parked_at } in parked {
        let table = attached.table_named(model)?;
        let shown = row.key.iter().map(Value::to_json).collect::<Vec<_>>();
        let values = (
            &table.name,
            row.tenant.as_str(),
            bytes_of(&row.key),
            serde_json::Value::Array(shown).to_string(),
            position.0.cast_signed(),
            event,
            reason,
            parked_at.as_micros(),
        );
        insert.execute(values).or_fault()?;
    }
    Ok(())
}

/// The keys that are held back, in order of position.
pub(crate) fn parked(connection: &Connection, attached: &Attached) -> Result<Vec<Parked>, Fault> {
    let mut all = Vec::new();
    for table in &attached.tables {
        let mut select = connection.prepare_cached(SELECT).or_fault()?;
        let mut rows = select.query([&table.name]).or_fault()?;
        while let Some(row) = rows.next().or_fault()? {
            let tenant = Tenant::from_stored(row.get::<_, String>(0).or_fault()?);
            let key = key_of(&row.get::<_, Vec<u8>>(1).or_fault()?)?;
            all.push(Parked {
                model: table.schema.name.to_owned(),
                row: RowRef { tenant, key },
                position: Position(row.get::<_, i64>(2).or_fault()?.cast_unsigned()),
                event: row.get(3).or_fault()?,
                reason: row.get(4).or_fault()?,
                parked_at: Timestamp::from_stored(row.get(5).or_fault()?),
            });
        }
    }
    all.sort_by_key(|parked| parked.position);
    Ok(all)
}

/// Lets a key go. The caller owns the transaction.
pub(crate) fn heal(connection: &Connection, table: &Table, row: &RowRef) -> rusqlite::Result<()> {
    let key = (&table.name, row.tenant.as_str(), bytes_of(&row.key));
    connection.prepare_cached(DELETE)?.execute(key)?;
    Ok(())
}

/// Forgets every key of a table that is held back. The caller owns the transaction.
pub(crate) fn forget_parked(connection: &Connection, table: &Table) -> rusqlite::Result<()> {
    connection.prepare_cached(CLEAR)?.execute([&table.name])?;
    Ok(())
}

fn bytes_of(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.iter().for_each(|value| value.write_canonical(&mut bytes));
    bytes
}

fn key_of(mut bytes: &[u8]) -> Result<Vec<Value>, Fault> {
    let mut key = Vec::new();
    while !bytes.is_empty() {
        let (value, rest) =
            Value::read_canonical(bytes).ok_or_else(|| damaged("a parked key does not read back"))?;
        key.push(value);
        bytes = rest;
    }
    Ok(key)
}
