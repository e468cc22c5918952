//! The port to the registry of builds and to records of the hinge. Everything that changes is changed by the
//! thread that appends, in one transaction.

use super::checkpoint::{Place, existing};
use super::file::{Attached, open_file};
use super::{beside, parked, records, registry, remove_file, sql};
use crate::SqliteStore;
use crate::fault::OrFault;
use crate::shared::Shared;
use crate::store::blocking;
use crate::writer::{Standstill, Switch, Writer};
use diptych_core::{BoxFuture, Code, Fault};
use diptych_query::{
    Build, BuildId, BuildMove, Group, Mode, Order, Record, RecordOf, Registry, Stage, StageMove,
    TransitError, judge, taken_over,
};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;

const BYTES_OF: &str = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = TRUE AND name IN \
    (SELECT name FROM sqlite_schema WHERE tbl_name IN (?1, ?2))";

/// Has SQLite bring to the disk what it has written to the WAL.
const SYNC: &str = "PRAGMA wal_checkpoint(PASSIVE)";

impl Registry for SqliteStore {
    fn builds<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Vec<Build>, Fault>> {
        Box::pin(async move { registry::of_group(&self.shared.readers.now()?.connection, group).or_fault() })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        Box::pin(async move {
            let known = registry::all(&self.shared.readers.now()?.connection).or_fault()?;
            let mut groups: Vec<_> = known.into_keys().collect();
            groups.sort();
            Ok(groups)
        })
    }

    fn begin_build<'a>(&'a self, group: &'a Group, order: &'a Order) -> BoxFuture<'a, Result<Build, Fault>> {
        Box::pin(async move {
            let (asked, order, start) = (group.clone(), order.clone(), self.shared.start());
            let now = self.shared.clock.now();
            let begin =
                move |transaction: &Connection| registry::begin(transaction, &asked, &order, start, now);
            let build = self.change_builds(group, begin).await?;
            // A crash before this leaves a build without a file, which is made when it is first needed.
            self.attached(&group.at(build.id)).await?;
            Ok(build)
        })
    }

    fn begin_recorded<'a>(
        &'a self,
        group: &'a Group,
        order: &'a Order,
        kind: &'a str,
        body: RecordOf,
    ) -> BoxFuture<'a, Result<Option<Build>, Fault>> {
        Box::pin(async move {
            let (asked, order, start) = (group.clone(), order.clone(), self.shared.start());
            let (kind, now) = (kind.to_owned(), self.shared.clock.now());
            let begin = move |transaction: &Connection| {
                if records::record(transaction, &kind, asked.name()).or_fault()?.is_some() {
                    return Ok(None);
                }
                let build = registry::begin(transaction, &asked, &order, start, now)?;
                let (about, body) = ((kind.as_str(), asked.name()), body(build.id)?);
                records::write_record(transaction, about, 0, &body, now).or_fault()?;
                Ok(Some(build))
            };
            let begun = self.change_builds(group, begin).await?;
            if let Some(build) = &begun {
                // A crash before this leaves a build without a file, which is made when it is first needed.
                self.attached(&group.at(build.id)).await?;
            }
            Ok(begun)
        })
    }

    fn transit<'a>(
        &'a self,
        group: &'a Group,
        moves: &'a [BuildMove],
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Vec<Build>, TransitError>> {
        Box::pin(async move {
            let before =
                registry::of_group(&self.shared.readers.now()?.connection, group.name()).or_fault()?;
            let after = judge(&before, moves)?;
            let standstill = match taken_over(&before, &after) {
                Some((new, Some(gone))) if group.mode() != Mode::Inline => {
                    let (new, gone) = (Place::of(group, new.id), Place::of(group, gone.id));
                    let shared = Arc::clone(&self.shared);
                    Some(blocking(move || stand_still(new, gone, &shared)).await?)
                }
                _ => None,
            };
            let (group, order) = (group.clone(), order.clone());
            let switch = Switch { group, moves: moves.to_vec(), order, standstill };
            self.writer.run(move |writer| writer.transit(switch)).await?
        })
    }

    fn drop_build<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let place = Place::of(group, build);
            let stage = {
                let reader = self.shared.readers.now()?;
                registry::stage_of(&reader.connection, place.group, build)?
            };
            if stage.is_some_and(|stage| stage != Stage::Retired) {
                let message = format!("build {build} of `{}` is not retired", group.name());
                return Err(Fault::permanent(Code::MoveRefused, message));
            }
            self.shared.builds.forget(place);
            if group.mode() == Mode::Inline {
                let asked = group.clone();
                let drop_all = move |transaction: &Connection| drop_tables(transaction, &asked, build);
                self.change_builds(group, drop_all).await?;
            }
            // A group may have been asynchronous once, and have left a file.
            let path = place.file_in(&self.shared.models_path());
            blocking(move || remove_file(&path)).await
        })
    }

    fn build_bytes<'a>(&'a self, group: &'a Group, build: BuildId) -> BoxFuture<'a, Result<u64, Fault>> {
        Box::pin(async move {
            let (group, shared) = (group.clone(), Arc::clone(&self.shared));
            blocking(move || {
                if group.mode() != Mode::Inline {
                    let path = Place::of(&group, build).file_in(&shared.models_path());
                    return Ok(bytes_at(&path) + bytes_at(&beside(&path, "-wal")));
                }
                let attached = Attached::in_log(&group, build)?;
                let reader = shared.readers.wait()?;
                attached.tables.iter().try_fold(0, |bytes, table| {
                    let names = (&table.name, sql::tombstones_of(&table.name));
                    let mut select = reader.connection.prepare_cached(BYTES_OF).or_fault()?;
                    let own: i64 = select.query_row(names, |row| row.get(0)).or_fault()?;
                    Ok(bytes + own.unsigned_abs())
                })
            })
            .await
        })
    }

    fn stage_moves<'a>(
        &'a self,
        group: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<StageMove>, Fault>> {
        Box::pin(
            async move { registry::moves(&self.shared.readers.now()?.connection, group, most).or_fault() },
        )
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.look_again() })
    }

    fn record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(
            async move { records::record(&self.shared.readers.now()?.connection, kind, name).or_fault() },
        )
    }

    fn records<'a>(&'a self, kind: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Record>, Fault>> {
        Box::pin(
            async move { records::records(&self.shared.readers.now()?.connection, kind, most).or_fault() },
        )
    }

    fn write_record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
        seen: u64,
        body: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Fault>> {
        Box::pin(async move {
            let (kind, name, body) = (kind.to_owned(), name.to_owned(), body.to_owned());
            let now = self.shared.clock.now();
            let write = move |writer: &mut Writer| {
                records::write_record(&writer.connection, (&kind, &name), seen, &body, now).or_fault()
            };
            self.writer.run(write).await?
        })
    }

    fn forget_record<'a>(&'a self, kind: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let (kind, name) = (kind.to_owned(), name.to_owned());
            let forget = move |writer: &mut Writer| {
                records::forget_record(&writer.connection, &kind, &name).or_fault()
            };
            self.writer.run(forget).await?
        })
    }
}

