//! The checkpoint of a group's build, the history of its moves, and why it stopped.

use super::rows::{Typed, position_at, time_at};
use crate::fault::{OrFault, damaged};
use crate::shared::Schema;
use crate::time::Stamp;
use diptych_core::{Epoch, Fault, Fingerprint, Position, Timestamp, Token};
use diptych_query::{BuildId, Checkpoint, Fence, Mark, Partition, Stopped};
use std::fmt;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// The columns that [`checkpoint_of`] reads.
pub(crate) const COLUMNS: &str = "checkpoint.position, checkpoint.epoch, checkpoint.fingerprint, \
    checkpoint.recorded_at, checkpoint.updated_at, checkpoint.stopped_position, checkpoint.stopped_reason";

/// How many they are.
pub(crate) const COLUMNS_COUNT: usize = 7;

const SELECT: &str = "SELECT position, epoch, fingerprint, recorded_at, updated_at, stopped_position, \
    stopped_reason, fence FROM diptych.checkpoint \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4";
const SELECT_LOCKED: &str = "SELECT position, epoch, fingerprint, recorded_at, updated_at, stopped_position, \
    stopped_reason, fence FROM diptych.checkpoint \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 FOR UPDATE";
/// Of every partition of a build.
const SELECT_ALL: &str = "SELECT position, epoch, fingerprint, recorded_at, updated_at, stopped_position, \
    stopped_reason FROM diptych.checkpoint \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 ORDER BY partition";
/// Where every partition of some builds of a group stands, held until the transaction ends.
const SELECT_BUILDS_LOCKED: &str = "SELECT revision, generation, position FROM diptych.checkpoint \
    WHERE group_name = $1 AND (revision, generation) IN (SELECT * FROM unnest($2, $3)) \
    ORDER BY revision, generation, partition FOR UPDATE";
const FENCE_OFF: &str = "UPDATE diptych.checkpoint \
    SET fence = nextval('diptych.lease_fence'), holder = NULL, held_until = NULL \
    WHERE group_name = $1 AND (revision, generation) IN (SELECT * FROM unnest($2, $3))";
const DELETE: &str = "DELETE FROM diptych.checkpoint \
    WHERE group_name = $1 AND revision = $2 AND generation = $3";
const DELETE_HISTORY: &str = "DELETE FROM diptych.checkpoint_history \
    WHERE group_name = $1 AND revision = $2 AND generation = $3";
/// The lowest mark of a build's partitions, with the first fact that stopped one of them.
const SELECT_LOWEST: &str = "SELECT lowest.position, lowest.epoch, lowest.fingerprint, lowest.recorded_at, \
    lowest.updated_at, stopped.stopped_position, stopped.stopped_reason FROM ( \
        SELECT * FROM diptych.checkpoint WHERE group_name = $1 AND revision = $2 AND generation = $3 \
        ORDER BY position, partition LIMIT 1 \
    ) AS lowest LEFT JOIN ( \
        SELECT stopped_position, stopped_reason FROM diptych.checkpoint \
        WHERE group_name = $1 AND revision = $2 AND generation = $3 AND stopped_position IS NOT NULL \
        ORDER BY stopped_position LIMIT 1 \
    ) AS stopped ON TRUE";
const SELECT_SHAPE: &str = "SELECT shape FROM diptych.checkpoint \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4";
const INSERT: &str = "INSERT INTO diptych.checkpoint (group_name, revision, generation, partition, \
    position, epoch, fingerprint, recorded_at, updated_at, shape, fence) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nextval('diptych.lease_fence'))";
const MOVE: &str = "UPDATE diptych.checkpoint \
    SET position = $5, epoch = $6, fingerprint = $7, recorded_at = $8, updated_at = $9 \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4";
