//! States kept between commands, up to so many bytes. A hint only: what it holds may be behind the store,
//! never ahead of it.

use crate::{AnyDecider, State};
use diptych_core::{RawFact, StreamRef, Version};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A state with the version it stands at.
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) version: Version,
    /// The version of the stream's row, as far as it is known and of the code's shape.
    pub(crate) row: Version,
    pub(crate) weight: Weight,
}

/// How many bytes a state takes, about. Measuring reads all of it, so that it is measured again only once the
/// events folded since could have doubled it; until then their bytes are added.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weight {
    measured: usize,
    grown: usize,
}

impl Weight {
    /// Of a state whose text is at hand.
    pub(crate) fn of(state: &State, text: &str) -> Self {
        Self { measured: size_of_val(&**state) + text.len(), grown: 0 }
    }

    fn bytes(self) -> usize {
        self.measured.saturating_add(self.grown)
    }
}

impl Loaded {
    /// The state before any event.
    pub(crate) fn initial(decider: &dyn AnyDecider) -> Self {
        let (version, row) = (Version::NONE, Version::NONE);
        Self { state: decider.initial(), version, row, weight: Weight::default() }
    }

    /// The same, heavier by these events.
    pub(crate) fn grown(mut self, events: &[Arc<RawFact>]) -> Self {
        let bytes = events.iter().map(|event| event.payload.len()).sum();
        self.weight.grown = self.weight.grown.saturating_add(bytes);
        self
    }

    /// Measures the state if it may be much heavier than when it was last measured.
    pub(crate) fn weigh(&mut self, decider: &dyn AnyDecider) {
        if self.weight.measured == 0 || self.weight.grown > self.weight.measured {
            self.weight = Weight { measured: decider.weigh(&self.state), grown: 0 };
        }
    }
}

/// States up to `bytes_max` bytes, the one put back longest ago leaving first. A state is checked out while
/// it is used, so that it needs no clone.
pub(crate) struct StateCache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

/// Entries in a list from the one put back longest ago to the one put back last. An entry stays where it is
/// while its state is checked out, so that using a state again neither allocates nor copies a name.
#[derive(Default)]
struct Inner {
    places: HashMap<StreamRef, usize, foldhash::fast::RandomState>,
    entries: Vec<Entry>,
    /// Places without an entry.
    vacant: Vec<usize>,
    oldest: Option<usize>,
    newest: Option<usize>,
    /// What all entries weigh, with the states that are not checked out.
    bytes: usize,
}

struct Entry {
    /// None in a vacant place.
    stream: Option<StreamRef>,
    loaded: Option<Loaded>,
    older: Option<usize>,
    newer: Option<usize>,
}

