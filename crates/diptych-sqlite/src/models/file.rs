//! A group's home: its own file, or the log's for inline groups; opened, made, and refused when it does not
//! fit.

use super::checkpoint::{Place, place_of};
use super::{Table, statements};
use crate::connection::{open_writer, schema_version};
use crate::fault::OrFault;
use crate::pool::Pool;
use crate::{Durability, SqliteLimits};
use diptych_core::{Code, Fault, Position, Timestamp};
use diptych_query::{BuildId, Group, Mark, Schema};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// `DipM`, in the header of a read model's file.
const APPLICATION: i32 = 0x4469_704d;

/// The schema of a read model's file, apart from the tables of its declarations.
const VERSION: i32 = 1;

/// What every file of a read model holds.
const OBJECTS: &[&str] = &[
    include_str!("../schema/checkpoint.sql"),
    include_str!("../schema/checkpoint_history.sql"),
    include_str!("../schema/digest.sql"),
    include_str!("../schema/projection_checkpoint.sql"),
];

/// Names that a read model's file needs for itself.
const RESERVED: &[&str] = &["checkpoint", "checkpoint_history", "digest", "projection_checkpoint"];

/// A group whose tables are open.
pub(crate) struct Attached {
    pub(crate) place: Place,
    pub(crate) generation: u32,
    pub(crate) tables: Vec<Table>,
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
}

impl Attached {
    /// A group in `log.db`. Its tables carry revision and generation in their names, and never clash with
    /// the log's.
    pub(crate) fn in_log(group: &Group) -> Result<Self, Fault> {
        let generation = 1;
        let revision = group.revision();
        let name = |schema: &Schema| format!("{}_r{revision}_g{generation}", schema.name);
        Ok(Self {
            place: place_of(group),
            generation,
            tables: tables(group, name)?,
            shape: shape_of(group),
            home: Home::Log,
            swept: AtomicU64::new(0),
        })
    }

    /// A group in a file of its own, made where there is none.
    pub(crate) fn in_file(
        group: &Group,
        generation: u32,
        path: &Path,
        start: Mark,
        now: Timestamp,
        limits: &SqliteLimits,
    ) -> Result<Self, Fault> {
        let name = |schema: &Schema| {
            let suffix = if RESERVED.contains(&schema.name) { "_rows" } else { "" };
            format!("{}{suffix}", schema.name)
        };
        let tables = tables(group, name)?;
        let place = place_of(group);
        let mut connection = open_writer(path, Durability::Normal, limits)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
        if schema_version(&transaction, APPLICATION, VERSION)? == 0 {
            OBJECTS.iter().try_for_each(|object| transaction.execute_batch(object)).or_fault()?;
            transaction.pragma_update(None, "application_id", APPLICATION).or_fault()?;
            transaction.pragma_update(None, "user_version", VERSION).or_fault()?;
        }
        open_tables(&transaction, group, &tables, start, now)?;
        transaction.commit().or_fault()?;
        Ok(Self {
            place,
            generation,
            tables,
            shape: shape_of(group),
            home: Home::File(Box::new(FileHome {
                writer: Mutex::new(connection),
                readers: Pool::new(path.to_owned(), limits.clone()),
            })),
            swept: AtomicU64::new(0),
        })
    }

    /// The build as answers name it.
    pub(crate) fn build(&self) -> BuildId {
        BuildId { revision: self.place.revision, generation: self.generation }
    }

    /// The table of a declaration.
    pub(crate) fn table(&self, schema: &Schema) -> Result<&Table, Fault> {
        let found = self.tables.iter().find(|table| table.schema.name == schema.name);
        found.ok_or_else(|| {
            let message = format!("read model `{}` is not in group `{}`", schema.name, self.place.group);
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

/// Makes a group's tables, or checks that they are of the declared shape. The caller owns the transaction.
pub(crate) fn open_tables(
    connection: &Connection,
    group: &Group,
    tables: &[Table],
    start: Mark,
    now: Timestamp,
) -> Result<(), Fault> {
    let place = place_of(group);
    let shape = shape_of(group);
    match place.shape(connection).or_fault()? {
        Some(held) if held == shape => {}
        Some(_) => {
            let Place { group, revision } = place;
            let message = format!(
                "read model `{group}` has another shape than its revision {revision} was built with: declare \
                 revision {}",
                revision + 1
            );
            return Err(Fault::permanent(Code::ShapeChanged, message));
        }
        None => {
            tables.iter().try_for_each(|table| table.create(connection)).or_fault()?;
            place.begin(connection, &shape, start, now).or_fault()?;
        }
    }
    statements::check(connection, tables)
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
