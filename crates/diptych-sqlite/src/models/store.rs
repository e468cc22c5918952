//! The port to where rows live: each call finds the group's home and goes there.

use super::checkpoint::{Passed, Place, existing, place_of};
use super::file::{Attached, Home, shape_of};
use super::{advance, find, registry, reset, set_stopped};
use crate::SqliteStore;
use crate::fault::OrFault;
use crate::log;
use crate::store::{blocking, fits};
use crate::writer::Writer;
use diptych_core::{BoxFuture, Code, Fault, Position, Timestamp};
use diptych_query::{
    AdvanceError, Advanced, Checkpoint, Fold, Found, Group, Lease, Mend, Mode, ModelStore, Parked, Partition,
    RawFind, RowRef, ScannedRow, Schema, Stopped, TableSnapshot,
};
use rusqlite::Connection;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// From how many rows on the memory of an advance is freed by another thread than the one that waits for it.
const FREED_APART_ROWS_MIN: usize = 1_000;

impl ModelStore for SqliteStore {
    fn attach<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let place = place_of(group);
            let attached = match self.find_attached(place) {
                Some(attached) => attached,
                None if group.mode() == Mode::Inline => return Err(not_inline(group)),
                None => self.open_file(group).await?,
            };
            if attached.shape != shape_of(group) {
                let message = format!("read model `{}` is attached in another shape", group.name());
                return Err(Fault::permanent(Code::ShapeChanged, message));
            }
            let checkpoint = self.checkpoint(group).await?;
            let reader = self.shared.readers.now()?;
            fits(&reader.connection, self.shared.identity, place, checkpoint.mark)?;
            Ok(checkpoint)
        })
    }

    fn advance<'a>(&'a self, group: &'a Group, fold: Fold) -> BoxFuture<'a, Result<Advanced, AdvanceError>> {
        Box::pin(async move {
            let attached = self.attached(group)?;
            let through = fold.through();
            {
                let reader = self.shared.readers.now()?;
                fits(&reader.connection, self.shared.identity, attached.place, through)?;
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

    fn set_stopped<'a>(
        &'a self,
        group: &'a Group,
        _: Partition,
        stopped: Option<Stopped>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let attached = self.attached(group)?;
            let at = Arc::clone(&attached);
            self.write(&attached, move |connection| set_stopped(connection, &at, stopped.as_ref())).await
        })
    }

    fn checkpoint<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.attached(group)?;
            let reader = attached.readers(&self.shared.readers).now()?;
            existing(&reader.connection, attached.place)
        })
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
            let (attached, shared, find) = (self.attached(group)?, Arc::clone(&self.shared), find.clone());
            blocking(move || {
                let mut reader = attached.readers(&shared.readers).wait()?;
                let table = attached.table(schema)?;
                find::find(&mut reader, &attached, table, &find, deadline)
            })
            .await
        })
    }

    fn get<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
        row: &'a RowRef,
    ) -> BoxFuture<'a, Result<Found, Fault>> {
        // In place: two microseconds, and a change of threads would cost more than the read.
        Box::pin(async move {
            let attached = self.attached(group)?;
            let reader = attached.readers(&self.shared.readers).now()?;
            find::get(&reader, &attached, attached.table(schema)?, row)
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
            let (attached, shared, after) = (self.attached(group)?, Arc::clone(&self.shared), after.cloned());
            blocking(move || {
                let reader = attached.readers(&shared.readers).wait()?;
                find::scan(&reader, attached.table(schema)?, after.as_ref(), rows_max).or_fault()
            })
            .await
        })
    }

    fn digest<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<Vec<(u8, i64, u128)>, Fault>> {
        Box::pin(async move {
            let attached = self.attached(group)?;
            let reader = attached.readers(&self.shared.readers).now()?;
            find::digest(&reader, attached.table(schema)?).or_fault()
        })
    }

    fn row_count<'a>(
        &'a self,
        group: &'a Group,
        schema: &'static Schema,
    ) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let (attached, shared) = (self.attached(group)?, Arc::clone(&self.shared));
            blocking(move || {
                let reader = attached.readers(&shared.readers).wait()?;
                find::row_count(&reader, attached.table(schema)?).or_fault()
            })
            .await
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
        Box::pin(async move { self.passed(group, position) })
    }

    fn reset<'a>(&'a self, group: &'a Group) -> BoxFuture<'a, Result<Checkpoint, Fault>> {
        Box::pin(async move {
            let attached = self.attached(group)?;
            let (start, now) = (self.shared.start(), self.shared.clock.now());
            let at = Arc::clone(&attached);
            if matches!(attached.home, Home::Log) {
                self.shared.progress.entry(group.name()).reset();
            }
            self.write(&attached, move |connection| reset(connection, &at, start, now)).await
        })
    }
}

impl SqliteStore {
    fn find_attached(&self, place: Place) -> Option<Arc<Attached>> {
        let attached = self.attached.read().unwrap_or_else(PoisonError::into_inner);
        attached.get(&place).map(Arc::clone)
    }

    fn attached(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        self.find_attached(place_of(group)).ok_or_else(|| {
            let message = format!("read model `{}` is not attached", group.name());
            Fault::permanent(Code::ServiceInvalid, message)
        })
    }

    /// Opens the file of a group's serving generation, or makes it.
    async fn open_file(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        let (place, mode, shape) = (place_of(group), group.mode(), shape_of(group));
        let now = self.shared.clock.now();
        let asked = shape.clone();
        let serving =
            move |writer: &mut Writer| registry::serving(&mut writer.connection, place, mode, &asked, now);
        let generation = self.writer.run(serving).await??;
        let name = format!("{}-r{}-g{generation}.db", place.group, place.revision);
        let path = self.shared.models_path().join(name);
        let (group, shared) = (group.clone(), Arc::clone(&self.shared));
        let open = move || {
            let start = shared.start();
            Attached::in_file(&group, generation, &path, start, now, &shared.limits).map(Arc::new)
        };
        let opened = blocking(open).await?;
        let built = move |writer: &mut Writer| {
            registry::note_built(&writer.connection, place, generation, mode, &shape)
        };
        self.writer.run(built).await??;
        let mut attached = self.attached.write().unwrap_or_else(PoisonError::into_inner);
        // Two callers may have opened it; both use the first.
        Ok(Arc::clone(attached.entry(place).or_insert(opened)))
    }

    /// Writes to a group's home: through the thread that appends, or through the file's own connection.
    async fn write<T, E>(
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

    fn passed(&self, group: &Group, position: Position) -> Result<Option<Timestamp>, Fault> {
        let attached = self.attached(group)?;
        let reader = attached.readers(&self.shared.readers).now()?;
        let checkpoint = existing(&reader.connection, attached.place)?;
        if checkpoint.mark.position() < position {
            return Ok(None);
        }
        match attached.place.passed(&reader.connection, position).or_fault()? {
            Passed::At(at) => Ok(Some(at)),
            // An inline group moves with the event itself, and keeps no history of that.
            Passed::WithTheEvent if matches!(attached.home, Home::Log) => {
                let mark = log::mark_at(&reader.connection, self.shared.identity, position)?;
                Ok(mark.map(|mark| mark.recorded_at))
            }
            Passed::WithTheEvent | Passed::Forgotten => Ok(None),
        }
    }
}

fn not_inline(group: &Group) -> Fault {
    let message = format!("inline read model `{}` must be named when the store is opened", group.name());
    Fault::permanent(Code::ServiceInvalid, message)
}
