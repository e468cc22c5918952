//! The registry of builds as tables: which there are, where each stands, and every move. The caller owns the
//! transaction.

use super::checkpoint::Place;
use super::rows::{Typed, time_at};
use crate::fault::{OrFault, damaged};
use crate::shared::Schema;
use crate::time::Stamp;
use diptych_core::{Actor, Code, Fault, Timestamp};
use diptych_query::{Build, BuildId, BuildMove, Group, Mode, Order, Stage, StageMove, own_build};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

/// Only one process at a time makes, moves or drops builds. The lock ends with the transaction.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('diptych read models of ' || $1, 0))";
const SELECT: &str = "SELECT group_name, revision, generation, stage, shape, declared, created_at, moved_at \
    FROM diptych.generation WHERE group_name = ANY($1) ORDER BY group_name, revision, generation";
const SELECT_GROUPS: &str = "SELECT DISTINCT group_name FROM diptych.generation ORDER BY 1";
const INSERT: &str = "INSERT INTO diptych.generation \
    (group_name, revision, generation, mode, shape, declared, stage, created_at, moved_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)";
/// Builds of before there was a declaration to write down get theirs.
const NOTE: &str = "UPDATE diptych.generation \
    SET mode = $4, declared = CASE declared WHEN '[]' THEN $5 ELSE declared END \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND (mode <> $4 OR declared = '[]')";
const SET_STAGE: &str = "UPDATE diptych.generation SET stage = $4, moved_at = $5 \
    WHERE group_name = $1 AND revision = $2 AND generation = $3";
const INSERT_MOVE: &str = "INSERT INTO diptych.stage_move \
    (group_name, revision, generation, from_stage, to_stage, actor, reason, at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const SELECT_MOVES: &str = "SELECT group_name, revision, generation, from_stage, to_stage, actor, reason, at \
    FROM diptych.stage_move WHERE $1::text IS NULL OR group_name = $1 ORDER BY number DESC LIMIT $2";

/// Waits for the registry.
pub(crate) async fn lock(client: &Client, schema: &Schema) -> Result<(), Fault> {
    client.query_typed(LOCK, &[(&schema.name(), Type::TEXT)]).await.or_fault()?;
    Ok(())
}

/// Every build of a group, oldest first.
pub(crate) async fn builds(client: &Client, schema: &Schema, group: &str) -> Result<Vec<Build>, Fault> {
    let all = builds_of(client, schema, &[group]).await?;
    Ok(all.into_iter().map(|(_, build)| build).collect())
}

/// Every build of some groups, with the group's name.
pub(crate) async fn builds_of(
    client: &Client,
    schema: &Schema,
    groups: &[&str],
) -> Result<Vec<(String, Build)>, Fault> {
    let rows = client.query_typed(&schema.sql(SELECT), &[(&groups, Type::TEXT_ARRAY)]).await.or_fault()?;
    rows.iter().map(|row| Ok((row.try_get(0).or_fault()?, build_at(row)?))).collect()
}

/// The groups of which any build is known.
pub(crate) async fn groups(client: &Client, schema: &Schema) -> Result<Vec<String>, Fault> {
    let rows = client.query_typed(&schema.sql(SELECT_GROUPS), &[]).await.or_fault()?;
    rows.iter().map(|row| row.try_get(0).or_fault()).collect()
}

/// The own build of a group's revision; none where it has no build yet.
///
/// # Errors
/// A revision whose last build is retired.
pub(crate) fn own(builds: &[Build], group: &Group) -> Result<Option<BuildId>, Fault> {
    let (name, revision) = (group.name(), group.revision());
    match own_build(builds, revision) {
        Some(own) => Ok(Some(own.id)),
        None if builds.iter().any(|build| build.id.revision == revision) => {
            let message = format!("revision {revision} of read model `{name}` is retired");
            Err(Fault::permanent(Code::ModelRetired, message))
        }
        None => Ok(None),
    }
}

/// Notes a new build of a group, at stage `building`, and that it was begun.
pub(crate) async fn begin(
    client: &Client,
    schema: &Schema,
    group: &Group,
    (builds, shape): (&[Build], &str),
    order: &Order,
    now: Timestamp,
) -> Result<Build, Fault> {
    let own = builds.iter().filter(|build| build.id.revision == group.revision());
    let generation = own.map(|build| build.id.generation).max().unwrap_or(0) + 1;
    let id = BuildId { revision: group.revision(), generation };
    let build = Build {
        id,
        stage: Stage::Building,
        shape: shape.to_owned(),
        declared: group.declared(),
        created_at: now,
        moved_at: now,
    };
    let (place, stage, mode) = (Place::at(group.name(), id), build.stage.as_str(), group.mode().as_str());
    let [name, revision, generation] = place.build();
    let row: [Typed<'_>; 8] = [
        name,
        revision,
        generation,
        (&mode, Type::TEXT),
        (&shape, Type::TEXT),
        (&build.declared, Type::TEXT),
        (&stage, Type::TEXT),
        (&Stamp(now), Type::TIMESTAMPTZ),
    ];
    client.execute_typed(&schema.sql(INSERT), &row).await.or_fault()?;
    let begun = BuildMove { build: id, from: Stage::Designed, to: Stage::Building };
    record(client, schema, group.name(), begun, order, now).await?;
    Ok(build)
}

