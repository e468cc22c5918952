//! The rows of one table in memory: found by key or by an indexed column, with what they were before.

use super::chunked::Chunked;
use super::earlier::Looked;
use super::excepted::{Excepted, Exception};
use super::history::History;
use super::index::KeyIndex;
use super::near::Near;
use super::stored::AsStored;
use crate::money_guard::MoneyGuard;
use crate::{Partition, ReadModel, RowRef};
use diptych_core::{Position, Tenant, Timestamp, Value};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

mod changes;
mod lasting;

use changes::ChangeAt;
pub(super) use changes::{Buckets, Prepared, listed};

pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What a table is to a fold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableUse {
    /// Whose rows are folded; those of others are passed over.
    pub partition: Partition,
    /// The store is known to hold none of its rows: nothing is ever asked of it.
    pub fresh: bool,
    /// Later tables look rows up in it, as they stood at each fact.
    pub read: bool,
    /// Its rows stay when their changes are taken, for facts that come later.
    pub lasting: bool,
    /// When the build at hand was begun, as far as that is known: corrections that hold until then are left
    /// out.
    pub begun_at: Option<Timestamp>,
}

/// A row in memory. Small, and nothing in it twice: rows are met at random, and the fewer bytes each
/// has, the more of them stay near the processor.
pub(super) struct Slot<M: ReadModel> {
    held: Held<M>,
    /// The position up to which facts are in it; the start when it was never touched.
    pub(super) guard: Position,
    /// The number of its tenant.
    tenant: u32,
    changed: bool,
    /// Whether some facts are passed over.
    excepted: bool,
    /// Whether it was met since rows were last let go.
    met: Cell<bool>,
}

/// A row, or the key of one that is not there.
enum Held<M: ReadModel> {
    Row(M),
    Gone(M::Key),
    /// The row was moved out of a fold that is at its end.
    Moved,
}

impl<M: ReadModel> Slot<M> {
    /// The row, if there is one.
    pub(super) fn row(&self) -> Option<&M> {
        match &self.held {
            Held::Row(row) => Some(row),
            Held::Gone(_) | Held::Moved => None,
        }
    }

    /// The key.
    pub(super) fn key(&self) -> M::Key {
        match &self.held {
            Held::Row(row) => row.key(),
            Held::Gone(key) => key.clone(),
            Held::Moved => unreachable!("a fold that is at its end asks for no key"),
        }
    }

    /// The key as values.
    fn key_values(&self) -> Vec<Value> {
        M::key_values(&self.key())
    }

    /// The first column of the key: enough to tell most rows apart.
    fn first_of_key(&self) -> Option<Value> {
        match (&self.held, M::SCHEMA.key) {
            (Held::Row(row), [first, ..]) => Some(row.value_at(*first)),
            (Held::Gone(key), _) => M::key_values(key).into_iter().next(),
            (Held::Row(_), []) | (Held::Moved, _) => None,
        }
    }

    /// Whether it is the slot of a key. A row that was taken out has left its key behind.
    fn has_key(&self, key: &M::Key) -> bool {
        match &self.held {
            Held::Row(row) => row.has_key(key),
            Held::Gone(held) => held == key,
            Held::Moved => false,
        }
    }

    /// Whether a row has the key of this slot, out of which it was taken.
    pub(super) fn fits(&self, row: &M) -> bool {
        match &self.held {
            Held::Row(held) => row.has_key(&held.key()),
            Held::Gone(key) => row.has_key(key),
            Held::Moved => false,
        }
    }

    fn set(&mut self, row: Option<M>) {
        self.held = match row {
            Some(row) => Held::Row(row),
            None => Held::Gone(self.key()),
        };
    }

    /// Takes the row out and leaves its key, which is `spare` where that is at hand.
    fn take(&mut self, spare: Option<M::Key>) -> Option<M> {
        let gone = match &self.held {
            Held::Row(row) => Held::Gone(spare.unwrap_or_else(|| row.key())),
            Held::Gone(_) | Held::Moved => return None,
        };
        self.replace(gone)
    }

    /// Moves the row out for good, and no copy of its key stays.
    fn move_out(&mut self) -> Option<M> {
        self.row()?;
        self.replace(Held::Moved)
    }

