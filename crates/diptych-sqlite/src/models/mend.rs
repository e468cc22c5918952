//! Putting rows right where a group stands: rows, digest and the keys that are let go in one transaction.

use super::Table;
use super::checkpoint::existing;
use super::file::Attached;
use super::load::Tombstones;
use super::parked::{heal, park};
use super::rows::Binder;
use super::write::{Digests, write};
use crate::fault::OrFault;
use diptych_query::{AdvanceError, Mend, Parked, RowChange, TableChanges};
use rusqlite::{Connection, TransactionBehavior};

/// Mends rows: one function opens and commits the transaction.
pub(crate) fn mend(connection: &mut Connection, attached: &Attached, mend: Mend) -> Result<(), AdvanceError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let standing = existing(&transaction, attached.place)?.mark.position();
    if standing != mend.at {
        return Err(AdvanceError::Moved { checkpoint: standing });
    }
    let mut digests = Digests::default();
    for (table, changes) in attached.tables.iter().zip(mend.changes) {
        let (changes, tombstones) = as_they_stand(&transaction, table, changes).or_fault()?;
        write(&transaction, table, &changes, &tombstones, false).or_fault()?;
        digests.add(table, &changes);
    }
    digests.write(&transaction).or_fault()?;
    for (index, row) in &mend.healed {
        if let Some(table) = attached.tables.get(*index) {
            heal(&transaction, table, row).or_fault()?;
        }
    }
    park(&transaction, attached, &mend.parked)?;
    attached.place.count_repair(&transaction).or_fault()?;
    transaction.commit().or_fault()?;
    Ok(())
}

/// Holds keys back, in one transaction.
pub(crate) fn park_all(
    connection: &mut Connection,
    attached: &Attached,
    parked: &[Parked],
) -> Result<(), AdvanceError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    park(&transaction, attached, parked)?;
    attached.place.count_repair(&transaction).or_fault()?;
    transaction.commit().or_fault()?;
    Ok(())
}

/// The changes in the order of the table, each as the table really holds its row: a row that is mended may
/// have been added or removed by anybody.
fn as_they_stand(
    connection: &Connection,
    table: &Table,
    changes: TableChanges,
) -> rusqlite::Result<(TableChanges, Tombstones)> {
    let TableChanges { mut rows, digest, facts } = changes;
    rows.sort_by(|a, b| a.stored.row.table_cmp(&b.stored.row));
    let mut tombstones = Tombstones::default();
    let mut select = connection.prepare_cached(&table.select_row)?;
    let mut tombstone = connection.prepare_cached(&table.select_tombstone)?;
    for RowChange { stored, existed, .. } in &mut rows {
        Binder::new(&mut select).row(table.schema, &stored.row)?;
        *existed = select.raw_query().next()?.is_some();
        Binder::new(&mut tombstone).row(table.schema, &stored.row)?;
        if tombstone.raw_query().next()?.is_some() {
            tombstones.insert(stored.row.clone());
        }
    }
    Ok((TableChanges { rows, digest, facts }, tombstones))
}
