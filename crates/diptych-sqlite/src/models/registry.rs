//! The builds of groups in `log.db`: which there are, where each stands, and how they came there. Every
//! function runs inside a transaction of its caller's.

use super::checkpoint::Place;
use super::file::{Attached, open_tables, shape_of};
use crate::fault::OrFault;
use diptych_core::{Actor, Fault, Timestamp};
use diptych_query::{Build, BuildId, BuildMove, Group, Mark, Mode, Order, Stage, StageMove, own_build};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;

const SELECT_ALL: &str = "SELECT group_name, revision, generation, stage, shape, declared, \
    created_at, moved_at FROM build ORDER BY group_name, revision, generation";
const SELECT_GROUP: &str = "SELECT group_name, revision, generation, stage, shape, declared, \
    created_at, moved_at FROM build WHERE group_name = ?1 ORDER BY revision, generation";
const SELECT_STAGE: &str =
    "SELECT stage FROM build WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const INSERT: &str = "INSERT INTO build \
    (group_name, revision, generation, mode, stage, shape, declared, created_at, moved_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)";
const MOVE: &str = "UPDATE build SET stage = ?4, moved_at = ?5 \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3";
const INSERT_MOVE: &str = "INSERT INTO stage_move \
    (group_name, revision, generation, from_stage, to_stage, actor, reason, at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const SELECT_MOVES: &str = "SELECT group_name, revision, generation, from_stage, to_stage, \
    actor, reason, at FROM stage_move WHERE group_name = ?1 ORDER BY id DESC LIMIT ?2";
const SELECT_ALL_MOVES: &str = "SELECT group_name, revision, generation, from_stage, to_stage, \
    actor, reason, at FROM stage_move ORDER BY id DESC LIMIT ?1";
const SELECT_CHANGES: &str = "SELECT builds_changed FROM log WHERE id = 1";
const COUNT_CHANGE: &str = "UPDATE log SET builds_changed = builds_changed + 1 WHERE id = 1";
const NOTE_DECLARED: &str = "UPDATE build SET mode = ?4, shape = ?5, declared = ?6 \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3 \
        AND (mode <> ?4 OR shape <> ?5 OR declared = '[]')";

/// Every build that is known, by group.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<HashMap<String, Vec<Build>>> {
    let mut select = connection.prepare_cached(SELECT_ALL)?;
    let mut rows = select.query([])?;
    let mut all: HashMap<String, Vec<Build>> = HashMap::new();
    while let Some(row) = rows.next()? {
        all.entry(row.get(0)?).or_default().push(build_of(row)?);
    }
    Ok(all)
}

/// How often builds have changed.
pub(crate) fn changes(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(SELECT_CHANGES)?.query_row([], |row| row.get(0))
}

/// The builds of one group, oldest first.
pub(crate) fn of_group(connection: &Connection, group: &str) -> rusqlite::Result<Vec<Build>> {
    let mut select = connection.prepare_cached(SELECT_GROUP)?;
    let builds = select.query_map([group], build_of)?;
    builds.collect()
}

/// Where a build stands; none where it is not known.
pub(crate) fn stage_of(connection: &Connection, group: &str, build: BuildId) -> Result<Option<Stage>, Fault> {
    let mut select = connection.prepare_cached(SELECT_STAGE).or_fault()?;
    let asked = (group, build.revision, build.generation);
    select.query_row(asked, |row| stage_in(row, 0)).optional().or_fault()
}

/// Begins a build beside those there are; one that is inline gets its tables at once, the file of another is
/// made when it is first opened.
pub(crate) fn begin(
    connection: &Connection,
    group: &Group,
    order: &Order,
    start: Mark,
    now: Timestamp,
) -> Result<Build, Fault> {
    let builds = of_group(connection, group.name()).or_fault()?;
    let own = builds.iter().filter(|build| build.id.revision == group.revision());
    let generation = own.map(|build| build.id.generation).max().unwrap_or(0) + 1;
    let id = BuildId { revision: group.revision(), generation };
    let (shape, declared) = (shape_of(group), group.declared());
    let row = (
        group.name(),
        id.revision,
        id.generation,
        group.mode().as_str(),
        Stage::Building.as_str(),
        &shape,
        &declared,
        now.as_micros(),
    );
    connection.prepare_cached(INSERT).and_then(|mut insert| insert.execute(row)).or_fault()?;
    let moved = BuildMove { build: id, from: Stage::Designed, to: Stage::Building };
    record_move(connection, group.name(), moved, order, now).or_fault()?;
    if group.mode() == Mode::Inline {
        let attached = Attached::in_log(group, id)?;
        open_tables(connection, group, attached.place, &attached.tables, start, now)?;
    }
    Ok(Build { id, stage: Stage::Building, shape, declared, created_at: now, moved_at: now })
}

