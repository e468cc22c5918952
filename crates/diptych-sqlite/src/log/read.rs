//! Reading the log: ranges, streams, single entries. The log never changes, so ranges need no transaction.

use super::gathered::{Cut, Gathered, Spares};
use super::names::{Names, contiguous};
use super::schema::LogIdentity;
use crate::fault::{OrFault, damaged};
use crate::pool::Reader;
use diptych_core::{Code, Fault, Fingerprint, Position, RawFact, StreamRef, Timestamp, Token, Version};
use diptych_query::{Block, Categories, Mark, RawBlock, Statistics};
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;

const SELECT_HEAD: &str = "SELECT coalesce(max(position), 0) FROM event";
const SELECT_RANGE: &str = "SELECT \
    position, type, stream, version, recorded_at, occurred_at, metadata, payload \
    FROM event WHERE position > ?1 AND position <= ?2 ORDER BY position";
const SELECT_STREAM_EVENTS: &str = "SELECT \
    position, type, stream, version, recorded_at, occurred_at, metadata, payload \
    FROM event WHERE stream = (SELECT stream.id FROM stream \
        JOIN tenant ON tenant.id = stream.tenant JOIN category ON category.id = stream.category \
        WHERE tenant.name = ?1 AND category.name = ?2 AND stream.key = ?3) \
    AND version > ?4 ORDER BY version LIMIT ?5";
const SELECT_ENTRY: &str = "SELECT tenant.name, category.name, stream.key, event.version, event_type.name, \
        event.recorded_at, event.payload \
    FROM event JOIN event_type ON event_type.id = event.type JOIN stream ON stream.id = event.stream \
    JOIN tenant ON tenant.id = stream.tenant JOIN category ON category.id = stream.category \
    WHERE event.position = ?1";
const COUNT_STREAMS: &str = "SELECT count(*) FROM stream \
    WHERE EXISTS (SELECT 1 FROM event WHERE event.stream = stream.id)";
const COUNT_COMMANDS: &str = "SELECT count(*) FROM command";

/// Reads what is wanted of the range after a position.
pub(crate) fn read(
    reader: &mut Reader,
    identity: LogIdentity,
    after: Position,
    categories: &Categories,
    positions_max: usize,
) -> Result<Block, Fault> {
    let gathered = Gathered::default();
    let (cut, through, head) = gather(reader, identity, after, categories, positions_max, gathered)?;
    Ok(Block { after, through, facts: cut.rest(), head })
}

/// Reads like [`read`] and leaves the facts to whoever takes them.
pub(crate) fn read_raw(
    reader: &mut Reader,
    identity: LogIdentity,
    after: Position,
    categories: &Categories,
    positions_max: usize,
    spares: &Arc<Spares>,
) -> Result<RawBlock, Fault> {
    let gathered = Gathered::reusing(spares);
    let (cut, through, head) = gather(reader, identity, after, categories, positions_max, gathered)?;
    Ok(RawBlock { through, head, facts: Box::new(cut) })
}

fn gather(
    reader: &mut Reader,
    identity: LogIdentity,
    after: Position,
    categories: &Categories,
    positions_max: usize,
    gathered: Gathered,
) -> Result<(Cut, Mark, Position), Fault> {
    let head = position_of_head(&reader.connection)?;
    if after > head {
        let message = format!("position {after} lies beyond the head of the log, which is {head}");
        return Err(Fault::permanent(Code::LogDiffers, message));
    }
    let end = Position(after.0.saturating_add(positions_max as u64).min(head.0));
    let Reader { connection, names } = reader;
    let cut = range(connection, names, (after, end), categories, gathered)?;
    let through = match cut.last() {
        Some(last) if last.position == end => mark_of(identity, &last),
        _ => mark_at(connection, identity, end)?
            .ok_or_else(|| damaged(format!("the log has no entry at position {end}")))?,
    };
    Ok((cut, through, head))
}

/// The wanted facts of a range, which must be complete.
pub(crate) fn range(
    connection: &Connection,
    names: &mut Names,
    (after, end): (Position, Position),
    categories: &Categories,
    mut gathered: Gathered,
) -> Result<Cut, Fault> {
    debug_assert!(SELECT_RANGE.contains(Gathered::COLUMNS), "facts are read by column number");
    let mut expected = after;
    let mut statement = connection.prepare_cached(SELECT_RANGE).or_fault()?;
    let bounds = [after.0.cast_signed(), end.0.cast_signed()];
    let mut rows = statement.query(bounds).or_fault()?;
    while let Some(row) = rows.next().or_fault()? {
        expected = expected.next();
        let position = row.get(0).or_fault()?;
        if position != expected.0.cast_signed() {
            break;
        }
        let kind = row.get(1).or_fault()?;
        if let Some(event) = gathered.event(connection, names, kind, categories).or_fault()? {
            gathered.add(connection, names, (position, event), row).or_fault()?;
        }
    }
    // INVARIANT: a completed range has every position; what readers are given is all there is.
    if expected == end {
        gathered.cut(connection, names).or_fault()
    } else {
        Err(damaged(format!("the log has a gap at position {expected}")))
    }
}

