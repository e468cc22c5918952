//! The store as the panels see it: opening, closing, and the ports to the log. Rows are in `models`.

use crate::connection::open_log;
use crate::fault::OrFault;
use crate::follow::Follower;
use crate::log::schema::migrate;
use crate::models::{OpenBuilds, Place, existing, remove_orphans};
use crate::pool::Pool;
use crate::queue::Writes;
use crate::shared::{Shared, start_of};
use crate::writer::{InlineGroup, WriterHandle, inline_groups, watermark};
use crate::{SqliteOptions, audit, ledger, log, restore};
use diptych_command::{
    Arrival, AuditLog, AuditPage, AuditQuery, CommandRecord, Commit, CommitError, Committed, EventStore,
    Intake, LogRestore, Matched, QueueSignal, RestoreSource, Source, TakenIn, Watermark,
};
use diptych_core::{
    BoxFuture, Code, CommandId, Epoch, Fault, Position, RawFact, StreamRef, TagQuery, Tenant, Timestamp,
    Version,
};
use diptych_query::{Block, Categories, Feed, Mark, PageKey, RawBlock, Statistics};
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::watch;

/// A store in a directory. Other processes may have the same one open.
pub struct SqliteStore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Arc<WriterHandle>,
    /// The groups that this process folds inside the transaction of a command.
    pub(crate) inline: HashSet<&'static str>,
    /// Changes of the queue on their way to the writer, and who waits for one.
    pub(crate) queue_writes: Writes,
    pub(crate) signal: QueueSignal,
    follower: Follower,
}

impl SqliteStore {
    /// Opens the store of a directory, and makes it where there is none.
    ///
    /// # Errors
    /// A fault: a directory that cannot be used, a store of newer software, an inline group of another
    /// shape than it was built with, or whose checkpoint is not of this log.
    pub fn open(options: SqliteOptions) -> Result<Arc<Self>, Fault> {
        let SqliteOptions { directory, durability, inline, progress, clock, limits } = options;
        std::fs::create_dir_all(directory.join("models")).or_fault()?;
        let _lock = lock(&directory)?;
        let path = directory.join("log.db");
        let now = clock.now();
        let mut connection = open_log(&path, durability, &limits)?;
        let identity = migrate(&mut connection, now)?;
        let start = start_of(identity);
        remove_orphans(&connection, &directory.join("models"))?;
        let groups = inline_groups(&mut connection, &inline, start, now, |name| progress.entry(name))?;
        let builds = OpenBuilds::default();
        builds.learn(&connection).or_fault()?;
        for attached in groups.iter().filter_map(InlineGroup::attached) {
            let place = attached.place;
            let checkpoint = existing(&connection, place)?;
            fits(&connection, identity, place, checkpoint.mark)?;
            builds.keep(Arc::clone(attached));
            let entry = progress.entry(place.group);
            entry.advance(checkpoint.mark.position());
            entry.set_followed(true);
        }
        let shared = Arc::new(Shared {
            readers: Pool::new(path, limits.clone()),
            builds,
            spares: Arc::default(),
            directory,
            durability,
            limits,
            clock,
            progress,
            identity,
            head: watch::Sender::new(Position::START),
            seen: Mutex::new(start),
        });
        let writer = Arc::new(WriterHandle::start(connection, Arc::clone(&shared), groups)?);
        let nudged = Arc::downgrade(&writer);
        let follower = Follower::start(Arc::clone(&shared), move || refresh(&nudged))?;
        Ok(Arc::new(Self {
            shared,
            writer,
            inline: inline.iter().map(|group| group.name()).collect(),
            queue_writes: Writes::default(),
            signal: QueueSignal::default(),
            follower,
        }))
    }

    /// Accepts no more commands, commits those that wait, writes the WAL back and closes every connection.
    pub async fn close(&self) {
        // The follower's connection goes first: the writer's, being the last, writes the WAL back.
        self.follower.join();
        self.writer.close();
        let writer = Arc::clone(&self.writer);
        // The thread answers for its own panics; here there is nothing to do about one.
        let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        self.shared.builds.close();
    }

    /// The key that signs page tokens, made when the store was first opened.
    ///
    /// # Errors
    /// A fault: `page.key` cannot be read, or does not hold a key.
    pub fn page_key(&self) -> Result<PageKey, Fault> {
        let _lock = lock(&self.shared.directory)?;
        crate::key::page_key(&self.shared.directory)
    }

