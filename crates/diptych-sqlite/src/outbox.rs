//! The outbox of an application that keeps its own tables in a SQLite file: written in its transactions,
//! taken
//! into the log from there. The file is the application's; nothing in it is touched but the outbox.

use crate::SqliteStore;
use crate::fault::{OrFault, storage};
use crate::store::blocking;
use diptych_command::{
    Arrival, Facts, Intake, OutboxError, OutboxRow, OutboxTable, Source, SourcePosition, TakenIn, Waiting,
    Watermark,
};
use diptych_core::{BoxFuture, Code, Event, Fault, Timestamp};
use rusqlite::{Connection, OpenFlags, Row, Transaction};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SCHEMA: &str = include_str!("schema/outbox.sql");
const INSERT: &str = "INSERT INTO diptych_outbox (tenant, category, key, type, schema_version, payload, \
    actor, command, command_id, correlation, causation, occurred_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
/// Asked once for all rows of an append, so that they are seen to belong together.
const SELECT_NOW: &str = "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
const SELECT_IDENTITY: &str = "SELECT identity FROM diptych_outbox_identity WHERE id = 1";
const SELECT_OLDEST: &str = "SELECT id, tenant, actor, category, key, type, schema_version, payload, \
    command, command_id, correlation, causation, occurred_at FROM diptych_outbox ORDER BY id LIMIT ?1";
const SELECT_ROW: &str = "SELECT id, tenant, actor, category, key, type, schema_version, payload, \
    command, command_id, correlation, causation, occurred_at FROM diptych_outbox WHERE id = ?1";
const SELECT_FIRST: &str = "SELECT min(id) FROM diptych_outbox";
const SELECT_WAITING: &str = "SELECT count(*), min(occurred_at) FROM diptych_outbox";
const DELETE_THROUGH: &str = "DELETE FROM diptych_outbox WHERE id <= ?1";

/// How long the intake waits for a transaction of the application.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The application's side of the outbox.
///
/// ```no_run
/// # use diptych_sqlite::Outbox;
/// # use diptych_command::Facts;
/// # use diptych_core::{Event, Id, Principal};
/// # fn restock<E: Event>(
/// #     connection: &mut rusqlite::Connection, ann: &Principal, product: &impl Id, restocked: E,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// Outbox::create(connection)?; // once
/// let mut transaction = connection.transaction()?;
/// transaction.execute("UPDATE product SET stock = stock + 3 WHERE sku = ?1", [product.as_str()])?;
/// Outbox::append(&mut transaction, Facts::by(ann).of(product, [restocked]))?;
/// transaction.commit()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Outbox;

impl Outbox {
    /// Makes the outbox in the application's file, if it is not there yet.
    ///
    /// # Errors
    /// A fault of the database.
    pub fn create(connection: &Connection) -> Result<(), Fault> {
        connection.execute_batch(SCHEMA).or_fault()
    }

    /// Records facts in the application's own transaction. They are in the log some moments after it has
    /// committed, and nowhere if it is rolled back.
    ///
    /// # Errors
    /// [`OutboxError::Invalid`] for facts that cannot be stored, or a fault of the database.
    pub fn append<E: Event>(transaction: &mut Transaction<'_>, facts: Facts<E>) -> Result<(), OutboxError> {
        let mut insert = transaction.prepare_cached(INSERT).map_err(storage)?;
        let now: i64 = transaction.query_row(SELECT_NOW, [], |row| row.get(0)).map_err(storage)?;
        for row in facts.into_rows()? {
            let values = rusqlite::params![
                row.tenant.as_str(),
                row.category,
                row.key,
                row.event.name,
                row.event.schema_version,
                row.event.payload,
                row.actor.as_str(),
                row.command,
                row.command_id.as_str(),
                row.correlation.as_ref().map(|id| id.as_str()),
                row.causation.as_ref().map(|id| id.as_str()),
                row.occurred_at.map_or(now, Timestamp::as_micros),
            ];
            insert.execute(values).map_err(storage)?;
        }
        Ok(())
    }
}

/// The store's side of an outbox: the application's file, and the log that its rows go into.
pub struct OutboxFile {
    path: PathBuf,
    source: Source,
    connection: Arc<Mutex<Connection>>,
    store: Arc<SqliteStore>,
}

