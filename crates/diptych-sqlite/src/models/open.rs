//! Which build a group means, and its tables, opened when they are first needed. What this process knows of
//! builds is a copy: the registry in `log.db` is asked again where the copy does not help.

use super::checkpoint::{Place, existing};
use super::file::{Attached, Home, other_shape, shape_of};
use super::{registry, remove_file};
use crate::SqliteStore;
use crate::fault::OrFault;
use crate::shared::Shared;
use crate::store::{blocking, fits};
use crate::writer::Writer;
use diptych_core::{Code, Fault};
use diptych_query::{Build, Group, Mode, Stage, own_build};
use rusqlite::Connection;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The builds as this process last saw them, and those whose tables it has open.
#[derive(Default)]
pub(crate) struct OpenBuilds {
    known: RwLock<KnownBuilds>,
    open: RwLock<HashMap<Place, Arc<Attached>>>,
}

/// What the registry said.
#[derive(Default)]
struct KnownBuilds {
    /// How often builds had changed by then.
    changes: i64,
    builds: HashMap<String, Vec<Build>>,
}

impl OpenBuilds {
    /// Looks what the registry says of every group.
    pub(crate) fn learn(&self, connection: &Connection) -> rusqlite::Result<()> {
        loop {
            let moment = connection.unchecked_transaction()?;
            let (changes, builds) = (registry::changes(&moment)?, registry::all(&moment)?);
            moment.commit()?;
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            // INVARIANT: what is known never goes back. Who looked before somebody here made a change, and
            // comes after, looks again.
            if changes >= known.changes {
                *known = KnownBuilds { changes, builds };
                return Ok(());
            }
        }
    }

    /// Looks what the registry says of one group. The connection is that of the one thread which changes it
    /// here, so that nobody is earlier.
    pub(crate) fn learn_of(&self, connection: &Connection, group: &str) -> rusqlite::Result<Vec<Build>> {
        let (changes, builds) = (registry::changes(connection)?, registry::of_group(connection, group)?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.changes = known.changes.max(changes);
        known.builds.insert(group.to_owned(), builds.clone());
        Ok(builds)
    }

    /// The place of the build that a group means.
    fn meant(&self, group: &Group) -> Option<Place> {
        let build = group.build().or_else(|| {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            own_build(known.builds.get(group.name())?, group.revision()).map(|build| build.id)
        });
        build.map(|build| Place::of(group, build))
    }

    /// Whether a group's revision was ever built.
    fn knows(&self, group: &Group) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut builds = known.builds.get(group.name()).into_iter().flatten();
        builds.any(|build| build.id.revision == group.revision())
    }

    /// A build whose tables are open.
    pub(crate) fn find(&self, place: Place) -> Option<Arc<Attached>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&place).map(Arc::clone)
    }

    /// Keeps an opened build. Two callers may have opened it; both use the first.
    pub(crate) fn keep(&self, opened: Arc<Attached>) -> Arc<Attached> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.entry(opened.place).or_insert(opened))
    }

    /// Closes a build.
    pub(crate) fn forget(&self, place: Place) {
        let removed = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&place);
        if let Some(attached) = removed {
            attached.close();
        }
    }

    /// Closes every build.
    pub(crate) fn close(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.drain().for_each(|(_, attached)| attached.close());
    }

    /// Closes the builds whose files are gone.
    fn forget_gone(&self) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        for (_, attached) in open.extract_if(|_, attached| attached.is_gone()) {
            attached.close();
        }
    }
}

impl SqliteStore {
    /// Looks which builds there are. In place: few rows.
    pub(crate) fn look_again(&self) -> Result<(), Fault> {
        let reader = self.shared.readers.now()?;
        self.shared.builds.learn(&reader.connection).or_fault()?;
        self.shared.builds.forget_gone();
        Ok(())
    }

    /// The build that a group means, with its tables open.
    pub(crate) async fn attached(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        let builds = &self.shared.builds;
        let open = builds.meant(group).and_then(|place| builds.find(place));
        let attached = match open {
            Some(attached) => attached,
            None => self.open_build(group).await?,
        };
        let place = attached.place;
        if place.revision != group.revision() && attached.shape != shape_of(group) {
            return Err(other_shape(group, place));
        }
        Ok(attached)
    }

