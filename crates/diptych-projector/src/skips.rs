//! Facts that rows have been told to pass over, and keys that are held back: what every fold of a group
//! is told beside its facts.

use crate::RowName;
use crate::incident::{from_record, to_json};
use diptych_core::{Actor, Code, Fault, Position, Timestamp};
use diptych_query::{Fold, Group, ModelStore, Registry, RowRef};
use serde::{Deserialize, Serialize};

/// The kind of record that says what rows pass over, by the name of their group.
const SKIP: &str = "skip";

/// How often a change is tried against others that change the same at the same time.
const CHANGE_ATTEMPTS_MAX: usize = 8;

/// A fact that a row has been told to pass over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skip {
    /// The row.
    #[serde(flatten)]
    pub row: RowName,
    /// The fact.
    pub position: Position,
    /// Its type.
    pub event: String,
    /// Who ordered it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// What rows of a group have been told to pass over, oldest first.
pub(crate) async fn skipped(registry: &dyn Registry, group: &str) -> Result<Vec<Skip>, Fault> {
    let record = registry.record(SKIP, group).await?;
    record.map_or(Ok(Vec::new()), |record| from_record(&record))
}

/// Has a row pass over a fact from now on.
pub(crate) async fn add(registry: &dyn Registry, group: &str, skip: &Skip) -> Result<(), Fault> {
    for _ in 0..CHANGE_ATTEMPTS_MAX {
        let record = registry.record(SKIP, group).await?;
        let (seen, mut skips): (u64, Vec<Skip>) = match &record {
            Some(record) => (record.version, from_record(record)?),
            None => (0, Vec::new()),
        };
        if skips.iter().any(|held| held.row == skip.row && held.position == skip.position) {
            return Ok(());
        }
        skips.push(skip.clone());
        if registry.write_record(SKIP, group, seen, &to_json(&skips)?).await?.is_some() {
            return Ok(());
        }
    }
    let message = format!("others change what rows of `{group}` pass over; try again");
    Err(Fault::transient(Code::Overloaded, message))
}

/// What a fold of a group is told beside its facts.
#[derive(Clone, Default)]
pub(crate) struct Exceptions {
    /// By table: rows that are held back, each from a fact on.
    held: Vec<Vec<(RowRef, Position)>>,
    /// By table: rows that pass over a fact.
    skipped: Vec<Vec<(RowRef, Position)>>,
}

impl Exceptions {
    /// What holds for a group now.
    pub(crate) async fn of(
        store: &dyn ModelStore,
        registry: &dyn Registry,
        group: &Group,
    ) -> Result<Self, Fault> {
        let mut exceptions = Self::of_skips(registry, group).await?;
        for parked in store.parked(group).await? {
            let table = group.models().iter().position(|model| model.schema().name == parked.model);
            if let Some(table) = table {
                exceptions.held[table].push((parked.row, parked.position));
            }
        }
        Ok(exceptions)
    }

    /// What rows of a group pass over; held back is none.
    pub(crate) async fn of_skips(registry: &dyn Registry, group: &Group) -> Result<Self, Fault> {
        let none = vec![Vec::new(); group.models().len()];
        let mut exceptions = Self { held: none.clone(), skipped: none };
        for skip in skipped(registry, group.name()).await? {
            // One of a row that the model cannot have any more says nothing.
            if let Some((table, row)) = skip.row.resolve(group) {
                exceptions.skipped[table].push((row, skip.position));
            }
        }
        Ok(exceptions)
    }

    /// Whether rows pass over the same.
    pub(crate) fn skips_as(&self, other: &Self) -> bool {
        self.skipped == other.skipped
    }

    /// Whether any key is held back.
    pub(crate) fn holds(&self) -> bool {
        self.held.iter().any(|rows| !rows.is_empty())
    }

    /// From which fact on a row is held back, if it is.
    pub(crate) fn held_from(&self, table: usize, row: &RowRef) -> Option<Position> {
        let own = self.held.get(table).into_iter().flatten().find(|(held, _)| held == row);
        own.map(|(_, from)| *from)
    }

    /// Tells a fold of a group without rows, before anything is planned.
    pub(crate) fn tell(&self, fold: &mut Fold) {
        for (table, held) in self.held.iter().enumerate().filter(|(_, held)| !held.is_empty()) {
            fold.hold(table, held.clone());
        }
        self.tell_skips(fold);
    }

    /// Tells any fold, once everything is planned, what rows pass over. What is held back its store
    /// knows best: a key may be mended meanwhile.
    pub(crate) fn tell_skips(&self, fold: &mut Fold) {
        for (table, skipped) in self.skipped.iter().enumerate().filter(|(_, skipped)| !skipped.is_empty()) {
            fold.skip(table, skipped.clone());
        }
    }

    /// Tells the fold of one row, whose being held back is over, what the row passes over.
    pub(crate) fn tell_of(&self, fold: &mut Fold, table: usize, row: &RowRef) {
        let own = self.skipped.get(table).into_iter().flatten().filter(|(skipped, _)| skipped == row);
        fold.skip(table, own.cloned().collect());
    }
}
