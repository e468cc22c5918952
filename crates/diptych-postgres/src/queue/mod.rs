//! The queue: commands that wait to be run later, beside the log and without the lock of its head. Times
//! are the database's own: the clocks of processes may differ.

mod rows;
mod writes;

use crate::PostgresStore;
use crate::fault::{OrFault, unsigned};
use crate::log::Parameter;
use diptych_command::{
    Claim, ClaimError, ClaimedCommand, CommandQueue, CommandRef, Ending, EnqueueError, Enqueued, Holder,
    QueueChanges, QueueCounts, QueueEntry, QueueStatus, QueuedCommand, Revived, Trouble,
};
use diptych_core::{BoxFuture, Category, Fault, StreamKey, Tenant};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

const COUNT: &str = "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), \
    coalesce(extract(epoch FROM clock_timestamp() - min(accepted_at)), 0)::float8 \
    FROM diptych.queued_command WHERE state < 2";

async fn counts(store: &PostgresStore) -> Result<QueueCounts, Fault> {
    let reader = store.shared.reader().await?;
    let row = reader.query_typed_one(&store.shared.sql(COUNT), &[]).await.or_fault()?;
    let oldest: f64 = row.try_get(2).or_fault()?;
    Ok(QueueCounts {
        accepted: unsigned(&row, 0)?,
        running: unsigned(&row, 1)?,
        oldest_seconds: oldest.max(0.0),
    })
}

async fn entry(
    client: &Client,
    store: &PostgresStore,
    command: &CommandRef,
) -> Result<Option<QueueEntry>, Fault> {
    let sql = rows::select("WHERE tenant = $1 AND command_id = $2");
    let (tenant, id) = (command.tenant.as_str(), command.id.as_str());
    let asked: [Parameter<'_>; 2] = [(&tenant, Type::TEXT), (&id, Type::TEXT)];
    let found = client.query_typed_opt(&store.shared.sql(&sql), &asked).await.or_fault()?;
    found.as_ref().map(rows::entry).transpose()
}

async fn list(
    store: &PostgresStore,
    tenant: &Tenant,
    status: Option<QueueStatus>,
    rows_max: usize,
) -> Result<Vec<QueueEntry>, Fault> {
    let sql = rows::select("WHERE tenant = $1 AND ($2 IS NULL OR state = $2) ORDER BY number DESC LIMIT $3");
    let (tenant, status, most) = (tenant.as_str(), status.map(QueueStatus::number), limit(rows_max));
    let asked: [Parameter<'_>; 3] = [(&tenant, Type::TEXT), (&status, Type::INT2), (&most, Type::INT8)];
    let reader = store.shared.reader().await?;
    let found = reader.query_typed(&store.shared.sql(&sql), &asked).await.or_fault()?;
    found.iter().map(rows::entry).collect()
}

async fn unfinished(
    store: &PostgresStore,
    tenant: &Tenant,
    category: &Category,
    keys: &[StreamKey],
    rows_max: usize,
) -> Result<Vec<QueueEntry>, Fault> {
    let sql = rows::select(
        "WHERE tenant = $1 AND category = $2 AND state < 2 AND key = ANY($3) ORDER BY number LIMIT $4",
    );
    let (tenant, category, most) = (tenant.as_str(), category.as_str(), limit(rows_max));
    let keys: Vec<&str> = keys.iter().map(StreamKey::as_str).collect();
    let asked: [Parameter<'_>; 4] =
        [(&tenant, Type::TEXT), (&category, Type::TEXT), (&keys, Type::TEXT_ARRAY), (&most, Type::INT8)];
    let reader = store.shared.reader().await?;
    let found = reader.query_typed(&store.shared.sql(&sql), &asked).await.or_fault()?;
    found.iter().map(rows::entry).collect()
}

fn limit(rows_max: usize) -> i64 {
    i64::try_from(rows_max).unwrap_or(i64::MAX)
}

impl CommandQueue for PostgresStore {
    fn enqueue(
        &self,
        command: QueuedCommand,
        commands_max: u64,
    ) -> BoxFuture<'_, Result<Enqueued, EnqueueError>> {
        Box::pin(async move {
            let enqueued = writes::enqueue(self, &command, commands_max).await;
            if let Ok(Enqueued::New(_)) = &enqueued {
                self.signal.tell(command.reference());
            }
            enqueued
        })
    }

    fn claim<'a>(
        &'a self,
        holder: &'a Holder,
        lasting: Duration,
        commands_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ClaimedCommand>, Fault>> {
        Box::pin(async move {
            let claimed = writes::claim(self, holder, lasting, limit(commands_max)).await?;
            claimed.iter().for_each(|claimed| self.signal.tell(claimed.command.reference()));
            Ok(claimed)
        })
    }

    fn prolong<'a>(
        &'a self,
        claims: &'a [Claim],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, Fault>> {
        Box::pin(writes::prolong(self, claims, lasting))
    }

    fn finish<'a>(&'a self, claim: &'a Claim, ending: Ending) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move {
            writes::finish(self, claim, &ending).await?;
            self.signal.tell(claim.command.clone());
            Ok(())
        })
    }

    fn retry<'a>(
        &'a self,
        claim: &'a Claim,
        trouble: Trouble,
        pause: Duration,
    ) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move {
            writes::retry(self, claim, &trouble, pause).await?;
            self.signal.tell(claim.command.clone());
            Ok(())
        })
    }

    fn release<'a>(&'a self, claims: &'a [Claim]) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            writes::release(self, claims).await?;
            claims.iter().for_each(|claim| self.signal.tell(claim.command.clone()));
            Ok(())
        })
    }

    fn entry<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Option<QueueEntry>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            entry(&reader, self, command).await
        })
    }

    fn unfinished<'a>(
        &'a self,
        tenant: &'a Tenant,
        category: &'a Category,
        keys: &'a [StreamKey],
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        Box::pin(unfinished(self, tenant, category, keys, rows_max))
    }

    fn list<'a>(
        &'a self,
        tenant: &'a Tenant,
        status: Option<QueueStatus>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<QueueEntry>, Fault>> {
        Box::pin(list(self, tenant, status, rows_max))
    }

    fn revive<'a>(&'a self, command: &'a CommandRef) -> BoxFuture<'a, Result<Revived, Fault>> {
        Box::pin(async move {
            let revived = writes::revive(self, command).await?;
            self.signal.tell(command.clone());
            Ok(revived)
        })
    }

    fn sweep(&self, kept_for: Duration, rows_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(writes::sweep(self, kept_for, limit(rows_max)))
    }

    fn counts(&self) -> BoxFuture<'_, Result<QueueCounts, Fault>> {
        Box::pin(counts(self))
    }

    fn changes(&self) -> QueueChanges {
        self.signal.changes()
    }
}
