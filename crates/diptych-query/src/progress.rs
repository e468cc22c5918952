//! How far each group has come and how it is doing, inside this process: what waiting answers listen to.

use crate::{Group, Health, Stopped};
use diptych_core::Position;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// One entry for each group. The hinge writes, the right panel listens.
#[derive(Default)]
pub struct Progress {
    entries: Mutex<BTreeMap<String, Arc<ProgressEntry>>>,
}

/// What is known of one group.
pub struct ProgressEntry {
    position: watch::Sender<Position>,
    health: Mutex<Health>,
    followed: AtomicBool,
    no_ops: Mutex<BTreeMap<&'static str, u64>>,
}

/// Where an inline group stands in the transaction at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// At the head: it folds with every command.
    Live,
    /// Too far behind: a worker brings it nearer.
    Behind,
    /// At a fact it cannot take.
    Stopped(Stopped),
}

impl Progress {
    /// The entry of a group, made when it is first asked for.
    #[must_use]
    pub fn entry(&self, group: &str) -> Arc<ProgressEntry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(group) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(ProgressEntry::default());
        entries.insert(group.to_owned(), Arc::clone(&entry));
        entry
    }
}

impl Default for ProgressEntry {
    fn default() -> Self {
        Self {
            position: watch::Sender::new(Position::START),
            health: Mutex::default(),
            followed: AtomicBool::new(false),
            no_ops: Mutex::default(),
        }
    }
}

impl ProgressEntry {
    /// Notes that everything up to a position is in the rows; never goes back, but by
    /// [`ProgressEntry::reset`].
    pub fn advance(&self, position: Position) {
        self.position.send_if_modified(|held| {
            let moved = position > *held;
            *held = position.max(*held);
            moved
        });
    }

    /// Notes that the rows start over.
    pub fn reset(&self) {
        self.position.send_replace(Position::START);
    }

    /// Wakes whenever the position moves.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// How the group is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the group is doing, and wakes whoever waits, so that nobody waits for a stopped model.
    pub fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
        self.position.send_modify(|_| ());
    }

    /// Notes where an inline group stands, when that is not what was `told` before. One that was live from
    /// the beginning is not worth telling.
    pub fn tell(&self, told: &mut Option<Standing>, standing: &Standing) {
        if told.as_ref() == Some(standing) {
            return;
        }
        match standing {
            Standing::Live if told.is_none() => {}
            Standing::Live => self.set_health(Health::Live),
            Standing::Behind => self.set_health(Health::CatchingUp),
            Standing::Stopped(Stopped { position, reason }) => {
                let (position, reason) = (*position, reason.clone());
                self.set_health(Health::Stopped { position, reason });
            }
        }
        *told = Some(standing.clone());
    }

    /// Whether a worker or a writer of this process moves the group. Otherwise waiting asks the store.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// Notes that this process moves the group, or does not.
    pub fn set_followed(&self, followed: bool) {
        self.followed.store(followed, Ordering::Relaxed);
    }

    /// How many facts met no row of a model and left none, in this process.
    #[must_use]
    pub fn no_ops(&self, model: &str) -> u64 {
        let counts = self.no_ops.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(model).copied().unwrap_or(0)
    }

    /// Adds to the counts of facts that met no row and left none, table by table.
    pub fn count_no_ops(&self, group: &Group, more: &[u64]) {
        let mut counts = self.no_ops.lock().unwrap_or_else(PoisonError::into_inner);
        for (model, more) in group.models().iter().zip(more).filter(|(_, more)| **more > 0) {
            *counts.entry(model.schema().name).or_default() += more;
        }
    }
}
