//! The queue in `log.db`: commands that wait to be run later. What changes it goes through the writer's
//! thread, all that waits in one transaction; looking is a reader's. Times are the clock's, which all
//! processes of a machine share.

mod rows;
mod writes;

use crate::SqliteStore;
use crate::fault::OrFault;
use crate::ledger::StoredId;
use diptych_command::{
    Claim, ClaimError, ClaimedCommand, CommandQueue, CommandRef, Ending, EnqueueError, Enqueued, Holder,
    QueueChanges, QueueCounts, QueueEntry, QueueStatus, QueuedCommand, Revived, Trouble,
};
use diptych_core::{BoxFuture, Category, Fault, StreamKey, Tenant, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use std::time::Duration;

pub(crate) use writes::Writes;

const SELECT_DUE: &str = "SELECT EXISTS (SELECT 1 FROM queued_command WHERE state < 2 AND due_at <= ?1)";
const COUNT: &str = "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), \
    min(accepted_at) \
    FROM queued_command WHERE state < 2";
/// The command of the ledger that must keep its key, because a queued one may be run again.
const SELECT_NEEDED: &str = "SELECT min(command_key.command) FROM queued_command \
    JOIN tenant ON tenant.name = queued_command.tenant \
    JOIN command_key ON command_key.tenant = tenant.id AND command_key.command_id = \
    queued_command.command_id \
    WHERE queued_command.state < 2 OR queued_command.state = 4";

/// The first command of the ledger whose key is still needed by the queue.
pub(crate) fn first_needed(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(SELECT_NEEDED)?.query_row([], |row| row.get(0))
}

fn entry(connection: &Connection, command: &CommandRef) -> rusqlite::Result<Option<QueueEntry>> {
    let sql = rows::select("WHERE tenant = ?1 AND command_id = ?2");
    let asked = (command.tenant.as_str(), StoredId::of(command.id.as_str()));
    connection.prepare_cached(&sql)?.query_row(asked, rows::entry).optional()
}

fn list(
    connection: &Connection,
    tenant: &Tenant,
    status: Option<QueueStatus>,
    rows_max: usize,
) -> rusqlite::Result<Vec<QueueEntry>> {
    let condition = "WHERE tenant = ?1 AND (?2 IS NULL OR state = ?2) ORDER BY number DESC LIMIT ?3";
    let asked = (tenant.as_str(), status.map(QueueStatus::number), limit(rows_max));
    let mut statement = connection.prepare_cached(&rows::select(condition))?;
    statement.query_map(asked, rows::entry)?.collect()
}

/// The keys come as one value, so that one statement serves any number of them.
fn unfinished(
    connection: &Connection,
    tenant: &Tenant,
    category: &Category,
    keys: &[StreamKey],
    rows_max: usize,
) -> rusqlite::Result<Vec<QueueEntry>> {
    let condition = "WHERE tenant = ?1 AND category = ?2 AND state < 2 \
        AND key IN (SELECT value FROM json_each(?3)) ORDER BY number LIMIT ?4";
    let keys: serde_json::Value = keys.iter().map(StreamKey::as_str).collect();
    let asked = (tenant.as_str(), category.as_str(), keys.to_string(), limit(rows_max));
    let mut statement = connection.prepare_cached(&rows::select(condition))?;
    statement.query_map(asked, rows::entry)?.collect()
}

fn counts(connection: &Connection, now: Timestamp) -> rusqlite::Result<QueueCounts> {
    connection.prepare_cached(COUNT)?.query_row([], |row| {
        let oldest = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_stored);
        Ok(QueueCounts {
            accepted: row.get::<_, i64>(0)?.cast_unsigned(),
            running: row.get::<_, i64>(1)?.cast_unsigned(),
            oldest_seconds: oldest.map_or(0.0, |oldest| now.seconds_since(oldest)),
        })
    })
}

fn limit(rows_max: usize) -> i64 {
    i64::try_from(rows_max).unwrap_or(i64::MAX)
}

impl SqliteStore {
    /// Changes the queue durably, in one transaction with whatever else waits to change it.
    async fn change<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection, Timestamp) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.queue_writes.change(&self.writer, act).await
    }

    /// The same under a claim: nothing that the claim holds any more is an error.
    async fn change_held(
        &self,
        claim: &Claim,
        act: impl FnOnce(&Connection, &Claim, Timestamp) -> rusqlite::Result<bool> + Send + 'static,
    ) -> Result<(), ClaimError> {
        let held = claim.clone();
        let written = self.change(move |connection, now| act(connection, &held, now)).await?;
        if !written {
            return Err(ClaimError::Fenced);
        }
        self.signal.tell(claim.command.clone());
        Ok(())
    }
}

