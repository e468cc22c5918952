//! The port to where rows live, over documents.

use crate::CouchStore;
use crate::part::Part;
use crate::read::{digest_of, lowest};
use crate::store::{Build, part_of};
use diptych_core::{BoxFuture, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, BucketDigest, Checkpoint, Exporting, Fold, Found, Group, Lease, Mend, Mode,
    ModelStore, Parked, Partition, RawExport, RawFind, Readiness, RowRef, RowsStamp, ScannedRow, Schema,
    Shares, Stopped, TableSnapshot, WorkerId,
};
use std::sync::Arc;
use std::time::Duration;

impl ModelStore for CouchStore {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            refuse(group)?;
            let (build, parts) = self.at(group).await?;
            self.check(&build, &parts).await?;
            Ok(lowest(&parts))
        })
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(self.fold(group, fold))
    }

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let stop = |_: &Build, part: &mut Part| {
                part.stop(stopped.clone());
                Some(())
            };
            self.change(group, partition, stop).await.map(drop)
        })
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move { Ok(lowest(&self.at(group).await?.1)) })
    }

    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let (build, mut parts) = self.at(group).await?;
            Ok(part_of(&build, &mut parts, partition)?.checkpoint())
        })
    }

    fn share<'a>(
        &'a self,
        worker: &'a WorkerId,
        groups: &'a [(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Shares>, Fault>> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(groups.len());
            for group in groups {
                all.push(self.share_one(worker, group, lasting).await?);
            }
            Ok(all)
        })
    }

    fn partitions_of(&self, group: &Group) -> Vec<Partition> {
        group.partitions().collect()
    }

    fn claim<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        worker: &'a WorkerId,
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Fault>> {
        Box::pin(self.claim_lease(group, partition, worker, lasting))
    }

    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.release_lease(group, lease))
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.bury(worker))
    }

    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let found = tokio::time::timeout(timeout, self.fitting(group, schema, find)).await;
            found.unwrap_or_else(|_| Err(too_long("the query took longer than allowed")))
        })
    }

    fn export<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        export: &'a RawExport,
        at_most: Duration,
    ) -> BoxFuture<'a, Result<Exporting, Fault>> {
        Box::pin(async move {
            let begun =
                tokio::time::timeout(at_most, self.begin_export(group, schema, export, at_most)).await;
            begun.unwrap_or_else(|_| Err(too_long("the export took longer than allowed")))
        })
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(self.one(group, schema, row))
    }

    fn scan<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>> {
        Box::pin(async move { Ok(self.snapshot_of(group, schema, after, rows_max).await?.rows) })
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<BucketDigest>, Fault>> {
        Box::pin(async move {
            let (build, parts) = self.at(group).await?;
            Ok(digest_of(&parts, build.table(schema)?))
        })
    }

    fn snapshot<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        Box::pin(self.snapshot_of(group, schema, after, rows_max))
    }

    fn park<'a>(
        &'a self,
        group: &'a Group,
        lease: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(self.hold_back(group, lease, parked))
    }

    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        Box::pin(async move {
            let (build, parts) = self.at(group).await?;
            let read = parts.iter().map(Part::parked).collect::<Option<Vec<_>>>();
            let mut all = read.ok_or_else(|| crate::advance::unreadable(&build))?.concat();
            all.sort_by_key(|parked| parked.position);
            Ok(all)
        })
    }

    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(self.put_right(group, mend))
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        Box::pin(async move {
            let (_, parts) = self.at(group).await?;
            let passed = parts.iter().map(|part| part.passed_at(position)).collect::<Option<Vec<_>>>();
            Ok(passed.and_then(|passed| passed.into_iter().max()))
        })
    }

    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        Box::pin(async move {
            let (build, parts) = self.at(group).await?;
            let repairs = parts.iter().map(|part| part.repairs).sum();
            Ok(RowsStamp::of(build.id, parts.iter().map(|part| part.mark().token), repairs))
        })
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let (start, now) = (self.start().await?, self.clock.now());
            for partition in group.partitions() {
                // The documents stay and count for nothing; folding again writes over them.
                let reset = |_: &Build, part: &mut Part| {
                    part.reset(start, now);
                    Some(())
                };
                self.change(group, partition, reset).await?;
            }
            self.checkpoint(group).await
        })
    }
}

/// Refuses groups that no server of documents can keep.
fn refuse(group: &Group) -> Result<(), Fault> {
    let why = if group.has_statements() {
        "is kept by SQL, which a server of documents does not speak"
    } else if group.mode() == Mode::Inline {
        "is folded inside the transactions of commands, in which a server of documents takes no part"
    } else {
        return Ok(());
    };
    Err(Fault::permanent(Code::ServiceInvalid, format!("`{}` {why}", group.name())))
}

pub(crate) fn too_long(message: &str) -> Fault {
    Fault::transient(Code::TimedOut, message)
}
