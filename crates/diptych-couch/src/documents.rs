//! Two homes of rows behind one port: each group lives in one of them, by its declaration. Keeps no row.

use crate::CouchStore;
use diptych_core::{BoxFuture, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, BucketDigest, Checkpoint, Exporting, Fold, Found, Group, Lease, Mend, ModelStore,
    Parked, Partition, RawExport, RawFind, Readiness, Registry, RowRef, RowsStamp, ScannedRow, Schema,
    Shares, Stopped, TableSnapshot, WorkerId,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sends each group to where its rows live: to documents, or to the home store, which keeps the registry of
/// all builds and records of both.
pub struct Documents {
    pub(crate) home: Arc<dyn ModelStore>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) couch: Arc<CouchStore>,
    pub(crate) there: fn(&Group) -> bool,
    /// Whether the server of documents was away when it was last asked who moves what.
    away: AtomicBool,
}

impl Documents {
    /// Both homes, with the rule that says which groups live as documents.
    #[must_use]
    pub fn new(
        home: Arc<dyn ModelStore>,
        registry: Arc<dyn Registry>,
        couch: Arc<CouchStore>,
        there: fn(&Group) -> bool,
    ) -> Self {
        Self { home, registry, couch, there, away: AtomicBool::new(false) }
    }

    /// Where a group's rows live.
    fn of(&self, group: &Group) -> &dyn ModelStore {
        if (self.there)(group) { &*self.couch } else { &*self.home }
    }

    /// Who moves what of the documents. A server that is away holds up its own models and nobody else: of
    /// their partitions nothing is known then, so that nothing of them changes hands.
    async fn shares_there(
        &self,
        worker: &WorkerId,
        groups: &[(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> Vec<Shares> {
        let shared = self.couch.share(worker, groups, lasting).await;
        let was_away = self.away.swap(shared.is_err(), Ordering::Relaxed);
        shared.unwrap_or_else(|fault| {
            if !was_away {
                tracing::warn!(%fault, "leases on read models that live as documents cannot be kept");
            }
            let unknown = |_: &_| Shares { workers: Vec::new(), partitions: Vec::new() };
            groups.iter().map(unknown).collect()
        })
    }
}

impl ModelStore for Documents {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            // The home store knows the builds of every group, and keeps no row of those that live elsewhere.
            let checkpoint = self.home.attach(group).await?;
            if !(self.there)(group) {
                return Ok(checkpoint);
            }
            match self.couch.attach(group).await {
                Err(fault) if fault.code() == Code::DocumentsUnavailable && fault.is_transient() => {
                    tracing::warn!(model = group.name(), %fault, "begins without its documents");
                    self.couch.attach_later(group);
                    Ok(checkpoint)
                }
                attached => attached,
            }
        })
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        self.of(group).advance(group, fold)
    }

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.of(group).set_stopped(group, partition, stopped)
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.of(group).checkpoint(group)
    }

    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.of(group).checkpoint_of(group, partition)
    }

    fn share<'a>(
        &'a self,
        worker: &'a WorkerId,
        groups: &'a [(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Shares>, Fault>> {
        Box::pin(async move {
            let (there, here): (Vec<_>, Vec<_>) =
                groups.iter().cloned().partition(|(group, _)| (self.there)(group));
            let mut here = self.home.share(worker, &here, lasting).await?.into_iter();
            let mut there = self.shares_there(worker, &there, lasting).await.into_iter();
            let in_order = groups
                .iter()
                .filter_map(|(group, _)| if (self.there)(group) { there.next() } else { here.next() });
            Ok(in_order.collect())
        })
    }

    fn partitions_of(&self, group: &Group) -> Vec<Partition> {
        self.of(group).partitions_of(group)
    }

    fn claim<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        worker: &'a WorkerId,
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Fault>> {
        self.of(group).claim(group, partition, worker, lasting)
    }

    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        self.of(group).release(group, lease)
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let left = self.couch.leave(worker).await;
            self.home.leave(worker).await?;
            left
        })
    }

    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        self.of(group).find(group, schema, find, timeout)
    }

    fn export<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        export: &'a RawExport,
        at_most: Duration,
    ) -> BoxFuture<'a, Result<Exporting, Fault>> {
        self.of(group).export(group, schema, export, at_most)
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        self.of(group).get(group, schema, row)
    }

    fn scan<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>> {
        self.of(group).scan(group, schema, after, rows_max)
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<BucketDigest>, Fault>> {
        self.of(group).digest(group, schema)
    }

    fn snapshot<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        self.of(group).snapshot(group, schema, after, rows_max)
    }

    fn park<'a>(
        &'a self,
        group: &'a Group,
        lease: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        self.of(group).park(group, lease, parked)
    }

    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        self.of(group).parked(group)
    }

    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        self.of(group).mend(group, mend)
    }

    fn row_count<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<u64, Fault>> {
        self.of(group).row_count(group, schema)
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        self.of(group).passed_at(group, position)
    }

    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        self.of(group).stamp(group)
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        self.of(group).reset(group)
    }
}
