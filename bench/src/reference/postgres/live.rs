//! The reference's live projection on PostgreSQL: a batch comes out by binary COPY, is decoded and gathered
//! by account, and all accounts are moved by one relative UPDATE behind their guards, in one transaction
//! with the checkpoint.

use super::copy;
use crate::Outcome;
use crate::database::{Connected, Database};
use crate::reference::events::AccountEvent;
use std::collections::HashMap;
use std::time::Instant;

const MOVE: &str = "UPDATE reference.account SET balance = account.balance + moved.balance, \
        entries = account.entries + moved.entries, name = coalesce(moved.name, account.name), \
        updated_at = moved.updated_at, guard = moved.guard \
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[]) \
        AS moved (stream, balance, entries, name, updated_at, guard) \
    JOIN reference.stream ON stream.id = moved.stream \
    WHERE account.account = stream.key AND account.guard < moved.guard";
const SELECT_CHECKPOINT: &str = "SELECT position FROM reference.checkpoint";
const UPDATE_CHECKPOINT: &str = "UPDATE reference.checkpoint SET position = $1";

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

/// Follows the log to its head in batches. Answers events per second.
pub(crate) async fn follow(database: &Database, batch_events_max: usize) -> Outcome<f64> {
    let (log, mut model) = (database.connect().await?, database.connect().await?);
    let started = Instant::now();
    let mut position: i64 = model.query_one(SELECT_CHECKPOINT, &[]).await?.get(0);
    let from = position;
    let mut next = gather(&log, position, batch_events_max).await?;
    while let Some((changes, through)) = next {
        // The next batch is read while this one is written.
        let (applied, gathered) =
            tokio::join!(apply(&mut model, changes, through), gather(&log, through, batch_events_max));
        applied?;
        (position, next) = (through, gathered?);
    }
    Ok((position - from) as f64 / started.elapsed().as_secs_f64())
}

async fn gather(
    log: &Connected,
    after: i64,
    events_max: usize,
) -> Outcome<Option<(Vec<(i64, Change)>, i64)>> {
    let mut changes: HashMap<i64, Change, foldhash::fast::RandomState> = HashMap::default();
    let mut through = after;
    let statement = format!(
        "COPY (SELECT position, stream, type, time, payload FROM reference.event \
         WHERE position > {after} AND position <= {after} + {events_max} ORDER BY position) \
         TO STDOUT (FORMAT binary)"
    );
    copy::read(log, &statement, |fields| {
        through = fields.long()?;
        let change = changes.entry(fields.long()?).or_default();
        let kind = fields.int()?;
        let time = fields.long()?;
        match AccountEvent::decode(i64::from(kind), fields.bytes()?)? {
            AccountEvent::Opened(_) => {}
            AccountEvent::Deposited(moved) => change.moved(moved.amount),
            AccountEvent::Withdrawn(moved) => change.moved(-moved.amount),
            AccountEvent::Renamed(renamed) => change.name = Some(renamed.name),
        }
        (change.updated_at, change.guard) = (time, through);
        Ok(())
    })
    .await?;
    Ok((through > after).then(|| (changes.into_iter().collect(), through)))
}

async fn apply(model: &mut Connected, changes: Vec<(i64, Change)>, through: i64) -> Outcome<()> {
    let streams: Vec<i64> = changes.iter().map(|(stream, _)| *stream).collect();
    let number = |get: fn(&Change) -> i64| changes.iter().map(|(_, change)| get(change)).collect::<Vec<_>>();
    let balances = number(|change| change.balance);
    let entries = number(|change| change.entries);
    let names: Vec<Option<&str>> = changes.iter().map(|(_, change)| change.name.as_deref()).collect();
    let updated_at = number(|change| change.updated_at);
    let guards = number(|change| change.guard);
    let transaction = model.transaction().await?;
    let moved =
        transaction.execute(MOVE, &[&streams, &balances, &entries, &names, &updated_at, &guards]).await?;
    if moved != changes.len() as u64 {
        return Err(format!("{moved} of {} accounts were moved", changes.len()).into());
    }
    transaction.execute(UPDATE_CHECKPOINT, &[&through]).await?;
    transaction.commit().await?;
    Ok(())
}
