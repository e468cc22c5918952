//! Folding ahead of what is written to a read model's file, and whether anybody else has written there since.
//! Whether it has looks at nothing but the counters that SQLite has for this.

use super::advance::{Spent, finish};
use super::checkpoint::existing;
use super::file::{Attached, FileHome, Home};
use super::load::drive;
use super::parked::hold_parked;
use super::write::{Digests, buried, write};
use crate::SqliteLimits;
use crate::fault::OrFault;
use diptych_core::{Position, Timestamp};
use diptych_query::{AdvanceError, Advanced, Batch, Fold, RowsAhead};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::{Arc, Mutex, PoisonError};

/// `PRAGMA data_version` changes with each commit of another connection, be it of this process or not.
const SELECT_DATA_VERSION: &str = "PRAGMA data_version";

/// A state of a file: as long as nobody has written, its rows are the same. The position is not needed for
/// that; it tells a file that somebody has put in the place of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Moment {
    /// Where the group stood.
    at: Position,
    /// What others have committed.
    data_version: i64,
    /// What the one connection that writes has written, whatever it was.
    total_changes: u64,
}

impl Moment {
    /// Of a connection whose transaction is open, so that nobody else writes.
    fn of(connection: &Connection, at: Position) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached(SELECT_DATA_VERSION)?;
        let data_version = select.query_row([], |row| row.get(0))?;
        Ok(Self { at, data_version, total_changes: connection.total_changes() })
    }
}

/// The rows of a read model's file for folds ahead of it.
pub(crate) struct Ahead {
    pub(crate) attached: Arc<Attached>,
    /// The state of the file that the fold knows of: that of its begin, or what it has written itself.
    known: Mutex<Moment>,
    bytes_max: usize,
}

impl Ahead {
    /// Whether a group can be folded ahead: not in `log.db`, where commands write, nor where SQL of the
    /// author's does.
    pub(crate) fn is_possible(attached: &Attached, limits: &SqliteLimits) -> bool {
        let folded = attached.tables.iter().all(|table| table.statements.is_none());
        folded && matches!(attached.home, Home::File(_)) && limits.kept_rows_bytes_max > 0
    }

    /// Begins where the file stands.
    pub(crate) fn begin(
        connection: &mut Connection,
        attached: Arc<Attached>,
        fold: &mut Fold,
        limits: &SqliteLimits,
    ) -> Result<Self, AdvanceError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
        let standing = existing(&transaction, attached.place)?.mark.position();
        if standing != fold.from() {
            return Err(AdvanceError::Moved { checkpoint: standing });
        }
        hold_parked(&transaction, &attached, fold)?;
        let known = Mutex::new(Moment::of(&transaction, standing).or_fault()?);
        Ok(Self { attached, known, bytes_max: limits.kept_rows_bytes_max })
    }

    fn known(&self) -> Moment {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> Result<&FileHome, AdvanceError> {
        match &self.attached.home {
            Home::File(file) => Ok(file),
            Home::Log => Err(AdvanceError::Overtaken),
        }
    }

    /// Writes a batch: the one function that opens and commits its transaction.
    pub(crate) fn write(
        &self,
        batch: Batch,
        now: Timestamp,
        limits: &SqliteLimits,
    ) -> Result<(Advanced, Spent), AdvanceError> {
        let attached = &*self.attached;
        let mut connection = self.file()?.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
        let before = existing(&transaction, attached.place)?;
        let standing = before.mark.position();
        if standing != batch.from {
            return Err(AdvanceError::Moved { checkpoint: standing });
        }
        let begun = Moment::of(&transaction, standing).or_fault()?;
        if begun != self.known() {
            return Err(AdvanceError::Overtaken);
        }
        let mut digests = Digests::default();
        for (table, changes) in attached.tables.iter().zip(&batch.changes) {
            let tombstones = buried(&transaction, table, changes).or_fault()?;
            write(&transaction, table, changes, &tombstones, false).or_fault()?;
            digests.add(table, changes);
        }
        let swept = finish(&transaction, attached, &digests, (standing, batch.through), now, limits)?;
        transaction.commit().or_fault()?;
        if swept {
            attached.note_sweep(batch.through.position());
        }
        // Nobody can have written between: the connection is still held.
        let at = batch.through.position();
        let moment = Moment { at, total_changes: connection.total_changes(), ..begun };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = moment;
        let Batch { through, changes, passed, .. } = batch;
        let rows = changes.iter().map(|changes| changes.rows.len()).sum();
        let checkpoint =
            diptych_query::Checkpoint { mark: through, updated_at: now, stopped: before.stopped };
        Ok((Advanced { checkpoint, rows, passed }, Spent::of(changes)))
    }
}

impl RowsAhead for Ahead {
    fn drive(&self, fold: &mut Fold) -> Result<(), AdvanceError> {
        // A row that no batch under way has touched is the same in every state of the file since the fold
        // began; if others have written, the batch is not.
        let reader = self.file()?.readers.now()?;
        drive(&reader.connection, &self.attached.tables, fold)?;
        Ok(())
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}