/// The move, its line in the history, and the end of the history, in one.
const MOVE_AND_REMEMBER: &str = "WITH moved AS ( \
        UPDATE diptych.checkpoint \
        SET position = $5, epoch = $6, fingerprint = $7, recorded_at = $8, updated_at = $9, \
        moves = moves + 1 \
        WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 RETURNING moves \
    ), swept AS ( \
        DELETE FROM diptych.checkpoint_history \
        WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 \
        AND move <= (SELECT moves - $11 FROM moved) \
    ) \
    INSERT INTO diptych.checkpoint_history \
    (group_name, revision, generation, partition, move, after, position, at) \
    SELECT $1, $2, $3, $4, moves, $10, $5, $9 FROM moved";
const SET_STOPPED: &str = "UPDATE diptych.checkpoint SET stopped_position = $5, stopped_reason = $6 \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4";
const COUNT_REPAIR: &str = "UPDATE diptych.checkpoint SET repairs = repairs + 1 \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4";
/// What tells the rows of a build from others.
const SELECT_STAMP: &str = "SELECT position, epoch, fingerprint, repairs FROM diptych.checkpoint \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 ORDER BY partition";
const SELECT_PASSED: &str = "SELECT at FROM diptych.checkpoint_history \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 \
    AND after < $5 AND position >= $5     ORDER BY move LIMIT 1";
const SELECT_HISTORY_START: &str = "SELECT move, after FROM diptych.checkpoint_history \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 ORDER BY move LIMIT 1";
const CLEAR_HISTORY: &str = "WITH counted AS ( \
        UPDATE diptych.checkpoint SET moves = 0 \
        WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4 \
    ) \
    DELETE FROM diptych.checkpoint_history \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND partition = $4";

/// Which checkpoint: that of a partition of one build of a revision of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) group: &'static str,
    pub(crate) revision: i32,
    pub(crate) generation: i32,
    /// Its number among the partitions of the build.
    pub(crate) partition: i16,
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

/// A mark as the parameters of a row.
struct MarkCells {
    position: i64,
    epoch: i64,
    fingerprint: i64,
    recorded_at: Stamp,
}

impl MarkCells {
    fn of(mark: Mark) -> Self {
        let Mark { token, recorded_at } = mark;
        Self {
            position: token.position.0.cast_signed(),
            epoch: i64::from(token.epoch.0),
            fingerprint: i64::from(token.fingerprint.0),
            recorded_at: Stamp(recorded_at),
        }
    }

    fn typed(&self) -> [Typed<'_>; 4] {
        [
            (&self.position, Type::INT8),
            (&self.epoch, Type::INT8),
            (&self.fingerprint, Type::INT8),
            (&self.recorded_at, Type::TIMESTAMPTZ),
        ]
    }
}

/// The builds of a group as the parameters of a statement.
struct BuildCells {
    revisions: Vec<i32>,
    generations: Vec<i32>,
}

impl BuildCells {
    fn of(builds: &[BuildId]) -> Self {
        let revisions = builds.iter().map(|build| build.revision.cast_signed()).collect();
        let generations = builds.iter().map(|build| build.generation.cast_signed()).collect();
        Self { revisions, generations }
    }

    fn typed<'a>(&'a self, group: &'a &str) -> [Typed<'a>; 3] {
        let (revisions, generations) = (&self.revisions, &self.generations);
        [(group, Type::TEXT), (revisions, Type::INT4_ARRAY), (generations, Type::INT4_ARRAY)]
    }
}

/// Where every partition of some builds of a group stands, in order. Nobody moves one, or takes or uses a
/// lease on one, until the transaction ends.
pub(crate) async fn lock_builds(
    client: &Client,
    schema: &Schema,
    group: &str,
    builds: &[BuildId],
) -> Result<Vec<(BuildId, Position)>, Fault> {
    let cells = BuildCells::of(builds);
    let asked = cells.typed(&group);
    let rows = client.query_typed(&schema.sql(SELECT_BUILDS_LOCKED), &asked).await.or_fault()?;
    let read = |row: &Row| {
        let (revision, generation): (i32, i32) = (row.try_get(0).or_fault()?, row.try_get(1).or_fault()?);
        let build = BuildId { revision: revision.cast_unsigned(), generation: generation.cast_unsigned() };
        Ok((build, position_at(row, 2)?))
    };
    rows.iter().map(read).collect()
}

