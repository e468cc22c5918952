//! The server with the builds that were opened there, and the few requests that everything is made of.

use crate::Address;
use crate::client::{Bounds, Client, Reply};
use crate::index::{Span, Ways};
use crate::order::hex;
use crate::part::Part;
use diptych_core::{Clock, Code, Fault};
use diptych_query::{BuildId, Feed, Group, Mark, Partition, Registry, Schema};
use hyper::Method;
use serde_json::{Value as Json, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often a document is written anew because somebody else was faster, before that is an error.
pub(crate) const WRITE_ROUNDS_MAX: usize = 50;

/// How a store of documents is opened.
#[derive(Clone)]
pub struct CouchOptions {
    /// Where the server is.
    pub address: Address,
    /// The log that rows are folded from.
    pub feed: Arc<dyn Feed>,
    /// What is known of builds.
    pub registry: Arc<dyn Registry>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// The limits.
    pub limits: CouchLimits,
}

/// The limits of a store of documents.
#[derive(Clone, Debug)]
pub struct CouchLimits {
    /// How long the server may take for one answer; later it counts as not answering.
    pub request_wait_max: Duration,
    /// How large one of its answers may be, in bytes; a larger one counts as garbage.
    pub answer_bytes_max: usize,
    /// How many documents are written or read at once.
    pub request_documents_max: usize,
    /// How many documents one question may look at; one that needs more is refused.
    pub walk_rows_max: usize,
    /// How many batches may die half written while a build lives; then it must be built anew.
    pub dead_batches_max: usize,
    /// How many rows an export holds in memory. One of no more rows is read again where they have moved; a
    /// longer one fails.
    pub export_rows_held_max: usize,
}

impl Default for CouchLimits {
    fn default() -> Self {
        Self {
            request_wait_max: Duration::from_secs(30),
            answer_bytes_max: 256 << 20,
            request_documents_max: 1_000,
            walk_rows_max: 1_000_000,
            dead_batches_max: 10_000,
            export_rows_held_max: 10_000,
        }
    }
}

/// Keeps read models as documents in a server that speaks the CouchDB protocol: a database for each build, a
/// document for each row and for each partition.
pub struct CouchStore {
    pub(crate) client: Client,
    pub(crate) feed: Arc<dyn Feed>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: CouchLimits,
    opened: Mutex<HashMap<(String, String), Arc<Build>>>,
    /// The groups, by label, that were attached while the server was away: they are looked at when it
    /// answers.
    unseen: Mutex<HashSet<String>>,
    /// The store itself, for what goes on after the call that began it.
    me: Weak<Self>,
}

/// A build whose database is there.
pub(crate) struct Build {
    pub(crate) id: BuildId,
    /// The name of its database.
    pub(crate) database: String,
    /// What tells its tables' shapes apart.
    pub(crate) shape: String,
    pub(crate) tables: Vec<&'static Schema>,
    /// Which indexes its database has of each table: those that it was made with.
    pub(crate) indexed: Vec<Vec<Ways>>,
    pub(crate) partitions: Vec<Partition>,
    /// Its group, for people.
    pub(crate) label: String,
}

impl Build {
    /// The place of a table among those of its group.
    pub(crate) fn table(&self, schema: &Schema) -> Result<usize, Fault> {
        let index = self.tables.iter().position(|held| held.name == schema.name);
        let missing = || format!("`{}` has no table `{}`", self.label, schema.name);
        index.ok_or_else(|| Fault::permanent(Code::Internal, missing()))
    }
}

/// Whether a document was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Saved {
    /// It is there.
    Yes,
    /// Somebody else has written it since it was read.
    Conflict,
}

impl CouchStore {
    /// A store at a server. Asks it nothing yet.
    #[must_use]
    pub fn open(options: CouchOptions) -> Arc<Self> {
        let CouchOptions { address, feed, registry, clock, limits } = options;
        let CouchLimits { request_wait_max, answer_bytes_max, .. } = limits;
        let client = Client::new(address, Bounds { request_wait_max, answer_bytes_max });
        Arc::new_cyclic(|me| Self {
            client,
            feed,
            registry,
            clock,
            limits,
            opened: Mutex::default(),
            unseen: Mutex::default(),
            me: Weak::clone(me),
        })
    }

    /// The store, to be held for longer than a call.
    pub(crate) fn held(&self) -> Result<Arc<Self>, Fault> {
        let gone = || Fault::permanent(Code::Internal, "a store of documents is asked while it ends");
        self.me.upgrade().ok_or_else(gone)
    }

