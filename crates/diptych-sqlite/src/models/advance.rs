//! Moving a group: rows, tombstones, digest, history and checkpoint in one transaction, or not at all.

use super::bulk::{is_bulk, write_all};
use super::checkpoint::{existing, move_to};
use super::file::Attached;
use super::load::{Tombstones, drive};
use super::parked::{forget_parked, hold_parked};
use super::statements;
use super::write::{Digests, sweep_tombstones, write};
use crate::SqliteLimits;
use crate::fault::OrFault;
use diptych_core::{Fault, Position, Timestamp};
use diptych_query::{AdvanceError, Advanced, Checkpoint, Fold, Mark, Stopped, TableChanges};
use rusqlite::{Connection, TransactionBehavior};

/// What was held in memory and is needed no longer: to be freed where nobody waits for it.
#[derive(Default)]
pub(crate) struct Spent {
    _fold: Option<Fold>,
    _changes: Vec<TableChanges>,
    _tombstones: Vec<Tombstones>,
}

impl Spent {
    /// Changes that were written.
    pub(crate) fn of(changes: Vec<TableChanges>) -> Self {
        Self { _changes: changes, ..Self::default() }
    }
}

/// Applies a fold: the one function that opens and commits the transaction of a group.
pub(crate) fn advance(
    connection: &mut Connection,
    attached: &Attached,
    mut fold: Fold,
    now: Timestamp,
    limits: &SqliteLimits,
) -> Result<(Advanced, Spent), AdvanceError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let before = existing(&transaction, attached.place)?;
    let standing = before.mark.position();
    if standing != fold.from() {
        return Err(AdvanceError::Moved { checkpoint: standing });
    }
    if fold.is_fresh() && attached.place.filling(&transaction).or_fault()? != 0 {
        // Whoever loaded these rows did not come to the end of it.
        attached.empty(&transaction).or_fault()?;
    }
    hold_parked(&transaction, attached, &mut fold)?;
    let tombstones = drive(&transaction, &attached.tables, &mut fold)?;
    let mut digests = Digests::default();
    let (mut written, changes) = if is_bulk(&attached.tables, &fold) {
        (write_all(&transaction, &attached.tables, &mut fold, &tombstones, &mut digests)?, Vec::new())
    } else {
        let changes = fold.changes()?;
        for ((table, changes), tombstones) in attached.tables.iter().zip(&changes).zip(&tombstones) {
            write(&transaction, table, changes, tombstones, fold.is_fresh()).or_fault()?;
            digests.add(table, changes);
        }
        (changes.iter().map(|changes| changes.rows.len()).sum(), changes)
    };
    for (table, changes) in attached.tables.iter().zip(&changes) {
        written += statements::take(&transaction, table, &changes.facts)?;
    }
    let through = fold.through();
    let swept = finish(&transaction, attached, &digests, (standing, through), now, limits)?;
    transaction.commit().or_fault()?;
    if swept {
        attached.note_sweep(through.position());
    }
    let checkpoint = Checkpoint { mark: through, updated_at: now, stopped: before.stopped };
    let advanced = Advanced { checkpoint, rows: written, passed: fold.passed() };
    Ok((advanced, Spent { _fold: Some(fold), _changes: changes, _tombstones: tombstones }))
}

/// Moves digest, checkpoint and history after the rows. Answers whether old tombstones were forgotten.
pub(crate) fn finish(
    connection: &Connection,
    attached: &Attached,
    digests: &Digests,
    (standing, through): (Position, Mark),
    now: Timestamp,
    limits: &SqliteLimits,
) -> Result<bool, Fault> {
    let move_all = || -> rusqlite::Result<bool> {
        digests.write(connection)?;
        move_to(connection, attached.place, through, now)?;
        if through.position() > standing {
            let moved = (standing, through.position());
            attached.place.remember(connection, moved, now, limits.checkpoint_history_max)?;
        }
        sweep(connection, attached, through.position(), limits)
    };
    move_all().or_fault()
}

/// Forgets old tombstones now and then. Answers whether it did.
pub(crate) fn sweep(
    connection: &Connection,
    attached: &Attached,
    position: Position,
    limits: &SqliteLimits,
) -> rusqlite::Result<bool> {
    let due = attached.sweep_is_due(position, limits.tombstone_window_events);
    if due {
        let through = Position(position.0.saturating_sub(limits.tombstone_window_events));
        sweep_tombstones(connection, &attached.tables, through)?;
    }
    Ok(due)
}

/// Writes down why a group stopped, or that it no longer is.
pub(crate) fn set_stopped(
    connection: &mut Connection,
    attached: &Attached,
    stopped: Option<&Stopped>,
) -> Result<(), Fault> {
    attached.place.stop(connection, stopped).or_fault()
}

/// Empties a group's tables and sets its checkpoint to the start of the log.
pub(crate) fn reset(
    connection: &mut Connection,
    attached: &Attached,
    start: Mark,
    now: Timestamp,
) -> Result<Checkpoint, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let empty = || -> rusqlite::Result<()> {
        attached.empty(&transaction)?;
        for table in &attached.tables {
            forget_parked(&transaction, table)?;
        }
        attached.place.forget(&transaction)?;
        attached.place.stop(&transaction, None)?;
        attached.place.count_repair(&transaction)?;
        move_to(&transaction, attached.place, start, now)
    };
    empty().or_fault()?;
    transaction.commit().or_fault()?;
    attached.note_sweep(Position::START);
    Ok(Checkpoint { mark: start, updated_at: now, stopped: None })
}
