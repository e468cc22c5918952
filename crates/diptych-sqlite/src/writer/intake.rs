//! Facts from elsewhere, in one transaction with the watermark of their source.

use super::Writer;
use super::command::Prepared;
use super::group::GroupTx;
use super::inline::run;
use crate::fault::OrFault;
use diptych_command::{
    Arrival, CommitError, EntryPrint, Source, SourcePosition, TakenIn, Watermark, not_in_order, out_of_order,
};
use diptych_core::{Code, Fault, Timestamp};
use rusqlite::{Connection, OptionalExtension};

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const SELECT_WATERMARK: &str = "SELECT position, print FROM source WHERE name = ?1";
const SET_WATERMARK: &str = "INSERT INTO source (name, position, print, updated_at) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT DO UPDATE SET position = excluded.position, print = excluded.print, \
    updated_at = excluded.updated_at";

impl Writer {
    /// Takes arrivals in, up to the first that an inline read model refuses.
    pub(crate) fn take_in(&mut self, source: &Source, arrivals: Vec<Arrival>) -> Result<TakenIn, Fault> {
        if let Some(entry) = out_of_order(&arrivals) {
            return Err(not_in_order(source, entry));
        }
        let taken = self.take_in_now(source, arrivals);
        if taken.is_err() {
            self.recover();
        }
        taken
    }

    fn take_in_now(&mut self, source: &Source, arrivals: Vec<Arrival>) -> Result<TakenIn, Fault> {
        let Self { connection, shared, state, inline } = self;
        run(connection, BEGIN)?;
        let mut group = GroupTx::begin(connection, shared, state, inline)?;
        let before = watermark(connection, source)?;
        let (mut taken, mut passed_over, mut refused) = (0, 0, None);
        let mut reached = None;
        for arrival in arrivals {
            let (position, print) = (arrival.position(), arrival.print);
            let Some(arrival) = arrival.beyond(before) else {
                passed_over += 1;
                continue;
            };
            match group.take(Prepared::of_arrival(arrival))? {
                Ok(_) => taken += 1,
                Err(CommitError::Fault(fault)) => {
                    refused = Some((position, fault));
                    break;
                }
                Err(_) => return Err(Fault::permanent(Code::Internal, "an arrival met a condition")),
            }
            reached = Some(Watermark { position, print });
        }
        let now = group.now;
        group.finish()?;
        if let Some(reached) = reached {
            set_watermark(connection, source, reached, now)?;
        }
        run(connection, COMMIT)?;
        self.announce();
        Ok(TakenIn { taken, passed_over, head: self.state.head.token, refused })
    }
}

/// How far a source has been taken in.
pub(crate) fn watermark(connection: &Connection, source: &Source) -> Result<Option<Watermark>, Fault> {
    let mut statement = connection.prepare_cached(SELECT_WATERMARK).or_fault()?;
    let row = statement.query_row([source.as_str()], |row| {
        let position = SourcePosition(row.get::<_, i64>(0)?.cast_unsigned());
        Ok(Watermark { position, print: EntryPrint(row.get::<_, i64>(1)?.cast_unsigned()) })
    });
    row.optional().or_fault()
}

fn set_watermark(
    connection: &Connection,
    source: &Source,
    reached: Watermark,
    now: Timestamp,
) -> Result<(), Fault> {
    let Watermark { position, print } = reached;
    let row = (source.as_str(), position.0.cast_signed(), print.0.cast_signed(), now.as_micros());
    connection.prepare_cached(SET_WATERMARK).and_then(|mut set| set.execute(row)).or_fault()?;
    Ok(())
}
