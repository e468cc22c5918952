//! What a store's tests hand in: how to open it, stop it, crash it. Knows no store.

use crate::{Failure, Outcome};
use diptych_command::{CommandQueue, EventStore, Intake, LogRestore};
use diptych_core::{BoxFuture, CommandId, Fault, Tenant};
use diptych_memory::ManualClock;
use diptych_query::{AnyModel, Feed, Group, ModelStore, Progress, Registry};
use std::sync::Arc;

/// A store under test, with a place of its own that no other test shares.
pub trait Harness: Send + Sync + 'static {
    /// Opens the store at its place with these inline groups; what was committed there before is still there.
    fn open(&self, inline: Vec<Arc<Group>>) -> BoxFuture<'_, Result<Stores, Fault>>;

    /// Stops the store the clean way.
    fn stop(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>>;

    /// Leaves the store as a killed process does: nothing is flushed, nothing is said.
    fn crash(&self, stores: Stores) -> BoxFuture<'_, Result<(), Fault>>;

    /// The most missing facts that a command folds into an inline group before its own.
    fn inline_catch_up_events_max(&self) -> u64;

    /// How many audit rows a command has; `None` where the harness cannot look.
    fn audit_rows<'a>(
        &'a self,
        stores: &'a Stores,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Option<usize>> {
        let _ = (stores, tenant, id);
        Box::pin(async { None })
    }

    /// A model as it runs over this store. A deliberate defect of the fold is put in here.
    fn model(&self, model: Arc<dyn AnyModel>) -> Arc<dyn AnyModel> {
        model
    }
}

/// The ports of an opened store.
#[derive(Clone)]
pub struct Stores {
    /// The write side.
    pub events: Arc<dyn EventStore>,
    /// Where facts from elsewhere are taken in.
    pub intake: Arc<dyn Intake>,
    /// Where commands wait that are run later.
    pub queue: Arc<dyn CommandQueue>,
    /// The log as readers see it.
    pub feed: Arc<dyn Feed>,
    /// The way to fill an empty store.
    pub restore: Arc<dyn LogRestore>,
    /// Where rows live.
    pub models: Arc<dyn ModelStore>,
    /// What is known beside the rows.
    pub registry: Arc<dyn Registry>,
    /// How far each group has come in this process.
    pub progress: Arc<Progress>,
    /// The clock that the store reads.
    pub clock: Arc<ManualClock>,
}

/// A case of a suite.
pub type Case = for<'a> fn(&'a dyn Harness) -> BoxFuture<'a, Outcome>;

/// Runs a case and panics with its failure, as a test does.
///
/// # Panics
/// When the case fails.
#[track_caller]
pub fn passed(result: Outcome) {
    if let Err(failure) = result {
        failed(&failure);
    }
}

#[track_caller]
#[allow(clippy::panic)]
fn failed(failure: &Failure) -> ! {
    panic!("{failure}")
}
