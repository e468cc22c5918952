//! The port to where rows live: each call finds the home of the build that is meant and goes there.

use super::ahead::Ahead;
use super::checkpoint::{Passed, existing};
use super::file::{Attached, Home, shape_of};
use super::fill::is_filled;
use super::{advance, export, find, mend, parked, reset, set_stopped};
use crate::SqliteStore;
use crate::fault::OrFault;
use crate::log;
use crate::shared::Shared;
use crate::store::{blocking, fits};
use crate::writer::Writer;
use diptych_core::{BoxFuture, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, Batch, Checkpoint, Exporting, Fold, FoldAhead, Found, Group, Lease, Mend, Mode,
    ModelStore, Parked, Partition, RawExport, RawFind, RowRef, RowsAhead, RowsStamp, ScannedRow, Schema,
    Stopped, TableSnapshot,
};
use rusqlite::Connection;
use std::any::Any;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// From how many rows on the memory of an advance is freed by another thread than the one that waits for it.
const FREED_APART_ROWS_MIN: usize = 1_000;

impl ModelStore for SqliteStore {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            if group.build().is_none() {
                if group.mode() == Mode::Inline && !self.inline.contains(group.name()) {
                    return Err(not_inline(group));
                }
                self.begin_first(group).await?;
            }
            let attached = self.attached(group).await?;
            if attached.shape != shape_of(group) {
                let message = format!("read model `{}` is attached in another shape", group.name());
                return Err(Fault::permanent(Code::ShapeChanged, message));
            }
            let checkpoint = self.checkpoint(group).await?;
            let reader = self.shared.readers.now()?;
            fits(&reader.connection, self.shared.identity, attached.place, checkpoint.mark)?;
            Ok(checkpoint)
        })
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(async move {
            let attached = self.attached(group).await?;
            let through = fold.through();
            {
                let reader = self.shared.readers.now()?;
                fits(&reader.connection, self.shared.identity, attached.place, through)?;
            }
            if is_filled(&attached, &fold) {
                return self.fill(&attached, fold).await;
            }
            let (now, limits) = (self.shared.clock.now(), self.shared.limits.clone());
            let at = Arc::clone(&attached);
            let work = move |connection: &mut Connection| advance(connection, &at, fold, now, &limits);
            let (advanced, spent) = self.write(&attached, work).await?;
            if advanced.rows >= FREED_APART_ROWS_MIN {
                // To free many rows takes a while, and nobody needs to wait for it.
                tokio::task::spawn_blocking(move || drop(spent));
            }
            Ok(advanced)
        })
    }

    fn ahead<'a>(
        &'a self,
        group: &'a Group,
        mut fold: Fold,
    ) -> BoxFuture<'a, Result<Option<FoldAhead>, AdvanceError>> {
        Box::pin(async move {
            let attached = self.attached(group).await?;
            if !Ahead::is_possible(&attached, &self.shared.limits) {
                return Ok(None);
            }
            let (at, limits) = (Arc::clone(&attached), self.shared.limits.clone());
            let begin = move |connection: &mut Connection| -> Result<_, AdvanceError> {
                let rows = Ahead::begin(connection, at, &mut fold, &limits)?;
                Ok(Some((fold, Arc::new(rows) as Arc<dyn RowsAhead>)))
            };
            self.write(&attached, begin).await
        })
    }

    fn write_ahead<'a>(
        &'a self,
        group: &'a Group,
        rows: &'a Arc<dyn RowsAhead>,
        batch: Batch,
    ) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(async move {
            let attached = self.attached(group).await?;
            let rows: Arc<dyn Any + Send + Sync> = Arc::clone(rows) as _;
            let Some(rows) =
                rows.downcast::<Ahead>().ok().filter(|rows| Arc::ptr_eq(&rows.attached, &attached))
            else {
                return Err(AdvanceError::Overtaken);
            };
            {
                let reader = self.shared.readers.now()?;
                fits(&reader.connection, self.shared.identity, attached.place, batch.through)?;
            }
            let (now, limits) = (self.shared.clock.now(), self.shared.limits.clone());
            let (advanced, spent) = blocking(move || rows.write(batch, now, &limits)).await?;
            if advanced.rows >= FREED_APART_ROWS_MIN {
                tokio::task::spawn_blocking(move || drop(spent));
            }
            Ok(advanced)
        })
    }

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        _: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let attached = self.attached(group).await?;
            let at = Arc::clone(&attached);
            self.write(&attached, move |connection| set_stopped(connection, &at, stopped.as_ref())).await
        })
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(self.read_here(group, |attached, shared| {
            let reader = attached.readers(&shared.readers).now()?;
            existing(&reader.connection, attached.place)
        }))
    }

    fn find<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        find: &'a RawFind,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        let (deadline, find) = (Instant::now() + timeout, find.clone());
        Box::pin(self.read(group, move |attached, shared| {
            let mut reader = attached.readers(&shared.readers).wait()?;
            find::find(&mut reader, attached, attached.table(schema)?, &find, deadline)
        }))
    }

    fn export<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        export: &'a RawExport,
        at_most: Duration,
    ) -> BoxFuture<'a, Result<Exporting, Fault>> {
        let asked = export.clone();
        Box::pin(self.read(group, move |attached, shared| {
            let reader = attached.readers(&shared.readers).own()?;
            export::begin(reader, attached, attached.table(schema)?, &asked, at_most)
        }))
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        // In place: two microseconds, and a change of threads would cost more than the read.
        Box::pin(self.read_here(group, move |attached, shared| {
            let reader = attached.readers(&shared.readers).now()?;
            find::get(&reader, attached, attached.table(schema)?, row)
        }))
    }

    fn scan<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ScannedRow>, Fault>> {
        let after = after.cloned();
        Box::pin(self.read(group, move |attached, shared| {
            let reader = attached.readers(&shared.readers).wait()?;
            find::scan(&reader, attached.table(schema)?, after.as_ref(), rows_max).or_fault()
        }))
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<(u8, i64, u128)>, Fault>> {
        Box::pin(self.read_here(group, move |attached, shared| {
            let reader = attached.readers(&shared.readers).now()?;
            find::digest(&reader, attached.table(schema)?).or_fault()
        }))
    }

    fn row_count<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(self.read(group, move |attached, shared| {
            let reader = attached.readers(&shared.readers).wait()?;
            find::row_count(&reader, attached.table(schema)?).or_fault()
        }))
    }

    fn snapshot<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        after: Option<&'a RowRef>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<TableSnapshot, Fault>> {
        let after = after.cloned();
        Box::pin(self.read(group, move |attached, shared| {
            let reader = attached.readers(&shared.readers).wait()?;
            find::snapshot(&reader, attached, attached.table(schema)?, after.as_ref(), rows_max)
        }))
    }

    /// No store of this kind hands out leases that another could follow, so none is looked at.
    fn park<'a>(
        &'a self,
        group: &'a Group,
        _: Option<Lease>,
        parked: &'a [Parked],
    ) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            let (attached, parked) = (self.attached(group).await?, parked.to_vec());
            let at = Arc::clone(&attached);
            self.write(&attached, move |connection| mend::park_all(connection, &at, &parked)).await
        })
    }

    fn parked<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Vec<Parked>, Fault>> {
        Box::pin(self.read_here(group, |attached, shared| {
            let reader = attached.readers(&shared.readers).now()?;
            parked::parked(&reader.connection, attached)
        }))
    }

    fn mend<'a>(&'a self, group: &'a Group, mend: Mend) -> BoxFuture<'a, Result<(), AdvanceError>> {
        Box::pin(async move {
            let attached = self.attached(group).await?;
            let at = Arc::clone(&attached);
            self.write(&attached, move |connection| mend::mend(connection, &at, mend)).await
        })
    }

    fn passed_at<'a>(
        &'a self,
        group: &'a Group,
        position: Position,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, Fault>> {
        Box::pin(self.read_here(group, move |attached, shared| passed(attached, shared, position)))
    }

    fn stamp<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<RowsStamp, Fault>> {
        Box::pin(self.read_here(group, |attached, shared| {
            find::stamp(&*attached.readers(&shared.readers).now()?, attached)
        }))
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.attached(group).await?;
            let (start, now) = (self.shared.start(), self.shared.clock.now());
            let at = Arc::clone(&attached);
            if matches!(attached.home, Home::Log) {
                self.shared.progress.entry(&group.label()).reset();
            }
            self.write(&attached, move |connection| reset(connection, &at, start, now)).await
        })
    }
}

