//! The reference's log on SQLite: one rowid table, one index, streams as integers, and a key for every
//! command.

use super::events::{AccountEvent, Metadata};
use crate::Outcome;
use crate::workload::{Workload, account_key};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS event (
        position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL,
        type INTEGER NOT NULL, time INTEGER NOT NULL, metadata TEXT NOT NULL, payload TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS event_stream ON event (stream, version);
    CREATE TABLE IF NOT EXISTS command (key BLOB PRIMARY KEY, input BLOB NOT NULL, position INTEGER NOT NULL)
        STRICT, WITHOUT ROWID;";

const INSERT_STREAM: &str = "INSERT INTO stream (id, key) VALUES (?1, ?2)";
pub(crate) const INSERT_EVENT: &str = "INSERT INTO event \
    (position, stream, version, type, time, metadata, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const INSERT_COMMAND: &str = "INSERT INTO command (key, input, position) VALUES (?1, ?2, ?3)";

/// Rows of one loading transaction.
const LOAD_ROWS_PER_COMMIT: usize = 20_000;

/// The settings that every writing connection has here, the product's own included.
pub(crate) fn open(path: &Path, synchronous: &str) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The log's file in a directory.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("reference.db")
}

/// Opens the log, with a stream for every account: the account's number plus one.
pub(crate) fn open_log(directory: &Path, accounts: usize) -> Outcome<Connection> {
    let mut connection = open(&path(directory), "FULL")?;
    connection.execute_batch(SCHEMA)?;
    let known: i64 = connection.query_row("SELECT count(*) FROM stream", [], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(INSERT_STREAM)?;
        for account in usize::try_from(known)?..accounts {
            insert.execute((account as i64 + 1, account_key(account)))?;
        }
    }
    transaction.commit()?;
    Ok(connection)
}

/// Fills the log: every account is opened, then actions on accounts at random, each with its command.
pub(crate) fn load(connection: &mut Connection, accounts: usize, events: usize) -> Outcome<()> {
    let mut workload = Workload::new(accounts, 0);
    let mut versions = vec![0_i64; accounts];
    let mut position = 0;
    while position < events {
        let transaction = connection.transaction()?;
        {
            let mut event = transaction.prepare_cached(INSERT_EVENT)?;
            let mut command = transaction.prepare_cached(INSERT_COMMAND)?;
            for _ in 0..LOAD_ROWS_PER_COMMIT.min(events - position) {
                let opens = position < accounts;
                let account = if opens { position } else { workload.account() };
                let action = if opens { workload.opening() } else { workload.next() };
                let typed = AccountEvent::of(action);
                let id = uuid::Uuid::now_v7();
                let metadata = metadata(&id)?;
                versions[account] += 1;
                position += 1;
                let (at, stream, version) = (position as i64, account as i64 + 1, versions[account]);
                event.execute((at, stream, version, typed.kind(), at, metadata, typed.encode()?))?;
                command.execute((id.as_bytes(), [0_u8; 16], at))?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// The metadata of a command: 60-odd bytes.
pub(crate) fn metadata(id: &uuid::Uuid) -> Outcome<String> {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let command = id.as_hyphenated().encode_lower(&mut text);
    Ok(serde_json::to_string(&Metadata { actor: "local", command })?)
}
