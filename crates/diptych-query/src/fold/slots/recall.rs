//! Rows that come from the fold before or from the store, and those that are handed to the fold after.

use super::{Held, Slots};
use crate::fold::kept::{KeptRow, KeptRows};
use crate::{Changed, ReadModel, RowRef};
use diptych_core::Value;

impl<M: ReadModel> Slots<M> {
    /// Which of [`Slots::indexed`] differ from what the store holds, which is not known afterwards.
    pub(in crate::fold) fn take_index_changes(&mut self, slot: usize, values: Option<&[Value]>) -> Changed {
        let held = self.stored_indexed.get_mut(slot).map(std::mem::take).unwrap_or_default();
        match values {
            Some(values) if held.len() == self.indexed.len() => {
                let pairs = self.indexed.iter().zip(&held);
                Changed::of(pairs.map(|(column, held)| values.get(*column) != Some(held)))
            }
            _ => Changed::ALL,
        }
    }

    /// Recalls rows from the fold before.
    pub(in crate::fold) fn recall(&mut self, kept: Box<KeptRows<M>>) {
        self.kept = Some(kept);
    }

    /// Hands out what the store holds now. The slots are of no further use.
    pub(in crate::fold) fn hand_out(&mut self) -> Option<Box<KeptRows<M>>> {
        if self.purpose.fresh {
            return None;
        }
        debug_assert!(self.changed.is_empty() && self.ordered.len() == 0, "all changes are taken");
        let mut kept = self.kept.take().unwrap_or_default();
        let mut indexed = std::mem::take(&mut self.stored_indexed).into_iter();
        let stored = std::mem::take(&mut self.stored).into_iter().chain(std::iter::repeat(None));
        for (slot, stored) in std::mem::take(&mut self.slots).into_iter().zip(stored) {
            let (tenant, guard) = (self.tenants.name(slot.tenant), slot.guard);
            let indexed = indexed.next().unwrap_or_default();
            match (slot.held, stored) {
                (Held::Row(row), Some(stored)) => {
                    kept.put(tenant, KeptRow { row, guard, stored, indexed });
                }
                (Held::Row(row), None) => drop(kept.take(tenant, &row.key())),
                (Held::Gone(key), _) => drop(kept.take(tenant, &key)),
            }
        }
        kept.settle();
        Some(kept)
    }

    /// The rows to be asked of the store: all that are wanted and not kept.
    pub(in crate::fold) fn take_wanted(&mut self) -> Vec<RowRef> {
        let wanted = std::mem::take(&mut self.wanted).into_iter();
        let missing: Vec<_> = wanted.filter(|slot| !self.fill_from_kept(*slot)).collect();
        missing.into_iter().map(|slot| self.row_ref(slot)).collect()
    }

    fn fill_from_kept(&mut self, slot: usize) -> bool {
        let (Some(kept), held) = (&mut self.kept, &self.slots[slot]) else { return false };
        let Held::Gone(key) = &held.held else { return true };
        let Some(found) = kept.take(self.tenants.name(held.tenant), key) else { return false };
        let KeptRow { row, guard, stored, mut indexed } = found;
        if indexed.is_empty() {
            indexed = self.indexed.iter().map(|column| row.value_at(*column)).collect();
        }
        self.fill(slot, Some((row, stored, indexed)), guard);
        true
    }

    /// Takes what indexes hold out of a row's values.
    pub(in crate::fold) fn indexed_of(&self, values: &mut [Value]) -> Box<[Value]> {
        self.indexed.iter().map(|column| std::mem::replace(&mut values[*column], Value::Null)).collect()
    }
}