/// The events of one stream after a version.
pub(crate) fn load(
    reader: &mut Reader,
    stream: &StreamRef,
    after: Version,
    events_max: usize,
) -> Result<Vec<Arc<RawFact>>, Fault> {
    let Reader { connection, names } = reader;
    let StreamRef { tenant, stream } = stream;
    let mut gathered = Gathered::default();
    let mut statement = connection.prepare_cached(SELECT_STREAM_EVENTS).or_fault()?;
    let limit = i64::try_from(events_max).unwrap_or(i64::MAX);
    let parameters =
        (tenant.as_str(), stream.category.as_str(), stream.key.as_str(), after.0.cast_signed(), limit);
    let mut rows = statement.query(parameters).or_fault()?;
    while let Some(row) = rows.next().or_fault()? {
        let (position, kind) = (row.get(0).or_fault()?, row.get(1).or_fault()?);
        if let Some(event) = gathered.event(connection, names, kind, &Categories::All).or_fault()? {
            gathered.add(connection, names, (position, event), row).or_fault()?;
        }
    }
    let facts = gathered.cut(connection, names).or_fault()?.rest();
    contiguous(after, &facts)?;
    Ok(facts)
}

/// The last position, 0 for an empty log.
pub(crate) fn position_of_head(connection: &Connection) -> Result<Position, Fault> {
    let mut statement = connection.prepare_cached(SELECT_HEAD).or_fault()?;
    let head = statement.query_row([], |row| row.get::<_, i64>(0)).or_fault()?;
    Ok(Position(head.cast_unsigned()))
}

/// The last entry; `seen` is one that was read before, and stands if it still is the last.
pub(crate) fn head(connection: &Connection, identity: LogIdentity, seen: Mark) -> Result<Mark, Fault> {
    let position = position_of_head(connection)?;
    if seen.position() == position {
        return Ok(seen);
    }
    mark_at(connection, identity, position)?
        .ok_or_else(|| damaged(format!("the log has no entry at position {position}")))
}

/// The entry at a position, with the fingerprint of what is stored there now; none beyond the head.
pub(crate) fn mark_at(
    connection: &Connection,
    identity: LogIdentity,
    position: Position,
) -> Result<Option<Mark>, Fault> {
    if position == Position::START {
        return Ok(Some(mark(identity, position, identity.fingerprint, Timestamp::EPOCH)));
    }
    let Ok(number) = i64::try_from(position.0) else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(SELECT_ENTRY).or_fault()?;
    let entry = statement.query_row([number], |row| {
        let stream = StreamRef {
            tenant: diptych_core::Tenant::from_stored(row.get::<_, String>(0)?),
            stream: diptych_core::StreamId {
                category: diptych_core::Category::from_stored(row.get::<_, String>(1)?),
                key: diptych_core::StreamKey::from_stored(row.get::<_, String>(2)?),
            },
        };
        let version = Version(row.get::<_, i64>(3)?.cast_unsigned());
        let (event, payload) = (row.get_ref(4)?.as_str()?, row.get_ref(6)?.as_str()?);
        let recorded_at: i64 = row.get(5)?;
        let fingerprint = Fingerprint::of_entry(&stream, version, event, recorded_at, payload);
        Ok(mark(identity, position, fingerprint, Timestamp::from_stored(recorded_at)))
    });
    entry.optional().or_fault()
}

/// Where a fact stands.
pub(crate) fn mark_of(identity: LogIdentity, fact: &RawFact) -> Mark {
    let RawFact { stream, version, event, recorded_at, payload, .. } = fact;
    let fingerprint = Fingerprint::of_entry(stream, *version, &event.name, recorded_at.as_micros(), payload);
    mark(identity, fact.position, fingerprint, *recorded_at)
}

/// Counts for an operator. Streams are walked, so it takes a moment on a large log.
pub(crate) fn statistics(connection: &Connection) -> Result<Statistics, Fault> {
    let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).or_fault();
    Ok(Statistics {
        events: position_of_head(connection)?.0,
        streams: count(COUNT_STREAMS)?.cast_unsigned(),
        commands: count(COUNT_COMMANDS)?.cast_unsigned(),
        log_bytes: 0,
        model_bytes: 0,
    })
}

fn mark(identity: LogIdentity, position: Position, fingerprint: Fingerprint, recorded_at: Timestamp) -> Mark {
    let token = Token { epoch: identity.epoch, position, fingerprint };
    Mark { token, recorded_at }
}
