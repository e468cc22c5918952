//! The registry of generations: which physical builds exist, and which one serves.

use super::checkpoint::Place;
use crate::fault::OrFault;
use crate::shared::Schema;
use crate::time::Stamp;
use diptych_core::{Fault, Timestamp};
use diptych_query::{Group, Mode};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// The generation of a build that is the first of its revision.
const FIRST: i32 = 1;

const SELECT_SERVING: &str =
    "SELECT generation FROM diptych.generation WHERE group_name = $1 AND revision = $2 AND serving";
const INSERT: &str = "INSERT INTO diptych.generation \
    (group_name, revision, generation, mode, shape, created_at, serving) \
    VALUES ($1, $2, $3, $4, $5, $6, TRUE)";
const NOTE_BUILT: &str = "UPDATE diptych.generation SET mode = $4, shape = $5 \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 AND (mode <> $4 OR shape <> $5)";

/// Where the serving build of a group's revision is; the first one where there is none yet. The caller owns
/// the transaction and the lock of the registry.
pub(crate) async fn serving(
    client: &Client,
    schema: &Schema,
    group: &Group,
    shape: &str,
    now: Timestamp,
) -> Result<Place, Fault> {
    let (name, revision) = (group.name(), group.revision().cast_signed());
    let asked: [_; 2] = [(&name as _, Type::TEXT), (&revision as _, Type::INT4)];
    let held = client.query_typed_opt(&schema.sql(SELECT_SERVING), &asked).await.or_fault()?;
    if let Some(row) = held {
        let generation = row.try_get(0).or_fault()?;
        return Ok(Place { group: name, revision, generation, partition: 0 });
    }
    let place = Place { group: name, revision, generation: FIRST, partition: 0 };
    let [group_name, revision, generation] = place.build();
    let (mode, created_at) = (group.mode().as_str(), Stamp(now));
    let row = [
        group_name,
        revision,
        generation,
        (&mode, Type::TEXT),
        (&shape, Type::TEXT),
        (&created_at, Type::TIMESTAMPTZ),
    ];
    client.execute_typed(&schema.sql(INSERT), &row).await.or_fault()?;
    Ok(place)
}

/// Notes what a generation turned out to be, once its tables are there.
pub(crate) async fn note_built(
    client: &Client,
    schema: &Schema,
    place: Place,
    mode: Mode,
    shape: &str,
) -> Result<(), Fault> {
    let mode = mode.as_str();
    let [group, revision, generation] = place.build();
    let row = [group, revision, generation, (&mode, Type::TEXT), (&shape, Type::TEXT)];
    client.execute_typed(&schema.sql(NOTE_BUILT), &row).await.or_fault()?;
    Ok(())
}
