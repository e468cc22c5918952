//! Bare SQLite: prepared statements in a loop and nothing else. What the machine gives to whoever asks
//! directly.

use super::events::AccountEvent;
use super::log::{metadata, open};
use crate::Outcome;
use crate::workload::{Action, Workload, account_key};
use rusqlite::{Connection, OpenFlags};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const SCHEMA: &str = "
    CREATE TABLE event (
        position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL,
        type INTEGER NOT NULL, time INTEGER NOT NULL, metadata TEXT NOT NULL, payload TEXT NOT NULL,
        key BLOB NOT NULL) STRICT;
    CREATE UNIQUE INDEX event_stream ON event (stream, version);
    CREATE UNIQUE INDEX event_key ON event (key);";
const INSERT: &str = "INSERT INTO event (position, stream, version, type, time, metadata, payload, key) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const MODEL: &str = "
    CREATE TABLE account (
        tenant TEXT NOT NULL, account TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL,
        balance INTEGER NOT NULL, entries INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        PRIMARY KEY (tenant, account)) STRICT, WITHOUT ROWID;";
const MODEL_INDEXES: &str = "
    CREATE INDEX account_owner ON account (tenant, owner, account);
    CREATE INDEX account_balance ON account (tenant, balance DESC, account);";
const MODEL_INSERT: &str = "INSERT INTO account VALUES ('main', ?1, ?2, ?3, 0, 0, 0)";
const MODEL_MOVE: &str = "UPDATE account SET balance = balance + ?2, entries = entries + 1, updated_at = ?3 \
    WHERE tenant = 'main' AND account = ?1";
const MODEL_RENAME: &str =
    "UPDATE account SET name = ?2, updated_at = ?3 WHERE tenant = 'main' AND account = ?1";

/// Payloads made in advance, so that the loop does nothing but insert.
const PAYLOADS: usize = 4_096;

/// Which keys the inserts carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keys {
    /// In order of time: UUID version 7.
    Ordered,
    /// Random 16 bytes.
    Random,
}

/// Durable inserts into one table with the index of streams and the index of keys.
pub(crate) struct Inserts {
    connection: Connection,
    workload: Workload,
    payloads: Vec<(i64, String)>,
    versions: Vec<i64>,
    position: i64,
    keys: Keys,
}

impl Inserts {
    pub(crate) fn open(directory: &Path, accounts: usize, keys: Keys) -> Outcome<Self> {
        let connection = open(&directory.join(format!("bare-{keys:?}.db")), "FULL")?;
        connection.execute_batch(SCHEMA)?;
        let mut workload = Workload::new(accounts, 7);
        let mut payloads = Vec::with_capacity(PAYLOADS);
        for _ in 0..PAYLOADS {
            let event = AccountEvent::of(workload.next());
            payloads.push((event.kind(), event.encode()?));
        }
        Ok(Self { connection, workload, payloads, versions: vec![0; accounts], position: 0, keys })
    }

    /// Inserts for a time, so many to a commit. Answers rows per second.
    pub(crate) fn run(&mut self, per_commit: usize, time: Duration) -> Outcome<f64> {
        let started = Instant::now();
        let mut rows = 0;
        while started.elapsed() < time {
            let transaction = self.connection.unchecked_transaction()?;
            {
                let mut insert = self.connection.prepare_cached(INSERT)?;
                for _ in 0..per_commit {
                    let account = self.workload.account();
                    let id = uuid::Uuid::now_v7();
                    let metadata = metadata(&id)?;
                    let key = match self.keys {
                        Keys::Ordered => *id.as_bytes(),
                        Keys::Random => self.workload.random_key(),
                    };
                    self.versions[account] += 1;
                    self.position += 1;
                    let (stream, version) = (account as i64 + 1, self.versions[account]);
                    let (kind, payload) = &self.payloads[rows % PAYLOADS];
                    let at = self.position;
                    insert.execute((at, stream, version, kind, at, metadata, payload, key))?;
                    rows += 1;
                }
            }
            transaction.commit()?;
        }
        Ok(rows as f64 / started.elapsed().as_secs_f64())
    }
}

/// Reads every row of a log's event table and touches every column. Answers rows per second.
pub(crate) fn scan(log: &Path) -> Outcome<f64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(log, flags)?;
    connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
    let mut statement = connection.prepare("SELECT * FROM event ORDER BY position")?;
    let columns = statement.column_count();
    let started = Instant::now();
    let mut seen = 0_usize;
    let mut touched = 0_usize;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            touched = touched.wrapping_add(match row.get_ref(column)? {
                rusqlite::types::ValueRef::Integer(number) => number as usize,
                rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => {
                    bytes.iter().step_by(64).map(|byte| usize::from(*byte)).sum()
                }
                _ => 0,
            });
        }
        seen += 1;
    }
    black_box(touched);
    Ok(seen as f64 / started.elapsed().as_secs_f64())
}

/// A read model that is moved by one relative UPDATE for each event.
pub(crate) struct Updates {
    connection: Connection,
    workload: Workload,
}

impl Updates {
    /// A table of as many accounts, with the product's key and the product's two indexes.
    pub(crate) fn open(directory: &Path, accounts: usize) -> Outcome<Self> {
        let connection = open(&directory.join("bare-model.db"), "NORMAL")?;
        connection.execute_batch(MODEL)?;
        let mut workload = Workload::new(accounts, 8);
        let transaction = connection.unchecked_transaction()?;
        {
            let mut keys: Vec<_> = (0..accounts).map(account_key).collect();
            keys.sort_unstable();
            let mut insert = connection.prepare(MODEL_INSERT)?;
            for key in keys {
                let Action::Open(opening) = workload.opening() else { continue };
                insert.execute((key, opening.owner, opening.name))?;
            }
            connection.execute_batch(MODEL_INDEXES)?;
        }
        transaction.commit()?;
        Ok(Self { connection, workload })
    }

    /// Applies so many events in transactions of a size. Answers events per second.
    pub(crate) fn run(&mut self, events: usize, per_commit: usize) -> Outcome<f64> {
        let drawn = |workload: &mut Workload| (account_key(workload.account()), workload.next());
        let work: Vec<_> = (0..events).map(|_| drawn(&mut self.workload)).collect();
        let started = Instant::now();
        for batch in work.chunks(per_commit) {
            let transaction = self.connection.unchecked_transaction()?;
            {
                let mut moved = self.connection.prepare_cached(MODEL_MOVE)?;
                let mut renamed = self.connection.prepare_cached(MODEL_RENAME)?;
                for (time, (key, action)) in batch.iter().enumerate() {
                    let time = time as i64;
                    match action {
                        Action::Deposit(movement) => moved.execute((key, movement.amount, time))?,
                        Action::Withdraw(movement) => moved.execute((key, -movement.amount, time))?,
                        Action::Rename(renaming) => renamed.execute((key, &renaming.name, time))?,
                        Action::Open(_) => 0,
                    };
                }
            }
            transaction.commit()?;
        }
        Ok(events as f64 / started.elapsed().as_secs_f64())
    }
}
