//! The registry of generations in `log.db`: which physical builds exist, and which one serves.

use super::checkpoint::Place;
use crate::fault::OrFault;
use diptych_core::{Fault, Timestamp};
use diptych_query::Mode;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

const SELECT_SERVING: &str =
    "SELECT generation FROM generation WHERE group_name = ?1 AND revision = ?2 AND serving = 1";
const INSERT: &str = "INSERT INTO generation \
    (group_name, revision, generation, mode, shape, created_at, serving) VALUES (?1, ?2, 1, ?3, ?4, ?5, 1)";
const NOTE_BUILT: &str = "UPDATE generation SET mode = ?4, shape = ?5 \
    WHERE group_name = ?1 AND revision = ?2 AND generation = ?3 AND (mode <> ?4 OR shape <> ?5)";

/// The generation that serves a revision; the first one where there is none yet.
pub(crate) fn serving(
    connection: &mut Connection,
    place: Place,
    mode: Mode,
    shape: &str,
    now: Timestamp,
) -> Result<u32, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let held = transaction
        .query_row(SELECT_SERVING, (place.group, place.revision), |row| row.get(0))
        .optional()
        .or_fault()?;
    let generation = match held {
        Some(generation) => generation,
        None => {
            let row = (place.group, place.revision, mode.as_str(), shape, now.as_micros());
            transaction.execute(INSERT, row).or_fault()?;
            1
        }
    };
    transaction.commit().or_fault()?;
    Ok(generation)
}

/// Notes what a generation turned out to be, once its tables are open.
pub(crate) fn note_built(
    connection: &Connection,
    place: Place,
    generation: u32,
    mode: Mode,
    shape: &str,
) -> Result<(), Fault> {
    let row = (place.group, place.revision, generation, mode.as_str(), shape);
    connection.execute(NOTE_BUILT, row).or_fault()?;
    Ok(())
}
