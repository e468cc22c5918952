//! The reference's rebuild: one thread reads blocks of raw rows, another folds them in memory, each row is
//! written once in the order of its key, the secondary indexes come last, all in one durable transaction
//! with the checkpoint.

use super::events::AccountEvent;
use super::log::{open, path};
use crate::Outcome;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

const BLOCK_ROWS: usize = 4_096;
const BLOCKS_AHEAD: usize = 4;

const SELECT_EVENTS: &str = "SELECT position, stream, type, time, payload FROM event ORDER BY position";
const SELECT_STREAMS: &str = "SELECT id, key FROM stream";
const TABLES: &str = "
    CREATE TABLE account (
        account TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, balance INTEGER NOT NULL,
        entries INTEGER NOT NULL, updated_at INTEGER NOT NULL, guard INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE checkpoint (position INTEGER NOT NULL) STRICT;";
const LOOK_UPS: &str = "
    CREATE TABLE account_name (
        account TEXT PRIMARY KEY, name TEXT NOT NULL, guard INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE account_holder (
        account TEXT PRIMARY KEY, owner TEXT NOT NULL, guard INTEGER NOT NULL) STRICT, WITHOUT ROWID;";
const INDEXES: &str = "
    CREATE INDEX account_owner ON account (owner, account);
    CREATE INDEX account_balance ON account (balance DESC, account);";
const INSERT: &str = "INSERT INTO account VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const INSERT_NAME: &str = "INSERT INTO account_name VALUES (?1, ?2, ?3)";
const INSERT_HOLDER: &str = "INSERT INTO account_holder VALUES (?1, ?2, ?3)";
const INSERT_CHECKPOINT: &str = "INSERT INTO checkpoint VALUES (?1)";

/// Which tables the read model has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One.
    One,
    /// That one, and two that hold some of its columns once more.
    Group,
}

/// A row of the read model.
#[derive(Clone, Default)]
struct Row {
    owner: String,
    name: String,
    balance: i64,
    entries: i64,
    updated_at: i64,
    guard: i64,
}

impl Row {
    fn moved(&mut self, amount: i64) {
        self.balance += amount;
        self.entries += 1;
    }
}

/// Raw rows, their payloads one after the other.
#[derive(Default)]
struct Block {
    rows: Vec<RawRow>,
    payloads: Vec<u8>,
}

struct RawRow {
    position: i64,
    stream: i64,
    kind: i64,
    time: i64,
    payload: std::ops::Range<usize>,
}

/// The read model's file.
pub(crate) fn model_path(directory: &Path, shape: Shape) -> std::path::PathBuf {
    directory.join(match shape {
        Shape::One => "reference-model.db",
        Shape::Group => "reference-group.db",
    })
}

/// Rebuilds the read model of a log from nothing. Answers events per second.
pub(crate) fn rebuild(directory: &Path, shape: Shape) -> Outcome<f64> {
    let target = model_path(directory, shape);
    for suffix in ["", "-wal", "-shm"] {
        let mut file = target.clone().into_os_string();
        file.push(suffix);
        if let Err(error) = std::fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
    }
    let started = Instant::now();
    let log = path(directory);
    let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
    let reader = std::thread::spawn(move || read(&log, &sender));
    let (rows, events, position) = fold(&blocks)?;
    reader.join().map_err(|_| "the reader panicked")??;
    write(&target, &path(directory), &rows, position, shape)?;
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

fn read(log: &Path, blocks: &SyncSender<Block>) -> Outcome<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(log, flags)?;
    connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
    let mut statement = connection.prepare(SELECT_EVENTS)?;
    let mut rows = statement.query([])?;
    let mut block = Block::default();
    while let Some(row) = rows.next()? {
        let payload = row.get_ref(4)?.as_bytes()?;
        let from = block.payloads.len();
        block.payloads.extend_from_slice(payload);
        block.rows.push(RawRow {
            position: row.get(0)?,
            stream: row.get(1)?,
            kind: row.get(2)?,
            time: row.get(3)?,
            payload: from..block.payloads.len(),
        });
        if block.rows.len() == BLOCK_ROWS && blocks.send(std::mem::take(&mut block)).is_err() {
            return Ok(());
        }
    }
    // The folding thread has gone only after an error of its own, which is the one to report.
    let _ = blocks.send(block);
    Ok(())
}

fn fold(blocks: &Receiver<Block>) -> Outcome<(Vec<Row>, usize, i64)> {
    let mut rows: Vec<Row> = Vec::new();
    let (mut events, mut last) = (0, 0);
    for block in blocks {
        for raw in &block.rows {
            if raw.position != last + 1 {
                return Err(format!("the log has a gap after {last}").into());
            }
            last = raw.position;
            let index = usize::try_from(raw.stream)?;
            if rows.len() <= index {
                rows.resize(index + 1, Row::default());
            }
            let row = &mut rows[index];
            match AccountEvent::decode(raw.kind, &block.payloads[raw.payload.clone()])? {
                AccountEvent::Opened(opened) => (row.owner, row.name) = (opened.owner, opened.name),
                AccountEvent::Deposited(moved) => row.moved(moved.amount),
                AccountEvent::Withdrawn(moved) => row.moved(-moved.amount),
                AccountEvent::Renamed(renamed) => row.name = renamed.name,
            }
            (row.updated_at, row.guard) = (raw.time, raw.position);
        }
        events += block.rows.len();
    }
    Ok((rows, events, last))
}

fn write(target: &Path, log: &Path, rows: &[Row], position: i64, shape: Shape) -> Outcome<()> {
    let connection = open(target, "FULL")?;
    let streams = Connection::open_with_flags(log, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = streams.prepare(SELECT_STREAMS)?;
    let keys = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let mut keys = keys.collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    let transaction = connection.unchecked_transaction()?;
    connection.execute_batch(TABLES)?;
    let row_of = |stream: i64| rows.get(usize::try_from(stream).ok()?).filter(|row| row.guard > 0);
    let keyed = || keys.iter().filter_map(|(stream, key)| Some((key, row_of(*stream)?)));
    if shape == Shape::Group {
        connection.execute_batch(LOOK_UPS)?;
        let mut insert = connection.prepare(INSERT_NAME)?;
        for (key, row) in keyed() {
            insert.execute((key, &row.name, row.guard))?;
        }
        let mut insert = connection.prepare(INSERT_HOLDER)?;
        for (key, row) in keyed() {
            insert.execute((key, &row.owner, row.guard))?;
        }
    }
    {
        let mut insert = connection.prepare(INSERT)?;
        for (key, Row { owner, name, balance, entries, updated_at, guard }) in keyed() {
            insert.execute((key, owner, name, balance, entries, updated_at, guard))?;
        }
    }
    connection.execute_batch(INDEXES)?;
    connection.execute(INSERT_CHECKPOINT, [position])?;
    transaction.commit()?;
    Ok(())
}
