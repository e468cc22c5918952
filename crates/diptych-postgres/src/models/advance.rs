//! Moving a group: rows, tombstones, digest, history and checkpoint in one transaction, or not at all.

use super::attach::{Attached, fits};
use super::checkpoint::Place;
use super::load::{Driven, drive};
use super::write::{BULK_ROWS_MIN, WriteError, write};
use super::{parked, statements};
use crate::PostgresLimits;
use crate::fault::OrFault;
use crate::shared::Shared;
use diptych_core::{Code, Fault, Position, Timestamp};
use diptych_query::{AdvanceError, Advanced, Checkpoint, Fold, Group, Partition, Stopped};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

pub(crate) const CLEAR_DIGESTS: &str = "DELETE FROM diptych.digest WHERE table_name = ANY($1)";

/// What a transaction that writes rows of read models sets for itself. Appends wait for the checkpoint of an
/// inline group; that of another may be held for as long as a large fold runs.
pub(crate) fn settings(limits: &PostgresLimits, waited_for: bool) -> String {
    let idle = match waited_for {
        true => limits.idle_transaction_timeout,
        false => limits.statement_timeout.max(limits.idle_transaction_timeout),
    };
    format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        limits.lock_timeout.as_millis(),
        limits.statement_timeout.as_millis(),
        idle.as_millis()
    )
}

/// Applies a fold: the one function that opens and commits the transaction of a group.
pub(crate) async fn advance(
    shared: &Shared,
    attached: &Attached,
    group: &Group,
    fold: Fold,
) -> Result<Advanced, AdvanceError> {
    let (now, from, through) = (shared.clock.now(), fold.from(), fold.through());
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let (advanced, swept) = apply(transaction.client(), shared, (attached, group), fold, now).await?;
    transaction.commit().await.or_fault()?;
    if swept {
        attached.note_sweep(through.position());
    }
    if attached.is_split() && from == Position::START && advanced.rows >= BULK_ROWS_MIN {
        // Inside of the transaction, two partitions that build at a time would wait for each other.
        for table in &attached.tables {
            table.analyze(&writer).await?;
        }
    }
    Ok(advanced)
}

/// What an advance does inside its transaction. Answers, too, whether tombstones were swept.
async fn apply(
    client: &Client,
    shared: &Shared,
    (attached, group): (&Attached, &Group),
    mut fold: Fold,
    now: Timestamp,
) -> Result<(Advanced, bool), AdvanceError> {
    let (schema, through) = (&shared.schema, fold.through());
    let (from, fresh) = (fold.from(), fold.is_fresh());
    let place = place_of(attached, &fold)?;
    let settings = settings(&shared.limits, shared.is_waited_for(attached));
    let (set, before, fit, held_back) = tokio::join!(
        biased;
        client.batch_execute(&settings),
        place.lock(client, schema),
        fits(client, shared, place, through),
        parked::held_back(client, schema, attached, group),
    );
    set.or_fault()?;
    let (before, fence) = before?;
    if fold.lease().is_some_and(|lease| lease.fence != fence) {
        return Err(AdvanceError::Fenced);
    }
    let standing = before.mark.position();
    if standing != from {
        return Err(AdvanceError::Moved { checkpoint: standing });
    }
    fit?;
    parked::hold(&mut fold, attached, &held_back?);
    let Driven { fold, changes, tombstones } = drive(client, &attached.tables, fold).await?;
    let mut rows = changes.iter().map(|changes| changes.rows.len()).sum();
    for (table, changes) in attached.tables.iter().zip(&changes) {
        rows += statements::take(client, table, &changes.facts).await?;
    }
    let history_max = shared.limits.checkpoint_history_max;
    let moving = async {
        match through.position() > standing {
            true => place.move_and_remember(client, schema, (standing, through), now, history_max).await,
            false => place.move_to(client, schema, through, now).await,
        }
    };
    let writing = write(client, schema, &attached.tables, &changes, &tombstones, fresh);
    let (written, moved) = tokio::join!(biased; writing, moving);
    written.map_err(|error: WriteError| Fault::from(error))?;
    moved?;
    if standing == Position::START && through.position() > standing {
        attached.create_indexes(client).await?;
        if rows >= BULK_ROWS_MIN && !attached.is_split() {
            for table in &attached.tables {
                table.analyze(client).await?;
            }
        }
    }
    let window_events = shared.limits.tombstone_window_events;
    let swept = attached.sweep(client, schema, through.position(), window_events).await?;
    let checkpoint = Checkpoint { mark: through, updated_at: now, stopped: before.stopped };
    Ok((Advanced { checkpoint, rows, passed: fold.passed() }, swept))
}

