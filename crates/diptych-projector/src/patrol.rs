//! The patrol: compares rows with their hashes, digests with rows, and rows with the log, a bounded slice at a
//! time, for as long as the service runs.

use crate::{Incident, Projector};
use diptych_core::{Fault, Position, Timestamp};
use serde::{Deserialize, Serialize};

/// How far the patrol of a group has come.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PatrolState {
    /// The group.
    pub group: String,
    /// Up to which position all rows were compared with the log by the last whole pass.
    pub verified_up_to: Option<Position>,
    /// When that pass ended.
    pub verified_at: Option<Timestamp>,
    /// How many rows it compared.
    pub verified_rows: u64,
    /// How many passes have ended.
    pub passes: u64,
    /// What part of the pass at hand is done, in percent.
    pub percent: u8,
    /// How much older the rows are than the contract of the model allows, as it was last seen.
    pub stale: Option<Stale>,
}

/// Rows that are older than their contract allows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stale {
    /// The read model.
    pub model: String,
    /// How old its rows are.
    pub lag_seconds: f64,
    /// How old they may be.
    pub within_seconds: f64,
    /// When that was seen.
    pub at: Timestamp,
}

/// What one slice of a patrol did.
#[derive(Clone, PartialEq, Debug)]
pub enum Patrolled {
    /// No group is due, or others patrol those that are.
    Nothing,
    /// A slice of a group, with what was found.
    Slice {
        /// The group.
        group: String,
        /// What was found, new or known.
        found: Vec<Incident>,
        /// Whether a whole pass over the group ended.
        pass_ended: bool,
    },
}

/// The patrol of a process over its groups.
pub struct Patrol {}

impl Patrol {
    /// Does one bounded slice.
    ///
    /// # Errors
    /// A fault, or a fact that cannot be folded.
    pub async fn step(&mut self) -> Result<Patrolled, crate::TroubleError> {
        todo!()
    }
}

impl Projector {
    /// A patrol over the groups of this process. [`Projector::start`] has one of its own.
    #[must_use]
    pub fn patrol(&self) -> Patrol {
        todo!()
    }

    /// A whole pass over one group, now and without a pause.
    ///
    /// # Errors
    /// An unknown name, a fact that cannot be folded, or a fault.
    pub async fn patrol_now(&self, name: &str) -> Result<(PatrolState, Vec<Incident>), crate::TroubleError> {
        todo!()
    }

    /// How far patrols have come, by group.
    ///
    /// # Errors
    /// A fault.
    pub async fn patrols(&self) -> Result<Vec<PatrolState>, Fault> {
        todo!()
    }
}