/// Takes the leases on all partitions of some builds from whoever has them.
pub(crate) async fn fence_off(
    client: &Client,
    schema: &Schema,
    group: &str,
    builds: &[BuildId],
) -> Result<(), Fault> {
    let cells = BuildCells::of(builds);
    client.execute_typed(&schema.sql(FENCE_OFF), &cells.typed(&group)).await.or_fault()?;
    Ok(())
}

/// What is behind a fault that met a build whose tables another process has removed.
#[derive(Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the build is not there")
    }
}

impl std::error::Error for Gone {}

/// Whether a statement met a build that is not there any more: it has no checkpoint, or no tables.
pub(crate) fn is_gone(fault: &Fault) -> bool {
    let Some(source) = std::error::Error::source(fault) else { return false };
    let said = source.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    source.is::<Gone>() || said == Some(&SqlState::UNDEFINED_TABLE)
}

impl Place {
    /// The first partition of a build.
    pub(crate) fn at(group: &'static str, BuildId { revision, generation }: BuildId) -> Self {
        let (revision, generation) = (revision.cast_signed(), generation.cast_signed());
        Self { group, revision, generation, partition: 0 }
    }

    /// The parameters that every statement here begins with.
    pub(crate) fn typed(&self) -> [Typed<'_>; 4] {
        let [group, revision, generation] = self.build();
        [group, revision, generation, (&self.partition, Type::INT2)]
    }

    /// The parameters that tell the build.
    pub(crate) fn build(&self) -> [Typed<'_>; 3] {
        [(&self.group, Type::TEXT), (&self.revision, Type::INT4), (&self.generation, Type::INT4)]
    }

    /// The place of another partition of the same build.
    pub(crate) fn of(self, partition: Partition) -> Self {
        Self { partition: i16::from(partition.index()), ..self }
    }

    /// The checkpoint, if the group was ever attached.
    pub(crate) async fn read(self, client: &Client, schema: &Schema) -> Result<Option<Checkpoint>, Fault> {
        Ok(self.look(client, schema, false).await?.map(|(checkpoint, _)| checkpoint))
    }

    /// The checkpoint with the fence of its last lease; held until the transaction ends if it is `locked`.
    pub(crate) async fn look(
        self,
        client: &Client,
        schema: &Schema,
        locked: bool,
    ) -> Result<Option<(Checkpoint, Fence)>, Fault> {
        let select = if locked { SELECT_LOCKED } else { SELECT };
        let held = client.query_typed_opt(&schema.sql(select), &self.typed()).await.or_fault()?;
        let Some(row) = held else { return Ok(None) };
        let fence = crate::fault::unsigned(&row, COLUMNS_COUNT)?;
        Ok(Some((checkpoint_of(&row, 0)?, Fence(fence))))
    }

    /// The checkpoints of all partitions of its build, in order.
    pub(crate) async fn all(self, client: &Client, schema: &Schema) -> Result<Vec<Checkpoint>, Fault> {
        let rows = client.query_typed(&schema.sql(SELECT_ALL), &self.build()).await.or_fault()?;
        if rows.is_empty() {
            return Err(self.lost());
        }
        rows.iter().map(|row| checkpoint_of(row, 0)).collect()
    }

    /// Removes the checkpoints of all partitions of its build, and their history.
    pub(crate) async fn remove(self, client: &Client, schema: &Schema) -> Result<(), Fault> {
        // As folds do: the checkpoints first, then what they cover.
        for statement in [DELETE, DELETE_HISTORY] {
            client.execute_typed(&schema.sql(statement), &self.build()).await.or_fault()?;
        }
        Ok(())
    }

