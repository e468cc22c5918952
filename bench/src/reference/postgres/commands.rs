//! The reference's commands on PostgreSQL: deciders in the callers, one task that commits whatever is waiting
//! through one connection, by one statement.

use super::log::make;
use crate::Outcome;
use crate::database::{Connected, Database};
use crate::reference::commands::{State, decide};
use crate::reference::events::AccountEvent;
use crate::reference::log::metadata;
use crate::workload::{Action, Workload};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

const QUEUE_COMMANDS_MAX: usize = 4_096;
const GROUP_COMMANDS_MAX: usize = 512;
/// How often the writer lets callers come back that had an answer just now.
const YIELDS_MAX: usize = 32;

/// Events and keys in one statement, which is one commit. A version or a key that is there already fails it.
const INSERT: &str = "WITH given AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[], \
        $3::bigint[], $4::integer[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bytea[]) \
        AS given (position, stream, version, type, time, metadata, payload, key, input)), \
    event AS (INSERT INTO reference.event (position, stream, version, type, time, metadata, payload) \
        SELECT position, stream, version, type, time, metadata, payload FROM given) \
    INSERT INTO reference.command (key, input, position) SELECT key, input, position FROM given";
const SELECT_HEAD: &str = "SELECT coalesce(max(position), 0) FROM reference.event";
const SELECT_VERSIONS: &str = "SELECT stream, max(version) FROM reference.event \
    WHERE stream = ANY($1::bigint[]) GROUP BY stream";
const SELECT_KEYS: &str = "SELECT key, position FROM reference.command WHERE key = ANY($1::bytea[])";

/// The running reference.
pub(crate) struct Reference {
    queue: mpsc::Sender<Command>,
    states: Vec<Mutex<State>>,
    writer: JoinHandle<Outcome<()>>,
}