    /// Reads from the build that a group means; once more, where that build went away meanwhile.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        group: &Group,
        read: impl Fn(&Attached, &Shared) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        let read = Arc::new(read);
        let mut last = false;
        loop {
            let attached = self.attached(group).await?;
            let (at, shared, reading) = (Arc::clone(&attached), Arc::clone(&self.shared), Arc::clone(&read));
            match blocking(move || reading(&at, &shared)).await {
                Err(_) if !last && self.went_away(&attached)? => self.look_again()?,
                done => return done,
            }
            last = true;
        }
    }

    /// The same in place, for reads of microseconds.
    pub(crate) async fn read_here<T>(
        &self,
        group: &Group,
        read: impl Fn(&Attached, &Shared) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let attached = self.attached(group).await?;
        match read(&attached, &self.shared) {
            Err(_) if self.went_away(&attached)? => {
                self.look_again()?;
                read(&*self.attached(group).await?, &self.shared)
            }
            done => done,
        }
    }

    /// Whether the tables of a build were dropped, here or by another process.
    fn went_away(&self, attached: &Attached) -> Result<bool, Fault> {
        if attached.is_gone() {
            return Ok(true);
        }
        let reader = self.shared.readers.now()?;
        let stage = registry::stage_of(&reader.connection, attached.place.group, attached.place.build())?;
        Ok(stage.is_none_or(|stage| !stage.follows()))
    }

    /// Begins the first build of a group's revision, where there is none.
    pub(crate) async fn begin_first(&self, group: &Group) -> Result<(), Fault> {
        self.look_again()?;
        if self.shared.builds.knows(group) {
            return Ok(());
        }
        let (asked, start, now) = (group.clone(), self.shared.start(), self.shared.clock.now());
        let begin = move |transaction: &Connection| {
            registry::of_group_or_begun(transaction, &asked, start, now).map(drop)
        };
        self.change_builds(group, begin).await
    }

    async fn open_build(&self, group: &Group) -> Result<Arc<Attached>, Fault> {
        self.look_again()?;
        let Some(place) = self.shared.builds.meant(group) else {
            return Err(if self.shared.builds.knows(group) { retired(group) } else { not_attached(group) });
        };
        if let Some(attached) = self.shared.builds.find(place) {
            return Ok(attached);
        }
        let (asked, shared) = (group.clone(), Arc::clone(&self.shared));
        let opened = blocking(move || open(&asked, place, &shared)).await?;
        if place.revision == group.revision() {
            let asked = group.clone();
            let note = move |writer: &mut Writer| {
                registry::note_declared(&writer.connection, &asked, place).or_fault()
            };
            self.writer.run(note).await??;
        }
        Ok(self.shared.builds.keep(Arc::new(opened)))
    }
}

/// Opens the tables of a build, and makes them where a crash kept them from being made.
fn open(group: &Group, place: Place, shared: &Shared) -> Result<Attached, Fault> {
    let stage = || -> Result<Option<Stage>, Fault> {
        registry::stage_of(&shared.readers.wait()?.connection, place.group, place.build())
    };
    let path = place.file_in(&shared.models_path());
    match stage()? {
        None => return Err(not_attached(group)),
        Some(stage) if !stage.follows() && (group.mode() == Mode::Inline || !path.exists()) => {
            return Err(retired(group));
        }
        Some(_) => {}
    }
    let attached = if group.mode() == Mode::Inline {
        open_in_log(group, place, shared)?
    } else {
        let (start, now) = (shared.start(), shared.clock.now());
        Attached::in_file(group, place, path.clone(), start, now, &shared.limits)?
    };
    // INVARIANT: a build is retired before its file is removed, so that a file made after that is seen here.
    if stage()?.is_none_or(|stage| !stage.follows()) && matches!(attached.home, Home::File(_)) {
        let reader = attached.readers(&shared.readers).wait()?;
        let unused = existing(&reader.connection, place)?.mark == shared.start();
        drop(reader);
        if unused {
            attached.close();
            drop(attached);
            remove_file(&path)?;
            return Err(retired(group));
        }
    }
    let mark = existing(&attached.readers(&shared.readers).wait()?.connection, place)?.mark;
    fits(&shared.readers.wait()?.connection, shared.identity, place, mark)?;
    Ok(attached)
}

/// The tables of a build in `log.db`, which were made when it was begun.
fn open_in_log(group: &Group, place: Place, shared: &Shared) -> Result<Attached, Fault> {
    let attached = Attached::in_log(group, place.build())?;
    match place.shape(&shared.readers.wait()?.connection).or_fault()? {
        Some(shape) if shape == attached.shape => Ok(attached),
        Some(_) => Err(other_shape(group, place)),
        None => Err(not_attached(group)),
    }
}

/// The fault of a group whose builds are gone.
pub(crate) fn retired(group: &Group) -> Fault {
    Fault::permanent(Code::ModelRetired, format!("read model `{}` is retired", group.label()))
}

fn not_attached(group: &Group) -> Fault {
    let message = format!("read model `{}` is not attached", group.label());
    Fault::permanent(Code::ServiceInvalid, message)
}
