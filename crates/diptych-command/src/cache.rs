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

/// At most `entries_max` states, the one put back longest ago leaving first. A state is checked out while it
/// is used, so that it needs no clone.
pub(crate) struct StateCache {
    entries_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    states: HashMap<StreamRef, Held>,
    /// Every put, oldest first. Those of states that were taken out or put back since count for nothing.
    order: VecDeque<(StreamRef, u64)>,
    puts: u64,
}

struct Held {
    loaded: Loaded,
    put: u64,
}

impl StateCache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, inner: Mutex::default() }
    }

    /// Takes a state out; whoever comes meanwhile loads it from the store.
    pub(crate) fn check_out(&self, stream: &StreamRef) -> Option<Loaded> {
        self.lock().states.remove(stream).map(|held| held.loaded)
    }

    /// Takes a state out if it stands at exactly that version.
    pub(crate) fn check_out_at(&self, stream: &StreamRef, version: Version) -> Option<Loaded> {
        let mut inner = self.lock();
        let fits = inner.states.get(stream).is_some_and(|held| held.loaded.version == version);
        fits.then(|| inner.states.remove(stream)).flatten().map(|held| held.loaded)
    }

    /// Puts a state back, unless a newer one is there.
    pub(crate) fn put_back(&self, stream: &StreamRef, loaded: Loaded) {
        let mut inner = self.lock();
        let Inner { states, order, puts } = &mut *inner;
        if states.get(stream).is_some_and(|held| held.loaded.version >= loaded.version) {
            return;
        }
        *puts += 1;
        states.insert(stream.clone(), Held { loaded, put: *puts });
        order.push_back((stream.clone(), *puts));
        while states.len() > self.entries_max {
            let Some((oldest, put)) = order.pop_front() else {
                break;
            };
            if is_current(states, &oldest, put) {
                states.remove(&oldest);
            }
        }
        if order.len() > 2 * self.entries_max.max(8) {
            order.retain(|(stream, put)| is_current(states, stream, *put));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while holding the lock leaves at worst a missing hint.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a put is the latest of its stream, and the state is still there.
fn is_current(states: &HashMap<StreamRef, Held>, stream: &StreamRef, put: u64) -> bool {
    states.get(stream).is_some_and(|held| held.put == put)
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{StreamId, Tenant};

    fn stream(key: usize) -> StreamRef {
        let tenant = Tenant::new("main").unwrap();
        StreamRef { tenant, stream: StreamId::new("order", key.to_string()).unwrap() }
    }

    fn state(version: u64) -> Loaded {
        Loaded { state: Box::new(()), version: Version(version) }
    }

    #[test]
    fn every_state_in_use_stays_as_long_as_all_of_them_fit() {
        let cache = StateCache::new(10);
        for version in 1..=100 {
            for key in 0..10 {
                let found = cache.check_out(&stream(key)).map(|held| held.version);
                assert_eq!(found, (version > 1).then(|| Version(version - 1)), "stream {key}");
                cache.put_back(&stream(key), state(version));
            }
        }
        assert!(cache.lock().order.len() <= 20);
    }

    #[test]
    fn the_state_put_back_longest_ago_leaves_first() {
        let cache = StateCache::new(2);
        for (key, version) in [(1, 1), (2, 1), (1, 2), (3, 1)] {
            cache.put_back(&stream(key), state(version));
        }
        let held = [1, 2, 3].map(|key| cache.check_out(&stream(key)).map(|held| held.version));
        assert_eq!(held, [Some(Version(2)), None, Some(Version(1))]);
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = StateCache::new(2);
        cache.put_back(&stream(1), state(2));
        cache.put_back(&stream(1), state(1));
        assert_eq!(cache.check_out(&stream(1)).map(|held| held.version), Some(Version(2)));
    }
}