impl CommandQueue for SqliteStore {
    fn enqueue(
        &self,
        command: QueuedCommand,
        commands_max: u64,
    ) -> BoxFuture<'_, Result<Enqueued, EnqueueError>> {
        Box::pin(async move {
            let reference = command.reference();
            let hash = command.hash;
            let taken =
                self.change(move |connection, now| writes::enqueue(connection, &command, commands_max, now));
            match taken.await.map_err(EnqueueError::Fault)? {
                writes::Taken::New(entry) => {
                    self.signal.tell(reference);
                    Ok(Enqueued::New(entry))
                }
                writes::Taken::Known(entry) if entry.command.hash == hash => Ok(Enqueued::Known(entry)),
                writes::Taken::Known(_) => Err(EnqueueError::KeyReused),
                writes::Taken::Full => Err(EnqueueError::Full),
            }
        })
    }

    fn claim<'a>(
        &'a self,
        holder: &'a Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ClaimedCommand>, Fault>> {
        Box::pin(async move {
            // The writer is not asked where a reader sees that there is nothing to do.
            let now = self.shared.clock.now().as_micros();
            let reader = self.shared.readers.now()?;
            let due = reader
                .connection
                .prepare_cached(SELECT_DUE)
                .and_then(|mut statement| statement.query_row([now], |row| row.get::<_, bool>(0)));
            drop(reader);
            if !due.or_fault()? {
                return Ok(Vec::new());
            }
            let holder = holder.clone();
            let claimed = self.change(move |connection, now| {
                writes::claim(connection, &holder, now, now.plus(lasting), limit(commands_max))
            });
            let claimed = claimed.await?;
            claimed.iter().for_each(|claimed| self.signal.tell(claimed.command.reference()));
            Ok(claimed)
        })
    }

    fn prolong<'a>(
        &'a self,
        claims: &'a [Claim],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, Fault>> {
        Box::pin(async move {
            let claims = claims.to_vec();
            self.change(move |connection, now| writes::prolong(connection, claims, now.plus(lasting))).await
        })
    }

    fn finish<'a>(&'a self, claim: &'a Claim, ending: Ending) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(self.change_held(claim, move |connection, claim, now| {
            writes::finish(connection, claim, &ending, now)
        }))
    }

    fn retry<'a>(
        &'a self,
        claim: &'a Claim,
        trouble: Trouble,
        pause: Duration,
    ) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(self.change_held(claim, move |connection, claim, now| {
            writes::retry(connection, claim, &trouble, now.plus(pause))
        }))
    }

    fn release<'a>(&'a self, claims: &'a [Claim]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let held = claims.to_vec();
            self.change(move |connection, now| writes::release(connection, &held, now)).await?;
            claims.iter().for_each(|claim| self.signal.tell(claim.command.clone()));
            Ok(())
        })
    }

    fn entry<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Option<QueueEntry>, Fault>> {
        Box::pin(async move { entry(&self.shared.readers.now()?.connection, command).or_fault() })
    }

    fn unfinished<'a>(
        &'a self,
        tenant: &'a Tenant,
        category: &'a Category,
        keys: &'a [StreamKey],
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.readers.now()?;
            unfinished(&reader.connection, tenant, category, keys, rows_max).or_fault()
        })
    }

    fn list<'a>(
        &'a self,
        tenant: &'a Tenant,
        status: Option<QueueStatus>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        Box::pin(
            async move { list(&self.shared.readers.now()?.connection, tenant, status, rows_max).or_fault() },
        )
    }

    fn revive<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Revived, Fault>> {
        Box::pin(async move {
            let failed = command.clone();
            let revived =
                self.change(move |connection, now| writes::revive(connection, &failed, now)).await?;
            self.signal.tell(command.clone());
            Ok(revived)
        })
    }

    fn sweep(&self, kept_for: Duration, rows_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(async move {
            let kept_for = i64::try_from(kept_for.as_micros()).unwrap_or(i64::MAX);
            self.change(move |connection, now| {
                writes::sweep(connection, now.as_micros().saturating_sub(kept_for), limit(rows_max))
            })
            .await
        })
    }

    fn counts(&self) -> BoxFuture<'_, Result<QueueCounts, Fault>> {
        Box::pin(
            async move { counts(&self.shared.readers.now()?.connection, self.shared.clock.now()).or_fault() },
        )
    }

    fn changes(&self) -> QueueChanges {
        self.signal.changes()
    }
}
