//! Rebuilds as records: read, and written only against the version that was read.

use super::{REBUILD, REBUILD_DONE, Rebuild, RebuildOrder};
use crate::operate::new_rebuild;
use diptych_core::{Code, Fault, Timestamp};
use diptych_query::{BuildId, Group, Record, Registry};
use std::sync::Arc;

/// A rebuild with the version of its record.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Held {
    pub(crate) rebuild: Rebuild,
    /// As it was read or written last; 0 before it was ever written.
    pub(crate) version: u64,
}

/// The rebuilds of a store.
#[derive(Clone)]
pub(crate) struct Records {
    registry: Arc<dyn Registry>,
}

impl Records {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry }
    }

    pub(crate) async fn of(&self, group: &str) -> Result<Option<Held>, Fault> {
        self.registry.record(REBUILD, group).await?.map(|record| read(&record)).transpose()
    }

    pub(crate) async fn under_way(&self, most: usize) -> Result<Vec<Held>, Fault> {
        self.registry.records(REBUILD, most).await?.iter().map(read).collect()
    }

    pub(crate) async fn done(&self, most: usize) -> Result<Vec<Rebuild>, Fault> {
        let records = self.registry.records(REBUILD_DONE, most).await?;
        records.iter().map(|record| Ok(read(record)?.rebuild)).collect()
    }

    pub(crate) async fn done_of(&self, group: &str, to: BuildId) -> Result<Option<Rebuild>, Fault> {
        let record = self.registry.record(REBUILD_DONE, &done(group, to)).await?;
        record.map(|record| Ok(read(&record)?.rebuild)).transpose()
    }

    /// Begins the build that is to take the place of one, and keeps with it what was ordered: whoever finds
    /// the build finds the order. Answers none where a rebuild of the group is under way.
    pub(crate) async fn begin(
        &self,
        group: &Arc<Group>,
        from: BuildId,
        order: RebuildOrder,
        now: Timestamp,
    ) -> Result<Option<Rebuild>, Fault> {
        let (who, ordered, own) = (order.order.clone(), order.clone(), Arc::clone(group));
        let body = move |to: BuildId| body(&new_rebuild(&own, Some(from), to, ordered, now));
        let begun = self.registry.begin_recorded(group, &who, REBUILD, Box::new(body)).await?;
        Ok(begun.map(|to| new_rebuild(group, Some(from), to.id, order, now)))
    }

    /// Writes a rebuild, unless somebody has changed it since it was read. Answers whether it was written.
    pub(crate) async fn write(&self, held: &mut Held) -> Result<bool, Fault> {
        let body = body(&held.rebuild)?;
        let group = &held.rebuild.group;
        let written = self.registry.write_record(REBUILD, group, held.version, &body).await?;
        held.version = written.unwrap_or(held.version);
        Ok(written.is_some())
    }

    /// Keeps a rebuild that is over, and lets its group be rebuilt again.
    pub(crate) async fn close(&self, held: &Held) -> Result<(), Fault> {
        let (rebuild, body) = (&held.rebuild, body(&held.rebuild)?);
        let name = done(&rebuild.group, rebuild.to);
        // A driver that died in between has kept it already; whoever comes next keeps the same again.
        let seen = self.registry.record(REBUILD_DONE, &name).await?.map_or(0, |record| record.version);
        self.registry.write_record(REBUILD_DONE, &name, seen, &body).await?;
        self.registry.forget_record(REBUILD, &rebuild.group).await
    }
}

/// The name of the record of a rebuild that is over.
fn done(group: &str, to: BuildId) -> String {
    format!("{group} {to}")
}

fn read(record: &Record) -> Result<Held, Fault> {
    let rebuild = serde_json::from_str(&record.body).map_err(|error| {
        let message = format!("the rebuild of `{}` cannot be read", record.name);
        Fault::permanent(Code::StoreVersion, message).because(error)
    })?;
    Ok(Held { rebuild, version: record.version })
}

fn body(rebuild: &Rebuild) -> Result<String, Fault> {
    serde_json::to_string(rebuild)
        .map_err(|error| Fault::permanent(Code::Internal, "a rebuild cannot be written").because(error))
}
