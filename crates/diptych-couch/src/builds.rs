//! Which build a group means, and its database: made when it is first needed, refused in another shape.

use crate::CouchStore;
use crate::index;
use crate::money;
use crate::order::after;
use crate::part::Part;
use crate::store::Build;
use diptych_core::{Code, Fault};
use diptych_query::{BuildId, Group, Stage, own_build};
use hyper::Method;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// What sorts after the name of every document.
const LAST: &str = "~";

/// The document that says what a database is for.
const ABOUT: &str = "build";

impl CouchStore {
    /// The build that a group means, with its database.
    pub(crate) async fn build(&self, group: &Group) -> Result<Arc<Build>, Fault> {
        let builds = self.registry.builds(group.name()).await?;
        let meant = match group.build() {
            Some(id) => builds.iter().find(|build| build.id == id),
            None => own_build(&builds, group.revision()),
        };
        let Some(known) = meant else {
            let message = format!("read model `{}` is not attached", group.label());
            return Err(Fault::permanent(Code::Internal, message));
        };
        let database = self.database_of(group.name(), known.id);
        let shape = shape_of(group);
        // Code of two revisions may look at one build, each with tables of its own.
        let opened = self.opened().get(&(database.clone(), shape.clone())).cloned();
        if let Some(build) = opened {
            return Ok(build);
        }
        if known.stage == Stage::Retired {
            let message = format!("build {} of `{}` is retired", known.id, group.name());
            return Err(Fault::permanent(Code::ModelRetired, message));
        }
        let mut build = Build {
            id: known.id,
            database: database.clone(),
            shape: shape.clone(),
            tables: group.models().iter().map(|model| model.schema()).collect(),
            indexed: Vec::new(),
            partitions: group.partitions().collect(),
            label: group.label(),
        };
        self.make(&build, group).await?;
        for schema in &build.tables {
            let designs = self.documents(&database, &index::names(schema)).await?.unwrap_or_default();
            build.indexed.push(index::ways(&designs));
        }
        let build = Arc::new(build);
        self.opened().insert((database, shape), Arc::clone(&build));
        Ok(build)
    }

    /// Makes a build's database with everything but rows, where it is not there. Two processes may do so at
    /// once, and one that died half-way is gone on from.
    async fn make(&self, build: &Build, group: &Group) -> Result<(), Fault> {
        let path = format!("/{}", build.database);
        let reply = self.client.ask(Method::PUT, &path, None).await?;
        if !reply.is_good() && reply.status != 412 {
            return Err(self.client.unexpected("a new database", &reply));
        }
        let (start, now) = (self.start().await?, self.clock.now());
        let mut documents: Vec<_> = money::guard(group.models()).into_iter().collect();
        // Rows that were written before there were indexes would be missing in them.
        let first: Vec<_> =
            build.partitions.iter().take(1).map(|partition| Part::id_of(*partition)).collect();
        let found = self.documents(&build.database, &first).await?.unwrap_or_default();
        if found.iter().all(Json::is_null) {
            documents.extend(index::designs(&build.tables));
        }
        for partition in &build.partitions {
            let part = Part::new(*partition, build.tables.len(), start, now);
            documents.push(serde_json::to_value(part).map_err(|error| {
                Fault::permanent(Code::Internal, "a new partition is no JSON").because(error)
            })?);
        }
        documents.push(json!({ "_id": ABOUT, "shape": build.shape, "build": build.id.to_string() }));
        // What is there already is not written again: it names no revision.
        self.put_all(&build.database, &documents).await.map(drop)
    }

    /// Refuses a build whose tables have another shape.
    pub(crate) async fn check_shape(&self, build: &Build) -> Result<(), Fault> {
        if self.about(build).await?["shape"].as_str() == Some(&build.shape) {
            return Ok(());
        }
        let BuildId { revision, .. } = build.id;
        let message =
            format!("read model `{}` has another shape than revision {revision} was built with", build.label);
        Err(Fault::permanent(Code::ShapeChanged, message))
    }

    async fn about(&self, build: &Build) -> Result<Json, Fault> {
        let found = self.documents(&build.database, &[ABOUT.to_owned()]).await?;
        Ok(found.and_then(|found| found.into_iter().next()).unwrap_or(Json::Null))
    }

    /// Removes a build's database; one that is gone is left as it is.
    pub(crate) async fn remove(&self, group: &Group, build: BuildId) -> Result<(), Fault> {
        let database = self.database_of(group.name(), build);
        self.forget(&database);
        let reply = self.client.ask(Method::DELETE, &format!("/{database}"), None).await?;
        if reply.is_good() || reply.status == 404 {
            return Ok(());
        }
        Err(self.client.unexpected("the end of a database", &reply))
    }

    /// How many bytes a build's database takes, as the server says, or else as its documents are long.
    pub(crate) async fn bytes(&self, group: &Group, build: BuildId) -> Result<u64, Fault> {
        let database = self.database_of(group.name(), build);
        let reply = self.client.ask(Method::GET, &format!("/{database}"), None).await?;
        if reply.status == 404 {
            return Ok(0);
        }
        let told = [&reply.body["sizes"]["file"], &reply.body["disk_size"], &reply.body["data_size"]];
        match told.into_iter().find_map(Json::as_u64) {
            Some(bytes) => Ok(bytes),
            None => self.bytes_of_documents(&database).await,
        }
    }

    async fn bytes_of_documents(&self, database: &str) -> Result<u64, Fault> {
        let (mut from, mut bytes) = (String::new(), 0);
        loop {
            let page = self.limits.request_documents_max.max(1);
            let found = self.range(database, (&from, LAST), page).await?.unwrap_or_default();
            bytes += found.iter().map(|document| document.to_string().len() as u64).sum::<u64>();
            match found.last().and_then(|last| last["_id"].as_str()) {
                Some(last) if found.len() == page => from = after(last),
                _ => return Ok(bytes),
            }
        }
    }
}

/// What tells the shapes of a group's tables apart, and into how many partitions they are split.
fn shape_of(group: &Group) -> String {
    let shapes: Vec<_> = group.models().iter().map(|model| model.shape()).collect();
    format!("{} in {}", shapes.join(" "), group.partitions().count())
}
