//! The checkpoint of a group in its file, the history of its moves, and why it stopped.

use crate::fault::OrFault;
use diptych_core::{Epoch, Fault, Fingerprint, Position, Timestamp, Token};
use diptych_query::{Checkpoint, Mark, Stopped};
use rusqlite::{Connection, OptionalExtension, Row};

/// The columns that [`checkpoint_of`] reads.
pub(crate) const COLUMNS: &str = "checkpoint.position, checkpoint.epoch, checkpoint.fingerprint, \
    checkpoint.recorded_at, checkpoint.updated_at, checkpoint.stopped_position, checkpoint.stopped_reason";

const SELECT: &str = "SELECT checkpoint.position, checkpoint.epoch, checkpoint.fingerprint, \
    checkpoint.recorded_at, checkpoint.updated_at, checkpoint.stopped_position, checkpoint.stopped_reason \
    FROM checkpoint WHERE group_name = ?1 AND revision = ?2";
const SELECT_SHAPE: &str = "SELECT shape FROM checkpoint WHERE group_name = ?1 AND revision = ?2";
const INSERT: &str = "INSERT INTO checkpoint \
    (position, epoch, fingerprint, recorded_at, updated_at, group_name, revision, shape) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const MOVE: &str = "UPDATE checkpoint \
    SET position = ?1, epoch = ?2, fingerprint = ?3, recorded_at = ?4, updated_at = ?5 \
    WHERE group_name = ?6 AND revision = ?7";
const SET_STOPPED: &str = "UPDATE checkpoint SET stopped_position = ?3, stopped_reason = ?4 \
    WHERE group_name = ?1 AND revision = ?2";
const INSERT_HISTORY: &str = "INSERT INTO checkpoint_history (group_name, revision, after, position, at) \
    VALUES (?1, ?2, ?3, ?4, ?5)";
const SWEEP_HISTORY: &str = "DELETE FROM checkpoint_history WHERE id <= ?1";
const SELECT_PASSED: &str = "SELECT at FROM checkpoint_history \
    WHERE group_name = ?1 AND revision = ?2 AND after < ?3 AND position >= ?3 ORDER BY id LIMIT 1";
const SELECT_HISTORY_START: &str = "SELECT id, after FROM checkpoint_history \
    WHERE group_name = ?1 AND revision = ?2 ORDER BY id LIMIT 1";
const CLEAR_HISTORY: &str = "DELETE FROM checkpoint_history WHERE group_name = ?1 AND revision = ?2";

/// Which checkpoint of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) group: &'static str,
    pub(crate) revision: u32,
}

/// When a position was passed, as far as the history tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passed {
    /// A move over it is remembered.
    At(Timestamp),
    /// No move over it is remembered, though the history goes back that far.
    WithTheEvent,
    /// The history does not go back that far.
    Forgotten,
}

impl Place {
    /// The checkpoint, if the group was ever attached.
    pub(crate) fn read(self, connection: &Connection) -> rusqlite::Result<Option<Checkpoint>> {
        let mut statement = connection.prepare_cached(SELECT)?;
        statement.query_row((self.group, self.revision), |row| checkpoint_of(row, 0)).optional()
    }

    /// The shape its tables were made with.
    pub(crate) fn shape(self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        let mut statement = connection.prepare_cached(SELECT_SHAPE)?;
        statement.query_row((self.group, self.revision), |row| row.get(0)).optional()
    }

    /// Begins at a mark.
    pub(crate) fn begin(
        self,
        connection: &Connection,
        shape: &str,
        mark: Mark,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let Mark { token, recorded_at } = mark;
        let mut statement = connection.prepare_cached(INSERT)?;
        statement.execute((
            token.position.0.cast_signed(),
            token.epoch.0,
            token.fingerprint.0,
            recorded_at.as_micros(),
            now.as_micros(),
            self.group,
            self.revision,
            shape,
        ))?;
        Ok(())
    }

