//! The store as the panels see it: opening, closing, and the ports to the log. Rows are in `models`.

use crate::connection::{Access, Connector, Reach, must_be_direct};
use crate::fault::{OrFault, damaged};
use crate::log::Names;
use crate::migrate::migrate;
use crate::models::{InlineGroup, Models, existing, fits, inline_groups};
use crate::notify::Listener;
use crate::options::Notify;
use crate::outbox::OutboxRows;
use crate::pool::Pool;
use crate::shared::{Schema, Shared, start_of};
use crate::writer::{IntakeJob, Origin, WriterHandle, watermark};
use crate::{PostgresOptions, audit, ledger, log, restore};
use diptych_command::{
    Arrival, AuditLog, AuditPage, AuditQuery, CommandRecord, Commit, CommitError, Committed, EventStore,
    Intake, LogRestore, Matched, OutboxTable, QueueSignal, RestoreSource, Source, TakenIn, Watermark,
    not_in_order, out_of_order,
};
use diptych_core::{
    BoxFuture, Code, CommandId, Epoch, Fault, Position, RawFact, StreamRef, TagQuery, Tenant, Timestamp,
    Version,
};
use diptych_query::{Block, Categories, Feed, Mark, PageKey, Statistics};
use std::sync::Arc;
use tokio::sync::watch;

const SELECT_PAGE_KEY: &str = "SELECT current, previous FROM diptych.page_key";
/// A role that may write is not one that only reads, whatever it was meant to be.
const MAY_WRITE: &str = "SELECT has_table_privilege('diptych.event', 'INSERT') \
    AND NOT current_setting('transaction_read_only')::bool";

/// A store in a schema of a database. Other processes may have the same one open.
pub struct PostgresStore {
    pub(crate) shared: Arc<Shared>,
    /// Connections that change the queue of commands.
    pub(crate) queue: Pool,
    pub(crate) signal: QueueSignal,
    writer: Arc<WriterHandle>,
    listener: Listener,
}

/// The ways to the database.
struct Ways {
    write: Connector,
    reach: Reach,
    writers: Connector,
    readers: Connector,
    queue: Connector,
    /// The role that only reads, if it is one of its own.
    reader: Option<String>,
    listen: Option<Connector>,
}

impl PostgresStore {
    /// Opens the store of a schema, and makes it where there is none.
    ///
    /// # Errors
    /// A fault: a database that cannot be reached, a store of newer software, an inline group of another
    /// shape than it was built with, or whose checkpoint is not of this log.
    pub async fn open(options: PostgresOptions) -> Result<Arc<Self>, Fault> {
        let ways = ways(&options)?;
        let PostgresOptions { schema, inline, progress, clock, limits, .. } = options;
        let schema = Schema::new(&schema);
        let now = clock.now();
        let mut connection = ways.migrating().open().await?;
        if ways.reach == Reach::Direct {
            must_be_direct(&connection).await?;
        }
        let identity = migrate(&mut connection, &schema, ways.reader.as_deref(), &limits, now).await?;
        let start = start_of(identity);
        let transaction = connection.transaction().await.or_fault()?;
        // Appends wait for the checkpoints of inline groups, which it may lock.
        transaction.batch_execute(&limits.idle_setting()).await.or_fault()?;
        let groups =
            inline_groups(transaction.client(), &schema, &inline, start, now, |name| progress.entry(name));
        let groups = groups.await?;
        transaction.commit().await.or_fault()?;
        let queue = Pool::new(ways.queue, limits.queue_connections_max, &limits);
        let shared = Arc::new(Shared {
            readers: Pool::new(ways.readers, limits.readers_max, &limits),
            writers: Pool::new(ways.writers, limits.writers_max, &limits),
            builds: Models::of(&groups),
            names: Names::new(limits.stream_names_max),
            head: watch::Sender::new(Position::START),
            appended: watch::Sender::new(Position::START),
            schema,
            limits,
            clock,
            progress,
            identity,
        });
        drop(connection);
        check(&shared, &groups).await?;
        let writer = WriterHandle::start(ways.write, ways.reach, Arc::clone(&shared), groups).await?;
        let writer = Arc::new(writer);
        let listener = Listener::start(Arc::clone(&shared), Arc::downgrade(&writer), ways.listen);
        Ok(Arc::new(Self { shared, queue, signal: QueueSignal::default(), writer, listener }))
    }

    /// Accepts no more commands, commits those that wait, and closes every connection.
    pub async fn close(&self) {
        self.listener.stop();
        self.writer.close().await;
        self.shared.builds.clear();
        self.shared.readers.close();
        self.shared.writers.close();
        self.queue.close();
    }

    /// Has the writer look at the log: inline groups come along.
    pub(crate) async fn look(&self) -> Result<(), Fault> {
        self.writer.refresh().await
    }