    fn replace(&mut self, held: Held<M>) -> Option<M> {
        match std::mem::replace(&mut self.held, held) {
            Held::Row(row) => Some(row),
            Held::Gone(_) | Held::Moved => None,
        }
    }
}

/// The rows of one table in memory.
pub(super) struct Slots<M: ReadModel> {
    purpose: TableUse,
    pub(super) by_key: KeyIndex,
    hasher: foldhash::fast::RandomState,
    pub(super) slots: Chunked<Slot<M>>,
    tenants: Tenants,
    /// What the store holds, for the slots of which it holds a row.
    stored: Vec<Option<AsStored>>,
    /// What it holds in [`Slots::indexed`], for the slots of which that is known; empty for others.
    stored_indexed: Vec<Box<[Value]>>,
    /// The columns that secondary indexes hold.
    indexed: Vec<usize>,
    /// Where their changes are in a batch, where rows stay.
    change_at: Vec<ChangeAt>,
    /// About how many bytes the texts of its rows take.
    text_bytes: usize,
    /// Rows by what a column holds, for the columns that facts were routed by.
    columns: Vec<ColumnIndex>,
    /// The rows before each change since the last [`Slots::settle`], in a table that is read.
    history: History<M>,
    /// The rows before the run at hand, in a table whose run may have to start again.
    undo: Option<Undo<M>>,
    /// Which facts are passed over, for the slots of which some are.
    excepted: Map<usize, Excepted>,
    /// The only rows that are folded, each from a fact on, where not all are.
    only: Option<Map<Tenant, Map<M::Key, Position>>>,
    /// The slots whose rows must come from the store.
    wanted: Vec<usize>,
    changed: Vec<usize>,
    /// Those of them that were not yet taken, in the order of the table.
    ordered: std::vec::IntoIter<usize>,
    /// What money fields inside of columns may hold.
    pub(super) money: Arc<MoneyGuard>,
}

/// Tenants by number.
#[derive(Default)]
pub(super) struct Tenants {
    names: Vec<Tenant>,
    numbers: Map<Tenant, u32>,
}

impl Tenants {
    pub(super) fn known(&self, tenant: &Tenant) -> Option<u32> {
        match self.names.as_slice() {
            // Nearly always there is one.
            [only] => (only == tenant).then_some(0),
            _ => self.numbers.get(tenant).copied(),
        }
    }

    pub(super) fn name(&self, number: u32) -> &Tenant {
        &self.names[number as usize]
    }

    /// The place of each in the order of tenants, by number.
    fn places(&self) -> Vec<usize> {
        let mut numbers: Vec<_> = (0..self.names.len()).collect();
        numbers.sort_unstable_by(|a, b| self.names[*a].cmp(&self.names[*b]));
        let mut places = vec![0; numbers.len()];
        numbers.into_iter().enumerate().for_each(|(place, number)| places[number] = place);
        places
    }

    pub(super) fn number(&mut self, tenant: &Tenant) -> u32 {
        if let Some(number) = self.known(tenant) {
            return number;
        }
        let number = u32::try_from(self.names.len()).expect("there are fewer tenants than 32-bit numbers");
        self.names.push(tenant.clone());
        self.numbers.insert(tenant.clone(), number);
        number
    }
}

struct ColumnIndex {
    column: usize,
    slots: Map<u32, Map<Value, BTreeSet<usize>>>,
}

struct Undo<M> {
    rows: Map<usize, (Option<M>, Position)>,
    /// How many slots had changed before.
    changed: usize,
}

impl<M: ReadModel> Slots<M> {
    pub(super) fn new(purpose: TableUse) -> Self {
        Self {
            purpose,
            by_key: KeyIndex::default(),
            hasher: foldhash::fast::RandomState::default(),
            slots: Chunked::default(),
            tenants: Tenants::default(),
            stored: Vec::new(),
            stored_indexed: Vec::new(),
            indexed: M::SCHEMA.indexed_columns(),
            change_at: Vec::new(),
            text_bytes: 0,
            columns: Vec::new(),
            history: History::default(),
            undo: None,
            excepted: HashMap::default(),
            only: None,
            wanted: Vec::new(),
            changed: Vec::new(),
            ordered: Vec::new().into_iter(),
            money: MoneyGuard::of::<M>(),
        }
    }