/// The builds of a group, with a first one begun where its revision has none.
pub(crate) fn of_group_or_begun(
    connection: &Connection,
    group: &Group,
    start: Mark,
    now: Timestamp,
) -> Result<Vec<Build>, Fault> {
    let builds = of_group(connection, group.name()).or_fault()?;
    if builds.iter().any(|build| build.id.revision == group.revision()) {
        return Ok(builds);
    }
    begin(connection, group, &Order::of_the_hinge("its revision was first opened"), start, now)?;
    of_group(connection, group.name()).or_fault()
}

/// The place of the build that a group's revision moves; none when every one of them is retired.
pub(crate) fn own_place(builds: &[Build], group: &Group) -> Option<Place> {
    own_build(builds, group.revision()).map(|build| Place::of(group, build.id))
}

/// Writes moves that were judged in the same transaction.
pub(crate) fn make_moves(
    connection: &Connection,
    group: &str,
    moves: &[BuildMove],
    order: &Order,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(MOVE)?;
    for moved in moves {
        let BuildMove { build, to, .. } = moved;
        update.execute((group, build.revision, build.generation, to.as_str(), now.as_micros()))?;
        record_move(connection, group, *moved, order, now)?;
    }
    Ok(())
}

/// Notes what a build turned out to be, once its own code has its tables open.
pub(crate) fn note_declared(connection: &Connection, group: &Group, place: Place) -> rusqlite::Result<()> {
    let Place { group: name, revision, generation } = place;
    let (shape, declared) = (shape_of(group), group.declared());
    let row = (name, revision, generation, group.mode().as_str(), shape, declared);
    connection.prepare_cached(NOTE_DECLARED)?.execute(row)?;
    Ok(())
}

/// The moves of one group, or of all, newest first.
pub(crate) fn moves(
    connection: &Connection,
    group: Option<&str>,
    most: usize,
) -> rusqlite::Result<Vec<StageMove>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    match group {
        Some(group) => {
            let mut select = connection.prepare_cached(SELECT_MOVES)?;
            select.query_map((group, most), move_of)?.collect()
        }
        None => {
            let mut select = connection.prepare_cached(SELECT_ALL_MOVES)?;
            select.query_map([most], move_of)?.collect()
        }
    }
}

fn record_move(
    connection: &Connection,
    group: &str,
    moved: BuildMove,
    order: &Order,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let BuildMove { build, from, to } = moved;
    let row = (
        group,
        build.revision,
        build.generation,
        from.as_str(),
        to.as_str(),
        order.actor.as_str(),
        &order.reason,
        now.as_micros(),
    );
    connection.prepare_cached(INSERT_MOVE)?.execute(row)?;
    // INVARIANT: whoever changes builds counts it in the same transaction; writers look at the count alone.
    connection.prepare_cached(COUNT_CHANGE)?.execute([])?;
    Ok(())
}

fn build_of(row: &Row<'_>) -> rusqlite::Result<Build> {
    Ok(Build {
        id: BuildId { revision: row.get(1)?, generation: row.get(2)? },
        stage: stage_in(row, 3)?,
        shape: row.get(4)?,
        declared: row.get(5)?,
        created_at: Timestamp::from_stored(row.get(6)?),
        moved_at: Timestamp::from_stored(row.get(7)?),
    })
}

fn move_of(row: &Row<'_>) -> rusqlite::Result<StageMove> {
    let build = BuildId { revision: row.get(1)?, generation: row.get(2)? };
    let moved = BuildMove { build, from: stage_in(row, 3)?, to: stage_in(row, 4)? };
    let actor = Actor::new(row.get::<_, String>(5)?).map_err(|error| unreadable(5, error.into()))?;
    let order = Order { actor, reason: row.get(6)? };
    Ok(StageMove { group: row.get(0)?, moved, order, at: Timestamp::from_stored(row.get(7)?) })
}

fn stage_in(row: &Row<'_>, column: usize) -> rusqlite::Result<Stage> {
    let word: String = row.get(column)?;
    Stage::of(&word).ok_or_else(|| unreadable(column, FromSqlError::InvalidType.into()))
}

fn unreadable(column: usize, error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
}
