//! The reference's live projection: a batch is read, decoded and gathered by account, and each account is
//! moved once by a relative UPDATE behind its guard, in one transaction with the checkpoint.

use super::events::AccountEvent;
use super::log::{open, path};
use super::rebuild::{Shape, model_path};
use crate::Outcome;
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

const SELECT_BATCH: &str = "SELECT event.position, event.type, event.time, event.payload, stream.key \
    FROM event JOIN stream ON stream.id = event.stream \
    WHERE event.position > ?1 ORDER BY event.position LIMIT ?2";
const MOVE: &str = "UPDATE account \
    SET balance = balance + ?2, entries = entries + ?3, updated_at = ?4, guard = ?5 \
    WHERE account = ?1 AND guard < ?5";
const RENAME: &str = "UPDATE account SET name = ?2, balance = balance + ?3, entries = entries + ?4, \
    updated_at = ?5, guard = ?6 WHERE account = ?1 AND guard < ?6";
const RENAME_LOOK_UP: &str =
    "UPDATE account_name SET name = ?2, guard = ?3 WHERE account = ?1 AND guard < ?3";
const SELECT_CHECKPOINT: &str = "SELECT position FROM checkpoint";
const UPDATE_CHECKPOINT: &str = "UPDATE checkpoint SET position = ?1";

/// What a batch does to one account.
#[derive(Default)]
struct Change {
    balance: i64,
    entries: i64,
    name: Option<String>,
    updated_at: i64,
    guard: i64,
}

impl Change {
    fn moved(&mut self, amount: i64) {
        self.balance += amount;
        self.entries += 1;
    }
}

/// Sets the read model back, so that the last events of the log wait for it. Its guards are put back, too.
pub(crate) fn set_back(directory: &Path, shape: Shape, events: usize) -> Outcome<()> {
    let connection = open(&model_path(directory, shape), "NORMAL")?;
    let head: i64 = connection.query_row(SELECT_CHECKPOINT, [], |row| row.get(0))?;
    let back = head - events as i64;
    connection.execute(UPDATE_CHECKPOINT, [back])?;
    connection.execute("UPDATE account SET guard = min(guard, ?1)", [back])?;
    if shape == Shape::Group {
        connection.execute("UPDATE account_name SET guard = min(guard, ?1)", [back])?;
    }
    Ok(())
}

/// Follows the log to its head in batches. Answers events per second.
pub(crate) fn follow(directory: &Path, shape: Shape, batch_events_max: usize) -> Outcome<f64> {
    let log = Connection::open_with_flags(path(directory), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    log.pragma_update(None, "mmap_size", 1_i64 << 30)?;
    let model = open(&model_path(directory, shape), "NORMAL")?;
    let started = Instant::now();
    let mut position: i64 = model.query_row(SELECT_CHECKPOINT, [], |row| row.get(0))?;
    let from = position;
    loop {
        let (changes, through) = gather(&log, position, batch_events_max)?;
        if through == position {
            break;
        }
        let transaction = model.unchecked_transaction()?;
        if shape == Shape::Group {
            rename(&model, &changes)?;
        }
        apply(&model, changes)?;
        model.execute(UPDATE_CHECKPOINT, [through])?;
        transaction.commit()?;
        position = through;
    }
    Ok((position - from) as f64 / started.elapsed().as_secs_f64())
}

fn gather(log: &Connection, after: i64, events_max: usize) -> Outcome<(Vec<(String, Change)>, i64)> {
    let mut changes: HashMap<String, Change, foldhash::fast::RandomState> = HashMap::default();
    let mut through = after;
    let mut select = log.prepare_cached(SELECT_BATCH)?;
    let mut rows = select.query((after, events_max as i64))?;
    while let Some(row) = rows.next()? {
        through = row.get(0)?;
        let event = AccountEvent::decode(row.get(1)?, row.get_ref(3)?.as_bytes()?)?;
        let change = changes.entry(row.get(4)?).or_default();
        match event {
            AccountEvent::Opened(_) => {}
            AccountEvent::Deposited(moved) => change.moved(moved.amount),
            AccountEvent::Withdrawn(moved) => change.moved(-moved.amount),
            AccountEvent::Renamed(renamed) => change.name = Some(renamed.name),
        }
        (change.updated_at, change.guard) = (row.get(2)?, through);
    }
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok((changes, through))
}

/// Renames where names are looked up.
fn rename(model: &Connection, changes: &[(String, Change)]) -> Outcome<()> {
    let mut renamed = model.prepare_cached(RENAME_LOOK_UP)?;
    for (key, change) in changes {
        if let Some(name) = &change.name {
            renamed.execute((key, name, change.guard))?;
        }
    }
    Ok(())
}

fn apply(model: &Connection, changes: Vec<(String, Change)>) -> Outcome<()> {
    let mut moved = model.prepare_cached(MOVE)?;
    let mut renamed = model.prepare_cached(RENAME)?;
    for (key, change) in changes {
        let Change { balance, entries, name, updated_at, guard } = change;
        match name {
            None => moved.execute((key, balance, entries, updated_at, guard))?,
            Some(name) => renamed.execute((key, name, balance, entries, updated_at, guard))?,
        };
    }
    Ok(())
}
