//! Keys that are held back: which there are, folding them again in order, and passing over one fact.

use crate::trouble::TroubleError;
use crate::{Projector, RowName};
use diptych_core::{Actor, Position, Timestamp};
use diptych_query::{Order, Parked};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which parked keys are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keys {
    /// All of a group.
    All,
    /// One.
    One(RowName),
}

/// What folding parked keys again would take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryPlan {
    /// The keys, with the fact that each waits at.
    pub keys: Vec<Parked>,
    /// How many positions of the log would be read.
    pub positions: u64,
    /// About how long that takes.
    pub about: Duration,
}

/// What folding parked keys again has come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retried {
    /// The keys that are held back no longer.
    pub healed: Vec<Parked>,
    /// Those that still are, with the fact that each waits at now, and why.
    pub parked: Vec<Parked>,
}

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

impl Projector {
    /// The keys of a group that are held back, in order of position.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn parked(&self, name: &str) -> Result<Vec<Parked>, TroubleError> {
        todo!()
    }

    /// The facts that rows of a group have been told to pass over.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn skipped(&self, name: &str) -> Result<Vec<Skip>, TroubleError> {
        todo!()
    }

    /// What [`Projector::retry_parked`] would do.
    ///
    /// # Errors
    /// An unknown name, a key that is not parked, or a fault.
    pub async fn plan_retry(&self, name: &str, keys: &Keys) -> Result<RetryPlan, TroubleError> {
        todo!()
    }

    /// Folds parked keys again, in order, from the fact that each waits at up to where the model stands. One
    /// that fails again stays parked, at the fact that it fails at now.
    ///
    /// # Errors
    /// An unknown name, a key that is not parked, a model that moves on too fast, or a fault.
    pub async fn retry_parked(&self, name: &str, keys: &Keys) -> Result<Retried, TroubleError> {
        todo!()
    }

    /// Has a parked row pass over the fact that it waits at, now and in every later build, and folds it again.
    ///
    /// # Errors
    /// As [`Projector::retry_parked`].
    pub async fn skip_parked(
        &self,
        name: &str,
        row: &RowName,
        order: &Order,
    ) -> Result<(Skip, Retried), TroubleError> {
        todo!()
    }
}
