//! A group's home: its own file, or the log's for inline groups; opened, made, and refused when it does not
//! fit.

use super::checkpoint::Place;
use super::{Table, statements};
use crate::connection::{MODEL_PAGE_BYTES, open_writer, schema_version};
use crate::fault::OrFault;
use crate::pool::Pool;
use crate::{Durability, SqliteLimits};
use diptych_core::{Code, Fault, Position, Timestamp};
use diptych_query::{BuildId, Group, Mark, Schema};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const CLEAR_DIGEST: &str = "DELETE FROM digest WHERE table_name = ?1";

/// `DipM`, in the header of a read model's file.
const APPLICATION: i32 = 0x4469_704d;

/// What made every file of a read model, apart from the tables of its declarations; oldest first. Text once
/// released never changes.
const MIGRATIONS: &[&[&str]] = &[
    &[
        include_str!("../schema/checkpoint.sql"),
        include_str!("../schema/checkpoint_history.sql"),
        include_str!("../schema/digest.sql"),
        include_str!("../schema/projection_checkpoint.sql"),
    ],
    &[
        include_str!("../schema/checkpoint_of_build.sql"),
        include_str!("../schema/projection_checkpoint.sql"),
        include_str!("../schema/parked_key.sql"),
    ],
    &[include_str!("../schema/checkpoint_repairs.sql")],
];

/// Names that a read model's file needs for itself.
const RESERVED: &[&str] =
    &["checkpoint", "checkpoint_history", "digest", "parked_key", "projection_checkpoint"];

/// A build of a group whose tables are open.
pub(crate) struct Attached {
    pub(crate) place: Place,
    pub(crate) tables: Vec<Table>,
    /// Whether keys of any table may be held back.
    pub(crate) may_park: bool,
    /// What its tables were made from.
    pub(crate) shape: String,
    pub(crate) home: Home,
    /// Where tombstones were last swept, in this process.
    swept: AtomicU64,
}

/// Where a group's tables are.
pub(crate) enum Home {
    /// In `log.db`, written by the thread that appends.
    Log,
    /// In a file of their own.
    File(Box<FileHome>),
}

/// A read model's own file.
pub(crate) struct FileHome {
    /// The one connection that writes.
    pub(crate) writer: Mutex<Connection>,
    /// Those that read.
    pub(crate) readers: Pool,
    path: PathBuf,
}

impl Attached {
    /// A build in `log.db`. Its tables carry revision and generation in their names, and never clash with
    /// the log's.
    pub(crate) fn in_log(group: &Group, build: BuildId) -> Result<Self, Fault> {
        let BuildId { revision, generation } = build;
        let name = |schema: &Schema| format!("{}_r{revision}_g{generation}", schema.name);
        Ok(Self {
            place: Place::of(group, build),
            tables: tables(group, name)?,
            may_park: group.may_park(),
            shape: shape_of(group),
            home: Home::Log,
            swept: AtomicU64::new(0),
        })
    }

    /// A build in a file of its own, made where there is none.
    pub(crate) fn in_file(
        group: &Group,
        place: Place,
        path: PathBuf,
        start: Mark,
        now: Timestamp,
        limits: &SqliteLimits,
    ) -> Result<Self, Fault> {
        let name = |schema: &Schema| {
            let suffix = if RESERVED.contains(&schema.name) { "_rows" } else { "" };
            format!("{}{suffix}", schema.name)
        };
        let tables = tables(group, name)?;
        let mut connection = open_file(&path, limits)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
        open_tables(&transaction, group, place, &tables, start, now)?;
        transaction.commit().or_fault()?;
        Ok(Self {
            place,
            tables,
            may_park: group.may_park(),
            shape: shape_of(group),
            home: Home::File(Box::new(FileHome {
                writer: Mutex::new(connection),
                readers: Pool::new(path.clone(), limits.clone()),
                path,
            })),
            swept: AtomicU64::new(0),
        })
    }

    /// The table of a declaration.
    pub(crate) fn table(&self, schema: &Schema) -> Result<&Table, Fault> {
        self.table_named(schema.name)
    }

    /// The table of a declaration, by its name there.
    pub(crate) fn table_named(&self, model: &str) -> Result<&Table, Fault> {
        let found = self.tables.iter().find(|table| table.schema.name == model);
        found.ok_or_else(|| {
            let message = format!("read model `{model}` is not in group `{}`", self.place.group);
            Fault::permanent(Code::ServiceInvalid, message)
        })
    }

