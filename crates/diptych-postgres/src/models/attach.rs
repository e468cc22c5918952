//! Opening a group's tables: made where there are none, refused where they do not fit.

use super::checkpoint::{Place, existing};
use super::sql::Named;
use super::table::Table;
use super::{registry, statements};
use crate::fault::OrFault;
use crate::log;
use crate::shared::{Schema, Shared};
use diptych_core::{Code, Fault, Position, Timestamp};
use diptych_query::{Build, BuildId, Checkpoint, Group, Mark, Mode, Order, Partition, RowRef};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// A group whose tables are open.
pub(crate) struct Attached {
    /// The first partition of its build, and the only one unless it is split.
    pub(crate) place: Place,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) mode: Mode,
    pub(crate) tables: Vec<Table>,
    /// What its tables were made from.
    pub(crate) shape: String,
    /// Where tombstones were last swept, in this process.
    swept: AtomicU64,
}

impl Attached {
    /// Opens the own build of a group's revision, or makes its first. The caller owns the transaction.
    pub(crate) async fn open(
        client: &Client,
        schema: &Schema,
        group: &Group,
        start: Mark,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        registry::lock(client, schema).await?;
        let builds = registry::builds(client, schema, group.name()).await?;
        let Some(build) = registry::own(&builds, group)? else {
            let order = Order::of_the_hinge("its revision was first opened");
            return Ok(Self::begin(client, schema, group, &builds, &order, (start, now)).await?.1);
        };
        let attached = Self::existing(client, schema, group, build).await?;
        statements::check(client, &attached.tables).await?;
        registry::note(client, schema, attached.place, group).await?;
        Ok(attached)
    }

    /// Makes another build of a group's revision: empty tables at the start of the log. The caller owns the
    /// transaction and the lock of the registry.
    pub(crate) async fn begin(
        client: &Client,
        schema: &Schema,
        group: &Group,
        builds: &[Build],
        order: &Order,
        (start, now): (Mark, Timestamp),
    ) -> Result<(Build, Self), Fault> {
        let shape = shape_of(group);
        let build = registry::begin(client, schema, group, (builds, &shape), order, now).await?;
        let attached = Self::of(schema, group, build.id)?;
        let shown = !builds.iter().any(|build| build.stage.answers());
        for table in &attached.tables {
            table.create(client).await?;
            if shown {
                table.show(client, schema).await?;
            }
        }
        for partition in &attached.partitions {
            attached.place.of(*partition).begin(client, schema, &shape, start, now).await?;
        }
        // Partitions fill a table at different times, so it has no moment at which it is filled.
        if attached.is_split() {
            for table in &attached.tables {
                table.create_indexes(client).await?;
            }
        }
        statements::check(client, &attached.tables).await?;
        Ok((build, attached))
    }

    /// Opens a build that is there, also one of another revision, if its tables are what the code declares.
    /// Only reads.
    pub(crate) async fn existing(
        client: &Client,
        schema: &Schema,
        group: &Group,
        build: BuildId,
    ) -> Result<Self, Fault> {
        let attached = Self::of(schema, group, build)?;
        let place = attached.place;
        match place.shape(client, schema).await? {
            Some(held) if held == attached.shape => Ok(attached),
            Some(_) => Err(reshaped(group, build)),
            None => {
                let builds = registry::builds(client, schema, group.name()).await?;
                let held = builds.iter().find(|held| held.id == build);
                Err(held.map_or_else(|| unknown(group, build), |held| removed(place, held)))
            }
        }
    }

    fn of(schema: &Schema, group: &Group, build: BuildId) -> Result<Self, Fault> {
        let tables = group.models().iter().map(|model| {
            let name = table_name(schema, model.schema().name, build);
            Table::of(&**model, name)
        });
        Ok(Self {
            place: Place::at(group.name(), build),
            partitions: group.partitions().collect(),
            mode: group.mode(),
            tables: tables.collect::<Result<_, _>>()?,
            shape: shape_of(group),
            swept: AtomicU64::new(0),
        })
    }

    /// The table of a declaration.
    pub(crate) fn table(&self, schema: &diptych_query::Schema) -> Result<&Table, Fault> {
        let found = self.tables.iter().find(|table| table.schema.name == schema.name);
        found.ok_or_else(|| {
            let message = format!("read model `{}` is not in group `{}`", schema.name, self.place.group);
            Fault::permanent(Code::ServiceInvalid, message)
        })
    }

