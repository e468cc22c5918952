//! A row of the queue, put together again.

use crate::fault::{OrFault, damaged, unsigned};
use crate::time::Stamp;
use diptych_command::{
    ClaimNumber, ClaimedCommand, Ending, Holder, InputHash, QueueEntry, QueueState, QueueStatus,
    QueuedCommand, RawCommand, Trouble,
};
use diptych_core::{
    Actor, Category, CausationId, Claims, Code, CommandId, CorrelationId, Epoch, ExpectedVersion, Fault,
    Fingerprint, Position, StreamId, StreamKey, StreamRef, Tenant, Timestamp, Token, Version,
};
use std::sync::Arc;
use tokio_postgres::Row;

/// Every column that an entry is made of, in this order.
const COLUMNS: &str = "queued_command.tenant, queued_command.command_id, queued_command.category, \
    queued_command.key, queued_command.name, queued_command.body, queued_command.hash, queued_command.actor, \
    queued_command.expected, queued_command.correlation, queued_command.causation, \
    queued_command.occurred_at, \
    queued_command.state, queued_command.attempts, queued_command.changes, queued_command.holder, \
    queued_command.accepted_at, queued_command.started_at, queued_command.next_attempt_at, \
    queued_command.ended_at, queued_command.version, queued_command.position, queued_command.epoch, \
    queued_command.fingerprint, queued_command.rejection, queued_command.data, queued_command.code, \
    queued_command.message, queued_command.claim, queued_command.number, \
    queued_command.claims";

/// A statement that answers entries.
pub(super) fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM diptych.queued_command {condition}")
}

/// A statement that changes rows and answers them as they are then.
pub(super) fn returning(change: &str) -> String {
    format!("{change} RETURNING {COLUMNS}")
}

/// The entry that a row holds.
pub(super) fn entry(row: &Row) -> Result<QueueEntry, Fault> {
    let time = |column: usize| -> Result<Option<Timestamp>, Fault> {
        Ok(row.try_get::<_, Option<Stamp>>(column).or_fault()?.map(|Stamp(time)| time))
    };
    let state = state(row)?;
    let trouble = match state {
        QueueState::Ended(_) => None,
        QueueState::Accepted | QueueState::Running => trouble(row)?,
    };
    Ok(QueueEntry {
        command: command(row)?,
        state,
        attempts: attempts(row)?,
        changes: unsigned(row, 14)?,
        accepted_at: accepted_at(row)?,
        started_at: time(17)?,
        next_attempt_at: time(18)?,
        ended_at: time(19)?,
        holder: row.try_get::<_, Option<String>>(15).or_fault()?.map(Holder::new),
        trouble,
    })
}

/// The claim that a row holds, and the row's place in the order of acceptance.
pub(super) fn claimed(row: &Row) -> Result<(i64, ClaimedCommand), Fault> {
    let claimed = ClaimedCommand {
        command: command(row)?,
        number: ClaimNumber(unsigned(row, 28)?),
        attempts: attempts(row)?,
        accepted_at: accepted_at(row)?,
    };
    Ok((row.try_get(29).or_fault()?, claimed))
}

/// The claim that a row holds on a command.
pub(super) fn number(row: &Row, column: usize) -> Result<ClaimNumber, Fault> {
    unsigned(row, column).map(ClaimNumber)
}

fn attempts(row: &Row) -> Result<u32, Fault> {
    row.try_get::<_, i32>(13).or_fault().map(i32::unsigned_abs)
}

fn accepted_at(row: &Row) -> Result<Timestamp, Fault> {
    row.try_get::<_, Stamp>(16).or_fault().map(|Stamp(time)| time)
}

fn command(row: &Row) -> Result<QueuedCommand, Fault> {
    let text = |column: usize| row.try_get::<_, &str>(column).or_fault();
    let some = |column: usize| row.try_get::<_, Option<&str>>(column).or_fault();
    let stream =
        StreamId { category: Category::from_stored(text(2)?), key: StreamKey::from_stored(text(3)?) };
    let hash = row.try_get::<_, &[u8]>(6).or_fault()?;
    let hash = hash.try_into().map_err(|_| damaged("a queued command has no hash of 128 bits"))?;
    let expected = match row.try_get::<_, Option<i64>>(8).or_fault()? {
        None => ExpectedVersion::Any,
        Some(_) => ExpectedVersion::Exactly(Version(unsigned(row, 8)?)),
    };
    let Stamp(occurred_at) = row.try_get(11).or_fault()?;
    Ok(QueuedCommand {
        id: CommandId::from_stored(text(1)?),
        stream: StreamRef { tenant: Tenant::from_stored(text(0)?), stream },
        command: RawCommand { name: text(4)?.to_owned(), body: text(5)?.to_owned() },
        hash: InputHash(hash),
        actor: Actor::from_stored(text(7)?),
        claims: claims(row)?,
        expected,
        correlation: some(9)?.map(CorrelationId::from_stored),
        causation: some(10)?.map(CausationId::from_stored),
        occurred_at,
    })
}

/// What is known of who asked; nothing where nothing was known, or where older software accepted the command.
fn claims(row: &Row) -> Result<Arc<Claims>, Fault> {
    let Some(text) = row.try_get::<_, Option<&str>>(30).or_fault()? else {
        return Ok(Arc::default());
    };
    let claims = serde_json::from_str(text).map(Arc::new);
    claims.map_err(|_| damaged("a queued command has lost what was known of who gave it"))
}

fn state(row: &Row) -> Result<QueueState, Fault> {
    let small = |column: usize| {
        u32::try_from(unsigned(row, column)?).map_err(|_| damaged("a queued command has no valid token"))
    };
    let text = |column: usize| row.try_get::<_, Option<String>>(column).or_fault();
    let missing = || damaged("a rejected command has lost its name or its data");
    let status = QueueStatus::from_number(row.try_get(12).or_fault()?);
    Ok(match status.ok_or_else(|| damaged("a queued command is in no known state"))? {
        QueueStatus::Accepted => QueueState::Accepted,
        QueueStatus::Running => QueueState::Running,
        QueueStatus::Succeeded => {
            let (epoch, fingerprint) = (Epoch(small(22)?), Fingerprint(small(23)?));
            let token = Token { epoch, position: Position(unsigned(row, 21)?), fingerprint };
            QueueState::Ended(Ending::Succeeded { version: Version(unsigned(row, 20)?), token })
        }
        QueueStatus::Rejected => QueueState::Ended(Ending::Rejected {
            name: text(24)?.ok_or_else(missing)?,
            data: text(25)?.ok_or_else(missing)?,
        }),
        QueueStatus::Failed => {
            let trouble = trouble(row)?.ok_or_else(|| damaged("a failed command has lost its reason"))?;
            QueueState::Ended(Ending::Failed(trouble))
        }
    })
}

fn trouble(row: &Row) -> Result<Option<Trouble>, Fault> {
    let text = |column: usize| row.try_get::<_, Option<&str>>(column).or_fault();
    let Some(code) = text(26)? else {
        return Ok(None);
    };
    // A code that only newer software has is shown as the service's failure.
    let code = Code::ALL.iter().copied().find(|known| known.as_str() == code).unwrap_or(Code::Internal);
    Ok(Some(Trouble { code, message: text(27)?.unwrap_or_default().to_owned() }))
}