impl SqliteStore {
    /// Writes to a group's home: through the thread that appends, or through the file's own connection.
    pub(crate) async fn write<T, E>(
        &self,
        attached: &Arc<Attached>,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Fault> + Send + 'static,
    {
        let attached = Arc::clone(attached);
        if matches!(attached.home, Home::Log) {
            let job = move |writer: &mut Writer| {
                let done = work(&mut writer.connection);
                // The group may stand at the head now, or no longer.
                if let Err(error) = writer.refresh() {
                    tracing::warn!(%error, "could not look where inline read models stand");
                }
                done
            };
            return self.writer.run(job).await?;
        }
        blocking(move || match &attached.home {
            Home::File(file) => work(&mut file.writer.lock().unwrap_or_else(PoisonError::into_inner)),
            Home::Log => Err(crate::fault::damaged("a read model has moved").into()),
        })
        .await
    }
}

fn passed(attached: &Attached, shared: &Shared, position: Position) -> Result<Option<Timestamp>, Fault> {
    let reader = attached.readers(&shared.readers).now()?;
    let checkpoint = existing(&reader.connection, attached.place)?;
    if checkpoint.mark.position() < position {
        return Ok(None);
    }
    match attached.place.passed(&reader.connection, position).or_fault()? {
        Passed::At(at) => Ok(Some(at)),
        // An inline group moves with the event itself, and keeps no history of that.
        Passed::WithTheEvent if matches!(attached.home, Home::Log) => {
            let mark = log::mark_at(&reader.connection, shared.identity, position)?;
            Ok(mark.map(|mark| mark.recorded_at))
        }
        Passed::WithTheEvent | Passed::Forgotten => Ok(None),
    }
}

fn not_inline(group: &Group) -> Fault {
    let message = format!("inline read model `{}` must be named when the store is opened", group.name());
    Fault::permanent(Code::ServiceInvalid, message)
}
