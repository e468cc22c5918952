//! What becomes of rows: each as it must be kept, and what that changes in indexes and digest.

use super::Slots;
use crate::fold::digest::{bucket_of, short};
use crate::fold::near::{ROWS_AT_ONCE, approach_texts};
use crate::fold::stored::AsStored;
use crate::fold::table::row_error;
use crate::fold::{FoldError, FoldErrorKind};
use crate::money_guard::NotMoney;
use crate::order::{beginning_of, sort_by_beginning};
use crate::{Changed, ReadModel, RowChange, RowRef, StoredRow, TableChanges, sort_in_table_order};
use diptych_core::Value;
use std::collections::BTreeMap;

/// What changes in the buckets of a digest: rows, and the sum of their digests.
pub(in crate::fold) type Buckets = BTreeMap<u8, (i64, u128)>;

/// The buckets one after the other.
pub(in crate::fold) fn listed(buckets: Buckets) -> Vec<(u8, i64, u128)> {
    buckets.into_iter().map(|(bucket, (rows, sum))| (bucket, rows, sum)).collect()
}

/// Where the change of a row is among those of a batch.
#[derive(Clone, Copy, Default)]
pub(super) struct ChangeAt {
    batch: u32,
    number: u32,
}

/// The changes of a batch, each made as soon as the facts at hand are folded, while its row is still near the
/// processor.
pub(in crate::fold) struct Prepared {
    /// The number of the batch; no row has a change in batch 0.
    batch: u32,
    changes: Vec<RowChange>,
    digest: Buckets,
}

impl Default for Prepared {
    fn default() -> Self {
        Self { batch: 1, changes: Vec::new(), digest: Buckets::new() }
    }
}

impl Prepared {
    /// Hands out a batch, in the order of the table.
    pub(in crate::fold) fn take(&mut self) -> TableChanges {
        let changes = std::mem::take(&mut self.changes);
        let named = changes.iter().enumerate().map(|(number, change)| (&change.stored.row, number)).collect();
        let order: Vec<_> =
            sort_in_table_order(named, |(row, _)| row).into_iter().map(|(_, at)| at).collect();
        let mut changes: Vec<_> = changes.into_iter().map(Some).collect();
        let rows = order.into_iter().filter_map(|at| changes[at].take()).collect();
        self.batch = self.batch.checked_add(1).unwrap_or(1);
        TableChanges { rows, digest: listed(std::mem::take(&mut self.digest)), facts: Vec::new() }
    }
}

impl<M: ReadModel> Slots<M> {
    /// The slots that changed since this was last asked, in the order of the table, at most so many.
    pub(in crate::fold) fn take_changed(&mut self, rows_max: usize) -> Vec<usize> {
        if self.ordered.len() == 0 {
            let (tenants, changed) = (self.tenants.places(), std::mem::take(&mut self.changed));
            let begun = changed.into_iter().map(|slot| {
                let held = &mut self.slots[slot];
                held.changed = false;
                let beginning = held.first_of_key().as_ref().map_or(0, beginning_of);
                ((tenants[held.tenant as usize], beginning), slot)
            });
            let begun = begun.collect();
            self.ordered = sort_by_beginning(begun, |slot| self.row_ref(slot)).into_iter();
        }
        self.ordered.by_ref().take(rows_max).collect()
    }

    /// What becomes of slots. Where a fold is at its end, rows are moved out, and nothing is remembered.
    pub(in crate::fold) fn take_changes(
        &mut self,
        slots: &[usize],
        at_end: bool,
        into: &mut TableChanges,
        digest: &mut Buckets,
    ) -> Result<(), FoldError> {
        for slots in slots.chunks(ROWS_AT_ONCE) {
            self.approach(slots);
            // Taken together as well: their texts are elsewhere again.
            let rows: Vec<_> = slots.iter().map(|slot| self.values(*slot, at_end)).collect();
            approach_texts(rows.iter().flatten().flatten());
            for (slot, values) in slots.iter().zip(rows) {
                let row = self.named(*slot, values.as_deref());
                let (change, new) = self.take_change(*slot, row, values, digest)?;
                if !at_end {
                    self.set_stored(*slot, new);
                }
                into.rows.push(change);
            }
        }
        Ok(())
    }

    fn values(&mut self, slot: usize, at_end: bool) -> Option<Vec<Value>> {
        let held = &mut self.slots[slot];
        if at_end { held.move_out().map(M::into_row) } else { held.row().map(M::to_row) }
    }