impl StateCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    /// Takes a state out; whoever comes meanwhile loads it from the store.
    pub(crate) fn check_out(&self, stream: &StreamRef) -> Option<Loaded> {
        self.lock().take_if(stream, |_| true)
    }

    /// Takes a state out if it stands at exactly that version.
    pub(crate) fn check_out_at(&self, stream: &StreamRef, version: Version) -> Option<Loaded> {
        self.lock().take_if(stream, |loaded| loaded.version == version)
    }

    /// Puts a state back, unless a newer one is there, or it is heavier than all that may be kept.
    pub(crate) fn put_back(&self, stream: &StreamRef, loaded: Loaded) {
        let mut inner = self.lock();
        let known = inner.places.get(stream).copied();
        let held = known.and_then(|place| inner.entries[place].loaded.as_ref());
        if held.is_some_and(|held| held.version >= loaded.version) {
            return;
        }
        if name_bytes(stream).saturating_add(loaded.weight.bytes()) > self.bytes_max {
            known.into_iter().for_each(|place| inner.remove(place));
            return;
        }
        let place = match known {
            Some(place) => {
                inner.unlink(place);
                place
            }
            None => inner.place(stream),
        };
        inner.bytes += loaded.weight.bytes();
        let before = inner.entries[place].loaded.replace(loaded);
        inner.bytes -= before.map_or(0, |before| before.weight.bytes());
        inner.link_newest(place);
        // The newest fits by itself, so that it is never reached.
        while inner.bytes > self.bytes_max
            && let Some(oldest) = inner.oldest
        {
            inner.remove(oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while holding the lock leaves at worst a missing hint.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a stream takes beside its state: its entry, its place, and its name in both.
fn name_bytes(stream: &StreamRef) -> usize {
    let StreamRef { tenant, stream } = stream;
    let names = tenant.as_str().len() + stream.category.as_str().len() + stream.key.as_str().len();
    size_of::<Entry>() + size_of::<(StreamRef, usize)>() + names
}

impl Inner {
    fn take_if(&mut self, stream: &StreamRef, wanted: impl FnOnce(&Loaded) -> bool) -> Option<Loaded> {
        let place = *self.places.get(stream)?;
        let taken = self.entries[place].loaded.take_if(|loaded| wanted(loaded))?;
        self.bytes -= taken.weight.bytes();
        Some(taken)
    }

    /// Makes an entry that holds no state and is not in the list yet.
    fn place(&mut self, stream: &StreamRef) -> usize {
        let entry = Entry { stream: Some(stream.clone()), loaded: None, older: None, newer: None };
        let place = match self.vacant.pop() {
            Some(place) => {
                self.entries[place] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.bytes += name_bytes(stream);
        self.places.insert(stream.clone(), place);
        place
    }

    /// Forgets an entry with what it holds.
    fn remove(&mut self, place: usize) {
        self.unlink(place);
        let entry = &mut self.entries[place];
        let state = entry.loaded.take().map_or(0, |loaded| loaded.weight.bytes());
        self.bytes -= state;
        if let Some(stream) = entry.stream.take() {
            self.bytes -= name_bytes(&stream);
            self.places.remove(&stream);
        }
        self.vacant.push(place);
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

    fn heavy(version: u64, bytes: usize) -> Loaded {
        let weight = Weight { measured: bytes, grown: 0 };
        Loaded { state: Box::new(()), version: Version(version), row: Version::NONE, weight }
    }

    fn state(version: u64) -> Loaded {
        heavy(version, 100)
    }

    /// Room for so many of these states.
    fn room_for(states: usize) -> StateCache {
        StateCache::new(states * (name_bytes(&stream(1)) + 100))
    }

    fn held(cache: &StateCache, key: usize) -> Option<Version> {
        cache.check_out(&stream(key)).map(|held| held.version)
    }

    /// What is counted must be what is there.
    fn count(cache: &StateCache) {
        let inner = cache.lock();
        let all = inner.entries.iter().filter(|entry| entry.stream.is_some());
        let bytes = all.map(|entry| {
            let state = entry.loaded.as_ref().map_or(0, |loaded| loaded.weight.bytes());
            name_bytes(entry.stream.as_ref().unwrap()) + state
        });
        assert_eq!(inner.bytes, bytes.sum::<usize>());
        assert_eq!(inner.places.len() + inner.vacant.len(), inner.entries.len());
        assert!(inner.bytes <= cache.bytes_max);
    }

    #[test]
    fn every_state_in_use_stays_as_long_as_all_of_them_fit() {
        let cache = room_for(10);
        for version in 1..=100 {
            for key in 0..10 {
                let found = held(&cache, key);
                assert_eq!(found, (version > 1).then(|| Version(version - 1)), "stream {key}");
                cache.put_back(&stream(key), state(version));
                count(&cache);
            }
        }
        assert_eq!(cache.lock().entries.len(), 10);
    }

    #[test]
    fn the_state_put_back_longest_ago_leaves_first() {
        let cache = room_for(2);
        for (key, version) in [(1, 1), (2, 1), (1, 2), (3, 1)] {
            cache.put_back(&stream(key), state(version));
            count(&cache);
        }
        assert_eq!([1, 2, 3].map(|key| held(&cache, key)), [Some(Version(2)), None, Some(Version(1))]);
    }

    #[test]
    fn a_heavy_state_takes_the_place_of_several() {
        let cache = room_for(4);
        (1..=4).for_each(|key| cache.put_back(&stream(key), state(1)));
        cache.put_back(&stream(5), heavy(1, 300));
        count(&cache);
        let found = [1, 2, 3, 4, 5].map(|key| held(&cache, key).is_some());
        assert_eq!(found, [false, false, true, true, true]);
    }

    #[test]
    fn a_state_heavier_than_everything_is_not_kept() {
        let cache = room_for(2);
        cache.put_back(&stream(1), state(1));
        cache.put_back(&stream(2), state(1));
        cache.put_back(&stream(2), heavy(2, 10_000));
        count(&cache);
        assert_eq!([1, 2].map(|key| held(&cache, key)), [Some(Version(1)), None]);
        cache.put_back(&stream(3), heavy(1, usize::MAX));
        count(&cache);
        assert_eq!(held(&cache, 3), None);
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = room_for(2);
        cache.put_back(&stream(1), state(2));
        cache.put_back(&stream(1), state(1));
        count(&cache);
        assert_eq!(held(&cache, 1), Some(Version(2)));
    }

    #[test]
    fn a_state_that_is_used_again_and_again_leaves_in_its_turn_all_the_same() {
        let cache = room_for(3);
        for version in 1..=5 {
            cache.put_back(&stream(1), state(version));
            cache.check_out(&stream(1));
        }
        for key in 2..=4 {
            cache.put_back(&stream(key), state(1));
        }
        cache.put_back(&stream(1), state(6));
        count(&cache);
        let found = [1, 2, 3, 4].map(|key| held(&cache, key));
        assert_eq!(found, [Some(Version(6)), None, Some(Version(1)), Some(Version(1))]);
        assert_eq!(cache.lock().places.len(), 3);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let cache = StateCache::new(0);
        cache.put_back(&stream(1), state(1));
        assert!(cache.check_out(&stream(1)).is_none());
    }
}
