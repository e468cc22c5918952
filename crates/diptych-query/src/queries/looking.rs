//! Hearing that a model has moved: from whoever moves it in this process, or else from one look after the
//! other at the store, made for all who wait for the same build together. Decides nothing about answers.

use super::{Queries, Reading, Served};
use crate::{BuildId, Group, Health, ModelStore, ProgressEntry, QueryError, Stopped};
use diptych_core::{Position, Principal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What the last look at a build found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Seen {
    position: Position,
    stopped: Option<Stopped>,
}

/// The looks under way, by the build that they are at; none is the own one.
///
/// INVARIANT: a look is here as long as anybody waits for it, and nobody can begin to wait for one that ends:
/// it leaves under the lock, after it has counted those who wait.
#[derive(Default)]
pub(super) struct Looks(Mutex<BTreeMap<Option<BuildId>, watch::Sender<Seen>>>);

impl Looks {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Option<BuildId>, watch::Sender<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moves of one build, as somebody who waits hears them.
pub struct Moves {
    store: Arc<dyn ModelStore>,
    group: Arc<Group>,
    entry: Arc<ProgressEntry>,
    looks: Arc<Looks>,
    pause: Duration,
    is_own: bool,
    progress: watch::Receiver<Position>,
    look: Option<watch::Receiver<Seen>>,
}

impl Queries {
    /// The moves of a read model from now on, for whoever follows what it answers.
    ///
    /// # Errors
    /// [`QueryError::UnknownModel`], or [`QueryError::Forbidden`] where the principal may not ask it.
    pub fn watch(&self, principal: &Principal, model: &str) -> Result<Moves, QueryError> {
        let served = self.known(principal, model)?;
        Ok(self.moves(served, &served.reading(None)))
    }

    /// The head of the log from now on, as this process hears of it.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Position> {
        self.feed.watch()
    }

    /// The moves of the build that a question is answered from.
    pub(super) fn moves(&self, served: &Served, reading: &Reading) -> Moves {
        Moves {
            store: Arc::clone(&self.store),
            group: Arc::clone(&reading.group),
            entry: Arc::clone(&served.entry),
            looks: Arc::clone(&served.looks),
            pause: self.limits.foreign_poll,
            is_own: reading.is_own,
            progress: served.entry.watch(),
            look: None,
        }
    }
}

impl Moves {
    /// Returns when something has changed since the last time: the position, or how the model is doing.
    pub async fn changed(&mut self) {
        if self.is_own && self.entry.is_followed() {
            self.look = None;
            // The sender lives as long as the entry does.
            let _ = self.progress.changed().await;
            return;
        }
        if self.look.is_none() {
            self.look = Some(self.join());
        }
        let Some(look) = &mut self.look else { return };
        tokio::select! {
            _ = look.changed() => {}
            _ = self.progress.changed() => {}
        }
    }

    /// Waits until everything up to a position is in the rows, or the model will not move on by itself.
    pub(super) async fn reach(&mut self, target: Position) {
        while !self.is_over(target) {
            self.changed().await;
        }
    }

    fn is_over(&mut self, target: Position) -> bool {
        let moved_here = *self.progress.borrow_and_update();
        if let Some(look) = &mut self.look {
            let seen = look.borrow_and_update();
            if seen.position >= target || seen.stopped.is_some() {
                return true;
            }
        }
        let health = self.entry.troubles().health();
        let is_suspended = matches!(health, Some(Health::Suspended { .. }));
        is_suspended || (self.is_own && (moved_here >= target || self.entry.health().is_stalled()))
    }

    /// Joins the look at the build, which the first one begins.
    fn join(&self) -> watch::Receiver<Seen> {
        let build = self.group.build();
        let mut open = self.looks.open();
        if let Some(look) = open.get(&build) {
            return look.subscribe();
        }
        let (look, joined) = watch::channel(Seen::default());
        open.insert(build, look.clone());
        let Self { store, group, entry, looks, pause, is_own, .. } = self;
        let looking = Looking {
            store: Arc::clone(store),
            group: Arc::clone(group),
            entry: is_own.then(|| Arc::clone(entry)),
            looks: Arc::clone(looks),
            pause: *pause,
            look,
        };
        tokio::spawn(looking.run());
        joined
    }
}

/// One look after the other at a build.
struct Looking {
    store: Arc<dyn ModelStore>,
    group: Arc<Group>,
    /// Where it is told, too, if it is the build that this process's code moves.
    entry: Option<Arc<ProgressEntry>>,
    looks: Arc<Looks>,
    pause: Duration,
    look: watch::Sender<Seen>,
}

impl Looking {
    /// Looks until nobody waits any more.
    async fn run(self) {
        loop {
            // A look that fails is made again: those who wait ask the store themselves when their time is up.
            if let Ok(checkpoint) = self.store.checkpoint(&self.group).await {
                let position = checkpoint.mark.position();
                // What was written down about a fact that is in the rows by now no longer holds.
                let stopped = checkpoint.stopped.filter(|stopped| stopped.position > position);
                if let Some(entry) = &self.entry {
                    entry.advance(position);
                }
                let found = Seen { position, stopped };
                self.look.send_if_modified(|seen| {
                    let changed = *seen != found;
                    *seen = found;
                    changed
                });
            }
            tokio::select! {
                () = self.look.closed() => {
                    let mut open = self.looks.open();
                    if self.look.receiver_count() == 0 {
                        open.remove(&self.group.build());
                        return;
                    }
                }
                () = tokio::time::sleep(self.pause) => {}
            }
        }
    }
}
