//! Bringing rows near the processor before they are used. A row that is met at random is waited for three
//! times: for its place in the index, for its slot, and for its key. Each of these is looked at for several
//! rows before the next is, so that their memory is waited for together. Nothing here decides anything.

use super::slots::Slots;
use crate::ReadModel;
use diptych_core::Tenant;
use std::hint::black_box;

/// How many rows are brought near at once: more would drive each other away again.
pub(super) const ROWS_AT_ONCE: usize = 16;

impl<M: ReadModel> Slots<M> {
    /// Brings the rows of some keys near.
    pub(super) fn approach_keys<'k>(&self, keys: impl Iterator<Item = (&'k Tenant, &'k M::Key)>)
    where
        M::Key: 'k,
    {
        let mut near = Vec::with_capacity(ROWS_AT_ONCE);
        // In each of these loops no read waits for another one.
        let mut seen = 0;
        for (tenant, key) in keys {
            if let Some(hash) = self.hash_if_known(tenant, key) {
                seen ^= self.by_key.touch(hash);
                near.push((key, hash, usize::MAX));
            }
        }
        for (_, hash, slot) in &mut near {
            *slot = self.by_key.find(*hash, |_| true).unwrap_or(usize::MAX);
            seen ^= self.touch(*slot);
        }
        for (key, _, slot) in near {
            seen ^= u64::from(self.slots.get(slot).is_some_and(|slot| slot.has_key(key)));
        }
        black_box(seen);
    }

    /// Brings slots near.
    pub(super) fn approach(&self, slots: &[usize]) {
        black_box(slots.iter().fold(0, |seen, slot| seen ^ self.touch(*slot)));
    }

    fn touch(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(0, |slot| slot.guard.0)
    }
}
