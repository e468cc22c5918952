//! Where rows live.

use super::{after, table_of};
use crate::MemoryStore;
use diptych_core::{BoxFuture, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, BuildId, Checkpoint, EXPORT_BATCH_ROWS, Exporting, Fence, Fold, Found, Group,
    Lease, Mend, ModelStore, Parked, Partition, RawExport, RawFind, Readiness, RowRef, RowsStamp, ScannedRow,
    Schema, Shares, Stopped, TableSnapshot, WorkerId, export_channel,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl ModelStore for MemoryStore {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move { self.attach_now(group) })
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(async move { self.advance_now(group, fold) })
    }

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(
            async move { self.with(group, |rows, _| rows.part_mut(partition).checkpoint.stopped = stopped) },
        )
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move { self.with(group, |rows, _| rows.checkpoint()) })
    }

    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move { self.with(group, |rows, _| rows.part(partition).checkpoint.clone()) })
    }

    fn partitions_of(&self, group: &Group) -> Vec<Partition> {
        group.partitions().collect()
    }

    fn share<'a>(
        &'a self,
        worker: &'a WorkerId,
        groups: &'a [(Arc<Group>, Readiness)],
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Vec<Shares>, Fault>> {
        Box::pin(async move { self.share_now(worker, groups, lasting) })
    }

    fn claim<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        worker: &'a WorkerId,
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Fault>> {
        Box::pin(async move {
            let now = self.clock.now();
            self.with(group, |rows, _| {
                let part = rows.part_mut(partition);
                if part.held_by(now).is_some_and(|holder| holder != worker) {
                    return None;
                }
                part.fence = Fence(part.fence.0 + 1);
                part.holder = Some((worker.clone(), after(now, lasting)));
                Some(Lease { partition, fence: part.fence })
            })
        })
    }

    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.with(group, |rows, _| {
                let part = rows.part_mut(lease.partition);
                if part.fence == lease.fence {
                    part.holder = None;
                }
            })
        })
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.lock().workers.remove(worker);
            Ok(())
        })
    }

    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        _: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let table = table_of(group, schema)?;
            let build = self.build_of(group)?;
            self.with(group, |rows, _| found(build, rows.checkpoint(), rows.find(table, schema, find)))
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
            let question = export.question(usize::MAX);
            let found = self.find(group, schema, &question, at_most).await?;
            let (sender, rows) = export_channel(Instant::now() + at_most);
            let exporting = Exporting { checkpoint: found.checkpoint, build: found.build, rows };
            let send = async move {
                let mut left = found.rows;
                while !left.is_empty() {
                    let later = left.split_off(left.len().min(EXPORT_BATCH_ROWS));
                    match sender.rows(left, Instant::now()).await {
                        Ok(true) => left = later,
                        Ok(false) => return,
                        Err(fault) => return sender.end(Err(fault)).await,
                    }
                }
                sender.end(Ok(())).await;
            };
            drop(tokio::spawn(send));
            Ok(exporting)
        })
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let table = table_of(group, schema)?;
            let build = self.build_of(group)?;
            self.with(group, |rows, _| {
                let checkpoint = rows.part(rows.owner(row)).checkpoint.clone();
                found(build, checkpoint, rows.get(table, row).into_iter().collect())
            })
        })
    }

    fn scan<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>> {
        Box::pin(async move {
            let table = table_of(group, schema)?;
            self.with(group, |rows, _| rows.scan(table, after, rows_max))
        })
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<(u8, i64, u128)>, Fault>> {
        Box::pin(async move {
            let table = table_of(group, schema)?;
            self.with(group, |rows, _| rows.digest(table))
        })
    }

    fn snapshot<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        Box::pin(async move {
            let table = table_of(group, schema)?;
            self.with(group, |rows, _| TableSnapshot {
                checkpoints: rows.checkpoints(),
                digest: rows.digest(table),
                rows: rows.scan(table, after, rows_max),
            })
        })
    }

    fn park<'a>(
        &'a self,
        group: &'a Group,
        lease: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            self.with(group, |rows, _| {
                Self::stands(rows, lease, None)?;
                rows.park(parked);
                Ok(())
            })?
        })
    }

    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        Box::pin(async move { self.with(group, |rows, _| rows.parked()) })
    }

    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            let Mend { partition, lease, at, changes, healed, parked } = mend;
            self.with(group, |rows, _| {
                Self::stands(rows, lease, Some((partition, at)))?;
                rows.mend(group, changes, &healed);
                rows.park(&parked);
                Ok(())
            })?
        })
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        Box::pin(async move { self.with(group, |rows, _| rows.passed_at(position)) })
    }

    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        Box::pin(async move {
            let build = self.build_of(group)?;
            self.with(group, |rows, _| rows.stamp(build))
        })
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let now = self.clock.now();
            let checkpoint = self.with(group, |rows, log| {
                rows.reset(log, now);
                rows.checkpoint()
            })?;
            self.progress.entry(group.name()).reset();
            Ok(checkpoint)
        })
    }
}

fn found(build: BuildId, checkpoint: Checkpoint, rows: Vec<Vec<diptych_core::Value>>) -> Found {
    Found { rows, checkpoint, build }
}
