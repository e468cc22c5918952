//! The outbox of applications that keep their own tables in the same database: written in their transactions,
//! without a look at the head; taken into the log by `writer/intake.rs`.

use crate::fault::{OrFault, damaged, storage};
use crate::log::Parameter;
use crate::options::SCHEMA;
use crate::shared::{Schema, Shared};
use crate::time::Stamp;
use crate::writer::{IntakeJob, Origin, WriterHandle};
use diptych_command::{
    Arrival, Facts, NewRow, OutboxError, OutboxRow, OutboxTable, SourcePosition, TakenIn, Waiting,
};
use diptych_core::{BoxFuture, Event, Fault};
use std::sync::Arc;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

/// INVARIANT: rows of one stream are numbered in the order of their transactions' commits, because a
/// transaction holds the stream's lock from before its first row until its end.
const LOCK_STREAM: &str = "SELECT pg_advisory_xact_lock(hashtextextended('diptych outbox ' || $1, 0))";
const INSERT: &str = "INSERT INTO diptych.outbox (tenant, category, key, type, schema_version, payload, \
    actor, command, command_id, correlation, causation, occurred_at) \
    SELECT $1, $2, $3, new.type, new.schema_version, new.payload, $4, $5, $6, $7, $8, \
    coalesce($9, statement_timestamp()) \
    FROM unnest($10, $11, $12) WITH ORDINALITY AS new (type, schema_version, payload, number) \
    ORDER BY new.number";
const SELECT_OLDEST: &str = "SELECT id, tenant, actor, category, key, type, schema_version, payload, \
    command, command_id, correlation, causation, occurred_at FROM diptych.outbox ORDER BY id LIMIT $1";
const SELECT_WAITING: &str = "SELECT count(*), min(occurred_at) FROM diptych.outbox";

/// The application's side of the outbox.
///
/// ```no_run
/// # use diptych_postgres::Outbox;
/// # use diptych_command::Facts;
/// # use diptych_core::{Event, Id, Principal};
/// # async fn restock<E: Event>(
/// #     client: &mut tokio_postgres::Client, ann: &Principal, product: &impl Id, restocked: E,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let mut transaction = client.transaction().await?;
/// transaction.execute("UPDATE product SET stock = stock + 3 WHERE sku = $1", &[&product.as_str()]).await?;
/// Outbox::append(&mut transaction, Facts::by(ann).of(product, [restocked])).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Outbox;

impl Outbox {
    /// Records facts in the application's own transaction, in the store of the schema `diptych`. They are in
    /// the log some moments after it has committed, and nowhere if it is rolled back.
    ///
    /// Facts of one stream stay in the order of their transactions: a second one that has facts for the same
    /// stream waits until the first has ended. Facts of other streams never wait. Where a transaction
    /// has facts
    /// of several streams, append them in an order that all transactions keep, or two may wait for each
    /// other, of which PostgreSQL ends one.
    ///
    /// # Errors
    /// [`OutboxError::Invalid`] for facts that cannot be stored; a fault of the database, after which the
    /// transaction can only be rolled back.
    pub async fn append<E: Event>(
        transaction: &mut Transaction<'_>,
        facts: Facts<E>,
    ) -> Result<(), OutboxError> {
        Self::append_in(SCHEMA, transaction, facts).await
    }

    /// As [`Outbox::append`], for a store in another schema.
    ///
    /// # Errors
    /// As [`Outbox::append`].
    pub async fn append_in<E: Event>(
        schema: &str,
        transaction: &mut Transaction<'_>,
        facts: Facts<E>,
    ) -> Result<(), OutboxError> {
        let rows = facts.into_rows()?;
        let Some(first) = rows.first() else { return Ok(()) };
        let schema = Schema::new(schema);
        let NewRow { tenant, actor, category, key, command, command_id, correlation, causation, .. } = first;
        let stream = format!("{} {tenant} {category}-{key}", schema.name());
        let lock: [Parameter<'_>; 1] = [(&stream, Type::TEXT)];
        transaction.execute_typed(LOCK_STREAM, &lock).await.map_err(storage)?;
        let types: Vec<_> = rows.iter().map(|row| row.event.name).collect();
        let versions: Vec<_> = rows.iter().map(|row| i64::from(row.event.schema_version)).collect();
        let payloads: Vec<_> = rows.iter().map(|row| row.event.payload.as_str()).collect();
        let (tenant, actor, id) = (tenant.as_str(), actor.as_str(), command_id.as_str());
        let (correlation, causation) =
            (correlation.as_ref().map(|id| id.as_str()), causation.as_ref().map(|id| id.as_str()));
        let occurred_at = first.occurred_at.map(Stamp);
        let row: [Parameter<'_>; 12] = [
            (&tenant, Type::TEXT),
            (category, Type::TEXT),
            (key, Type::TEXT),
            (&actor, Type::TEXT),
            (command, Type::TEXT),
            (&id, Type::TEXT),
            (&correlation, Type::TEXT),
            (&causation, Type::TEXT),
            (&occurred_at, Type::TIMESTAMPTZ),
            (&types, Type::TEXT_ARRAY),
            (&versions, Type::INT8_ARRAY),
            (&payloads, Type::TEXT_ARRAY),
        ];
        transaction.execute_typed(&schema.sql(INSERT), &row).await.map_err(storage)?;
        Ok(())
    }
}

/// The store's side of the outbox.
pub(crate) struct OutboxRows {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Arc<WriterHandle>,
}

impl OutboxTable for OutboxRows {
    fn oldest(&self, rows_max: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, Fault>> {
        Box::pin(async move {
            let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
            let asked: [Parameter<'_>; 1] = [(&limit, Type::INT8)];
            let reader = self.shared.reader().await?;
            let rows = reader.query_typed(&self.shared.sql(SELECT_OLDEST), &asked).await.or_fault()?;
            rows.iter().map(read).collect()
        })
    }

    fn take(&self, arrivals: Vec<Arrival>) -> BoxFuture<'_, Result<TakenIn, Fault>> {
        Box::pin(self.writer.take_in(IntakeJob { origin: Origin::Outbox, arrivals }))
    }

    fn waiting(&self) -> BoxFuture<'_, Result<Waiting, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            let row = reader.query_typed_one(&self.shared.sql(SELECT_WAITING), &[]).await.or_fault()?;
            let oldest: Option<Stamp> = row.try_get(1).or_fault()?;
            let rows = crate::fault::unsigned(&row, 0)?;
            Ok(Waiting { rows, oldest: oldest.map(|stamp| stamp.0) })
        })
    }

    fn location(&self) -> String {
        format!("{}.outbox", self.shared.schema.name())
    }
}

fn read(row: &Row) -> Result<OutboxRow, Fault> {
    let text = |column: usize| row.try_get::<_, String>(column).or_fault();
    let id = |column: usize| row.try_get::<_, Option<String>>(column).or_fault();
    let version = crate::fault::unsigned(row, 6)?;
    let Stamp(occurred_at) = row.try_get(12).or_fault()?;
    Ok(OutboxRow {
        id: SourcePosition(crate::fault::unsigned(row, 0)?),
        tenant: text(1)?,
        actor: text(2)?,
        category: text(3)?,
        key: text(4)?,
        event: text(5)?,
        schema_version: u32::try_from(version).map_err(|_| damaged("a schema version is too large"))?,
        payload: text(7)?,
        command: text(8)?,
        command_id: id(9)?,
        correlation: id(10)?,
        causation: id(11)?,
        occurred_at,
    })
}
