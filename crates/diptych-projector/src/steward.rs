//! Looks after builds: notices what was switched, drives rebuilds that no other process drives, keeps old builds
//! ready for a rollback and lets them go in time.

use crate::follower::FollowerParts;
use crate::rebuild::{Rebuild, RebuildError, Records};
use diptych_core::{Fault, Timestamp};
use diptych_query::{Group, Progress, Registry, WorkerId};
use std::sync::Arc;
use tokio::sync::Notify;

/// Who looks after builds in this process.
#[derive(Clone)]
pub struct Steward {
    parts: Arc<StewardParts>,
}

/// What a steward needs.
pub(crate) struct StewardParts {
    pub(crate) worker: WorkerId,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) follower: FollowerParts,
    pub(crate) progress: Arc<Progress>,
    pub(crate) groups: Vec<Arc<Group>>,
    /// Has the keeper look at once.
    pub(crate) keeper: Arc<Notify>,
    /// Has the steward look at once.
    pub(crate) nudge: Notify,
}

/// What a step of the steward did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tended {
    /// Something moved, and more may be waiting.
    Moved,
    /// Nothing is to be done before something happens.
    AtRest,
}

impl Steward {
    pub(crate) fn new(parts: StewardParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Looks once and does one slice of what is to be done, without waiting for anything.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn step(&self) -> Result<Tended, Fault> {
        self.learn().await?;
        Ok(Tended::AtRest)
    }

    /// Looks which builds there are, so that this process follows what another has switched.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn learn(&self) -> Result<(), Fault> {
        self.parts.registry.refresh().await
    }

    pub(crate) async fn see_to(&self, asked: &Rebuild) -> Result<Rebuild, RebuildError> {
        self.step().await?;
        Ok(asked.clone())
    }

    pub(crate) fn newest(&self, rebuild: Rebuild) -> Rebuild {
        rebuild
    }

    pub(crate) fn registry(&self) -> &Arc<dyn Registry> {
        &self.parts.registry
    }

    pub(crate) fn records(&self) -> Records {
        Records::new(Arc::clone(&self.parts.registry))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.follower.clock.now()
    }

    pub(crate) fn nudge(&self) {
        self.parts.nudge.notify_one();
    }
}
