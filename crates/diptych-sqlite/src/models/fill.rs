//! Loading many rows into a build in `log.db`, part after part, each in a transaction of its own, so that
//! appends have their turn in between. Until the last part the checkpoint says that rows are being loaded.

use super::checkpoint::{existing, move_to};
use super::file::{Attached, Home};
use super::load::{Tombstones, drive};
use super::parked::hold_parked;
use super::write::{Digests, write};
use crate::SqliteStore;
use crate::fault::OrFault;
use crate::store::blocking;
use diptych_query::{AdvanceError, Advanced, Checkpoint, Fold, TableChanges};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;

/// How many rows are written at once: a few milliseconds, in which no command is committed.
const PART_ROWS: usize = 1_000;

/// Which loading this is, so that one that was given up is not mistaken for it.
const SELECT_NUMBER: &str = "SELECT random() | 1";

/// Whether a fold is written in parts: the first rows of a build in `log.db`, if they are many.
pub(crate) fn is_filled(attached: &Attached, fold: &Fold) -> bool {
    matches!(attached.home, Home::Log) && fold.is_fresh() && fold.rows_held() > PART_ROWS
}

impl SqliteStore {
    /// Applies a fold in parts.
    ///
    /// INVARIANT: no part is written unless the loading that it belongs to is the one under way.
    pub(crate) async fn fill(&self, attached: &Arc<Attached>, fold: Fold) -> Result<Advanced, AdvanceError> {
        let at = Arc::clone(attached);
        let begun = self.write(attached, move |connection| begin(connection, &at, fold)).await?;
        let (number, mut fold, before) = begun;
        let mut rows = 0;
        for table in 0..attached.tables.len() {
            loop {
                let prepared = blocking(move || -> Result<_, AdvanceError> {
                    let part = fold.rows_up_to(table, PART_ROWS)?;
                    Ok((fold, part))
                });
                let part;
                (fold, part) = prepared.await?;
                let written = part.rows.len();
                rows += written;
                let at = Arc::clone(attached);
                let work = move |connection: &mut Connection| add(connection, &at, number, table, &part);
                self.write(attached, work).await?;
                if written < PART_ROWS {
                    break;
                }
            }
        }
        let (through, now) = (fold.through(), self.shared.clock.now());
        let (at, history_max) = (Arc::clone(attached), self.shared.limits.checkpoint_history_max);
        let work = move |connection: &mut Connection| -> Result<(), AdvanceError> {
            let transaction = begin_part(connection, &at, number)?;
            let end = || -> rusqlite::Result<()> {
                at.place.set_filling(&transaction, 0)?;
                move_to(&transaction, at.place, through, now)?;
                let moved = (before.mark.position(), through.position());
                at.place.remember(&transaction, moved, now, history_max)
            };
            end().or_fault()?;
            Ok(transaction.commit().or_fault()?)
        };
        self.write(attached, work).await?;
        let checkpoint = Checkpoint { mark: through, updated_at: now, stopped: before.stopped };
        Ok(Advanced { checkpoint, rows, passed: fold.passed() })
    }
}

/// Notes that rows are being loaded, over empty tables.
fn begin(
    connection: &mut Connection,
    attached: &Attached,
    mut fold: Fold,
) -> Result<(i64, Fold, Checkpoint), AdvanceError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let before = existing(&transaction, attached.place)?;
    let standing = before.mark.position();
    if standing != fold.from() {
        return Err(AdvanceError::Moved { checkpoint: standing });
    }
    hold_parked(&transaction, attached, &mut fold)?;
    drive(&transaction, &attached.tables, &mut fold)?;
    let note = || -> rusqlite::Result<i64> {
        attached.empty(&transaction)?;
        let number = transaction.query_row(SELECT_NUMBER, [], |row| row.get(0))?;
        attached.place.set_filling(&transaction, number)?;
        Ok(number)
    };
    let number = note().or_fault()?;
    transaction.commit().or_fault()?;
    Ok((number, fold, before))
}

/// Writes one part.
fn add(
    connection: &mut Connection,
    attached: &Attached,
    number: i64,
    table: usize,
    part: &TableChanges,
) -> Result<(), AdvanceError> {
    let transaction = begin_part(connection, attached, number)?;
    let table = &attached.tables[table];
    let mut digests = Digests::default();
    write(&transaction, table, part, &Tombstones::default(), true).or_fault()?;
    digests.add(table, part);
    digests.write(&transaction).or_fault()?;
    transaction.commit().or_fault()?;
    Ok(())
}

/// Opens the transaction of a part, if its loading is still the one under way.
fn begin_part<'c>(
    connection: &'c mut Connection,
    attached: &Attached,
    number: i64,
) -> Result<rusqlite::Transaction<'c>, AdvanceError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    if attached.place.filling(&transaction).or_fault()? != number {
        let checkpoint = existing(&transaction, attached.place)?.mark.position();
        return Err(AdvanceError::Moved { checkpoint });
    }
    Ok(transaction)
}