    /// The lowest checkpoint of the build's partitions, with the first fact that stopped one of them.
    pub(crate) async fn lowest(self, client: &Client, schema: &Schema) -> Result<Checkpoint, Fault> {
        let held = client.query_typed_opt(&schema.sql(SELECT_LOWEST), &self.build()).await.or_fault()?;
        checkpoint_of(&held.ok_or_else(|| self.lost())?, 0)
    }

    /// The checkpoint of an attached group, held until the transaction ends: nobody else moves it, and no
    /// lease follows the one whose fence comes with it.
    pub(crate) async fn lock(self, client: &Client, schema: &Schema) -> Result<(Checkpoint, Fence), Fault> {
        self.look(client, schema, true).await?.ok_or_else(|| self.lost())
    }

    /// The shape its tables were made with.
    pub(crate) async fn shape(self, client: &Client, schema: &Schema) -> Result<Option<String>, Fault> {
        let held = client.query_typed_opt(&schema.sql(SELECT_SHAPE), &self.typed()).await.or_fault()?;
        held.map(|row| row.try_get(0)).transpose().or_fault()
    }

    /// Begins at a mark.
    pub(crate) async fn begin(
        self,
        client: &Client,
        schema: &Schema,
        shape: &str,
        mark: Mark,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let (cells, now) = (MarkCells::of(mark), Stamp(now));
        let [group, revision, generation, partition] = self.typed();
        let [position, epoch, fingerprint, recorded_at] = cells.typed();
        let row = [
            group,
            revision,
            generation,
            partition,
            position,
            epoch,
            fingerprint,
            recorded_at,
            (&now, Type::TIMESTAMPTZ),
            (&shape, Type::TEXT),
        ];
        client.execute_typed(&schema.sql(INSERT), &row).await.or_fault()?;
        Ok(())
    }

    /// Moves the checkpoint. The caller has locked it and checked where it stands.
    pub(crate) async fn move_to(
        self,
        client: &Client,
        schema: &Schema,
        mark: Mark,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let (cells, now) = (MarkCells::of(mark), Stamp(now));
        let mut row = self.typed().to_vec();
        row.extend(cells.typed());
        row.push((&now, Type::TIMESTAMPTZ));
        let moved = client.execute_typed(&schema.sql(MOVE), &row).await.or_fault()?;
        self.one(moved)
    }

    /// Moves the checkpoint, remembers that, and forgets the oldest moves beyond the limit.
    pub(crate) async fn move_and_remember(
        self,
        client: &Client,
        schema: &Schema,
        (after, mark): (Position, Mark),
        now: Timestamp,
        history_max: u64,
    ) -> Result<(), Fault> {
        let (cells, now, after) = (MarkCells::of(mark), Stamp(now), after.0.cast_signed());
        let history_max = i64::try_from(history_max).unwrap_or(i64::MAX);
        let mut row = self.typed().to_vec();
        row.extend(cells.typed());
        row.extend([
            (&now as &(dyn tokio_postgres::types::ToSql + Sync), Type::TIMESTAMPTZ),
            (&after, Type::INT8),
            (&history_max, Type::INT8),
        ]);
        let moved = client.execute_typed(&schema.sql(MOVE_AND_REMEMBER), &row).await.or_fault()?;
        self.one(moved)
    }

    /// Writes down why the group does not move on, or that it does.
    pub(crate) async fn stop(
        self,
        client: &Client,
        schema: &Schema,
        stopped: Option<&Stopped>,
    ) -> Result<(), Fault> {
        let position = stopped.map(|stopped| stopped.position.0.cast_signed());
        // A text of PostgreSQL's holds no NUL, and a panic's message may.
        let reason = stopped.map(|stopped| stopped.reason.replace('\0', "\u{fffd}"));
        let [group, revision, generation, partition] = self.typed();
        let row = [group, revision, generation, partition, (&position, Type::INT8), (&reason, Type::TEXT)];
        let stopped = client.execute_typed(&schema.sql(SET_STOPPED), &row).await.or_fault()?;
        self.one(stopped)
    }