impl OutboxFile {
    /// Opens the application's file, and makes the outbox in it if it is not there yet.
    ///
    /// # Errors
    /// A fault: there is no such file and none can be made, or it is not a database.
    pub fn open(path: impl Into<PathBuf>, store: Arc<SqliteStore>) -> Result<Self, Fault> {
        let path = path.into();
        let connection = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        );
        let connection = connection.or_fault()?;
        connection.busy_timeout(BUSY_TIMEOUT).or_fault()?;
        Outbox::create(&connection)?;
        let identity: String = connection.query_row(SELECT_IDENTITY, [], |row| row.get(0)).or_fault()?;
        let source = Source::new(format!("outbox {identity}"))
            .map_err(|error| Fault::permanent(Code::IntakeStopped, error.to_string()))?;
        Ok(Self { path, source, connection: Arc::new(Mutex::new(connection)), store })
    }

    /// The application's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn on_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let connection = Arc::clone(&self.connection);
        blocking(move || work(&mut lock(&connection))).await
    }

    async fn oldest_now(&self, rows_max: usize) -> Result<Vec<OutboxRow>, Fault> {
        let watermark = self.store.watermark(&self.source).await?;
        let path = self.path.clone();
        self.on_file(move |connection| {
            if let Some(watermark) = watermark {
                finish(connection, &path, watermark)?;
            }
            let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(SELECT_OLDEST).or_fault()?;
            let rows = statement.query_map([limit], read).or_fault()?;
            rows.collect::<Result<_, _>>().or_fault()
        })
        .await
    }
}

impl OutboxTable for OutboxFile {
    fn oldest(&self, rows_max: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, Fault>> {
        Box::pin(self.oldest_now(rows_max))
    }

    /// Into the log first, which counts the rows, then out of the file: what dies in between is found done.
    fn take(&self, arrivals: Vec<Arrival>) -> BoxFuture<'_, Result<TakenIn, Fault>> {
        Box::pin(async move {
            let taken = self.store.take_in(&self.source, arrivals).await?;
            if let Some(watermark) = self.store.watermark(&self.source).await? {
                let path = self.path.clone();
                self.on_file(move |connection| finish(connection, &path, watermark)).await?;
            }
            Ok(taken)
        })
    }

    fn waiting(&self) -> BoxFuture<'_, Result<Waiting, Fault>> {
        Box::pin(self.on_file(|connection| {
            let row = connection.query_row(SELECT_WAITING, [], |row| {
                let oldest: Option<i64> = row.get(1)?;
                let rows = row.get::<_, i64>(0)?.cast_unsigned();
                Ok(Waiting { rows, oldest: oldest.map(Timestamp::from_stored) })
            });
            row.or_fault()
        }))
    }

    fn location(&self) -> String {
        format!("{} (diptych_outbox)", self.path.display())
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the rows that the log has taken in. What stands at or below the watermark must be what was taken
/// in: a file that was put back from a copy gives its numbers out once more, and those rows would be lost.
fn finish(connection: &mut Connection, path: &Path, watermark: Watermark) -> Result<(), Fault> {
    let Watermark { position, print } = watermark;
    let through = position.0.cast_signed();
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).or_fault()?;
    let first: Option<i64> = transaction.query_row(SELECT_FIRST, [], |row| row.get(0)).or_fault()?;
    if first.is_none_or(|first| first > through) {
        return Ok(());
    }
    let last = rusqlite::OptionalExtension::optional(transaction.query_row(SELECT_ROW, [through], read));
    if last.or_fault()?.is_none_or(|row| row.print() != print) {
        let message = format!(
            "the outbox of `{}` holds rows at or below {position}, up to where it was taken in, that are not \
             those that were: the file was put back from a copy; give its identity anew \
             (DELETE FROM diptych_outbox_identity) once the rows that the log has already are removed",
            path.display()
        );
        return Err(Fault::permanent(Code::IntakeStopped, message));
    }
    transaction.execute(DELETE_THROUGH, [through]).or_fault()?;
    transaction.commit().or_fault()
}

fn read(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: SourcePosition(row.get::<_, i64>(0)?.cast_unsigned()),
        tenant: row.get(1)?,
        actor: row.get(2)?,
        category: row.get(3)?,
        key: row.get(4)?,
        event: row.get(5)?,
        schema_version: row.get(6)?,
        payload: row.get(7)?,
        command: row.get(8)?,
        command_id: row.get(9)?,
        correlation: row.get(10)?,
        causation: row.get(11)?,
        occurred_at: Timestamp::from_stored(row.get(12)?),
    })
}
