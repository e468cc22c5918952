//! Reading the registry's file: rows into arrivals, in the order of their numbers. A file with a row that
//! cannot be read gives nothing.

use crate::facts::PartyEvent;
use crate::import::{BadRow, failed, of_rows};
use csv::StringRecord;
use diptych::command::{Arrival, CommandHeader, EntryPrint, InputHash, RawCommand, SourcePosition};
use diptych::core::{
    Actor, CommandId, Event, ExpectedVersion, Fault, NewEvent, StreamId, StreamRef, Tenant, Timestamp,
};
use std::path::Path;

/// The columns, in order.
const COLUMNS: [&str; 6] = ["seq", "party_id", "event", "display_name", "reason", "occurred_at"];

/// The most rows of a file; they are held in memory.
const ROWS_MAX: usize = 1_000_000;

/// What every row asks for, in the audit.
const COMMAND: &str = "take-in";

/// Whose words the rows are: the tenant that they belong to, and who is named as their actor.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub(super) tenant: Tenant,
    pub(super) actor: Actor,
}

/// Reads the whole file: an arrival for each row, with its line.
///
/// # Errors A file that cannot be opened or is too large, other columns than expected, or rows that cannot be
/// read or do not rise, with their lines.
pub(super) fn read(path: &Path, teller: &Teller) -> Result<Vec<Arrival>, Fault> {
    let cannot = |error: csv::Error| failed(format!("`{}` cannot be read", path.display())).because(error);
    let mut reader = csv::Reader::from_path(path).map_err(cannot)?;
    if reader.headers().map_err(cannot)? != &StringRecord::from(COLUMNS.to_vec()) {
        return Err(failed(format!("the columns must be {}", COLUMNS.join(","))));
    }
    let (mut arrivals, mut bad): (Vec<Arrival>, Vec<BadRow>) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(cannot)?;
        let line = record.position().map_or(0, csv::Position::line);
        let last = arrivals.last().map(Arrival::position);
        match arrival(&record, teller, last) {
            Ok(arrival) => arrivals.push(arrival),
            Err(reason) => bad.push(BadRow { line, reason }),
        }
        if arrivals.len() > ROWS_MAX {
            return Err(failed(format!("the file has more than {ROWS_MAX} rows; cut it into several")));
        }
    }
    if bad.is_empty() { Ok(arrivals) } else { Err(of_rows(bad)) }
}

/// What a row tells. The error says what is wrong with it.
fn arrival(record: &StringRecord, teller: &Teller, last: Option<SourcePosition>) -> Result<Arrival, String> {
    let text = |column: usize| record.get(column).unwrap_or_default();
    let wrong = |column: usize| format!("cannot be read: `{}` cannot be `{}`", COLUMNS[column], text(column));
    let seq = SourcePosition(text(0).parse().map_err(|_| wrong(0))?);
    if last.unwrap_or_default() >= seq {
        return Err(format!("has `seq` {seq}, which does not come behind {}", last.unwrap_or_default()));
    }
    let event = event(record).ok_or_else(|| wrong(2))?;
    let (display_name, reason) = match &event {
        PartyEvent::PartyRegistered { display_name } => (display_name, None),
        PartyEvent::PartyNameCorrected { display_name, reason } => (display_name, Some(reason)),
    };
    if display_name.trim().is_empty() {
        return Err(wrong(3));
    }
    if reason.map_or(!text(4).is_empty(), |reason| reason.trim().is_empty()) {
        return Err(wrong(4));
    }
    let occurred_at: Timestamp = text(5).parse().map_err(|_| wrong(5))?;
    let stream = StreamId::new(PartyEvent::CATEGORY, text(1)).map_err(|_| wrong(1))?;
    let stream = StreamRef { tenant: teller.tenant.clone(), stream };
    let event = NewEvent::from_event(&event).map_err(|error| format!("cannot be stored: {error}"))?;
    let actor = teller.actor.clone();
    let raw = RawCommand { name: COMMAND.to_owned(), body: event.payload.clone() };
    let id = CommandId::new(format!("{actor}/{seq}")).map_err(|_| wrong(0))?;
    let header = CommandHeader {
        id,
        hash: InputHash::of(&actor, &stream, &raw, ExpectedVersion::Any),
        stream,
        name: raw.name,
        actor,
        correlation: None,
        causation: None,
        policy: None,
        occurred_at,
    };
    Ok(Arrival { print: print(record), header, events: vec![(seq, event)] })
}

/// The event of a row; none where there is no such event.
fn event(record: &StringRecord) -> Option<PartyEvent> {
    let display_name = record.get(3)?.to_owned();
    match record.get(2)? {
        "PartyRegistered" => Some(PartyEvent::PartyRegistered { display_name }),
        "PartyNameCorrected" => {
            Some(PartyEvent::PartyNameCorrected { display_name, reason: record.get(4)?.to_owned() })
        }
        _ => None,
    }
}

/// 64 bits of what a row holds, by BLAKE3.
fn print(record: &StringRecord) -> EntryPrint {
    let mut hasher = blake3::Hasher::new();
    for cell in record {
        hasher.update(&(cell.len() as u64).to_le_bytes());
        hasher.update(cell.as_bytes());
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    EntryPrint(u64::from_le_bytes(bytes))
}
