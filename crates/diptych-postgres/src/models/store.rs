//! The port to where rows live: each call finds the group's tables and goes there.

use super::advance::{advance, attach, reset, set_stopped};
use super::attach::{Attached, fits, shape_of};
use super::checkpoint::{Passed, existing};
use super::{InlineGroup, find, lease};
use crate::PostgresStore;
use crate::log;
use diptych_core::{BoxFuture, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, BucketDigest, Checkpoint, Fold, Found, Group, Lease, Mend, Mode, ModelStore,
    Parked, Partition, RawFind, Readiness, RowRef, ScannedRow, Schema, Shares, Stopped, TableSnapshot,
    WorkerId,
};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The groups whose tables are open in this process, by name and revision.
#[derive(Default)]
pub(crate) struct Models {
    attached: RwLock<HashMap<(&'static str, u32), Arc<Attached>>>,
}

impl Models {
    /// With the inline groups, which the writer has opened.
    pub(crate) fn of(inline: &[InlineGroup]) -> Self {
        let attached = inline.iter().map(|inline| {
            let key = (inline.group.name(), inline.group.revision());
            (key, Arc::clone(&inline.attached))
        });
        Self { attached: RwLock::new(attached.collect()) }
    }

    /// Forgets every group: the store is closing.
    pub(crate) fn clear(&self) {
        self.attached.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn find(&self, group: &Group) -> Option<Arc<Attached>> {
        let attached = self.attached.read().unwrap_or_else(PoisonError::into_inner);
        attached.get(&(group.name(), group.revision())).map(Arc::clone)
    }

    fn get(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        self.find(group).ok_or_else(|| {
            let message = format!("read model `{}` is not attached", group.name());
            Fault::permanent(Code::ServiceInvalid, message)
        })
    }

    /// Keeps a group. Two callers may have opened it; both use the first.
    fn keep(&self, group: &Group, opened: Attached) -> Arc<Attached> {
        let mut attached = self.attached.write().unwrap_or_else(PoisonError::into_inner);
        let key = (group.name(), group.revision());
        Arc::clone(attached.entry(key).or_insert_with(|| Arc::new(opened)))
    }
}

impl ModelStore for PostgresStore {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = match self.models.find(group) {
                Some(attached) => attached,
                None if group.mode() == Mode::Inline => return Err(not_inline(group)),
                None => self.models.keep(group, attach(&self.shared, group).await?),
            };
            if attached.shape != shape_of(group) {
                let message = format!("read model `{}` is attached in another shape", group.name());
                return Err(Fault::permanent(Code::ShapeChanged, message));
            }
            let reader = self.shared.reader().await?;
            for partition in &attached.partitions {
                let place = attached.place.of(*partition);
                let checkpoint = existing(&reader, &self.shared.schema, place).await?;
                fits(&reader, &self.shared, place, checkpoint.mark).await?;
            }
            attached.checkpoint(&reader, &self.shared.schema).await
        })
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            let advanced = advance(&self.shared, &attached, fold).await?;
            self.tell_writer(&attached).await;
            Ok(advanced)
        })
    }

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            set_stopped(&self.shared, &attached, partition, stopped.as_ref()).await?;
            self.tell_writer(&attached).await;
            Ok(())
        })
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            let reader = self.shared.reader().await?;
            attached.checkpoint(&reader, &self.shared.schema).await
        })
    }

    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            let reader = self.shared.reader().await?;
            existing(&reader, &self.shared.schema, attached.place.of(partition)).await
        })
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
        Box::pin(async move {
            let attached = groups.iter().map(|(group, readiness)| Ok((self.models.get(group)?, *readiness)));
            let attached = attached.collect::<Result<Vec<_>, Fault>>()?;
            lease::share(&self.shared, worker, &attached, lasting).await
        })
    }

    fn claim<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
        worker: &'a WorkerId,
        lasting: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>, Fault>> {
        Box::pin(async move {
            let place = self.models.get(group)?.place.of(partition);
            let writer = self.shared.models().await?;
            lease::claim(&writer, &self.shared, place, partition, worker, lasting).await
        })
    }

    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let place = self.models.get(group)?.place.of(lease.partition);
            lease::release(&*self.shared.models().await?, &self.shared, place, lease).await
        })
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { lease::leave(&*self.shared.models().await?, &self.shared, worker).await })
    }

    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let deadline = Instant::now() + timeout;
            let attached = self.models.get(group)?;
            let reader = self.shared.reader_of_snapshots().await?;
            let table = attached.table(schema)?;
            find::find(&reader, &self.shared.schema, &attached, table, find, deadline).await
        })
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            let reader = self.shared.reader().await?;
            find::get(&reader, &self.shared.schema, &attached, attached.table(schema)?, row).await
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
            let attached = self.models.get(group)?;
            let reader = self.shared.reader().await?;
            find::scan(&reader, attached.table(schema)?, after, rows_max).await
        })
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<BucketDigest>, Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            let reader = self.shared.reader().await?;
            find::digest(&reader, &self.shared.schema, attached.table(schema)?).await
        })
    }

    fn row_count<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            let reader = self.shared.reader().await?;
            find::row_count(&reader, &self.shared.schema, attached.table(schema)?).await
        })
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Group,
        _: &'static Schema,
        _: Option<&'a RowRef>,
        _: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        Box::pin(async { Err(Fault::permanent(Code::Internal, "unfinished")) })
    }

    fn park<'a>(
        &'a self,
        _: &'a Group,
        _: Option<Lease>,
        _: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async { Err(Fault::permanent(Code::Internal, "unfinished").into()) })
    }

    fn parked<'a>(&'a self, _: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn mend<'a>(&'a self, _: &'a Group, _: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async { Err(Fault::permanent(Code::Internal, "unfinished").into()) })
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        Box::pin(self.passed(group, position))
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.models.get(group)?;
            if attached.mode == Mode::Inline {
                self.shared.progress.entry(group.name()).reset();
            }
            let checkpoint = reset(&self.shared, &attached).await?;
            self.tell_writer(&attached).await;
            Ok(checkpoint)
        })
    }
}

impl PostgresStore {
    /// Has the writer look where an inline group stands: at the head now, or no longer.
    async fn tell_writer(&self, attached: &Attached) {
        if attached.mode != Mode::Inline {
            return;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "could not look where inline read models stand");
        }
    }

    async fn passed(&self, group: &Group, position: Position) -> Result<Option<Timestamp>, Fault> {
        let attached = self.models.get(group)?;
        let reader = self.shared.reader().await?;
        let schema = &self.shared.schema;
        let checkpoint = attached.checkpoint(&reader, schema).await?;
        if checkpoint.mark.position() < position {
            return Ok(None);
        }
        let mut last = None;
        for partition in &attached.partitions {
            let passed = match attached.place.of(*partition).passed(&reader, schema, position).await? {
                Passed::At(at) => Some(at),
                // An inline group moves with the event itself, and keeps no history of that.
                Passed::WithTheEvent if attached.mode == Mode::Inline => {
                    let mark = log::mark_at(&reader, &self.shared, position).await?;
                    mark.map(|mark| mark.recorded_at)
                }
                Passed::WithTheEvent | Passed::Forgotten => None,
            };
            match passed {
                Some(at) => last = last.max(Some(at)),
                None => return Ok(None),
            }
        }
        Ok(last)
    }
}

fn not_inline(group: &Group) -> Fault {
    let message = format!("inline read model `{}` must be named when the store is opened", group.name());
    Fault::permanent(Code::ServiceInvalid, message)
}
