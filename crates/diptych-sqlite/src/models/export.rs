//! Reading rows of one moment for as long as somebody takes them, on a connection of its own that only reads.
//! SQLite keeps the log of writes that came after that moment until it is over: no longer than the export may
//! last.

use super::checkpoint::existing;
use super::file::Attached;
use super::rows::values_of;
use super::{Table, sql};
use crate::fault::OrFault;
use crate::pool::Reader;
use diptych_core::Fault;
use diptych_query::{EXPORT_BATCH_ROWS, ExportSender, Exporting, RawExport, export_channel};
use rusqlite::Connection;
use rusqlite::types::Value as Parameter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How many of SQLite's steps lie between two looks at the clock and at who takes the rows.
const STEPS_PER_LOOK: i32 = 10_000;

/// Fixes the moment, and has a thread of its own read on from there. For threads that may block.
pub(crate) fn begin(
    mut reader: Reader,
    attached: &Attached,
    table: &Table,
    export: &RawExport,
    at_most: Duration,
) -> Result<Exporting, Fault> {
    let parts = sql::find(&table.name, table.schema, &export.question(usize::MAX))?;
    reader.connection.execute_batch("BEGIN").or_fault()?;
    // The first read fixes it.
    let checkpoint = existing(&reader.connection, attached.place)?;
    let (sender, rows) = export_channel(Instant::now() + at_most);
    let schema = table.schema;
    let read = move || {
        let sender = Arc::new(sender);
        let done = read_all(&mut reader, schema, parts, &sender);
        drop(reader);
        if let Some(sender) = Arc::into_inner(sender) {
            Handle::current().block_on(sender.end(done));
        }
    };
    drop(tokio::task::spawn_blocking(read));
    Ok(Exporting { checkpoint, build: attached.place.build(), rows })
}

fn read_all(
    reader: &mut Reader,
    schema: &'static diptych_query::Schema,
    parts: Vec<sql::Part>,
    sender: &Arc<ExportSender>,
) -> Result<(), Fault> {
    let watched = Arc::clone(sender);
    let over = move || watched.is_abandoned() || Instant::now() >= watched.deadline();
    reader.connection.progress_handler(STEPS_PER_LOOK, Some(over)).or_fault()?;
    let read = |connection: &Connection| -> Result<(), Fault> {
        let mut batch = Vec::new();
        for part in parts {
            let mut statement = connection.prepare(&part.sql).or_fault()?;
            let parameters = part.parameters.into_iter().chain([Parameter::Integer(i64::MAX)]);
            let mut rows = statement.query(rusqlite::params_from_iter(parameters)).or_fault()?;
            while let Some(row) = rows.next().or_fault()? {
                batch.push(values_of(schema, row, 0).or_fault()?.0);
                if batch.len() == EXPORT_BATCH_ROWS
                    && !Handle::current().block_on(sender.rows(std::mem::take(&mut batch), Instant::now()))?
                {
                    return Ok(());
                }
            }
        }
        if !batch.is_empty() {
            Handle::current().block_on(sender.rows(batch, Instant::now()))?;
        }
        Ok(())
    };
    let done = read(&reader.connection);
    reader.connection.progress_handler(0, None::<fn() -> bool>).or_fault()?;
    done
}
