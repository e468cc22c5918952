//! The ledger's rows as bytes: command ids, outcomes, and records put together again. Writing a row is the
//! writer's.

use crate::fault::OrFault;
use crate::log::mark_at;
use crate::log::schema::LogIdentity;
use diptych_command::{CommandHeader, CommandRecord, InputHash, Outcome, RefusedFor};
use diptych_core::{
    Actor, Category, CausationId, CommandId, CorrelationId, Fault, PolicyVersion, Position, StreamId,
    StreamKey, StreamRef, Tenant, Timestamp, Version,
};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

/// The numbers of outcomes as stored.
pub(crate) const ACCEPTED: i64 = 0;
pub(crate) const REJECTED: i64 = 1;
pub(crate) const REFUSED_CONFLICT: i64 = 2;
pub(crate) const REFUSED_FORBIDDEN: i64 = 3;

const SELECT_CLAIM: &str = "SELECT \
        command.command_id, tenant.name, category.name, stream.key, command_name.name, \
        actor.name, policy.name, \
        command.correlation, command.causation, command.outcome, command.version, \
        command.events, command.position, \
        coalesce(command.recorded_at, event.recorded_at), \
        coalesce(command.occurred_at, command.recorded_at, event.occurred_at, event.recorded_at), \
        command.rejection, command.data, command_key.hash \
    FROM command_key \
    JOIN command ON command.id = command_key.command \
    JOIN stream ON stream.id = command.stream \
    JOIN tenant ON tenant.id = stream.tenant \
    JOIN category ON category.id = stream.category \
    JOIN command_name ON command_name.id = command.name \
    JOIN actor ON actor.id = command.actor \
    LEFT JOIN policy ON policy.id = command.policy \
    LEFT JOIN event ON event.position = command.position AND command.events > 0 \
    WHERE command_key.tenant = (SELECT id FROM tenant WHERE name = ?1) AND command_key.command_id = ?2";

const SELECT_REFUSAL: &str = "SELECT \
        command.command_id, tenant.name, category.name, stream.key, command_name.name, \
        actor.name, policy.name, \
        command.correlation, command.causation, command.outcome, command.version, \
        command.events, command.position, \
        command.recorded_at, coalesce(command.occurred_at, command.recorded_at), \
        command.rejection, command.data, command.hash \
    FROM command \
    JOIN stream ON stream.id = command.stream \
    JOIN tenant ON tenant.id = stream.tenant \
    JOIN category ON category.id = stream.category \
    JOIN command_name ON command_name.id = command.name \
    JOIN actor ON actor.id = command.actor \
    LEFT JOIN policy ON policy.id = command.policy \
    WHERE command.command_id = ?2 AND command.outcome >= 2 AND tenant.name = ?1 \
    ORDER BY command.id DESC LIMIT 1";

/// The final row under a key, or the latest refusal where there is none.
pub(crate) fn recorded(
    connection: &Connection,
    identity: LogIdentity,
    tenant: &Tenant,
    id: &CommandId,
) -> Result<Option<CommandRecord>, Fault> {
    match claimed(connection, identity, tenant, id)? {
        Some(record) => Ok(Some(record)),
        None => select(connection, SELECT_REFUSAL, identity, tenant, id),
    }
}

/// The final row under a key.
pub(crate) fn claimed(
    connection: &Connection,
    identity: LogIdentity,
    tenant: &Tenant,
    id: &CommandId,
) -> Result<Option<CommandRecord>, Fault> {
    select(connection, SELECT_CLAIM, identity, tenant, id)
}

fn select(
    connection: &Connection,
    sql: &str,
    identity: LogIdentity,
    tenant: &Tenant,
    id: &CommandId,
) -> Result<Option<CommandRecord>, Fault> {
    let mut statement = connection.prepare_cached(sql).or_fault()?;
    let parameters = (tenant.as_str(), StoredId::of(id.as_str()));
    let found = statement.query_row(parameters, record).optional().or_fault()?;
    let Some((mut record, position)) = found else {
        return Ok(None);
    };
    if let Some(mark) = mark_at(connection, identity, position)? {
        record.token = mark.token;
    }
    Ok(Some(record))
}

/// A record whose token still lacks its fingerprint, and the position it is to be read at.
fn record(row: &Row<'_>) -> rusqlite::Result<(CommandRecord, Position)> {
    let text = |column: usize| row.get::<_, String>(column);
    let id = |column: usize| row.get::<_, Option<StoredText>>(column);
    let position = Position(row.get::<_, i64>(12)?.cast_unsigned());
    let (outcome, version) = outcome_of(row)?;
    let header = CommandHeader {
        id: CommandId::from_stored(row.get::<_, StoredText>(0)?.0),
        stream: stream_of(row)?,
        name: text(4)?,
        hash: InputHash(row.get(17)?),
        actor: Actor::from_stored(text(5)?),
        correlation: id(7)?.map(|id| CorrelationId::from_stored(id.0)),
        causation: id(8)?.map(|id| CausationId::from_stored(id.0)),
        policy: row.get::<_, Option<String>>(6)?.map(|version| PolicyVersion(version.into())),
        occurred_at: Timestamp::from_stored(row.get(14)?),
    };
    let record = CommandRecord {
        header,
        outcome,
        version,
        token: diptych_core::Token {
            epoch: diptych_core::Epoch::FIRST,
            position,
            fingerprint: diptych_core::Fingerprint(0),
        },
        recorded_at: Timestamp::from_stored(row.get(13)?),
    };
    Ok((record, position))
}

