//! Slots by the hash of their key. Small, so that it stays next to the processor when the rows do not: eight
//! bytes for a key, which itself lies in its slot and nowhere else. Slots are added and never removed.

/// Where slots are, found by hash. What is found must be compared with what was meant.
#[derive(Default)]
pub(super) struct KeyIndex {
    /// A power of two of places, or none at all.
    places: Vec<Place>,
    used: usize,
}

/// A place that is free or holds a slot.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The upper half of the hash, which also says where to begin to look.
    tag: u32,
    /// The slot's number and one; 0 where the place is free.
    slot: u32,
}

/// How many places there are at first.
const PLACES_MIN: usize = 16;

impl KeyIndex {
    /// The slot of a hash for which `is` holds.
    pub(super) fn find(&self, hash: u64, is: impl Fn(usize) -> bool) -> Option<usize> {
        let last = self.places.len().checked_sub(1)?;
        let tag = tag_of(hash);
        let mut at = tag as usize & last;
        // INVARIANT: at least a quarter of the places is free, so the search ends.
        loop {
            let place = self.places[at];
            if place.slot == 0 {
                return None;
            }
            if place.tag == tag && is(place.slot as usize - 1) {
                return Some(place.slot as usize - 1);
            }
            at = (at + 1) & last;
        }
    }

    /// Something of the place where the search for a hash begins, so that it is near when it is searched for.
    pub(super) fn touch(&self, hash: u64) -> u64 {
        let last = self.places.len().checked_sub(1);
        last.map_or(0, |last| u64::from(self.places[tag_of(hash) as usize & last].tag))
    }

    /// Adds a slot that was not found.
    pub(super) fn insert(&mut self, hash: u64, slot: usize) {
        if (self.used + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        self.used += 1;
        let slot = u32::try_from(slot + 1).expect("a fold holds fewer rows than there are 32-bit numbers");
        place(&mut self.places, Place { tag: tag_of(hash), slot });
    }

    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(PLACES_MIN);
        let before = std::mem::replace(&mut self.places, vec![Place::default(); count]);
        before.into_iter().filter(|held| held.slot != 0).for_each(|held| place(&mut self.places, held));
    }
}

fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn place(places: &mut [Place], held: Place) {
    let last = places.len() - 1;
    let mut at = held.tag as usize & last;
    while places[at].slot != 0 {
        at = (at + 1) & last;
    }
    places[at] = held;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of which many share their tag, and all begin near each other.
    fn hash(number: usize) -> u64 {
        ((number as u64 / 3) << 32) | number as u64
    }

    #[test]
    fn every_slot_is_found_however_many_share_a_hash() {
        let mut index = KeyIndex::default();
        assert_eq!(index.find(hash(0), |_| true), None);
        for number in 0..5_000 {
            assert_eq!(index.find(hash(number), |slot| slot == number), None);
            index.insert(hash(number), number);
        }
        for number in 0..5_000 {
            assert_eq!(index.find(hash(number), |slot| slot == number), Some(number));
        }
        assert_eq!(index.find(hash(9_000), |_| true), None);
    }
}
