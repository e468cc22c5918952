//! The reference's commands: deciders in the callers, one writer thread that commits whatever is waiting.

use super::events::AccountEvent;
use super::log::{INSERT_COMMAND, INSERT_EVENT, metadata, open_log};
use crate::Outcome;
use crate::workload::{Action, Workload};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

const QUEUE_COMMANDS_MAX: usize = 4_096;
const GROUP_COMMANDS_MAX: usize = 512;
const SELECT_HEAD: &str = "SELECT coalesce(max(position), 0) FROM event";
const SELECT_VERSION: &str = "SELECT coalesce(max(version), 0) FROM event WHERE stream = ?1";
const SELECT_KEY: &str = "SELECT position FROM command WHERE key = ?1";

/// The running reference.
pub(crate) struct Reference {
    queue: mpsc::Sender<Command>,
    states: Vec<Mutex<State>>,
    writer: JoinHandle<Outcome<()>>,
}

/// What decides: kept in memory for every account.
#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) version: i64,
    open: bool,
    balance: i64,
}

struct Command {
    key: uuid::Uuid,
    stream: i64,
    expected: i64,
    kind: i64,
    metadata: String,
    payload: String,
    reply: oneshot::Sender<Reply>,
}

/// What the writer answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reply {
    /// The event is at this position; under a key that was used before, it was already.
    At(i64),
    /// The stream is at another version.
    Stale,
}

impl Reference {
    /// Opens it on an empty directory.
    pub(crate) fn open(directory: &Path, accounts: usize) -> Outcome<Arc<Self>> {
        let connection = open_log(directory, accounts)?;
        let (queue, waiting) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let writer = std::thread::spawn(move || write(connection, waiting));
        let states = (0..accounts).map(|_| Mutex::default()).collect();
        Ok(Arc::new(Self { queue, states, writer }))
    }

    /// Opens every account, `callers` at a time.
    pub(crate) async fn open_accounts(self: &Arc<Self>, callers: usize) -> Outcome<()> {
        let mut tasks = Vec::new();
        for lane in 0..callers {
            let this = Arc::clone(self);
            tasks.push(tokio::spawn(async move {
                let mut workload = Workload::new(this.states.len(), 1_000 + lane as u64);
                for account in (lane..this.states.len()).step_by(callers) {
                    this.handle(account, workload.opening()).await?;
                }
                Outcome::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }

    /// Handles one command: decide, send, and once more when the race was lost.
    pub(crate) async fn handle(&self, account: usize, action: Action) -> Outcome<i64> {
        let key = uuid::Uuid::now_v7();
        let event = AccountEvent::of(action);
        let (kind, payload, metadata) = (event.kind(), event.encode()?, metadata(&key)?);
        loop {
            let state = *self.state(account);
            let after = decide(state, &event)?;
            let (reply, answer) = oneshot::channel();
            let command = Command {
                key,
                stream: account as i64 + 1,
                expected: state.version,
                kind,
                metadata: metadata.clone(),
                payload: payload.clone(),
                reply,
            };
            self.queue.send(command).await.map_err(|_| "the writer has ended")?;
            match answer.await? {
                Reply::At(position) => {
                    let mut held = self.state(account);
                    if held.version < after.version {
                        *held = after;
                    }
                    return Ok(position);
                }
                Reply::Stale => tokio::task::yield_now().await,
            }
        }
    }

    /// Ends the writer and tells what it met.
    pub(crate) fn close(self: Arc<Self>) -> Outcome<()> {
        let this = Arc::into_inner(self).ok_or("callers still hold the reference")?;
        drop(this.queue);
        this.writer.join().map_err(|_| "the writer panicked")?
    }

    fn state(&self, account: usize) -> std::sync::MutexGuard<'_, State> {
        self.states[account].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn decide(state: State, event: &AccountEvent) -> Outcome<State> {
    let open = matches!(event, AccountEvent::Opened(_));
    if open == state.open {
        return Err("the account is not in the state to do that".into());
    }
    let change = match event {
        AccountEvent::Deposited(moved) => moved.amount,
        AccountEvent::Withdrawn(moved) => -moved.amount,
        AccountEvent::Opened(_) | AccountEvent::Renamed(_) => 0,
    };
    Ok(State { version: state.version + 1, open: true, balance: state.balance + change })
}

/// Commits whatever waits, in one transaction each time, and answers afterwards.
fn write(mut connection: Connection, mut waiting: mpsc::Receiver<Command>) -> Outcome<()> {
    let mut versions = HashMap::with_hasher(foldhash::fast::RandomState::default());
    let mut head: i64 = connection.query_row(SELECT_HEAD, [], |row| row.get(0))?;
    let mut replies = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut next = Some(first);
        while let Some(command) = next {
            let reply = apply(&transaction, &command, &mut versions, &mut head)?;
            replies.push((command.reply, reply));
            next = if replies.len() < GROUP_COMMANDS_MAX { waiting.try_recv().ok() } else { None };
        }
        transaction.commit()?;
        for (sender, reply) in replies.drain(..) {
            // A caller that went away has its command committed all the same.
            let _ = sender.send(reply);
        }
    }
    Ok(())
}

fn apply(
    connection: &Connection,
    command: &Command,
    versions: &mut HashMap<i64, i64, foldhash::fast::RandomState>,
    head: &mut i64,
) -> Outcome<Reply> {
    let mut select = connection.prepare_cached(SELECT_KEY)?;
    let used = select.query_row([command.key.as_bytes()], |row| row.get(0)).optional()?;
    if let Some(position) = used {
        return Ok(Reply::At(position));
    }
    let version = match versions.get(&command.stream) {
        Some(version) => *version,
        None => connection.prepare_cached(SELECT_VERSION)?.query_row([command.stream], |row| row.get(0))?,
    };
    if version != command.expected {
        return Ok(Reply::Stale);
    }
    let at = *head + 1;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    connection.prepare_cached(INSERT_EVENT)?.execute((
        at,
        command.stream,
        version + 1,
        command.kind,
        now,
        &command.metadata,
        &command.payload,
    ))?;
    connection.prepare_cached(INSERT_COMMAND)?.execute((command.key.as_bytes(), [0_u8; 16], at))?;
    versions.insert(command.stream, version + 1);
    *head = at;
    Ok(Reply::At(at))
}
