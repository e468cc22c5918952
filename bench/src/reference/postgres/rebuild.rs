//! The reference's rebuild: rows come out by binary COPY in the order of the log, another thread folds them
//! in memory, each row goes in by binary COPY once, the indexes come last, all in one transaction with the
//! checkpoint.

use super::copy;
use crate::Outcome;
use crate::database::{Connected, Database};
use crate::reference::events::AccountEvent;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

const BLOCK_ROWS: usize = 4_096;
const BLOCKS_AHEAD: usize = 4;

const COPY_EVENTS: &str = "COPY (SELECT position, stream, type, time, payload FROM reference.event \
    ORDER BY position) TO STDOUT (FORMAT binary)";
const COPY_STREAMS: &str = "COPY reference.stream (id, key) TO STDOUT (FORMAT binary)";
const TABLES: &str = "
    DROP TABLE IF EXISTS reference.account;
    DROP TABLE IF EXISTS reference.checkpoint;
    CREATE TABLE reference.account (
        account text COLLATE \"C\" NOT NULL, owner text COLLATE \"C\" NOT NULL,
        name text COLLATE \"C\" NOT NULL, balance bigint NOT NULL, entries bigint NOT NULL,
        updated_at bigint NOT NULL, guard bigint NOT NULL);
    CREATE TABLE reference.checkpoint (position bigint NOT NULL);";
const INDEXES: &str = "
    ALTER TABLE reference.account ADD PRIMARY KEY (account);
    CREATE INDEX account_owner ON reference.account (owner, account);
    CREATE INDEX account_balance ON reference.account (balance DESC, account);
    ANALYZE reference.account;";
const COPY_ACCOUNTS: &str = "COPY reference.account (account, owner, name, balance, entries, updated_at, \
    guard) FROM STDIN (FORMAT binary)";
const INSERT_CHECKPOINT: &str = "INSERT INTO reference.checkpoint VALUES ($1)";

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
    kind: i32,
    time: i64,
    payload: std::ops::Range<usize>,
}

/// Rebuilds the read model from nothing. Answers events per second.
pub(crate) async fn rebuild(database: &Database) -> Outcome<f64> {
    let (log, mut model) = (database.connect().await?, database.connect().await?);
    let started = Instant::now();
    let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
    let folding = tokio::task::spawn_blocking(move || fold(&blocks));
    read(&log, sender).await?;
    let (rows, events, position) = folding.await??;
    write(&log, &mut model, &rows, position).await?;
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

async fn read(log: &Connected, blocks: SyncSender<Block>) -> Outcome<()> {
    let mut block = Block::default();
    copy::read(log, COPY_EVENTS, |fields| {
        let (position, stream, kind, time) = (fields.long()?, fields.long()?, fields.int()?, fields.long()?);
        let from = block.payloads.len();
        block.payloads.extend_from_slice(fields.bytes()?);
        block.rows.push(RawRow { position, stream, kind, time, payload: from..block.payloads.len() });
        if block.rows.len() == BLOCK_ROWS {
            // Waiting here is right: nothing else is on this runtime meanwhile but the connection.
            tokio::task::block_in_place(|| blocks.send(std::mem::take(&mut block)))?;
        }
        Ok(())
    })
    .await?;
    // The folding thread has gone only after an error of its own, which is the one to report.
    let _ = tokio::task::block_in_place(|| blocks.send(block));
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
            match AccountEvent::decode(i64::from(raw.kind), &block.payloads[raw.payload.clone()])? {
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

async fn write(log: &Connected, model: &mut Connected, rows: &[Row], position: i64) -> Outcome<()> {
    let mut keys = Vec::with_capacity(rows.len());
    copy::read(log, COPY_STREAMS, |fields| {
        keys.push((usize::try_from(fields.long()?)?, fields.text()?.to_owned()));
        Ok(())
    })
    .await?;
    keys.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    let transaction = model.transaction().await?;
    transaction.batch_execute(TABLES).await?;
    let mut all = keys.iter().filter_map(|(stream, key)| {
        let row = rows.get(*stream).filter(|row| row.guard > 0)?;
        Some((key, row))
    });
    copy::write(transaction.client(), COPY_ACCOUNTS, 7, |out| {
        let Some((key, row)) = all.next() else { return Ok(false) };
        out.begin();
        out.bytes(key.as_bytes())?;
        out.bytes(row.owner.as_bytes())?;
        out.bytes(row.name.as_bytes())?;
        for number in [row.balance, row.entries, row.updated_at, row.guard] {
            out.long(number);
        }
        Ok(true)
    })
    .await?;
    transaction.batch_execute(INDEXES).await?;
    transaction.execute(INSERT_CHECKPOINT, &[&position]).await?;
    transaction.commit().await?;
    Ok(())
}
