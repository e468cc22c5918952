//! The checkpoint of a group in its file, the history of its moves, and why it stopped.

use crate::fault::OrFault;
use diptych_core::{Epoch, Fault, Fingerprint, Position, Timestamp, Token};
use diptych_query::{BuildId, Checkpoint, Group, Mark, Stopped};
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::{Path, PathBuf};

/// The columns that [`checkpoint_of`] reads.
pub(crate) const COLUMNS: &str = "checkpoint.position, checkpoint.epoch, checkpoint.fingerprint, \
    checkpoint.recorded_at, checkpoint.updated_at, checkpoint.stopped_position, checkpoint.stopped_reason";

const SELECT: &str = "SELECT checkpoint.position, checkpoint.epoch, checkpoint.fingerprint, \
    checkpoint.recorded_at, checkpoint.updated_at, checkpoint.stopped_position, checkpoint.stopped_reason \
    FROM checkpoint WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const SELECT_SHAPE: &str =
    "SELECT shape FROM checkpoint WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const INSERT: &str = "INSERT INTO checkpoint \
    (position, epoch, fingerprint, recorded_at, updated_at, group_name, revision, generation, shape) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const MOVE: &str = "UPDATE checkpoint \
    SET position = ?1, epoch = ?2, fingerprint = ?3, recorded_at = ?4, updated_at = ?5 \
    WHERE group_name = ?6 AND revision = ?7 AND generation = ?8";
/// Nothing is written where it says so already: whoever drains says each time that nothing stands still, and
/// rows in memory are let go when anybody writes.
const SET_STOPPED: &str = "UPDATE checkpoint SET stopped_position = ?4, stopped_reason = ?5 \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3 \
    AND (stopped_position, stopped_reason) IS NOT (?4, ?5)";