    /// The connections that read it.
    pub(crate) fn readers<'a>(&'a self, log: &'a Pool) -> &'a Pool {
        match &self.home {
            Home::Log => log,
            Home::File(file) => &file.readers,
        }
    }

    /// Closes the connections that read its file; the one that writes goes with the group.
    pub(crate) fn close(&self) {
        if let Home::File(file) = &self.home {
            file.readers.close();
        }
    }

    /// Whether its file was removed, here or by another process: what is read of it now is history.
    pub(crate) fn is_gone(&self) -> bool {
        match &self.home {
            Home::Log => false,
            Home::File(file) => file.readers.is_closed() || !file.path.exists(),
        }
    }

    /// Empties its tables and all that is kept of their rows. The caller owns the transaction.
    pub(crate) fn empty(&self, connection: &Connection) -> rusqlite::Result<()> {
        for table in &self.tables {
            table.empty(connection)?;
            connection.prepare_cached(CLEAR_DIGEST)?.execute([&table.name])?;
        }
        self.place.set_filling(connection, 0)
    }

    /// Whether tombstones should be swept at a position: now and then, since a sweep reads them all.
    pub(crate) fn sweep_is_due(&self, position: Position, window: u64) -> bool {
        let last = self.swept.load(Ordering::Relaxed);
        position.0 > window && position.0.saturating_sub(last) >= (window / 8).max(1)
    }

    /// Remembers where tombstones were swept.
    pub(crate) fn note_sweep(&self, position: Position) {
        self.swept.store(position.0, Ordering::Relaxed);
    }
}

/// Opens a read model's file, made or brought up to this code. Waits for nobody if there is nothing to do.
pub(crate) fn open_file(path: &Path, limits: &SqliteLimits) -> Result<Connection, Fault> {
    let mut connection = open_writer(path, Durability::Normal, MODEL_PAGE_BYTES, limits)?;
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if schema_version(&connection, APPLICATION, known)? == known {
        return Ok(connection);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    // Another process may have been faster.
    let version = schema_version(&transaction, APPLICATION, known)?;
    if version < known {
        let missing = MIGRATIONS.iter().skip(version.unsigned_abs() as usize).copied().flatten();
        missing.copied().try_for_each(|text| transaction.execute_batch(text)).or_fault()?;
        transaction.pragma_update(None, "application_id", APPLICATION).or_fault()?;
        transaction.pragma_update(None, "user_version", known).or_fault()?;
    }
    transaction.commit().or_fault()?;
    Ok(connection)
}

/// Makes the tables of a build, or checks that they are of the declared shape. The caller owns the
/// transaction.
pub(crate) fn open_tables(
    connection: &Connection,
    group: &Group,
    place: Place,
    tables: &[Table],
    start: Mark,
    now: Timestamp,
) -> Result<(), Fault> {
    let shape = shape_of(group);
    match place.shape(connection).or_fault()? {
        Some(held) if held == shape => {}
        Some(_) => return Err(other_shape(group, place)),
        None => {
            tables.iter().try_for_each(|table| table.create(connection)).or_fault()?;
            place.begin(connection, &shape, start, now).or_fault()?;
        }
    }
    statements::check(connection, tables)
}

/// The fault of tables that the code at hand does not read.
pub(crate) fn other_shape(group: &Group, place: Place) -> Fault {
    let (build, Place { group: name, revision, .. }) = (place.build(), place);
    let message = if group.revision() == revision {
        format!(
            "read model `{name}` has another shape than its revision {revision} was built with: declare \
             revision {}",
            revision + 1
        )
    } else {
        format!("build {build} of read model `{name}` has another shape than revision {}", group.revision())
    };
    Fault::permanent(Code::ShapeChanged, message)
}

/// What decides the shape of a group's tables.
pub(crate) fn shape_of(group: &Group) -> String {
    let shapes: Vec<_> = group.models().iter().map(|model| model.shape()).collect();
    shapes.join(" ")
}

fn tables(group: &Group, name: impl Fn(&Schema) -> String) -> Result<Vec<Table>, Fault> {
    let models = group.models().iter();
    models.map(|model| Table::of(&**model, name(model.schema()))).collect()
}
