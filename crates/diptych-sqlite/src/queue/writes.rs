//! What changes the queue, and how such changes share a transaction: the first that comes asks the writer
//! for one, and those that come before it has begun go with it.

use super::{entry, rows};
use crate::fault::OrFault;
use crate::ledger::StoredId;
use crate::writer::{Writer, WriterHandle};
use diptych_command::{
    Claim, ClaimedCommand, CommandRef, Ending, Holder, QueueEntry, QueueState, QueueStatus, QueuedCommand,
    Revived, Trouble,
};
use diptych_core::{Code, ExpectedVersion, Fault, Timestamp};
use rusqlite::{Connection, ToSql, TransactionBehavior, named_params};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A change that waits for the writer: made inside a transaction, then told how that ended.
trait Change: Send {
    fn make(&mut self, connection: &Connection, now: Timestamp);
    fn tell(self: Box<Self>, ended: Result<(), Fault>);
}

/// A change with whoever waits for it.
struct Asked<T, F> {
    act: Option<F>,
    made: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<T, F> Change for Asked<T, F>
where
    T: Send,
    F: FnOnce(&Connection, Timestamp) -> rusqlite::Result<T> + Send,
{
    fn make(&mut self, connection: &Connection, now: Timestamp) {
        self.made = self.act.take().map(|act| act(connection, now).or_fault());
    }

    fn tell(self: Box<Self>, ended: Result<(), Fault>) {
        let cut_off =
            || Err(Fault::transient(Code::Storage, "a change before this one ended the transaction"));
        let made = self.made.unwrap_or_else(cut_off);
        // Whoever asked may have gone.
        let _ = self.reply.send(ended.and(made));
    }
}

/// Changes that wait for the writer.
#[derive(Default)]
pub(crate) struct Writes(Arc<Mutex<Vec<Box<dyn Change>>>>);

impl Writes {
    /// Makes a change and waits until it is durable.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        writer: &WriterHandle,
        act: impl FnOnce(&Connection, Timestamp) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let asked = Box::new(Asked { act: Some(act), made: None, reply });
        let first = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(asked);
            waiting.len() == 1
        };
        if first {
            let waiting = Arc::clone(&self.0);
            writer.nudge(move |writer| make(writer, take(&waiting))).inspect_err(|_| drop(take(&self.0)))?;
        }
        answer.await.map_err(|_| Fault::transient(Code::Internal, "the writer could not finish"))?
    }
}

