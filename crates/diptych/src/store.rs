//! The stores that a service can run on, behind one seam: the ports of both panels and what an operator asks.

use crate::place::check_folder;
use crate::{Config, Place};
use diptych_command::{CommandQueue, EventStore, Intake, LogRestore, OutboxTable};
use diptych_core::{BoxFuture, Clock, Code, Fault};
use diptych_couch::{CouchOptions, CouchStore, Documents};
use diptych_postgres::{PostgresOptions, PostgresStore};
use diptych_query::{Feed, Group, Mode, ModelStore, PageKey, Progress, Registry, Statistics, Storage};
use diptych_sqlite::{OutboxFile, SqliteOptions, SqliteStore};
use std::path::Path;
use std::sync::Arc;

/// Where the rows of read models live, with what is known beside them.
pub trait Models: ModelStore + Registry {}

impl<T: ModelStore + Registry> Models for T {}

/// A store with everything that a service needs of it.
pub trait Store: EventStore + CommandQueue + Intake + LogRestore + Feed + Models {
    /// The key that signs page tokens.
    fn page_key(&self) -> BoxFuture<'_, Result<PageKey, Fault>>;

    /// Counts for an operator.
    fn statistics(&self) -> BoxFuture<'_, Result<Statistics, Fault>>;

    /// The outbox that applications record facts in: that of the store's database, or, for the embedded
    /// store,
    /// that of the application's file, where one is named.
    ///
    /// # Errors
    /// A file that cannot be used, or one that is named where there is no use for it.
    fn outbox(self: Arc<Self>, file: Option<&Path>) -> Result<Option<Arc<dyn OutboxTable>>, Fault>;

    /// Commits what waits and lets go of everything.
    fn close(&self) -> BoxFuture<'_, ()>;
}

impl Store for SqliteStore {
    fn page_key(&self) -> BoxFuture<'_, Result<PageKey, Fault>> {
        Box::pin(async move { Self::page_key(self) })
    }

    fn outbox(self: Arc<Self>, file: Option<&Path>) -> Result<Option<Arc<dyn OutboxTable>>, Fault> {
        let Some(file) = file else { return Ok(None) };
        Ok(Some(Arc::new(OutboxFile::open(file, self)?)))
    }

    fn statistics(&self) -> BoxFuture<'_, Result<Statistics, Fault>> {
        Box::pin(Self::statistics(self))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::close(self))
    }
}

impl Store for PostgresStore {
    fn page_key(&self) -> BoxFuture<'_, Result<PageKey, Fault>> {
        Box::pin(Self::page_key(self))
    }

    fn outbox(self: Arc<Self>, file: Option<&Path>) -> Result<Option<Arc<dyn OutboxTable>>, Fault> {
        match file {
            None => Ok(Some(Self::outbox(&self))),
            Some(file) => {
                let message = format!(
                    "the store is on PostgreSQL, where the outbox is in the same database; `{}` cannot be \
                     taken in",
                    file.display()
                );
                Err(Fault::permanent(Code::ServiceInvalid, message))
            }
        }
    }

    fn statistics(&self) -> BoxFuture<'_, Result<Statistics, Fault>> {
        Box::pin(Self::statistics(self))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::close(self))
    }
}

/// Where read models live: in the store itself, or those that are declared as documents in a server that a
/// configuration names.
pub(crate) fn models(
    config: &Config,
    clock: &Arc<dyn Clock>,
    groups: &[Arc<Group>],
    store: &Arc<dyn Store>,
) -> Result<Arc<dyn Models>, Fault> {
    let Some(address) = &config.documents else { return Ok(Arc::clone(store) as _) };
    let inline = |group: &&Arc<Group>| group.storage() == Storage::Document && group.mode() == Mode::Inline;
    if let Some(group) = groups.iter().find(inline) {
        let message = format!(
            "read model `{}` is declared `document` and `inline`, and documents are kept at {address}, which \
             takes no part in the transactions of commands: declare it asynchronous, or leave `--documents` \
             out",
            group.name()
        );
        return Err(Fault::permanent(Code::ServiceInvalid, message));
    }
    let couch = CouchStore::open(CouchOptions {
        address: address.clone(),
        feed: Arc::clone(store) as _,
        registry: Arc::clone(store) as _,
        clock: Arc::clone(clock),
        limits: config.couch.clone(),
    });
    let there = |group: &Group| group.storage() == Storage::Document;
    Ok(Arc::new(Documents::new(Arc::clone(store) as _, Arc::clone(store) as _, couch, there)))
}

/// Opens the store that a configuration names.
pub(crate) async fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    groups: &[Arc<Group>],
    progress: &Arc<Progress>,
) -> Result<Arc<dyn Store>, Fault> {
    let inline: Vec<_> = groups.iter().filter(|group| group.mode() == Mode::Inline).cloned().collect();
    let (clock, progress) = (Arc::clone(clock), Arc::clone(progress));
    match &config.store {
        Place::Directory(directory) => {
            check_folder(directory)?;
            let mut options = SqliteOptions::at(directory, clock);
            options.durability = config.durability;
            options.limits = config.sqlite.clone();
            (options.inline, options.progress) = (inline, progress);
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(options)).await;
            let opened = opened.map_err(|error| {
                Fault::permanent(Code::Internal, "opening the store failed").because(error)
            })?;
            Ok(opened? as Arc<dyn Store>)
        }
        Place::Postgres(database) => {
            let mut options = PostgresOptions::at(&database.url, clock);
            options.reader_url.clone_from(&database.reader_url);
            options.notify = database.notify.clone();
            options.root_certificates.clone_from(&database.root_certificates);
            options.schema.clone_from(&database.schema);
            options.limits = config.postgres.clone();
            (options.inline, options.progress) = (inline, progress);
            Ok(PostgresStore::open(options).await? as Arc<dyn Store>)
        }
    }
}
