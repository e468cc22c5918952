//! The port to where rows live: each call finds the group's tables and goes there.

use super::advance::{advance, attach, reset, set_stopped};
use super::attach::{Attached, fits, shape_of};
use super::checkpoint::{Passed, existing, is_gone};
use super::{export, find, lease, mend, parked};
use crate::PostgresStore;
use crate::log;
use diptych_core::{BoxFuture, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, BucketDigest, Checkpoint, Exporting, Fold, Found, Group, Lease, Mend, Mode,
    ModelStore, Parked, Partition, RawExport, RawFind, Readiness, RowRef, RowsStamp, ScannedRow, Schema,
    Shares, Stopped, TableSnapshot, WorkerId,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl ModelStore for PostgresStore {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.opened(group).await?;
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
            let attached = self.shared.meant(group).await?;
            let advanced = match advance(&self.shared, &attached, group, fold).await {
                Ok(advanced) => advanced,
                Err(error) => return Err(self.not_advanced(group, &attached, error).await),
            };
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
            let stopped = stopped.as_ref();
            let stop = |attached: Arc<Attached>| async move {
                set_stopped(&self.shared, &attached, partition, stopped).await?;
                self.tell_writer(&attached).await;
                Ok(())
            };
            self.shared.with_build(group, stop).await
        })
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                attached.checkpoint(&*self.shared.reader().await?, &self.shared.schema).await
            };
            self.shared.with_build(group, read).await
        })
    }

    fn checkpoint_of<'a>(
        &'a self,
        group: &'a Group,
        partition: Partition,
    ) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                existing(&reader, &self.shared.schema, attached.place.of(partition)).await
            };
            self.shared.with_build(group, read).await
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
            // Who gives signs of life follows what other processes have switched.
            self.shared.find_all_own().await?;
            let mut attached = Vec::with_capacity(groups.len());
            for (group, readiness) in groups {
                let meant = match self.shared.meant(group).await {
                    Err(fault) if fault.code() == Code::ModelRetired => None,
                    meant => Some(meant?),
                };
                attached.push((meant, *readiness));
            }
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
            if group.build().is_none() {
                self.shared.find_own(group).await?;
            }
            let place = self.shared.meant(group).await?.place.of(partition);
            let writer = self.shared.models().await?;
            lease::claim(&writer, &self.shared, place, partition, worker, lasting).await
        })
    }

    fn release<'a>(&'a self, group: &'a Group, lease: Lease) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let place = self.shared.meant(group).await?.place.of(lease.partition);
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
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader_of_snapshots().await?;
                let table = attached.table(schema)?;
                find::find(&reader, &self.shared.schema, &attached, table, find, deadline).await
            };
            self.shared.with_build(group, read).await
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
            let begin = |attached: Arc<Attached>| {
                export::begin(Arc::clone(&self.shared), attached, schema, export.clone(), at_most)
            };
            self.shared.with_build(group, begin).await
        })
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                find::get(&reader, &self.shared.schema, &attached, attached.table(schema)?, row).await
            };
            self.shared.with_build(group, read).await
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
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                find::scan(&reader, attached.table(schema)?, after, rows_max).await
            };
            self.shared.with_build(group, read).await
        })
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<BucketDigest>, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                find::digest(&reader, &self.shared.schema, &attached, attached.table(schema)?).await
            };
            self.shared.with_build(group, read).await
        })
    }

    fn row_count<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                find::row_count(&reader, &self.shared.schema, &attached, attached.table(schema)?).await
            };
            self.shared.with_build(group, read).await
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
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader_of_snapshots().await?;
                let table = attached.table(schema)?;
                find::snapshot(&reader, &self.shared, &attached, table, after, rows_max).await
            };
            self.shared.with_build(group, read).await
        })
    }

    fn park<'a>(
        &'a self,
        group: &'a Group,
        lease: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            let attached = self.shared.meant(group).await?;
            match mend::park(&self.shared, &attached, lease, parked).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.not_advanced(group, &attached, error).await),
            }
        })
    }

    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                let (there, parked) = tokio::join!(
                    biased;
                    existing(&reader, &self.shared.schema, attached.place),
                    parked::parked(&reader, &self.shared.schema, &attached),
                );
                there.and(parked)
            };
            self.shared.with_build(group, read).await
        })
    }

    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            let attached = self.shared.meant(group).await?;
            match mend::mend(&self.shared, &attached, mend).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.not_advanced(group, &attached, error).await),
            }
        })
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| self.passed(attached, position);
            self.shared.with_build(group, read).await
        })
    }

    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        Box::pin(async move {
            let read = |attached: Arc<Attached>| async move {
                let reader = self.shared.reader().await?;
                let (tokens, repairs) = attached.place.stamp(&reader, &self.shared.schema).await?;
                Ok(RowsStamp::of(attached.build(), tokens, repairs))
            };
            self.shared.with_build(group, read).await
        })
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let reset = |attached: Arc<Attached>| async move {
                if self.shared.is_waited_for(&attached) {
                    self.shared.progress.entry(attached.place.group).reset();
                }
                let checkpoint = reset(&self.shared, &attached).await?;
                self.tell_writer(&attached).await;
                Ok(checkpoint)
            };
            self.shared.with_build(group, reset).await
        })
    }
}

impl PostgresStore {
    /// The tables that a group is attached to, held against what the code declares when they are first met:
    /// its revision's first build is begun where there is none.
    async fn opened(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        let known = match group.build() {
            Some(_) => true,
            None => {
                self.shared.find_own(group).await?.is_some_and(|own| self.shared.builds.holds(group, own))
            }
        };
        if known {
            return self.shared.meant(group).await;
        }
        if group.mode() == Mode::Inline {
            return Err(not_inline(group));
        }
        let opened = self.shared.builds.keep(attach(&self.shared, group).await?.into());
        self.shared.builds.set_own(group.name(), opened.build());
        Ok(opened)
    }

    /// What is said of a fold that was not taken. Whoever lost a lease, or meets tables that were removed,
    /// goes on where the group's code belongs by then.
    async fn not_advanced(&self, group: &Group, attached: &Attached, error: AdvanceError) -> AdvanceError {
        let fenced = match &error {
            AdvanceError::Fenced => true,
            AdvanceError::Fault(fault) if is_gone(fault) => {
                self.shared.builds.forget(group.name(), attached.build());
                group.build().is_none()
            }
            _ => false,
        };
        if !fenced || group.build().is_some() {
            return error;
        }
        match self.shared.find_own(group).await {
            Ok(_) => AdvanceError::Fenced,
            Err(fault) => fault.into(),
        }
    }

    /// Has the writer look where an inline group stands: at the head now, or no longer.
    async fn tell_writer(&self, attached: &Attached) {
        if !self.shared.is_waited_for(attached) {
            return;
        }
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "could not look where inline read models stand");
        }
    }

    async fn passed(&self, attached: Arc<Attached>, position: Position) -> Result<Option<Timestamp>, Fault> {
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