    /// Counts for an operator. Walks the streams, so it takes a moment on a large log.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn statistics(&self) -> Result<Statistics, Fault> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let reader = shared.readers.wait()?;
            let counts = log::statistics(&reader.connection)?;
            let in_log = |path: &Path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.db"))
            };
            Ok(Statistics {
                log_bytes: bytes_of(&shared.directory, in_log),
                model_bytes: bytes_of(&shared.models_path(), |_| true),
                ..counts
            })
        })
        .await
    }

    /// How many events the log holds.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn event_count(&self) -> Result<u64, Fault> {
        let reader = self.shared.readers.now()?;
        Ok(log::position_of_head(&reader.connection)?.0)
    }

    /// Where the store lives.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }
}

impl LogRestore for SqliteStore {
    fn restore(&self, epoch: Epoch, mut source: Box<dyn RestoreSource>) -> BoxFuture<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let filled = self.writer.run(move |writer| {
                let filled = restore::restore(&mut writer.connection, epoch, &mut *source);
                // What the writer believes of the log is over.
                writer.recover();
                filled
            });
            filled.await?
        })
    }
}

impl AuditLog for SqliteStore {
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>> {
        let (shared, query) = (Arc::clone(&self.shared), query.clone());
        Box::pin(blocking(move || audit::audited(&shared.readers.wait()?.connection, &query)))
    }
}

impl EventStore for SqliteStore {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        // In place: microseconds, and a change of threads would cost more than the read.
        Box::pin(async move { log::load(&mut *self.shared.readers.now()?, stream, after, events_max) })
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        // In place, as one stream is.
        Box::pin(
            async move { log::load_query(&mut *self.shared.readers.now()?, tenant, query, after, facts_max) },
        )
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
            let reader = self.shared.readers.now()?;
            ledger::recorded(&reader.connection, self.shared.identity, tenant, id)
        })
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(async move {
            let swept =
                self.writer.run(move |writer| ledger::expire(&mut writer.connection, before, keys_max));
            swept.await?
        })
    }
}

impl Intake for SqliteStore {
    fn take_in<'a>(
        &'a self,
        source: &'a Source,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, Result<TakenIn, Fault>> {
        Box::pin(async move {
            let source = source.clone();
            self.writer.run(move |writer| writer.take_in(&source, arrivals)).await?
        })
    }

    fn watermark<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Option<Watermark>, Fault>> {
        Box::pin(async move { watermark(&self.shared.readers.now()?.connection, source) })
    }
}

impl Feed for SqliteStore {
    fn read<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>> {
        let (shared, categories) = (Arc::clone(&self.shared), categories.clone());
        Box::pin(blocking(move || {
            let mut reader = shared.readers.wait()?;
            log::read(&mut reader, shared.identity, after, &categories, positions_max)
        }))
    }

    fn read_raw<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<RawBlock, Fault>> {
        let (shared, categories) = (Arc::clone(&self.shared), categories.clone());
        Box::pin(blocking(move || {
            let mut reader = shared.readers.wait()?;
            let (identity, spares) = (shared.identity, &shared.spares);
            log::read_raw(&mut reader, identity, after, &categories, positions_max, spares)
        }))
    }

    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>> {
        Box::pin(async move {
            let reader = self.shared.readers.now()?;
            log::head(&reader.connection, self.shared.identity, self.shared.seen_head())
        })
    }

    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>> {
        Box::pin(async move {
            let reader = self.shared.readers.now()?;
            log::mark_at(&reader.connection, self.shared.identity, position)
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

/// Runs what may take a while on a thread that may block.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Fault> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(Fault::permanent(Code::Internal, "a read of the store failed").because(error).into())
        }
    }
}

/// A checkpoint must be an entry of the log.
pub(crate) fn fits(
    connection: &rusqlite::Connection,
    identity: log::schema::LogIdentity,
    place: Place,
    mark: Mark,
) -> Result<(), Fault> {
    if log::mark_at(connection, identity, mark.position())? == Some(mark) {
        return Ok(());
    }
    let message = format!(
        "the checkpoint `{}` of read model `{}` is not an entry of this log: one of them \
         was put back from elsewhere; remove the model's file under `models` to build it again",
        mark.token, place.group
    );
    Err(Fault::permanent(Code::LogDiffers, message))
}

/// Has the writer look at the log, which another process has moved.
fn refresh(writer: &Weak<WriterHandle>) {
    let Some(writer) = writer.upgrade() else {
        return;
    };
    let nudged = writer.nudge(|writer| {
        if let Err(error) = writer.refresh() {
            tracing::warn!(%error, "could not follow what another process appended");
        }
    });
    if let Err(error) = nudged {
        tracing::debug!(%error, "nobody follows foreign appends any more");
    }
}

/// Only one process at a time makes or migrates the files of a directory.
fn lock(directory: &Path) -> Result<File, Fault> {
    let file = File::create(directory.join("open.lock")).or_fault()?;
    file.lock().or_fault()?;
    Ok(file)
}

fn bytes_of(directory: &Path, counts: impl Fn(&Path) -> bool) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| counts(path)).collect();
    files.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}