const SELECT_FILLING: &str =
    "SELECT filling FROM checkpoint WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const SET_FILLING: &str = "UPDATE checkpoint SET filling = ?4 \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const SELECT_REPAIRS: &str =
    "SELECT repairs FROM checkpoint WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const COUNT_REPAIR: &str = "UPDATE checkpoint SET repairs = repairs + 1 \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const DELETE: &str = "DELETE FROM checkpoint WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const INSERT_HISTORY: &str = "INSERT INTO checkpoint_history \
    (group_name, revision, generation, after, position, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const SWEEP_HISTORY: &str = "DELETE FROM checkpoint_history WHERE id <= ?1";
const SELECT_PASSED: &str = "SELECT at FROM checkpoint_history \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3 AND after < ?4 AND position >= ?4 \
    ORDER BY id LIMIT 1";
const SELECT_HISTORY_START: &str = "SELECT id, after FROM checkpoint_history \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3 ORDER BY id LIMIT 1";
const CLEAR_HISTORY: &str =
    "DELETE FROM checkpoint_history WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";

/// A build's place: which checkpoint of a file it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) group: &'static str,
    pub(crate) revision: u32,
    pub(crate) generation: u32,
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
    /// The place of a group's build.
    pub(crate) fn of(group: &Group, build: BuildId) -> Self {
        let BuildId { revision, generation } = build;
        Self { group: group.name(), revision, generation }
    }

    /// The build that has it.
    pub(crate) fn build(self) -> BuildId {
        BuildId { revision: self.revision, generation: self.generation }
    }

    /// The file of a build that has one of its own.
    pub(crate) fn file_in(self, models: &Path) -> PathBuf {
        let Self { group, revision, generation } = self;
        models.join(format!("{group}-r{revision}-g{generation}.db"))
    }

    fn key(self) -> (&'static str, u32, u32) {
        (self.group, self.revision, self.generation)
    }

    /// The checkpoint, if the group was ever attached.
    pub(crate) fn read(self, connection: &Connection) -> rusqlite::Result<Option<Checkpoint>> {
        let mut statement = connection.prepare_cached(SELECT)?;
        statement.query_row(self.key(), |row| checkpoint_of(row, 0)).optional()
    }

    /// The shape its tables were made with.
    pub(crate) fn shape(self, connection: &Connection) -> rusqlite::Result<Option<String>> {
        let mut statement = connection.prepare_cached(SELECT_SHAPE)?;
        statement.query_row(self.key(), |row| row.get(0)).optional()
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
            self.generation,
            shape,
        ))?;
        Ok(())
    }

    /// Writes down why the group does not move on, or that it does.
    pub(crate) fn stop(self, connection: &Connection, stopped: Option<&Stopped>) -> rusqlite::Result<()> {
        let position = stopped.map(|stopped| stopped.position.0.cast_signed());
        let reason = stopped.map(|stopped| stopped.reason.as_str());
        let mut statement = connection.prepare_cached(SET_STOPPED)?;
        statement.execute((self.group, self.revision, self.generation, position, reason))?;
        Ok(())
    }

    /// Which loading is under way, whose rows the checkpoint does not cover yet; 0 for none.
    pub(crate) fn filling(self, connection: &Connection) -> rusqlite::Result<i64> {
        let mut statement = connection.prepare_cached(SELECT_FILLING)?;
        Ok(statement.query_row(self.key(), |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Notes which loading is under way.
    pub(crate) fn set_filling(self, connection: &Connection, filling: i64) -> rusqlite::Result<()> {
        let row = (self.group, self.revision, self.generation, filling);
        connection.prepare_cached(SET_FILLING)?.execute(row)?;
        Ok(())
    }

    /// Notes that rows were put right, parked or removed without moving the checkpoint.
    pub(crate) fn count_repair(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached(COUNT_REPAIR)?.execute(self.key())?;
        Ok(())
    }

    /// How often that was.
    pub(crate) fn repairs(self, connection: &Connection) -> rusqlite::Result<u64> {
        let mut statement = connection.prepare_cached(SELECT_REPAIRS)?;
        let repairs: Option<i64> = statement.query_row(self.key(), |row| row.get(0)).optional()?;
        Ok(repairs.unwrap_or(0).cast_unsigned())
    }

    /// Removes the checkpoint with its history.
    pub(crate) fn remove(self, connection: &Connection) -> rusqlite::Result<()> {
        self.forget(connection)?;
        connection.prepare_cached(DELETE)?.execute(self.key())?;
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
        let (group, revision, generation) = self.key();
        let (after, position) = (after.0.cast_signed(), position.0.cast_signed());
        let row = (group, revision, generation, after, position, now.as_micros());
        let id = connection.prepare_cached(INSERT_HISTORY)?.insert(row)?;
        let oldest = id.saturating_sub(i64::try_from(history_max).unwrap_or(i64::MAX));
        if oldest > 0 {
            connection.prepare_cached(SWEEP_HISTORY)?.execute([oldest])?;
        }
        Ok(())
    }

    /// When a position at or below the checkpoint was passed.
    pub(crate) fn passed(self, connection: &Connection, position: Position) -> rusqlite::Result<Passed> {
        let asked = (self.group, self.revision, self.generation, position.0.cast_signed());
        let at: Option<i64> =
            connection.prepare_cached(SELECT_PASSED)?.query_row(asked, |row| row.get(0)).optional()?;
        if let Some(at) = at {
            return Ok(Passed::At(Timestamp::from_stored(at)));
        }
        let start: Option<(i64, i64)> = connection
            .prepare_cached(SELECT_HISTORY_START)?
            .query_row(self.key(), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(match start {
            // The first row ever written has id 1: when it is still there, nothing was forgotten.
            Some((id, after)) if id > 1 && position.0.cast_signed() <= after => Passed::Forgotten,
            _ => Passed::WithTheEvent,
        })
    }

    /// Forgets every move.
    pub(crate) fn forget(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached(CLEAR_HISTORY)?.execute(self.key())?;
        Ok(())
    }
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
        place.generation,
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