/// Notes what is known of a build that the code has opened.
pub(crate) async fn note(client: &Client, schema: &Schema, place: Place, group: &Group) -> Result<(), Fault> {
    let (mode, declared): (&str, _) = (Mode::as_str(group.mode()), group.declared());
    let [name, revision, generation] = place.build();
    let row = [name, revision, generation, (&mode as _, Type::TEXT), (&declared as _, Type::TEXT)];
    client.execute_typed(&schema.sql(NOTE), &row).await.or_fault()?;
    Ok(())
}

/// Writes down that a build has moved. The caller has judged it under the lock.
pub(crate) async fn make(
    client: &Client,
    schema: &Schema,
    group: &'static str,
    moved: BuildMove,
    order: &Order,
    now: Timestamp,
) -> Result<(), Fault> {
    let (place, to) = (Place::at(group, moved.build), moved.to.as_str());
    let [name, revision, generation] = place.build();
    let row: [Typed<'_>; 5] =
        [name, revision, generation, (&to, Type::TEXT), (&Stamp(now), Type::TIMESTAMPTZ)];
    client.execute_typed(&schema.sql(SET_STAGE), &row).await.or_fault()?;
    record(client, schema, group, moved, order, now).await
}

async fn record(
    client: &Client,
    schema: &Schema,
    group: &'static str,
    moved: BuildMove,
    order: &Order,
    now: Timestamp,
) -> Result<(), Fault> {
    let (place, from, to) = (Place::at(group, moved.build), moved.from.as_str(), moved.to.as_str());
    // A text of PostgreSQL's holds no NUL, and whoever gives a reason may write one.
    let reason = order.reason.replace('\0', "\u{fffd}");
    let [name, revision, generation] = place.build();
    let row: [Typed<'_>; 8] = [
        name,
        revision,
        generation,
        (&from, Type::TEXT),
        (&to, Type::TEXT),
        (&order.actor.as_str(), Type::TEXT),
        (&reason, Type::TEXT),
        (&Stamp(now), Type::TIMESTAMPTZ),
    ];
    client.execute_typed(&schema.sql(INSERT_MOVE), &row).await.or_fault()?;
    Ok(())
}

/// The moves of one group's builds, or of all, newest first.
pub(crate) async fn moves(
    client: &Client,
    schema: &Schema,
    group: Option<&str>,
    most: usize,
) -> Result<Vec<StageMove>, Fault> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let asked: [Typed<'_>; 2] = [(&group, Type::TEXT), (&most, Type::INT8)];
    let rows = client.query_typed(&schema.sql(SELECT_MOVES), &asked).await.or_fault()?;
    let read = |row: &Row| {
        let moved = BuildMove { build: id_at(row, 1)?, from: stage_at(row, 3)?, to: stage_at(row, 4)? };
        let actor = Actor::from_stored(row.try_get::<_, String>(5).or_fault()?);
        let order = Order { actor, reason: row.try_get(6).or_fault()? };
        Ok(StageMove { group: row.try_get(0).or_fault()?, moved, order, at: time_at(row, 7)? })
    };
    rows.iter().map(read).collect()
}

fn build_at(row: &Row) -> Result<Build, Fault> {
    Ok(Build {
        id: id_at(row, 1)?,
        stage: stage_at(row, 3)?,
        shape: row.try_get(4).or_fault()?,
        declared: row.try_get(5).or_fault()?,
        created_at: time_at(row, 6)?,
        moved_at: time_at(row, 7)?,
    })
}

fn id_at(row: &Row, from: usize) -> Result<BuildId, Fault> {
    let (revision, generation): (i32, i32) =
        (row.try_get(from).or_fault()?, row.try_get(from + 1).or_fault()?);
    Ok(BuildId { revision: revision.cast_unsigned(), generation: generation.cast_unsigned() })
}

fn stage_at(row: &Row, column: usize) -> Result<Stage, Fault> {
    let word: &str = row.try_get(column).or_fault()?;
    Stage::of(word).ok_or_else(|| damaged("a build is at a stage that there is not"))
}