    pub(super) fn is_first_partition(&self) -> bool {
        self.purpose.partition.index() == 0
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.purpose.fresh
    }

    pub(super) fn begun_at(&self) -> Option<Timestamp> {
        self.purpose.begun_at
    }

    /// The slot of a key that is in memory.
    pub(super) fn known(&self, tenant: &Tenant, key: &M::Key) -> Option<usize> {
        let (tenant, hash) = self.hash_if_known(tenant, key)?;
        self.find(hash, tenant, key)
    }

    /// Whether the rows of a key are folded here.
    pub(super) fn owns(&self, tenant: &Tenant, key: &M::Key) -> bool {
        let partition = self.purpose.partition;
        let wanted = self.only.is_none() || self.only_since(tenant, key).is_some();
        wanted && (partition.of() == 1 || partition.owns(tenant, &M::key_values(key)))
    }

    /// Folds one more row and none but those that this was said of, each from a fact on. Said before
    /// anything is planned; without a row, none is folded.
    pub(super) fn fold_only(&mut self, row: Option<(&Tenant, M::Key, Position)>) {
        let only = self.only.get_or_insert_default();
        if let Some((tenant, key, since)) = row {
            only.entry(tenant.clone()).or_default().insert(key, since);
        }
    }

    fn only_since(&self, tenant: &Tenant, key: &M::Key) -> Option<Position> {
        self.only.as_ref()?.get(tenant)?.get(key).copied()
    }

    /// Passes over some of a row's facts. Where everything is planned already, a row that is not in memory
    /// has no fact at hand.
    pub(super) fn except(&mut self, tenant: &Tenant, key: M::Key, exception: Exception, at: Position) {
        let ahead = self.purpose.fresh || self.purpose.lasting;
        let slot = if ahead { self.own(tenant, key) } else { self.known(tenant, &key) };
        if let Some(slot) = slot {
            self.except_slot(slot, exception, at);
        }
    }

    fn except_slot(&mut self, slot: usize, exception: Exception, at: Position) {
        self.slots[slot].excepted = true;
        self.excepted.entry(slot).or_default().add(exception, at);
    }

    /// Whether a row passes over a fact.
    pub(super) fn passes_over(&self, slot: usize, at: Position) -> bool {
        self.slots[slot].excepted && self.excepted.get(&slot).is_some_and(|facts| facts.passes_over(at))
    }

    /// The slot of a key, if its row is folded here.
    pub(super) fn own(&mut self, tenant: &Tenant, key: M::Key) -> Option<usize> {
        self.own_with(tenant, key, Near::default()).map(|(slot, _)| slot)
    }

    /// The same of a key about which something was found out, with the key again where the slot has one
    /// already.
    pub(super) fn own_with(
        &mut self,
        tenant: &Tenant,
        key: M::Key,
        near: Near,
    ) -> Option<(usize, Option<M::Key>)> {
        if !self.owns(tenant, &key) {
            return None;
        }
        let since = self.only_since(tenant, &key);
        let (slot, spare) = self.of_with(tenant, key, near);
        if let Some(since) = since {
            self.except_slot(slot, Exception::Before, since);
        }
        Some((slot, spare))
    }

    /// The slot of a key; a new one is asked of the store unless there is nothing to ask.
    pub(super) fn of(&mut self, tenant: &Tenant, key: M::Key) -> usize {
        self.of_with(tenant, key, Near::default()).0
    }

    fn of_with(&mut self, tenant: &Tenant, key: M::Key, near: Near) -> (usize, Option<M::Key>) {
        let (number, hash) = near.hashed.unwrap_or_else(|| {
            let number = self.tenants.number(tenant);
            (number, self.hash_of(number, &key))
        });
        // Looked up by reference: a key that is known, as most are, is not cloned. A slot that was found
        // stays; one that was not may have come since.
        match near.slot.or_else(|| self.find(hash, number, &key)) {
            Some(slot) => {
                self.slots[slot].met.set(true);
                (slot, Some(key))
            }
            None => {
                let slot = self.add_hashed(hash, number, key);
                if !self.purpose.fresh {
                    self.wanted.push(slot);
                }
                (slot, None)
            }
        }
    }

