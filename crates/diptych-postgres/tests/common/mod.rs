//! Stores in databases of their own, commands by hand, and the means to hold, watch and cut what goes on
//! inside.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

pub mod own_server;
pub mod proxy;

use diptych_command::{
    CommandHeader, Commit, CommitError, Committed, Effect, EventStore, InputHash, RawCommand,
};
use diptych_core::*;
use diptych_postgres::{PostgresOptions, PostgresStore};
use diptych_query::{Categories, Feed};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use tokio_postgres::{Client, NoTls};

/// Backends of this database that wait for another one.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// A database that no other test has.
pub struct Place {
    pub url: String,
    pub clock: Arc<Hands>,
}

/// A clock that tests turn by hand.
pub struct Hands(AtomicI64);

impl Hands {
    pub fn new() -> Self {
        Self(AtomicI64::new(1_700_000_000_000_000))
    }

    pub fn turn(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.0.load(Ordering::Relaxed))
    }
}

impl Place {
    /// Makes a database on the server that the environment names.
    pub async fn new() -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("DIPTYCH_POSTGRES_URL").unwrap_or_else(|_| {
            panic!("DIPTYCH_POSTGRES_URL names no server: run `cargo xtask test`, which starts one")
        });
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("place_{}_{number}", std::process::id());
        connect(&server).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (host, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{host}/{name}"), clock: Arc::new(Hands::new()) }
    }

    /// The way there through a pooler in transaction mode.
    pub fn pooled_url(&self) -> String {
        let pooler = std::env::var("DIPTYCH_PGBOUNCER_URL").unwrap_or_else(|_| {
            panic!("DIPTYCH_PGBOUNCER_URL names no pooler: run `cargo xtask test`, which starts one")
        });
        let (host, _) = pooler.rsplit_once('/').unwrap();
        let (_, name) = self.url.rsplit_once('/').unwrap();
        format!("{host}/{name}")
    }

    /// The options of a process of this place.
    pub fn options(&self) -> PostgresOptions {
        PostgresOptions::at(&self.url, Arc::clone(&self.clock) as _)
    }

    /// A process more.
    pub async fn open(&self) -> Arc<PostgresStore> {
        PostgresStore::open(self.options()).await.unwrap()
    }

    /// A connection beside the stores.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

/// A connection of the test's own.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

pub fn stream(key: &str) -> StreamRef {
    StreamRef { tenant: tenant("main"), stream: StreamId::new("account", key).unwrap() }
}

pub fn id(text: &str) -> CommandId {
    CommandId::new(text).unwrap()
}

/// A command that appends deposits.
pub fn append(command: &str, key: &str, base: u64, deposits: &[i64]) -> Commit {
    let stream = stream(key);
    let body = format!("{deposits:?}");
    let raw = RawCommand { name: "deposit".to_owned(), body };
    let actor = Actor::new("ann").unwrap();
    let hash = InputHash::of(&actor, &stream, &raw, ExpectedVersion::Any);
    let events = deposits.iter().map(|amount| NewEvent::new("Deposited", 1, amount.to_string()));
    let header = CommandHeader {
        id: id(command),
        stream,
        name: raw.name.clone(),
        hash,
        actor,
        correlation: None,
        causation: None,
        policy: Some(PolicyVersion("p1".into())),
        occurred_at: Timestamp::from_stored(1_600_000_000_000_000),
    };
    Commit::new(header, Effect::Append { base: Version(base).into(), events: events.collect() })
}

/// A command that opens an account of the suites, which their models can read.
pub fn open_account(command: &str, key: &str, base: u64) -> Commit {
    let payload = "{\"owner\":\"ann\"}".to_owned();
    let events = vec![NewEvent::new("Opened", 1, payload)];
    let effect = Effect::Append { base: Version(base).into(), events };
    Commit { effect, ..append(command, key, base, &[]) }
}

/// Appends one deposit.
pub async fn deposit(
    store: &PostgresStore,
    command: &str,
    key: &str,
    base: u64,
) -> Result<Committed, CommitError> {
    store.commit(append(command, key, base, &[1])).await
}

/// Every position that can be read after one.
pub async fn positions(store: &PostgresStore, after: Position) -> Vec<u64> {
    let block = store.read(after, &Categories::All, usize::MAX).await.unwrap();
    block.facts.iter().map(|fact| fact.position.0).collect()
}

/// Lets others run until so many backends wait for a lock.
pub async fn until_waiting(watching: &Client, backends: i64) {
    while waiting(watching).await < backends {
        tokio::task::yield_now().await;
    }
}

/// How many backends wait for a lock.
pub async fn waiting(watching: &Client) -> i64 {
    watching.query_one(WAITING, &[]).await.unwrap().get(0)
}

/// Takes the key of a command, so that whoever claims it has to wait until this is let go: after its events
/// were inserted, before its commit.
pub async fn hold_key(holding: &Client, command: &str) {
    const HOLD: &str = "INSERT INTO diptych.command_key (command, tenant, command_id, hash) \
        SELECT 0, id, $1, '' FROM diptych.tenant WHERE name = 'main'";
    holding.batch_execute("BEGIN").await.unwrap();
    assert_eq!(holding.execute(HOLD, &[&command]).await.unwrap(), 1, "the tenant is known");
}
