//! Reading rows of one moment for as long as somebody takes them: batch after batch in one transaction that
//! only reads. PostgreSQL keeps what was removed after that moment until it is over: no longer than the
//! export may last.

use super::attach::Attached;
use super::find::run;
use super::question;
use super::rows::values_of;
use crate::fault::{OrFault, storage};
use crate::shared::Shared;
use diptych_core::{Code, Fault, Value};
use diptych_query::{Cursor, EXPORT_BATCH_ROWS, ExportSender, Exporting, RawExport, Schema, export_channel};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_postgres::{IsolationLevel, Transaction};

/// How much longer the database waits for the next batch than this process does.
const IDLE_SLACK: Duration = Duration::from_secs(10);

/// Fixes the moment, and has a task of its own read on from there.
pub(crate) async fn begin(
    shared: Arc<Shared>,
    attached: Arc<Attached>,
    schema: &'static Schema,
    export: RawExport,
    at_most: Duration,
) -> Result<Exporting, Fault> {
    let (begun, told) = oneshot::channel();
    let (sender, rows) = export_channel(Instant::now() + at_most);
    let build = attached.build();
    tokio::spawn(async move {
        let done = read_all(&shared, &attached, schema, &export, &sender, begun).await;
        sender.end(done).await;
    });
    let checkpoint = told.await.map_err(|_| ended())??;
    Ok(Exporting { checkpoint, build, rows })
}

type Begun = oneshot::Sender<Result<diptych_query::Checkpoint, Fault>>;

async fn read_all(
    shared: &Shared,
    attached: &Attached,
    schema: &'static Schema,
    export: &RawExport,
    sender: &ExportSender,
    begun: Begun,
) -> Result<(), Fault> {
    let opening = async {
        let loan = shared.reader_of_snapshots().await?;
        attached.table(schema)?;
        Ok(loan)
    };
    let mut loan = match opening.await {
        Ok(loan) => loan,
        Err(fault) => return tell(begun, Err(fault)),
    };
    // Dropped, it sends its rollback.
    let transaction =
        loan.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    let transaction = match transaction.await {
        Ok(transaction) => transaction,
        Err(error) => return tell(begun, Err(storage(error))),
    };
    let left = sender.deadline().saturating_duration_since(Instant::now());
    let opened = async {
        transaction.batch_execute(&settings(left)).await.or_fault()?;
        attached.checkpoint(transaction.client(), &shared.schema).await
    };
    match opened.await {
        Ok(checkpoint) => tell(begun, Ok(checkpoint))?,
        Err(fault) => return tell(begun, Err(fault)),
    }
    read_batches(&transaction, attached, schema, export, sender).await?;
    transaction.commit().await.or_fault()
}

fn tell(begun: Begun, told: Result<diptych_query::Checkpoint, Fault>) -> Result<(), Fault> {
    begun.send(told).map_err(|_| ended())
}

fn ended() -> Fault {
    Fault::transient(Code::Storage, "the export ended before it had begun")
}

/// Limits for each statement, and for how long nobody may take a batch.
fn settings(left: Duration) -> String {
    // 0 would be no limit at all.
    let millis = left.as_millis().clamp(1, 1_000_000_000);
    // Who waits for somebody to take a batch gives up by itself first; this is for a process that freezes.
    let idle = millis + IDLE_SLACK.as_millis();
    format!("SET LOCAL statement_timeout = {millis}; SET LOCAL idle_in_transaction_session_timeout = {idle}")
}

async fn read_batches(
    transaction: &Transaction<'_>,
    attached: &Attached,
    schema: &'static Schema,
    export: &RawExport,
    sender: &ExportSender,
) -> Result<(), Fault> {
    let table = attached.table(schema)?;
    let mut find = export.question(EXPORT_BATCH_ROWS);
    loop {
        let mut batch: Vec<Vec<Value>> = Vec::new();
        for part in question::find(&table.name, schema, &find)? {
            for row in run(transaction.client(), &part).await.or_fault()? {
                batch.push(values_of(schema, &row, 0)?.0);
            }
        }
        let full = batch.len() == EXPORT_BATCH_ROWS;
        let Some(last) = batch.last() else { return Ok(()) };
        let key = schema.key.iter().map(|column| last[*column].clone()).collect();
        find.after = Some(Cursor { sorted: None, key });
        if !sender.rows(batch, Instant::now()).await? || !full {
            return Ok(());
        }
    }
}