    /// Makes a slot that nobody has to ask for.
    pub(super) fn add(&mut self, tenant: &Tenant, key: M::Key) -> usize {
        let tenant = self.tenants.number(tenant);
        self.add_hashed(self.hash_of(tenant, &key), tenant, key)
    }

    fn add_hashed(&mut self, hash: u64, tenant: u32, key: M::Key) -> usize {
        let next = self.slots.len();
        self.by_key.insert(hash, next);
        self.slots.push(Slot {
            held: Held::Gone(key),
            guard: Position::START,
            tenant,
            changed: false,
            excepted: false,
            met: Cell::new(true),
        });
        next
    }

    /// The number of a tenant and the hash of a key, unless nothing of the tenant is in memory.
    pub(super) fn hash_if_known(&self, tenant: &Tenant, key: &M::Key) -> Option<(u32, u64)> {
        let tenant = self.tenants.known(tenant)?;
        Some((tenant, self.hash_of(tenant, key)))
    }

    fn hash_of(&self, tenant: u32, key: &M::Key) -> u64 {
        self.hasher.hash_one((tenant, key))
    }

    fn find(&self, hash: u64, tenant: u32, key: &M::Key) -> Option<usize> {
        self.by_key.find(hash, |slot| self.is_of(slot, tenant, key))
    }

    /// Whether a slot is that of a tenant's key.
    pub(super) fn is_of(&self, slot: usize, tenant: u32, key: &M::Key) -> bool {
        let held = &self.slots[slot];
        held.tenant == tenant && held.has_key(key)
    }

    /// Whose row a slot is.
    pub(super) fn tenant(&self, slot: usize) -> &Tenant {
        self.tenants.name(self.slots[slot].tenant)
    }

    /// The row of a slot, by its name.
    pub(super) fn row_ref(&self, slot: usize) -> RowRef {
        RowRef { tenant: self.tenant(slot).clone(), key: self.slots[slot].key_values() }
    }

    /// Sets what the store is to hold.
    pub(super) fn set_stored(&mut self, slot: usize, stored: Option<AsStored>) {
        if self.stored.len() <= slot {
            // For every slot there is: at the end of a fold they are asked for one after the other.
            self.stored.resize(self.slots.len(), None);
        }
        let before = std::mem::replace(&mut self.stored[slot], stored);
        let bytes_of = |stored: Option<AsStored>| stored.map_or(0, AsStored::bytes);
        self.text_bytes = self.text_bytes + bytes_of(stored) - bytes_of(before);
    }

    /// Puts a row of the store into its slot, once: with what is known of it, and what indexes hold of it.
    pub(super) fn fill(&mut self, slot: usize, row: Option<(M, AsStored, Box<[Value]>)>, guard: Position) {
        if self.slots[slot].guard > Position::START {
            return;
        }
        self.set_stored(slot, row.as_ref().map(|(_, stored, _)| *stored));
        let row = row.map(|(row, _, indexed)| {
            if self.stored_indexed.len() <= slot {
                self.stored_indexed.resize_with(self.slots.len(), Box::default);
            }
            self.stored_indexed[slot] = indexed;
            row
        });
        let Self { slots, columns, .. } = self;
        let held = &mut slots[slot];
        if let Some(row) = &row {
            columns.iter_mut().for_each(|index| index.insert(held.tenant, row.value_at(index.column), slot));
        }
        held.set(row);
        held.guard = guard;
    }

    /// Keeps the rows by a column from now on.
    pub(super) fn index_by(&mut self, column: usize) {
        if self.columns.iter().any(|index| index.column == column) {
            return;
        }
        let mut index = ColumnIndex { column, slots: HashMap::default() };
        index.rebuild(&self.slots);
        self.columns.push(index);
    }

    /// The slots of the rows that hold a value in a column now.
    pub(super) fn matching(&self, tenant: &Tenant, column: usize, value: &Value) -> Vec<usize> {
        let index = self.columns.iter().find(|index| index.column == column);
        let tenant = self.tenants.known(tenant);
        let found = index.and_then(|index| index.slots.get(&tenant?)?.get(value));
        found.map(|slots| slots.iter().copied().collect()).unwrap_or_default()
    }