    /// Writes down why the group does not move on, or that it does.
    pub(crate) fn stop(self, connection: &Connection, stopped: Option<&Stopped>) -> rusqlite::Result<()> {
        let position = stopped.map(|stopped| stopped.position.0.cast_signed());
        let reason = stopped.map(|stopped| stopped.reason.as_str());
        let mut statement = connection.prepare_cached(SET_STOPPED)?;
        statement.execute((self.group, self.revision, position, reason))?;
        Ok(())
    }

    /// Remembers a move, and forgets the oldest beyond the limit of the file.
    pub(crate) fn remember(
        self,
        connection: &Connection,
        (after, position): (Position, Position),
        now: Timestamp,
        history_max: u64,
    ) -> rusqlite::Result<()> {
        let row =
            (self.group, self.revision, after.0.cast_signed(), position.0.cast_signed(), now.as_micros());
        let id = connection.prepare_cached(INSERT_HISTORY)?.insert(row)?;
        let oldest = id.saturating_sub(i64::try_from(history_max).unwrap_or(i64::MAX));
        if oldest > 0 {
            connection.prepare_cached(SWEEP_HISTORY)?.execute([oldest])?;
        }
        Ok(())
    }

    /// When a position at or below the checkpoint was passed.
    pub(crate) fn passed(self, connection: &Connection, position: Position) -> rusqlite::Result<Passed> {
        let asked = (self.group, self.revision, position.0.cast_signed());
        let at: Option<i64> =
            connection.prepare_cached(SELECT_PASSED)?.query_row(asked, |row| row.get(0)).optional()?;
        if let Some(at) = at {
            return Ok(Passed::At(Timestamp::from_stored(at)));
        }
        let start: Option<(i64, i64)> = connection
            .prepare_cached(SELECT_HISTORY_START)?
            .query_row((self.group, self.revision), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(match start {
            // The first row ever written has id 1: when it is still there, nothing was forgotten.
            Some((id, after)) if id > 1 && position.0.cast_signed() <= after => Passed::Forgotten,
            _ => Passed::WithTheEvent,
        })
    }

    /// Forgets every move.
    pub(crate) fn forget(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached(CLEAR_HISTORY)?.execute((self.group, self.revision))?;
        Ok(())
    }
}

/// The checkpoint's place of a group.
pub(crate) fn place_of(group: &diptych_query::Group) -> Place {
    Place { group: group.name(), revision: group.revision() }
}

/// Moves a checkpoint. The caller has checked where it stands, in the same transaction.
pub(crate) fn move_to(
    connection: &Connection,
    place: Place,
    mark: Mark,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Mark { token, recorded_at } = mark;
    let mut statement = connection.prepare_cached(MOVE)?;
    statement.execute((
        token.position.0.cast_signed(),
        token.epoch.0,
        token.fingerprint.0,
        recorded_at.as_micros(),
        now.as_micros(),
        place.group,
        place.revision,
    ))?;
    Ok(())
}

/// The checkpoint of a row that holds [`COLUMNS`] from a column on.
pub(crate) fn checkpoint_of(row: &Row<'_>, from: usize) -> rusqlite::Result<Checkpoint> {
    let position = |column: usize| row.get::<_, i64>(column).map(|number| Position(number.cast_unsigned()));
    let token = Token {
        position: position(from)?,
        epoch: Epoch(row.get(from + 1)?),
        fingerprint: Fingerprint(row.get(from + 2)?),
    };
    let stopped: Option<i64> = row.get(from + 5)?;
    let stopped = match stopped {
        None => None,
        Some(number) => Some(Stopped {
            position: Position(number.cast_unsigned()),
            reason: row.get::<_, Option<String>>(from + 6)?.unwrap_or_default(),
        }),
    };
    Ok(Checkpoint {
        mark: Mark { token, recorded_at: Timestamp::from_stored(row.get(from + 3)?) },
        updated_at: Timestamp::from_stored(row.get(from + 4)?),
        stopped,
    })
}

/// The checkpoint of an attached group, which always has one.
pub(crate) fn existing(connection: &Connection, place: Place) -> Result<Checkpoint, Fault> {
    let found = place.read(connection).or_fault()?;
    found
        .ok_or_else(|| crate::fault::damaged(format!("read model `{}` has lost its checkpoint", place.group)))
}