fn take(waiting: &Mutex<Vec<Box<dyn Change>>>) -> Vec<Box<dyn Change>> {
    std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Makes all changes in one transaction. One that fails leaves nothing of itself and does not hinder the
/// others.
fn make(writer: &mut Writer, mut changes: Vec<Box<dyn Change>>) {
    let now = writer.shared.clock.now();
    let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let ended = transaction.and_then(|transaction| {
        for change in &mut changes {
            // A full disk ends the transaction by itself; nothing may be written outside of one.
            if !transaction.is_autocommit() {
                change.make(&transaction, now);
            }
        }
        transaction.commit()
    });
    let ended = ended.or_fault();
    for change in changes {
        change.tell(ended.as_ref().copied().map_err(again));
    }
}

fn again(fault: &Fault) -> Fault {
    if fault.is_transient() {
        Fault::transient(fault.code(), fault.message())
    } else {
        Fault::permanent(fault.code(), fault.message())
    }
}

/// What became of a command that came to the queue.
pub(super) enum Taken {
    New(QueueEntry),
    Known(QueueEntry),
    Full,
}

/// How far the numbers of unfinished commands reach: at least as many as there are.
const SELECT_REACH: &str = "SELECT coalesce((SELECT max(number) FROM queued_command) \
    - (SELECT min(number) FROM queued_command WHERE state < 2) + 1, 0)";
const COUNT_OPEN: &str = "SELECT count(*) FROM (SELECT 1 FROM queued_command WHERE state < 2 LIMIT ?1)";
const INSERT: &str = "INSERT INTO queued_command (tenant, command_id, category, key, name, body, hash, \
    actor, \
    claims, \
    expected, correlation, causation, occurred_at, state, attempts, changes, claim, due_at, accepted_at) \
    VALUES (:tenant, :id, :category, :key, :name, :body, :hash, :actor, :claims, :expected, :correlation, \
    :causation, \
    :occurred_at, 0, 0, 1, 0, :now, :now)";

pub(super) fn enqueue(
    connection: &Connection,
    command: &QueuedCommand,
    commands_max: u64,
    now: Timestamp,
) -> rusqlite::Result<Taken> {
    if let Some(known) = entry(connection, &command.reference())? {
        return Ok(Taken::Known(known));
    }
    let commands_max = i64::try_from(commands_max).unwrap_or(i64::MAX);
    let reach: i64 = connection.prepare_cached(SELECT_REACH)?.query_row([], |row| row.get(0))?;
    if reach >= commands_max {
        let open: i64 = connection.prepare_cached(COUNT_OPEN)?.query_row([commands_max], |row| row.get(0))?;
        if open >= commands_max {
            return Ok(Taken::Full);
        }
    }
    let stream = &command.stream;
    let expected = match command.expected {
        ExpectedVersion::Any => None,
        ExpectedVersion::Exactly(version) => Some(version.0.cast_signed()),
    };
    connection
        .prepare_cached(&rows::returning(INSERT))?
        .query_row(
            named_params! {
                ":tenant": stream.tenant.as_str(),
                ":id": StoredId::of(command.id.as_str()),
                ":category": stream.stream.category.as_str(),
                ":key": stream.stream.key.as_str(),
                ":name": command.command.name,
                ":body": command.command.body,
                ":hash": command.hash.0,
                ":actor": command.actor.as_str(),
                ":claims": command.claims.to_stored(),
                ":expected": expected,
                ":correlation": command.correlation.as_ref().map(|id| id.as_str()),
                ":causation": command.causation.as_ref().map(|id| id.as_str()),
                ":occurred_at": command.occurred_at.as_micros(),
                ":now": now.as_micros(),
            },
            rows::entry,
        )
        .map(Taken::New)
}

/// The first unfinished command of each stream, of those that nobody holds and whose time has come.
const CLAIM: &str = "UPDATE queued_command SET state = 1, claim = claim + 1, attempts = attempts + 1, \
    changes = changes + 1, holder = :holder, due_at = :until, started_at = :now, next_attempt_at = NULL \
    WHERE number IN (SELECT number FROM queued_command WHERE due_at <= :now AND number IN \
        (SELECT min(number) FROM queued_command WHERE state < 2 GROUP BY tenant, category, key) \
        ORDER BY number LIMIT :most)";

pub(super) fn claim(
    connection: &Connection,
    holder: &Holder,
    now: Timestamp,
    until: Timestamp,
    most: i64,
) -> rusqlite::Result<Vec<ClaimedCommand>> {
    let mut statement = connection.prepare_cached(&rows::returning(CLAIM))?;
    let asked = named_params! {
        ":holder": holder.as_str(), ":until": until.as_micros(), ":now": now.as_micros(), ":most": most,
    };
    let claimed = statement.query_map(asked, rows::claimed)?;
    let mut claimed = claimed.collect::<rusqlite::Result<Vec<_>>>()?;
    claimed.sort_by_key(|(number, _)| *number);
    Ok(claimed.into_iter().map(|(_, claimed)| claimed).collect())
}

/// What a claim still holds.
const HELD: &str = "WHERE tenant = :tenant AND command_id = :id AND claim = :claim AND state = 1";
const PROLONG: &str = "UPDATE queued_command SET due_at = :until";
const FINISH: &str = "UPDATE queued_command SET state = :state, changes = changes + 1, holder = NULL, \
    next_attempt_at = NULL, ended_at = :now, version = :version, position = :position, epoch = :epoch, \
    fingerprint = :fingerprint, rejection = :rejection, data = :data, code = :code, message = :message";
const RETRY: &str = "UPDATE queued_command SET state = 0, changes = changes + 1, holder = NULL, due_at = \
    :due, \
    next_attempt_at = :due, code = :code, message = :message";
const RELEASE: &str = "UPDATE queued_command SET state = 0, changes = changes + 1, holder = NULL, due_at = \
    :now, \
    attempts = attempts - 1";

/// Changes what a claim holds. Answers whether it held anything.
fn change_held(
    connection: &Connection,
    change: &str,
    claim: &Claim,
    values: &[(&str, &dyn ToSql)],
) -> rusqlite::Result<bool> {
    let (id, number) = (StoredId::of(claim.command.id.as_str()), claim.number.0.cast_signed());
    let tenant = claim.command.tenant.as_str();
    let mut all: Vec<(&str, &dyn ToSql)> = vec![(":tenant", &tenant), (":id", &id), (":claim", &number)];
    all.extend_from_slice(values);
    let changed = connection.prepare_cached(&format!("{change} {HELD}"))?.execute(all.as_slice())?;
    Ok(changed > 0)
}

pub(super) fn prolong(
    connection: &Connection,
    claims: Vec<Claim>,
    until: Timestamp,
) -> rusqlite::Result<Vec<Claim>> {
    let mut held = Vec::with_capacity(claims.len());
    for claim in claims {
        if change_held(connection, PROLONG, &claim, &[(":until", &until.as_micros())])? {
            held.push(claim);
        }
    }
    Ok(held)
}

pub(super) fn finish(
    connection: &Connection,
    claim: &Claim,
    ending: &Ending,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let (mut version, mut token, mut rejection, mut trouble) = (None, None, None, None);
    match ending {
        Ending::Succeeded { version: at, token: of } => {
            (version, token) = (Some(at.0.cast_signed()), Some(of));
        }
        Ending::Rejected { name, data } => rejection = Some((name.as_str(), data.as_str())),
        Ending::Failed(of) => trouble = Some(of),
    }
    let state = QueueState::Ended(ending.clone()).status().number();
    change_held(
        connection,
        FINISH,
        claim,
        &[
            (":state", &state),
            (":now", &now.as_micros()),
            (":version", &version),
            (":position", &token.map(|token| token.position.0.cast_signed())),
            (":epoch", &token.map(|token| token.epoch.0)),
            (":fingerprint", &token.map(|token| token.fingerprint.0)),
            (":rejection", &rejection.map(|(name, _)| name)),
            (":data", &rejection.map(|(_, data)| data)),
            (":code", &trouble.map(|trouble| trouble.code.as_str())),
            (":message", &trouble.map(|trouble| trouble.message.as_str())),
        ],
    )
}

pub(super) fn retry(
    connection: &Connection,
    claim: &Claim,
    trouble: &Trouble,
    due: Timestamp,
) -> rusqlite::Result<bool> {
    let Trouble { code, message } = trouble;
    let values: [(&str, &dyn ToSql); 3] =
        [(":due", &due.as_micros()), (":code", &code.as_str()), (":message", message)];
    change_held(connection, RETRY, claim, &values)
}

pub(super) fn release(connection: &Connection, claims: &[Claim], now: Timestamp) -> rusqlite::Result<()> {
    for claim in claims {
        change_held(connection, RELEASE, claim, &[(":now", &now.as_micros())])?;
    }
    Ok(())
}

/// Behind everything that was accepted meanwhile.
const REVIVE: &str = "UPDATE queued_command SET number = (SELECT max(number) + 1 FROM queued_command), \
    state = 0, \
    attempts = 0, changes = changes + 1, ended_at = NULL, due_at = ?3, code = NULL, message = NULL \
    WHERE tenant = ?1 AND command_id = ?2";

pub(super) fn revive(
    connection: &Connection,
    command: &CommandRef,
    now: Timestamp,
) -> rusqlite::Result<Revived> {
    match entry(connection, command)?.map(|entry| entry.status()) {
        None => Ok(Revived::Unknown),
        Some(QueueStatus::Failed) => {
            let row = (command.tenant.as_str(), StoredId::of(command.id.as_str()), now.as_micros());
            connection.prepare_cached(REVIVE)?.execute(row)?;
            Ok(Revived::Accepted)
        }
        Some(status) => Ok(Revived::NotFailed(status)),
    }
}

const SWEEP: &str = "DELETE FROM queued_command WHERE number IN (SELECT number FROM queued_command \
    WHERE state >= 2 AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)";

pub(super) fn sweep(connection: &Connection, before: i64, rows_max: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached(SWEEP)?.execute((before, rows_max))
}