    /// Notes that rows were put right, parked or removed without moving the checkpoint.
    pub(crate) async fn count_repair(self, client: &Client, schema: &Schema) -> Result<(), Fault> {
        let counted = client.execute_typed(&schema.sql(COUNT_REPAIR), &self.typed()).await.or_fault()?;
        self.one(counted)
    }

    /// Where every partition of its build stands, in order, and how often rows were put right in any.
    pub(crate) async fn stamp(self, client: &Client, schema: &Schema) -> Result<(Vec<Token>, u64), Fault> {
        let rows = client.query_typed(&schema.sql(SELECT_STAMP), &self.build()).await.or_fault()?;
        if rows.is_empty() {
            return Err(self.lost());
        }
        let (mut tokens, mut repairs) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            tokens.push(token_at(row, 0)?);
            repairs += crate::fault::unsigned(row, 3)?;
        }
        Ok((tokens, repairs))
    }

    /// When a position at or below the checkpoint was passed.
    pub(crate) async fn passed(
        self,
        client: &Client,
        schema: &Schema,
        position: Position,
    ) -> Result<Passed, Fault> {
        let position = position.0.cast_signed();
        let [group, revision, generation, partition] = self.typed();
        let asked = [group, revision, generation, partition, (&position as _, Type::INT8)];
        let held = client.query_typed_opt(&schema.sql(SELECT_PASSED), &asked).await.or_fault()?;
        if let Some(row) = held {
            return Ok(Passed::At(time_at(&row, 0)?));
        }
        let start =
            client.query_typed_opt(&schema.sql(SELECT_HISTORY_START), &self.typed()).await.or_fault()?;
        let start = start.map(|row| Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?)));
        Ok(match start.transpose().or_fault()? {
            // The first move has number 1: when it is still there, nothing was forgotten.
            Some((first, after)) if first > 1 && position <= after => Passed::Forgotten,
            _ => Passed::WithTheEvent,
        })
    }

    /// Forgets every move.
    pub(crate) async fn forget(self, client: &Client, schema: &Schema) -> Result<(), Fault> {
        client.execute_typed(&schema.sql(CLEAR_HISTORY), &self.typed()).await.or_fault()?;
        Ok(())
    }

    /// The checkpoint's row is always there: an update that met none has met a damaged store.
    fn one(self, rows: u64) -> Result<(), Fault> {
        if rows == 1 { Ok(()) } else { Err(self.lost()) }
    }

    /// What is said of an attached group without a checkpoint.
    pub(crate) fn lost(self) -> Fault {
        damaged(format!("read model `{}` has lost its checkpoint", self.group)).because(Gone)
    }
}

/// The checkpoint of an attached group, which always has one.
pub(crate) async fn existing(client: &Client, schema: &Schema, place: Place) -> Result<Checkpoint, Fault> {
    place.read(client, schema).await?.ok_or_else(|| place.lost())
}

/// The checkpoint of a row that holds [`COLUMNS`] from a column on.
pub(crate) fn checkpoint_of(row: &Row, from: usize) -> Result<Checkpoint, Fault> {
    let token = token_at(row, from)?;
    let stopped: Option<i64> = row.try_get(from + 5).or_fault()?;
    let reason: Option<String> = row.try_get(from + 6).or_fault()?;
    Ok(Checkpoint {
        mark: Mark { token, recorded_at: time_at(row, from + 3)? },
        updated_at: time_at(row, from + 4)?,
        stopped: stopped.map(|position| Stopped {
            position: Position(position.cast_unsigned()),
            reason: reason.unwrap_or_default(),
        }),
    })
}

/// The token of a row that holds position, epoch and fingerprint from a column on.
fn token_at(row: &Row, from: usize) -> Result<Token, Fault> {
    let number = |column: usize| {
        let held = crate::fault::unsigned(row, from + column)?;
        u32::try_from(held).map_err(|_| damaged("a checkpoint holds a number that there cannot be"))
    };
    let position = position_at(row, from)?;
    Ok(Token { position, epoch: Epoch(number(1)?), fingerprint: Fingerprint(number(2)?) })
}