impl SqliteStore {
    /// Changes what is kept of a group's builds, in one transaction of the thread that appends.
    pub(crate) async fn change_builds<T: Send + 'static>(
        &self,
        group: &Group,
        change: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let name = group.name();
        let job = move |writer: &mut Writer| {
            let immediate = TransactionBehavior::Immediate;
            let transaction = writer.connection.transaction_with_behavior(immediate).or_fault()?;
            let changed = change(&transaction)?;
            transaction.commit().or_fault()?;
            writer.shared.builds.learn_of(&writer.connection, name).or_fault()?;
            Ok(changed)
        };
        self.writer.run(job).await?
    }
}

/// Keeps the build that answers from moving, and looks where both stand: two files, whose order is settled
/// while the pointer moves in a third.
fn stand_still(new: Place, gone: Place, shared: &Shared) -> Result<Standstill, TransitError> {
    let models = shared.models_path();
    let (new_path, gone_path) = (new.file_in(&models), gone.file_in(&models));
    if !new_path.exists() {
        return Err(TransitError::Elsewhere { build: new.build(), stage: None });
    }
    let taking_over = open_file(&new_path, &shared.limits)?;
    // A loss of power takes the last rows of a file, and must not take those that are answered from now on.
    taking_over.query_row(SYNC, [], |_| Ok(())).or_fault()?;
    let mut held = None;
    if gone_path.exists() {
        let connection = open_file(&gone_path, &shared.limits)?;
        connection.execute_batch("BEGIN IMMEDIATE").or_fault()?;
        let other = gone.read(&connection).or_fault()?.map(|checkpoint| checkpoint.mark.position());
        held = other.map(|other| (connection, other));
    }
    // The build that takes over only moves on: where it stands now, it stands later.
    let position = existing(&taking_over, new)?.mark.position();
    match held {
        Some((_, other)) if position < other => Err(TransitError::Behind { position, other }),
        held => Ok(Standstill { new: new.build(), gone: gone.build(), _held: held.map(|(held, _)| held) }),
    }
}

/// Drops the tables of an inline build with all that is kept of it.
fn drop_tables(connection: &Connection, group: &Group, build: BuildId) -> Result<(), Fault> {
    let attached = Attached::in_log(group, build)?;
    if attached.place.shape(connection).or_fault()?.is_none() {
        return Ok(());
    }
    let drop_all = || -> rusqlite::Result<()> {
        attached.empty(connection)?;
        for table in &attached.tables {
            parked::forget_parked(connection, table)?;
            table.drop(connection)?;
        }
        attached.place.remove(connection)
    };
    drop_all().or_fault()
}

fn bytes_at(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}
