//! States kept between commands. A hint only: what it holds may be behind the store, never ahead of it.

use crate::State;
use diptych_core::{StreamRef, Version};
use std::collections::HashMap;
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

/// Entries in a list from the one put back longest ago to the one put back last. An entry stays where it is
/// while its state is checked out, so that using a state again neither allocates nor copies a name.
#[derive(Default)]
struct Inner {
    places: HashMap<StreamRef, usize, foldhash::fast::RandomState>,
    entries: Vec<Entry>,
    oldest: Option<usize>,
    newest: Option<usize>,
}

struct Entry {
    stream: StreamRef,
    loaded: Option<Loaded>,
    older: Option<usize>,
    newer: Option<usize>,
}

impl StateCache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, inner: Mutex::default() }
    }

    /// Takes a state out; whoever comes meanwhile loads it from the store.
    pub(crate) fn check_out(&self, stream: &StreamRef) -> Option<Loaded> {
        self.lock().entry(stream)?.loaded.take()
    }

    /// Takes a state out if it stands at exactly that version.
    pub(crate) fn check_out_at(&self, stream: &StreamRef, version: Version) -> Option<Loaded> {
        let mut inner = self.lock();
        let held = &mut inner.entry(stream)?.loaded;
        held.take_if(|loaded| loaded.version == version)
    }

    /// Puts a state back, unless a newer one is there.
    pub(crate) fn put_back(&self, stream: &StreamRef, loaded: Loaded) {
        let mut inner = self.lock();
        let known = inner.places.get(stream).copied();
        let place = match known {
            Some(place) => {
                let held = &mut inner.entries[place].loaded;
                if held.as_ref().is_some_and(|held| held.version >= loaded.version) {
                    return;
                }
                *held = Some(loaded);
                inner.unlink(place);
                place
            }
            None if self.entries_max == 0 => return,
            None => inner.place(stream, loaded, self.entries_max),
        };
        inner.link_newest(place);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while holding the lock leaves at worst a missing hint.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn entry(&mut self, stream: &StreamRef) -> Option<&mut Entry> {
        let place = *self.places.get(stream)?;
        self.entries.get_mut(place)
    }

    /// Makes an entry that is not in the list yet: a new one, or that of the state put back longest ago.
    fn place(&mut self, stream: &StreamRef, loaded: Loaded, entries_max: usize) -> usize {
        let entry = Entry { stream: stream.clone(), loaded: Some(loaded), older: None, newer: None };
        let place = match self.oldest.filter(|_| self.entries.len() >= entries_max) {
            Some(oldest) => {
                self.unlink(oldest);
                let left = std::mem::replace(&mut self.entries[oldest], entry);
                self.places.remove(&left.stream);
                oldest
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.places.insert(stream.clone(), place);
        place
    }

    fn unlink(&mut self, place: usize) {
        let Entry { older, newer, .. } = &mut self.entries[place];
        let (older, newer) = (older.take(), newer.take());
        match older {
            Some(older) => self.entries[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.entries[newer].older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, place: usize) {
        let before = self.newest.replace(place);
        self.entries[place].older = before;
        match before {
            Some(before) => self.entries[before].newer = Some(place),
            None => self.oldest = Some(place),
        }
    }
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
        assert_eq!(cache.lock().entries.len(), 10);
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

    #[test]
    fn a_state_that_is_used_again_and_again_leaves_in_its_turn_all_the_same() {
        let cache = StateCache::new(3);
        for version in 1..=5 {
            cache.put_back(&stream(1), state(version));
            cache.check_out(&stream(1));
        }
        for key in 2..=4 {
            cache.put_back(&stream(key), state(1));
        }
        cache.put_back(&stream(1), state(6));
        let held = [1, 2, 3, 4].map(|key| cache.check_out(&stream(key)).map(|held| held.version));
        assert_eq!(held, [Some(Version(6)), None, Some(Version(1)), Some(Version(1))]);
        assert_eq!(cache.lock().places.len(), 3);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let cache = StateCache::new(0);
        cache.put_back(&stream(1), state(1));
        assert!(cache.check_out(&stream(1)).is_none());
    }
}
