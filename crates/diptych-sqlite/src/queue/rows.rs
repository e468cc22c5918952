//! A row of the queue as bytes, put together again.

use crate::ledger::StoredText;
use diptych_command::{
    ClaimNumber, ClaimedCommand, Ending, Holder, InputHash, QueueEntry, QueueState, QueueStatus,
    QueuedCommand, RawCommand, Trouble,
};
use diptych_core::{
    Actor, Category, CausationId, Claims, Code, CommandId, CorrelationId, Epoch, ExpectedVersion,
    Fingerprint, Position, StreamId, StreamKey, StreamRef, Tenant, Timestamp, Token, Version,
};
use rusqlite::Row;
use rusqlite::types::Type;
use std::sync::Arc;

/// Every column that an entry is made of, in this order.
const COLUMNS: &str = "tenant, command_id, category, key, name, body, hash, actor, expected, correlation, \
    causation, \
    occurred_at, state, attempts, changes, holder, accepted_at, started_at, next_attempt_at, ended_at, \
    version, \
    position, epoch, fingerprint, rejection, data, code, message, claim, number, claims";

/// A statement that answers entries.
pub(super) fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM queued_command {condition}")
}

/// A statement that changes rows and answers them as they are then.
pub(super) fn returning(change: &str) -> String {
    format!("{change} RETURNING {COLUMNS}")
}

/// The entry that a row holds.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<QueueEntry> {
    let time = |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(stamp));
    let state = state(row)?;
    let trouble = match state {
        QueueState::Ended(_) => None,
        QueueState::Accepted | QueueState::Running => trouble(row)?,
    };
    Ok(QueueEntry {
        command: command(row)?,
        state,
        attempts: row.get(13)?,
        changes: row.get::<_, i64>(14)?.cast_unsigned(),
        accepted_at: stamp(row.get(16)?),
        started_at: time(17)?,
        next_attempt_at: time(18)?,
        ended_at: time(19)?,
        holder: row.get::<_, Option<String>>(15)?.map(Holder::new),
        trouble,
    })
}

/// The claim that a row holds, and the row's place in the order of acceptance.
pub(super) fn claimed(row: &Row<'_>) -> rusqlite::Result<(i64, ClaimedCommand)> {
    let claimed = ClaimedCommand {
        command: command(row)?,
        number: ClaimNumber(row.get::<_, i64>(28)?.cast_unsigned()),
        attempts: row.get(13)?,
        accepted_at: stamp(row.get(16)?),
    };
    Ok((row.get(29)?, claimed))
}

fn command(row: &Row<'_>) -> rusqlite::Result<QueuedCommand> {
    let text = |column: usize| row.get::<_, String>(column);
    let some = |column: usize| row.get::<_, Option<String>>(column);
    let stream =
        StreamId { category: Category::from_stored(text(2)?), key: StreamKey::from_stored(text(3)?) };
    let expected = row.get::<_, Option<i64>>(8)?;
    Ok(QueuedCommand {
        id: CommandId::from_stored(row.get::<_, StoredText>(1)?.0),
        stream: StreamRef { tenant: Tenant::from_stored(text(0)?), stream },
        command: RawCommand { name: text(4)?, body: text(5)? },
        hash: InputHash(row.get(6)?),
        actor: Actor::from_stored(text(7)?),
        claims: claims(row)?,
        expected: expected.map_or(ExpectedVersion::Any, |version| {
            ExpectedVersion::Exactly(Version(version.cast_unsigned()))
        }),
        correlation: some(9)?.map(CorrelationId::from_stored),
        causation: some(10)?.map(CausationId::from_stored),
        occurred_at: stamp(row.get(11)?),
    })
}

/// What is known of who asked; nothing where nothing was known, or where older software accepted the command.
fn claims(row: &Row<'_>) -> rusqlite::Result<Arc<Claims>> {
    let Some(text) = row.get::<_, Option<String>>(30)? else {
        return Ok(Arc::default());
    };
    let unreadable = |error| rusqlite::Error::FromSqlConversionFailure(30, Type::Text, Box::new(error));
    serde_json::from_str(&text).map(Arc::new).map_err(unreadable)
}

fn state(row: &Row<'_>) -> rusqlite::Result<QueueState> {
    let number: i16 = row.get(12)?;
    let status = QueueStatus::from_number(number);
    Ok(match status.ok_or(rusqlite::Error::IntegralValueOutOfRange(12, number.into()))? {
        QueueStatus::Accepted => QueueState::Accepted,
        QueueStatus::Running => QueueState::Running,
        QueueStatus::Succeeded => {
            let number = |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
            let token = Token {
                epoch: Epoch(row.get(22)?),
                position: Position(number(21)?),
                fingerprint: Fingerprint(row.get(23)?),
            };
            QueueState::Ended(Ending::Succeeded { version: Version(number(20)?), token })
        }
        QueueStatus::Rejected => {
            QueueState::Ended(Ending::Rejected { name: row.get(24)?, data: row.get(25)? })
        }
        QueueStatus::Failed => QueueState::Ended(Ending::Failed(
            trouble(row)?.unwrap_or(Trouble { code: Code::Internal, message: String::new() }),
        )),
    })
}

fn trouble(row: &Row<'_>) -> rusqlite::Result<Option<Trouble>> {
    let code = row.get::<_, Option<String>>(26)?;
    let Some(code) = code else {
        return Ok(None);
    };
    // A code that only newer software has is shown as the service's failure.
    let code = Code::ALL.iter().copied().find(|known| known.as_str() == code).unwrap_or(Code::Internal);
    Ok(Some(Trouble { code, message: row.get::<_, Option<String>>(27)?.unwrap_or_default() }))
}

fn stamp(micros: i64) -> Timestamp {
    Timestamp::from_stored(micros)
}