/// The place that a fold moves. Rows that have several owners are never moved all at once.
fn place_of(attached: &Attached, fold: &Fold) -> Result<Place, Fault> {
    if attached.partitions.contains(&fold.partition()) {
        return Ok(attached.place.of(fold.partition()));
    }
    let (group, partition) = (attached.place.group, fold.partition());
    let message = format!("read model `{group}` has no partition {partition}: fold under a lease");
    Err(Fault::permanent(Code::Internal, message))
}

/// Writes down why a partition stopped, or that it no longer is.
pub(crate) async fn set_stopped(
    shared: &Shared,
    attached: &Attached,
    partition: Partition,
    stopped: Option<&Stopped>,
) -> Result<(), Fault> {
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    client.batch_execute(&settings(&shared.limits, shared.is_waited_for(attached))).await.or_fault()?;
    attached.place.of(partition).stop(client, &shared.schema, stopped).await?;
    transaction.commit().await.or_fault()
}

/// Empties a group's tables and sets its checkpoint to the start of the log.
pub(crate) async fn reset(shared: &Shared, attached: &Attached) -> Result<Checkpoint, Fault> {
    let (start, now) = (shared.start(), shared.clock.now());
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    empty(transaction.client(), shared, attached, now).await?;
    transaction.commit().await.or_fault()?;
    attached.note_sweep(Position::START);
    Ok(Checkpoint { mark: start, updated_at: now, stopped: None })
}

async fn empty(client: &Client, shared: &Shared, attached: &Attached, now: Timestamp) -> Result<(), Fault> {
    let schema = &shared.schema;
    let places: Vec<_> = attached.partitions.iter().map(|partition| attached.place.of(*partition)).collect();
    // Removing many rows takes as long as it takes.
    let settings =
        settings(&shared.limits, shared.is_waited_for(attached)) + "; SET LOCAL statement_timeout = 0";
    client.batch_execute(&settings).await.or_fault()?;
    for place in &places {
        place.lock(client, schema).await?;
    }
    for table in &attached.tables {
        table.empty(client).await?;
    }
    let names: Vec<&str> = attached.tables.iter().map(|table| table.name.name.as_str()).collect();
    client.execute_typed(&schema.sql(CLEAR_DIGESTS), &[(&names, Type::TEXT_ARRAY)]).await.or_fault()?;
    parked::clear(client, schema, attached.place).await?;
    for place in places {
        place.forget(client, schema).await?;
        place.stop(client, schema, None).await?;
        place.count_repair(client, schema).await?;
        place.move_to(client, schema, shared.start(), now).await?;
    }
    Ok(())
}

/// Opens a group's tables in a transaction of their own.
pub(crate) async fn attach(shared: &Shared, group: &Group) -> Result<Attached, Fault> {
    let (start, now) = (shared.start(), shared.clock.now());
    let mut writer = shared.models().await?;
    let transaction = writer.transaction().await.or_fault()?;
    let client = transaction.client();
    client.batch_execute(&settings(&shared.limits, false)).await.or_fault()?;
    let attached = Attached::open(client, &shared.schema, group, start, now).await?;
    transaction.commit().await.or_fault()?;
    Ok(attached)
}