    /// Whether its rows have more than one owner.
    pub(crate) fn is_split(&self) -> bool {
        self.partitions.len() > 1
    }

    /// Where a group stands: the lowest of its partitions.
    pub(crate) async fn checkpoint(&self, client: &Client, schema: &Schema) -> Result<Checkpoint, Fault> {
        if self.is_split() {
            self.place.lowest(client, schema).await
        } else {
            existing(client, schema, self.place).await
        }
    }

    /// The place of the partition that owns a row.
    pub(crate) fn owner(&self, row: &RowRef) -> Place {
        let of = u8::try_from(self.partitions.len()).unwrap_or(u8::MAX);
        self.place.of(Partition::owner(of, &row.tenant, &row.key))
    }

    /// The build as answers name it.
    pub(crate) fn build(&self) -> BuildId {
        let Place { revision, generation, .. } = self.place;
        BuildId { revision: revision.cast_unsigned(), generation: generation.cast_unsigned() }
    }

    /// Makes the indexes of every table, with the first rows, where they do not come with the table.
    pub(crate) async fn create_indexes(&self, client: &Client) -> Result<(), Fault> {
        if self.is_split() {
            return Ok(());
        }
        for table in &self.tables {
            table.create_indexes(client).await?;
        }
        Ok(())
    }

    /// Forgets old tombstones now and then. Answers whether it did.
    pub(crate) async fn sweep(
        &self,
        client: &Client,
        schema: &Schema,
        position: Position,
        window_events: u64,
    ) -> Result<bool, Fault> {
        let last = self.swept.load(Ordering::Relaxed);
        let due = position.0 > window_events && position.0.saturating_sub(last) >= (window_events / 8).max(1);
        if due {
            // The tombstones of all partitions are in one table, and one that lags needs its own for longer.
            let position = if self.is_split() {
                position.min(self.place.lowest(client, schema).await?.mark.position())
            } else {
                position
            };
            let through = position.0.saturating_sub(window_events).cast_signed();
            for table in &self.tables {
                let bound: [_; 1] = [(&through as _, Type::INT8)];
                client.execute_typed(&table.sweep_tombstones, &bound).await.or_fault()?;
            }
        }
        Ok(due)
    }

    /// Remembers where tombstones were swept.
    pub(crate) fn note_sweep(&self, position: Position) {
        self.swept.store(position.0, Ordering::Relaxed);
    }
}

/// What decides the shape of a group's tables.
pub(crate) fn shape_of(group: &Group) -> String {
    let mut shapes: Vec<_> = group.models().iter().map(|model| model.shape()).collect();
    let partitions = group.partitions().count();
    if partitions > 1 {
        shapes.push(format!("in {partitions}"));
    }
    shapes.join(" ")
}

/// A checkpoint must be an entry of the log.
pub(crate) async fn fits(client: &Client, shared: &Shared, place: Place, mark: Mark) -> Result<(), Fault> {
    if log::mark_at(client, shared, mark.position()).await? == Some(mark) {
        return Ok(());
    }
    let message = format!(
        "the checkpoint `{}` of read model `{}` is not an entry of this log: one of them was put back from \
         elsewhere; reset the model to build it again",
        mark.token, place.group
    );
    Err(Fault::permanent(Code::LogDiffers, message))
}

/// The name of a build's table.
pub(crate) fn table_name(schema: &Schema, model: &str, BuildId { revision, generation }: BuildId) -> Named {
    Named::new(schema, &format!("{model}_r{revision}_g{generation}"))
}

fn reshaped(group: &Group, build: BuildId) -> Fault {
    let (name, own, revision) = (group.name(), group.revision(), build.revision);
    let message = if revision == own {
        let next = revision + 1;
        format!(
            "read model `{name}` has another shape than its revision {revision} was built with: declare \
             revision {next}"
        )
    } else {
        format!("build {build} of read model `{name}` has another shape than revision {own} declares")
    };
    Fault::permanent(Code::ShapeChanged, message)
}

fn unknown(group: &Group, build: BuildId) -> Fault {
    let message = format!("read model `{}` has no build {build}", group.name());
    Fault::permanent(Code::ServiceInvalid, message)
}

/// What is said of a build without a checkpoint: its tables were removed, or it has lost it.
fn removed(place: Place, build: &Build) -> Fault {
    if build.stage.follows() {
        return place.lost();
    }
    let message = format!("build {} of read model `{}` is retired", build.id, place.group);
    Fault::permanent(Code::ModelRetired, message)
}