struct Command {
    key: uuid::Uuid,
    stream: i64,
    expected: i64,
    kind: i32,
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
    /// Opens it on an empty database.
    pub(crate) async fn open(database: &Database, accounts: usize) -> Outcome<Arc<Self>> {
        let connection = database.connect().await?;
        make(&connection, accounts).await?;
        let mut writer = Writer {
            insert: connection.prepare(INSERT).await?,
            select_versions: connection.prepare(SELECT_VERSIONS).await?,
            select_keys: connection.prepare(SELECT_KEYS).await?,
            connection,
            versions: HashMap::default(),
            used: HashMap::default(),
            head: 0,
        };
        let (queue, waiting) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let writer = tokio::spawn(async move { writer.serve(waiting).await });
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
        let kind = i32::try_from(event.kind())?;
        let (payload, metadata) = (event.encode()?, metadata(&key)?);
        loop {
            let state = *self.state(account);
            let after = decide(state, &event)?;
            let (reply, answer) = oneshot::channel();
            let (metadata, payload) = (metadata.clone(), payload.clone());
            let (stream, expected) = (account as i64 + 1, state.version);
            let command = Command { key, stream, expected, kind, metadata, payload, reply };
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
    pub(crate) async fn close(self: Arc<Self>) -> Outcome<()> {
        let this = Arc::into_inner(self).ok_or("callers still hold the reference")?;
        drop(this.queue);
        this.writer.await?
    }

    fn state(&self, account: usize) -> std::sync::MutexGuard<'_, State> {
        self.states[account].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who commits. What it remembers is checked by the indexes: whoever else writes makes it look again.
struct Writer {
    connection: Connected,
    insert: Statement,
    select_versions: Statement,
    select_keys: Statement,
    versions: HashMap<i64, i64, foldhash::fast::RandomState>,
    /// Keys of the present group that were used before.
    used: HashMap<Vec<u8>, i64>,
    head: i64,
}

impl Writer {
    async fn serve(&mut self, mut waiting: mpsc::Receiver<Command>) -> Outcome<()> {
        self.head = self.connection.query_one(SELECT_HEAD, &[]).await?.get(0);
        let mut group = Vec::new();
        let mut expected = 0;
        while let Some(first) = waiting.recv().await {
            group.push(first);
            for _ in 0..YIELDS_MAX {
                while group.len() < GROUP_COMMANDS_MAX
                    && let Ok(next) = waiting.try_recv()
                {
                    group.push(next);
                }
                if group.len() >= expected {
                    break;
                }
                tokio::task::yield_now().await;
            }
            expected = group.len();
            let replies = self.commit(&group).await?;
            for (command, reply) in group.drain(..).zip(replies) {
                // A caller that went away has its command committed all the same.
                let _ = command.reply.send(reply);
            }
        }
        Ok(())
    }

    async fn commit(&mut self, group: &[Command]) -> Outcome<Vec<Reply>> {
        self.learn(group).await?;
        self.used.clear();
        loop {
            match self.try_commit(group).await {
                Ok(replies) => return Ok(replies),
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => self.look(group).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_commit(&mut self, group: &[Command]) -> Result<Vec<Reply>, tokio_postgres::Error> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as i64);
        let mut replies = Vec::with_capacity(group.len());
        let mut new: Vec<&Command> = Vec::with_capacity(group.len());
        let (mut positions, mut versions) = (Vec::new(), Vec::new());
        let mut after: HashMap<i64, i64, foldhash::fast::RandomState> = HashMap::default();
        for command in group {
            if let Some(position) = self.used.get(&command.key.as_bytes()[..]) {
                replies.push(Reply::At(*position));
                continue;
            }
            let known = after.get(&command.stream).or_else(|| self.versions.get(&command.stream));
            let version = known.copied().unwrap_or(0);
            if version != command.expected {
                replies.push(Reply::Stale);
                continue;
            }
            new.push(command);
            after.insert(command.stream, version + 1);
            versions.push(version + 1);
            positions.push(self.head + new.len() as i64);
            replies.push(Reply::At(self.head + new.len() as i64));
        }
        if new.is_empty() {
            return Ok(replies);
        }
        let streams: Vec<i64> = new.iter().map(|command| command.stream).collect();
        let kinds: Vec<i32> = new.iter().map(|command| command.kind).collect();
        let times = vec![time; new.len()];
        let metadata: Vec<&str> = new.iter().map(|command| command.metadata.as_str()).collect();
        let payloads: Vec<&str> = new.iter().map(|command| command.payload.as_str()).collect();
        let keys: Vec<&[u8]> = new.iter().map(|command| &command.key.as_bytes()[..]).collect();
        let inputs: Vec<&[u8]> = vec![&[0; 16]; new.len()];
        self.connection
            .execute(
                &self.insert,
                &[&positions, &streams, &versions, &kinds, &times, &metadata, &payloads, &keys, &inputs],
            )
            .await?;
        self.versions.extend(after);
        self.head += new.len() as i64;
        Ok(replies)
    }

    /// Asks for the versions of streams that were not met before.
    async fn learn(&mut self, group: &[Command]) -> Outcome<()> {
        let unknown = group.iter().map(|command| command.stream);
        let unknown: Vec<i64> = unknown.filter(|stream| !self.versions.contains_key(stream)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.versions.extend(unknown.iter().map(|stream| (*stream, 0)));
        for row in self.connection.query(&self.select_versions, &[&unknown]).await? {
            self.versions.insert(row.get(0), row.get(1));
        }
        Ok(())
    }

    /// Looks again where everything stands: a key was used before, or somebody else has written.
    async fn look(&mut self, group: &[Command]) -> Outcome<()> {
        let keys: Vec<&[u8]> = group.iter().map(|command| &command.key.as_bytes()[..]).collect();
        for row in self.connection.query(&self.select_keys, &[&keys]).await? {
            self.used.insert(row.get(0), row.get(1));
        }
        self.versions.clear();
        self.learn(group).await?;
        self.head = self.connection.query_one(SELECT_HEAD, &[]).await?.get(0);
        Ok(())
    }
}
