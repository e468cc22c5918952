//! Bringing rows near the processor before they are used. A row that is met at random is waited for three
//! times: for its place in the index, for its slot, and for its key. Each of these is looked at for several
//! rows before the next is, so that their memory is waited for together. A slot that is found on the way is
//! held against its key, and is not looked for again.

use super::slots::Slots;
use crate::ReadModel;
use diptych_core::{Tenant, Value};
use std::hint::black_box;

/// How many rows are brought near at once: more would drive each other away again.
pub(super) const ROWS_AT_ONCE: usize = 16;

/// What is found out about a key while its row is brought near, so that it need not be looked for again.
#[derive(Clone, Copy, Default)]
pub(super) struct Near {
    /// The number of its tenant and its hash, unless nothing of the tenant is in memory.
    pub(super) hashed: Option<(u32, u64)>,
    /// Its slot, if it has one.
    pub(super) slot: Option<usize>,
}

/// Brings the texts among some values near, be it of several rows: each lies elsewhere.
pub fn approach_texts<'v>(values: impl Iterator<Item = &'v Value>) {
    let first = |value: &Value| match value {
        Value::Text(text) | Value::Json(text) => text.as_bytes().first().copied(),
        _ => None,
    };
    black_box(values.filter_map(first).fold(0, |seen, byte| seen ^ byte));
}

impl<M: ReadModel> Slots<M> {
    /// Brings the rows of some keys near, and says of each what is found; of none where there is no key.
    pub(super) fn approach_keys<'k>(
        &self,
        keys: impl Iterator<Item = Option<(&'k Tenant, &'k M::Key)>> + Clone,
        near: &mut Vec<Near>,
    ) where
        M::Key: 'k,
    {
        let hashed = |(tenant, key)| self.hash_if_known(tenant, key);
        near.clear();
        near.extend(keys.clone().map(|named| Near { hashed: named.and_then(hashed), slot: None }));
        // In each of these loops no read waits for another one, and little else is done.
        let hashes = || near.iter().filter_map(|near| near.hashed);
        let mut seen = hashes().fold(0, |seen, (_, hash)| seen ^ self.by_key.touch(hash));
        for near in near.iter_mut() {
            near.slot = near.hashed.and_then(|(_, hash)| self.by_key.find(hash, |_| true));
        }
        let slots = near.iter().filter_map(|near| near.slot);
        seen ^= slots.fold(0, |seen, slot| seen ^ self.touch(slot));
        for (named, near) in keys.zip(near) {
            let Some(((_, key), (tenant, _))) = named.zip(near.hashed) else { continue };
            near.slot = near.slot.filter(|slot| self.is_of(*slot, tenant, key));
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