/// What became of a command, and the version after it. Ledger and audit read these columns in one order.
pub(crate) fn outcome_of(row: &Row<'_>) -> rusqlite::Result<(Outcome, Version)> {
    let version = Version(row.get::<_, i64>(10)?.cast_unsigned());
    let events: i64 = row.get(11)?;
    let outcome = match row.get::<_, i64>(9)? {
        ACCEPTED => Outcome::Accepted { base: Version(version.0.saturating_sub(events.cast_unsigned())) },
        REJECTED => Outcome::Rejected { name: row.get(15)?, data: row.get(16)? },
        REFUSED_CONFLICT => Outcome::Refused(RefusedFor::Conflict),
        _ => Outcome::Refused(RefusedFor::Forbidden),
    };
    Ok((outcome, version))
}

/// The stream that a command was for.
pub(crate) fn stream_of(row: &Row<'_>) -> rusqlite::Result<StreamRef> {
    let text = |column: usize| row.get::<_, String>(column);
    let stream =
        StreamId { category: Category::from_stored(text(2)?), key: StreamKey::from_stored(text(3)?) };
    Ok(StreamRef { tenant: Tenant::from_stored(text(1)?), stream })
}

const SELECT_SWEPT: &str = "SELECT keys_swept FROM log WHERE id = 1";
const SELECT_OLD: &str = "SELECT command.id, command.command_id, stream.tenant, \
        coalesce(command.recorded_at, event.recorded_at) < ?2 \
    FROM command JOIN stream ON stream.id = command.stream \
    LEFT JOIN event ON event.position = command.position AND command.events > 0 \
    WHERE command.id > ?1 ORDER BY command.id";
const DELETE_KEY: &str = "DELETE FROM command_key WHERE tenant = ?1 AND command_id = ?2 AND command = ?3";
const NOTE_SWEPT: &str = "UPDATE log SET keys_swept = ?1 WHERE id = 1";

/// Frees the oldest keys claimed before a time, at most so many. Commands are in order of time, so the
/// sweep goes on where the last one ended; it waits at a key that the queue still needs.
pub(crate) fn expire(
    connection: &mut Connection,
    before: Timestamp,
    keys_max: usize,
) -> Result<usize, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let sweep = || -> rusqlite::Result<usize> {
        let mut swept: i64 = transaction.prepare_cached(SELECT_SWEPT)?.query_row([], |row| row.get(0))?;
        let mut freed = 0;
        let mut select = transaction.prepare_cached(SELECT_OLD)?;
        let mut delete = transaction.prepare_cached(DELETE_KEY)?;
        let mut old = select.query((swept, before.as_micros()))?;
        let needed = crate::queue::first_needed(&transaction)?.unwrap_or(i64::MAX);
        while freed < keys_max {
            let Some(row) = old.next()?.filter(|row| row.get(3) == Ok(true)) else {
                break;
            };
            if row.get::<_, i64>(0)? >= needed {
                break;
            }
            swept = row.get(0)?;
            freed +=
                delete.execute((row.get::<_, i64>(2)?, row.get::<_, rusqlite::types::Value>(1)?, swept))?;
        }
        transaction.prepare_cached(NOTE_SWEPT)?.execute([swept])?;
        Ok(freed)
    };
    let freed = sweep().or_fault()?;
    transaction.commit().or_fault()?;
    Ok(freed)
}

/// An id as stored: a canonical UUID as its 16 bytes, any other text as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoredId<'a> {
    Uuid([u8; 16]),
    Text(&'a str),
}

impl<'a> StoredId<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        match uuid_bytes(text) {
            Some(bytes) => Self::Uuid(bytes),
            None => Self::Text(text),
        }
    }
}

impl ToSql for StoredId<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Uuid(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The text of a stored id.
pub(crate) struct StoredText(pub(crate) String);

impl FromSql for StoredText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => {
                let bytes = bytes.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Self(uuid_text(&bytes)))
            }
            other => Ok(Self(other.as_str()?.to_owned())),
        }
    }
}

/// The 16 bytes of a UUID in its canonical, lower-case form; none for any other text.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (place, character) in text.iter().enumerate() {
        if matches!(place, 8 | 13 | 18 | 23) {
            if *character != b'-' {
                return None;
            }
            continue;
        }
        let digit = match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            _ => return None,
        };
        let byte = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    Some(bytes)
}

/// The canonical text of a UUID.
pub(crate) fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_uuid_is_kept_as_bytes_and_reads_back_as_it_was() {
        let text = "01991c3e-7b2a-7c3d-8e4f-0123456789ab";
        let StoredId::Uuid(bytes) = StoredId::of(text) else { panic!("a canonical id is bytes") };
        assert_eq!(uuid_text(&bytes), text);
    }

    #[test]
    fn every_other_text_is_kept_as_it_is() {
        let long = "x".repeat(36);
        for text in [
            "",
            "c1",
            "01991C3E-7B2A-7C3D-8E4F-0123456789AB",
            "01991c3e7b2a7c3d8e4f0123456789ab",
            "01991c3e-7b2a-7c3d-8e4f-0123456789a",
            "01991c3e_7b2a-7c3d-8e4f-0123456789ab",
            &long,
        ] {
            assert_eq!(StoredId::of(text), StoredId::Text(text));
        }
    }
}
