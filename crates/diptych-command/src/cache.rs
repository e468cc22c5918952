//! States kept between commands. A hint only: what it holds may be behind the store, never ahead of it.

use crate::State;
use diptych_core::{StreamRef, Version};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// A state with the version it stands at.
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) version: Version,
}

/// At most `entries_max` states, the oldest put back leaving first. A state is checked out while it is used,
/// so that it needs no clone.
pub(crate) struct StateCache {
    entries_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    states: HashMap<StreamRef, Loaded>,
    order: VecDeque<StreamRef>,
}

impl StateCache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, inner: Mutex::default() }
    }

    /// Takes a state out; whoever comes meanwhile loads it from the store.
    pub(crate) fn check_out(&self, stream: &StreamRef) -> Option<Loaded> {
        self.lock().states.remove(stream)
    }

    /// Takes a state out if it stands at exactly that version.
    pub(crate) fn check_out_at(&self, stream: &StreamRef, version: Version) -> Option<Loaded> {
        let mut inner = self.lock();
        let fits = inner.states.get(stream).is_some_and(|held| held.version == version);
        fits.then(|| inner.states.remove(stream)).flatten()
    }

    /// Puts a state back, unless a newer one is there.
    pub(crate) fn put_back(&self, stream: &StreamRef, loaded: Loaded) {
        let mut inner = self.lock();
        if inner.states.get(stream).is_some_and(|held| held.version >= loaded.version) {
            return;
        }
        if inner.states.insert(stream.clone(), loaded).is_none() {
            inner.order.push_back(stream.clone());
        }
        while inner.states.len() > self.entries_max || inner.order.len() > 2 * self.entries_max.max(8) {
            let Some(oldest) = inner.order.pop_front() else {
                break;
            };
            inner.states.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while holding the lock leaves at worst a missing hint.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