    /// A row by its name, which its values tell where it has any.
    fn named(&self, slot: usize, values: Option<&[Value]>) -> RowRef {
        match values {
            None => self.row_ref(slot),
            Some(values) => {
                let key = M::SCHEMA.key.iter().map(|column| values[*column].clone()).collect();
                RowRef { tenant: self.tenant(slot).clone(), key }
            }
        }
    }

    /// Adds what has changed since this was last asked to the changes of a batch.
    pub(in crate::fold) fn prepare(&mut self, into: &mut Prepared) -> Result<(), FoldError> {
        self.change_at.resize(self.slots.len(), ChangeAt::default());
        for slot in std::mem::take(&mut self.changed) {
            self.slots[slot].changed = false;
            let before = Some(self.change_at[slot]).filter(|at| at.batch == into.batch);
            match before.and_then(|at| into.changes.get_mut(at.number as usize)) {
                Some(before) => {
                    let values = self.values(slot, false);
                    let row = before.stored.row.clone();
                    let (change, new) = self.take_change(slot, row, values, &mut into.digest)?;
                    self.set_stored(slot, new);
                    let changed = before.changed.and(change.changed);
                    *before = RowChange { stored: change.stored, existed: before.existed, changed };
                }
                None => {
                    let number = u32::try_from(into.changes.len()).unwrap_or(u32::MAX);
                    self.change_at[slot] = ChangeAt { batch: into.batch, number };
                    let values = self.values(slot, false);
                    let row = self.named(slot, values.as_deref());
                    let (change, new) = self.take_change(slot, row, values, &mut into.digest)?;
                    self.set_stored(slot, new);
                    into.changes.push(change);
                }
            }
        }
        Ok(())
    }

    /// A row as it must be kept, what is then known of it, and what that changes in the digest.
    fn take_change(
        &mut self,
        slot: usize,
        row: RowRef,
        values: Option<Vec<Value>>,
        digest: &mut Buckets,
    ) -> Result<(RowChange, Option<AsStored>), FoldError> {
        let old = self.stored.get(slot).copied().flatten();
        let RowRef { tenant, key } = &row;
        let guard = self.slots[slot].guard;
        let has_nul = |value: &Value| matches!(value, Value::Text(text) if text.contains('\0'));
        if values.iter().flatten().any(has_nul) {
            // The last fact that it took has made it so, or one before it that is found when less is
            // folded.
            let error = row_error::<M>(&row, |key| FoldErrorKind::RowUnstorable { key });
            return Err(FoldError { position: guard, ..error });
        }
        if let Some(Err(NotMoney { field, reason })) = values.as_ref().map(|values| self.money.check(values))
        {
            let model = M::SCHEMA.name;
            let error = row_error::<M>(&row, |_| FoldErrorKind::MoneyRefused { model, field, reason });
            return Err(FoldError { position: guard, ..error });
        }
        let bucket = old.map_or_else(|| bucket_of(tenant, key), |old| old.bucket);
        let new = values.as_ref().map(|values| AsStored::of(tenant, values, bucket));
        let changed = self.take_index_changes(slot, values.as_deref());
        let (rows, sum) = digest.entry(bucket).or_default();
        *rows += i64::from(new.is_some()) - i64::from(old.is_some());
        let digest_of = |stored: Option<AsStored>| stored.map_or(0, |stored| stored.digest);
        *sum = sum.wrapping_add(digest_of(new)).wrapping_sub(digest_of(old));
        let stored = StoredRow { row, values, guard, hash: short(digest_of(new)) };
        Ok((RowChange { stored, existed: old.is_some(), changed }, new))
    }

    /// Which of [`Slots::indexed`] differ from what the store holds; it is then to hold these.
    pub(in crate::fold) fn take_index_changes(&mut self, slot: usize, values: Option<&[Value]>) -> Changed {
        let Self { stored_indexed, indexed, purpose, slots, .. } = self;
        if indexed.is_empty() {
            return Changed::of(std::iter::empty());
        }
        if stored_indexed.len() <= slot {
            if !purpose.lasting {
                return Changed::ALL;
            }
            stored_indexed.resize_with(slots.len(), Box::default);
        }
        let held = &mut stored_indexed[slot];
        let Some(values) = values else {
            *held = Box::default();
            return Changed::ALL;
        };
        if held.len() == indexed.len() {
            let pairs = indexed.iter().zip(held.iter_mut());
            return Changed::of(pairs.map(|(column, held)| {
                let differs = values[*column] != *held;
                if differs {
                    held.clone_from(&values[*column]);
                }
                differs
            }));
        }
        if purpose.lasting {
            *held = indexed.iter().map(|column| values[*column].clone()).collect();
        }
        Changed::ALL
    }
}