    /// The key that signs page tokens, made when the store was first opened.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn page_key(&self) -> Result<PageKey, Fault> {
        let connection = self.shared.models().await?;
        let row = connection.query_typed_one(&self.shared.sql(SELECT_PAGE_KEY), &[]).await.or_fault()?;
        let key = |bytes: &[u8]| bytes.try_into().map_err(|_| damaged("a page key has no 256 bits"));
        let current = key(row.try_get(0).or_fault()?)?;
        let previous: Option<&[u8]> = row.try_get(1).or_fault()?;
        Ok(PageKey::new(current, previous.map(key).transpose()?))
    }

    /// The outbox of this database, from which facts of applications are taken into the log.
    #[must_use]
    pub fn outbox(&self) -> Arc<dyn OutboxTable> {
        Arc::new(OutboxRows { shared: Arc::clone(&self.shared), writer: Arc::clone(&self.writer) })
    }

    /// Counts for an operator. Walks the streams, so it takes a moment on a large log.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn statistics(&self) -> Result<Statistics, Fault> {
        log::statistics(&*self.shared.reader().await?, &self.shared).await
    }

    /// How many events the log holds.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn event_count(&self) -> Result<u64, Fault> {
        Ok(self.head().await?.position().0)
    }
}

impl Intake for PostgresStore {
    fn take_in<'a>(
        &'a self,
        source: &'a Source,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, Result<TakenIn, Fault>> {
        Box::pin(async move {
            if let Some(entry) = out_of_order(&arrivals) {
                return Err(not_in_order(source, entry));
            }
            self.writer.take_in(IntakeJob { origin: Origin::Source(source.clone()), arrivals }).await
        })
    }

    fn watermark<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Option<Watermark>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            watermark(&reader, &self.shared, source).await.or_fault()
        })
    }
}

impl LogRestore for PostgresStore {
    fn restore(&self, epoch: Epoch, mut source: Box<dyn RestoreSource>) -> BoxFuture<'_, Result<u64, Fault>> {
        Box::pin(async move { restore::restore(&self.shared, epoch, &mut *source).await })
    }
}

impl AuditLog for PostgresStore {
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>> {
        Box::pin(async move { audit::audited(&*self.shared.reader().await?, &self.shared, query).await })
    }
}

impl EventStore for PostgresStore {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            log::load(&reader, &self.shared, stream, after, events_max).await
        })
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            log::load_query(&reader, &self.shared, tenant, query, after, facts_max).await
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.writer.commit(commit))
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            ledger::recorded(&reader, &self.shared, tenant, id).await
        })
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(ledger::expire(&self.shared, before, keys_max))
    }
}

impl Feed for PostgresStore {
    fn read<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            log::read(&reader, &self.shared, after, categories, positions_max).await
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        Box::pin(async move { log::head(&*self.shared.reader().await?, &self.shared).await })
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.reader().await?;
            log::mark_at(&reader, &self.shared, position).await
        })
    }

    fn stream<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        self.load(stream, after, events_max)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.shared.head.subscribe()
    }
}

impl Ways {
    /// Where tables are made: past a pooler where a way is known, for the same role, whose they will be.
    fn migrating(&self) -> &Connector {
        self.listen.as_ref().filter(|listen| listen.is_the_role_of(&self.write)).unwrap_or(&self.write)
    }
}

fn ways(options: &PostgresOptions) -> Result<Ways, Fault> {
    let PostgresOptions { url, reader_url, notify, root_certificates, limits, .. } = options;
    let reach = if *notify == Notify::Direct { Reach::Direct } else { Reach::Pooled };
    let connector =
        |url: &str, access, reach| Connector::new(url, access, reach, root_certificates.as_deref(), limits);
    let readers = match reader_url {
        Some(url) => connector(url, Access::AsTheRole, reach)?,
        None => {
            tracing::warn!("reads use the role that writes, in transactions that only read: name a reader");
            connector(url, Access::Read, reach)?
        }
    };
    let listen = match notify {
        Notify::Direct => Some(connector(url, Access::Write, Reach::Direct)?),
        Notify::At(url) => Some(connector(url, Access::Write, Reach::Direct)?),
        Notify::Poll => {
            tracing::info!(every = ?limits.foreign_poll, "appends of other processes are looked for");
            None
        }
    };
    Ok(Ways {
        write: connector(url, Access::Write, reach)?,
        reach,
        writers: connector(url, Access::Write, reach)?,
        queue: connector(url, Access::Write, reach)?,
        reader: reader_url.as_ref().and_then(|_| readers.role()),
        readers,
        listen,
    })
}

/// The head must be the last entry of the log, every inline group must stand at an entry of it, and readers
/// must not be able to write.
async fn check(shared: &Shared, groups: &[InlineGroup]) -> Result<(), Fault> {
    let reader = shared.reader().await?;
    let may_write = reader.query_typed_one(&shared.sql(MAY_WRITE), &[]).await.or_fault()?;
    if may_write.try_get(0).or_fault()? {
        let message = "the role that is named for reading may write: take the privilege from it";
        return Err(Fault::permanent(Code::ServiceInvalid, message));
    }
    let head = log::head(&reader, shared).await?;
    let last = log::mark_at(&reader, shared, head.position()).await?;
    let next = log::mark_at(&reader, shared, head.position().next()).await?;
    // Another process may have appended in between: then what was the head is an entry all the same.
    if last != Some(head) || (next.is_some() && log::head(&reader, shared).await? == head) {
        let message = format!("the log does not end at its head `{}`: one of them was changed", head.token);
        return Err(Fault::permanent(Code::LogDiffers, message));
    }
    for group in groups {
        let place = group.attached.place;
        let checkpoint = existing(&reader, &shared.schema, place).await?;
        fits(&reader, shared, place, checkpoint.mark).await?;
        let entry = shared.progress.entry(place.group);
        entry.advance(checkpoint.mark.position());
        entry.set_followed(true);
    }
    Ok(())
}
