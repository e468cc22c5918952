//! Rows that stay when their changes were taken.

use super::{Slot, Slots};
use crate::fold::stored::AsStored;
use crate::{ReadModel, RowRef};
use diptych_core::Value;

impl<M: ReadModel> Slots<M> {
    /// Whether rows stay when their changes are taken.
    pub(in crate::fold) fn is_lasting(&self) -> bool {
        self.purpose.lasting
    }

    /// The rows to be asked of the store.
    pub(in crate::fold) fn take_wanted(&mut self) -> Vec<RowRef> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted.into_iter().map(|slot| self.row_ref(slot)).collect()
    }

    /// Takes what indexes hold out of a row's values.
    pub(in crate::fold) fn indexed_of(&self, values: &mut [Value]) -> Box<[Value]> {
        self.indexed.iter().map(|column| std::mem::replace(&mut values[*column], Value::Null)).collect()
    }

    /// About how many bytes the rows take.
    pub(in crate::fold) fn bytes(&self) -> usize {
        let indexed = size_of::<Box<[Value]>>() + self.indexed.len() * size_of::<Value>();
        self.slots.len() * (size_of::<Slot<M>>() + size_of::<AsStored>() + indexed) + self.text_bytes
    }

    /// Lets the rows go that were not met since this was last asked.
    pub(in crate::fold) fn let_go(&mut self) {
        self.retain(|slot| slot.met.replace(false));
    }

    /// Lets all rows go.
    pub(in crate::fold) fn empty(&mut self) {
        self.retain(|_| false);
    }

    /// Keeps some rows, and those that pass something over.
    fn retain(&mut self, stays: impl Fn(&Slot<M>) -> bool) {
        debug_assert!(self.changed.is_empty() && self.ordered.len() == 0, "all changes are taken");
        let (slots, stored) = (std::mem::take(&mut self.slots), std::mem::take(&mut self.stored));
        let mut indexed = std::mem::take(&mut self.stored_indexed).into_iter();
        let mut excepted = std::mem::take(&mut self.excepted);
        let mut stored = stored.into_iter();
        // No row that stays has a change in the batch that begins.
        self.change_at.clear();
        (self.by_key, self.text_bytes) = (Default::default(), 0);
        for (number, slot) in slots.into_iter().enumerate() {
            let (stored, indexed) = (stored.next().flatten(), indexed.next().unwrap_or_default());
            if !stays(&slot) && !slot.excepted {
                continue;
            }
            let place = self.slots.len();
            self.by_key.insert(self.hash_of(slot.tenant, &slot.key()), place);
            if let Some(facts) = excepted.remove(&number) {
                self.excepted.insert(place, facts);
            }
            self.slots.push(slot);
            self.stored.push(stored);
            self.stored_indexed.push(indexed);
            self.text_bytes += stored.map_or(0, AsStored::bytes);
        }
        self.columns.iter_mut().for_each(|index| index.rebuild(&self.slots));
    }
}