    /// The builds that were opened here, by database and shape.
    pub(crate) fn opened(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Build>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a group looked at before it is used for the first time.
    pub(crate) fn attach_later(&self, group: &Group) {
        self.unseen().insert(group.label());
    }

    fn unseen(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a build's database.
    pub(crate) fn database_of(&self, group: &str, build: BuildId) -> String {
        let BuildId { revision, generation } = build;
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        let name =
            if group.chars().all(plain) { group.to_owned() } else { format!("x{}", hex(group.as_bytes())) };
        format!("{}{name}_r{revision}_g{generation}", self.client.prefix())
    }

    /// The start of the log.
    pub(crate) async fn start(&self) -> Result<Mark, Fault> {
        let start = self.feed.mark(diptych_core::Position::START).await?;
        start.ok_or_else(|| Fault::permanent(Code::Internal, "the log has no start"))
    }

    /// Documents by their names, in the same order; none where there is none. The database may be gone.
    pub(crate) async fn documents(&self, database: &str, ids: &[String]) -> Result<Option<Vec<Json>>, Fault> {
        let mut all = Vec::with_capacity(ids.len());
        for some in ids.chunks(self.limits.request_documents_max.max(1)) {
            let path = format!("/{database}/_all_docs?include_docs=true");
            let reply = self.client.ask(Method::POST, &path, Some(&json!({ "keys": some }))).await?;
            if reply.status == 404 {
                return Ok(None);
            }
            let rows = self.rows_of(reply, "documents by name")?;
            if rows.len() != some.len() {
                let message = format!("{} documents were asked for, {} answered", some.len(), rows.len());
                return Err(Fault::transient(Code::DocumentsUnavailable, message));
            }
            all.extend(rows);
        }
        Ok(Some(all))
    }

    /// Documents whose names are from one on and before another, in order, at most so many. The database may
    /// be gone.
    pub(crate) async fn range(
        &self,
        database: &str,
        (from, to): (&str, &str),
        most: usize,
    ) -> Result<Option<Vec<Json>>, Fault> {
        // INVARIANT: names are of letters that need no escape in an address.
        let bounds = format!("startkey=%22{from}%22&endkey=%22{to}%22");
        let path = format!("/{database}/_all_docs?include_docs=true&{bounds}&limit={most}");
        let reply = self.client.ask(Method::GET, &path, None).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        self.rows_of(reply, "a range of documents").map(Some)
    }

    /// Rows of a part of an index, with their documents, in its order, at most so many. None where index or
    /// database is gone.
    pub(crate) async fn index_rows(
        &self,
        database: &str,
        span: &Span,
        most: usize,
    ) -> Result<Option<Vec<Json>>, Fault> {
        let Some((from, to)) = span.keys() else { return Ok(Some(Vec::new())) };
        let wanted = json!({ "startkey": from, "endkey": to, "limit": most, "include_docs": true });
        let path = format!("/{database}/{}", span.path);
        let reply = self.client.ask(Method::POST, &path, Some(&wanted)).await?;
        if reply.status == 404 {
            self.forget(database);
            return Ok(None);
        }
        self.rows(reply, "a part of an index").map(Some)
    }

    fn rows_of(&self, reply: Reply, what: &str) -> Result<Vec<Json>, Fault> {
        // A document that was deleted is there as null.
        Ok(self.rows(reply, what)?.into_iter().map(|mut row| row["doc"].take()).collect())
    }

    fn rows(&self, mut reply: Reply, what: &str) -> Result<Vec<Json>, Fault> {
        match (reply.is_good(), reply.body["rows"].take()) {
            (true, Json::Array(rows)) => Ok(rows),
            _ => Err(self.client.unexpected(what, &reply)),
        }
    }

    /// Writes a document over the revision that it names, or where there is none.
    pub(crate) async fn put(&self, database: &str, id: &str, document: &Json) -> Result<Saved, Fault> {
        let path = format!("/{database}/{id}");
        let reply = self.client.ask(Method::PUT, &path, Some(document)).await?;
        match reply.status {
            409 => Ok(Saved::Conflict),
            _ if reply.is_good() => Ok(Saved::Yes),
            _ => Err(self.client.unexpected("a document", &reply)),
        }
    }

    /// Writes documents, each by itself. Answers what became of each.
    pub(crate) async fn put_all(&self, database: &str, documents: &[Json]) -> Result<Vec<Json>, Fault> {
        let path = format!("/{database}/_bulk_docs");
        let reply = self.client.ask(Method::POST, &path, Some(&json!({ "docs": documents }))).await?;
        match reply.body {
            Json::Array(answers) if answers.len() == documents.len() => Ok(answers),
            body => Err(self.client.unexpected("documents", &Reply { status: reply.status, body })),
        }
    }

    /// Writes what is kept of a partition, if nobody else has.
    pub(crate) async fn save(&self, database: &str, part: &mut Part) -> Result<Saved, Fault> {
        let document = serde_json::to_value(&*part).map_err(|error| {
            Fault::permanent(Code::Internal, "what is kept of a partition is no JSON").because(error)
        })?;
        let path = format!("/{database}/{}", part.id);
        let reply = self.client.ask(Method::PUT, &path, Some(&document)).await?;
        match (reply.status, reply.body["rev"].as_str()) {
            (409, _) => Ok(Saved::Conflict),
            (200..300, Some(rev)) => {
                part.rev = Some(rev.to_owned());
                Ok(Saved::Yes)
            }
            _ => Err(self.client.unexpected("a partition", &reply)),
        }
    }

    /// Forgets that a database is there.
    pub(crate) fn forget(&self, database: &str) {
        self.opened().retain(|(held, _), _| held != database);
    }

    /// The build that a group means, with what is kept of its partitions.
    pub(crate) async fn at(&self, group: &Group) -> Result<(Arc<Build>, Vec<Part>), Fault> {
        let (build, parts) = self.found(group).await?;
        if self.unseen().contains(&build.label) {
            self.check(&build, &parts).await?;
            self.unseen().remove(&build.label);
        }
        Ok((build, parts))
    }

    /// Refuses a build of another shape, or one that was folded from another log.
    pub(crate) async fn check(&self, build: &Build, parts: &[Part]) -> Result<(), Fault> {
        self.check_shape(build).await?;
        for part in parts {
            self.check_log(part.mark(), &build.label).await?;
        }
        Ok(())
    }

    async fn found(&self, group: &Group) -> Result<(Arc<Build>, Vec<Part>), Fault> {
        let build = self.build(group).await?;
        if let Some(parts) = self.parts(&build).await? {
            return Ok((build, parts));
        }
        // Another process has removed the build, or somebody the database: look again what there is.
        self.forget(&build.database);
        self.registry.refresh().await?;
        let build = self.build(group).await?;
        match self.parts(&build).await? {
            Some(parts) => Ok((build, parts)),
            None => {
                let message = format!("the database of `{}` goes away whenever it is made", build.label);
                Err(Fault::transient(Code::DocumentsUnavailable, message))
            }
        }
    }

    /// What is kept of a build's partitions; none where its database is gone.
    pub(crate) async fn parts(&self, build: &Build) -> Result<Option<Vec<Part>>, Fault> {
        let ids: Vec<_> = build.partitions.iter().map(|partition| Part::id_of(*partition)).collect();
        let Some(found) = self.documents(&build.database, &ids).await? else { return Ok(None) };
        if found.iter().any(Json::is_null) {
            return Ok(None);
        }
        let read = |json| serde_json::from_value(json);
        let parts = found.into_iter().map(read).collect::<Result<Vec<Part>, _>>();
        let damaged = format!("what is kept of the partitions of `{}` cannot be read", build.label);
        Ok(Some(parts.map_err(|error| Fault::permanent(Code::Storage, damaged).because(error))?))
    }

    /// Changes what is kept of a partition, again and again until nobody else is faster. The change answers
    /// none to leave everything as it is.
    pub(crate) async fn change<T>(
        &self,
        group: &Group,
        partition: Partition,
        mut change: impl FnMut(&Build, &mut Part) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        for _ in 0..WRITE_ROUNDS_MAX {
            let (build, mut parts) = self.at(group).await?;
            let part = part_of(&build, &mut parts, partition)?;
            let Some(changed) = change(&build, part) else { return Ok(None) };
            if self.save(&build.database, part).await? == Saved::Yes {
                return Ok(Some(changed));
            }
        }
        Err(contended(group))
    }
}

/// One of a build's partitions.
pub(crate) fn part_of<'a>(
    build: &Build,
    parts: &'a mut [Part],
    partition: Partition,
) -> Result<&'a mut Part, Fault> {
    let known = build.partitions.get(usize::from(partition.index())) == Some(&partition);
    let part = parts.get_mut(usize::from(partition.index())).filter(|_| known);
    part.ok_or_else(|| {
        let message = format!("`{}` has no partition {partition}: fold under a lease", build.label);
        Fault::permanent(Code::Internal, message)
    })
}

/// The fault of a document that others write all the time.
pub(crate) fn contended(group: &Group) -> Fault {
    let message =
        format!("a partition of `{}` was written by others {WRITE_ROUNDS_MAX} times", group.label());
    Fault::transient(Code::DocumentsUnavailable, message)
}
