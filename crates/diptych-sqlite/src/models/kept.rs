//! Rows of a read model's file that are still in memory from the advance before, and whether they are still
//! what the file holds. Looks at nothing but the counters that SQLite has for this.

use super::file::{Attached, FileHome, Home};
use diptych_core::Position;
use diptych_query::fold::Kept;
use rusqlite::Connection;
use std::sync::PoisonError;

/// `PRAGMA data_version` changes with each commit of another connection, be it of this process or not.
const SELECT_DATA_VERSION: &str = "PRAGMA data_version";

/// When rows were kept: as long as nobody has written, they are what the file holds. The position is not
/// needed for that; it tells a file that somebody has put in the place of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Moment {
    /// Where the group stood.
    at: Position,
    /// What others have committed.
    data_version: i64,
    /// What the one connection that writes has written, whatever it was.
    total_changes: u64,
}

/// Rows in memory, and when they were what the file held.
pub(crate) struct KeptRows {
    rows: Kept,
    moment: Moment,
}

/// The rows of one advance: those that the one before has kept for it, and those that it keeps.
pub(crate) struct Keeper<'a> {
    file: &'a FileHome,
    begun: Moment,
}

impl<'a> Keeper<'a> {
    /// For an advance whose transaction is open, so that nobody else writes. Nothing for tables that keep
    /// none: those in `log.db`, and all of a group in which SQL of the author's writes.
    pub(crate) fn of(
        connection: &Connection,
        attached: &'a Attached,
        at: Position,
    ) -> rusqlite::Result<Option<Self>> {
        let Home::File(file) = &attached.home else { return Ok(None) };
        if attached.tables.iter().any(|table| table.statements.is_some()) {
            return Ok(None);
        }
        let mut select = connection.prepare_cached(SELECT_DATA_VERSION)?;
        let data_version = select.query_row([], |row| row.get(0))?;
        let begun = Moment { at, data_version, total_changes: connection.total_changes() };
        Ok(Some(Self { file, begun }))
    }

    /// The rows that are still what the file holds. An advance that fails keeps none of them.
    pub(crate) fn recall(&self) -> Option<Kept> {
        let kept = self.file.kept.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (kept.moment == self.begun).then_some(kept.rows)
    }

    /// Keeps the rows that an advance has committed. Nobody can have written between: the transaction had
    /// begun when others' commits were looked at, and the connection is still held.
    pub(crate) fn keep(self, connection: &Connection, through: Position, rows: Kept) {
        let moment = Moment { at: through, total_changes: connection.total_changes(), ..self.begun };
        *self.file.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(KeptRows { rows, moment });
    }
}