    /// Takes the row out to be folded, remembering it if the run may have to start again. `spare` is the key
    /// of the slot, where that is at hand.
    pub(super) fn take(&mut self, slot: usize, spare: Option<M::Key>) -> (Option<M>, Taken<M>) {
        let held = &mut self.slots[slot];
        if let Some(undo) = &mut self.undo {
            undo.rows.entry(slot).or_insert_with(|| (held.row().cloned(), held.guard));
        }
        let values = held.row().map(|row| {
            let values = self.columns.iter().map(|index| row.value_at(index.column));
            values.collect()
        });
        let kept = if self.purpose.read { held.row().cloned() } else { None };
        (held.take(spare), Taken { values: values.unwrap_or_default(), kept })
    }

    /// Puts the row back as a fact has left it; `taken` is what [`Slots::take`] gave.
    pub(super) fn put(
        &mut self,
        slot: usize,
        taken: Taken<M>,
        row: Option<M>,
        at: Position,
        guard: Position,
    ) {
        let Self { purpose, slots, columns, history, changed, .. } = self;
        let held = &mut slots[slot];
        for (number, index) in columns.iter_mut().enumerate() {
            let (before, after) =
                (taken.values.get(number), row.as_ref().map(|row| row.value_at(index.column)));
            if before != after.as_ref() {
                before.into_iter().for_each(|value| index.remove(held.tenant, value, slot));
                after.into_iter().for_each(|value| index.insert(held.tenant, value, slot));
            }
        }
        if purpose.read {
            history.push(slot, at, taken.kept);
        }
        held.set(row);
        held.guard = guard;
        if !held.changed {
            held.changed = true;
            changed.push(slot);
        }
    }

    /// The row of a key as it stood at a position since the last [`Slots::settle`].
    pub(super) fn look(&self, tenant: &Tenant, key: &M::Key, at: Position) -> Looked<'_, M> {
        let tenant = M::SCHEMA.tenants.owner(tenant);
        let Some(slot) = self.known(tenant, key) else {
            if self.purpose.fresh {
                return Looked::Known(None);
            }
            return Looked::Missing(RowRef { tenant: tenant.clone(), key: M::key_values(key) });
        };
        self.slots[slot].met.set(true);
        let before = self.history.before_next(slot, at);
        Looked::Known(before.unwrap_or_else(|| self.slots[slot].row()))
    }

    /// Forgets how rows stood before.
    pub(super) fn settle(&mut self) {
        self.history.clear();
    }

    /// Begins a run that may have to start again.
    pub(super) fn begin(&mut self) {
        self.undo = Some(Undo { rows: HashMap::default(), changed: self.changed.len() });
    }

    /// Ends a run for good.
    pub(super) fn keep(&mut self) {
        self.undo = None;
    }

    /// Makes the rows what they were when the run began.
    pub(super) fn take_back(&mut self) {
        let Some(Undo { rows, changed }) = self.undo.take() else { return };
        for (slot, (row, guard)) in rows {
            let held = &mut self.slots[slot];
            held.set(row);
            held.guard = guard;
        }
        for slot in self.changed.drain(changed..) {
            self.slots[slot].changed = false;
        }
        self.history.clear();
        self.columns.iter_mut().for_each(|index| index.rebuild(&self.slots));
    }
}

/// What is remembered of a row that was taken out of its slot.
pub(super) struct Taken<M> {
    /// What it held in the indexed columns.
    values: Vec<Value>,
    /// A copy, for those who look it up as it stood.
    kept: Option<M>,
}

impl ColumnIndex {
    fn insert(&mut self, tenant: u32, value: Value, slot: usize) {
        self.slots.entry(tenant).or_default().entry(value).or_default().insert(slot);
    }

    fn remove(&mut self, tenant: u32, value: &Value, slot: usize) {
        let Some(values) = self.slots.get_mut(&tenant) else { return };
        let Some(slots) = values.get_mut(value) else { return };
        slots.remove(&slot);
        if slots.is_empty() {
            values.remove(value);
        }
    }

    fn rebuild<M: ReadModel>(&mut self, slots: &Chunked<Slot<M>>) {
        self.slots.clear();
        for (number, slot) in slots.iter().enumerate() {
            if let Some(row) = slot.row() {
                self.insert(slot.tenant, row.value_at(self.column), number);
            }
        }
    }
}
