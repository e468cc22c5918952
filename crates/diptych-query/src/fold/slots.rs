//! The rows of one table in memory: found by key or by an indexed column, with what they were before.

use super::earlier::Looked;
use crate::{Partition, ReadModel, RowRef};
use diptych_core::{Position, Tenant, Value};
use std::collections::{BTreeSet, HashMap};

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
}

/// A row in memory.
pub(super) struct Slot<M: ReadModel> {
    pub(super) tenant: Tenant,
    pub(super) key: M::Key,
    pub(super) row: Option<M>,
    /// The position up to which facts are in it; the start when it was never touched.
    pub(super) guard: Position,
    /// The digest of what the store holds; none when it holds no row.
    pub(super) stored: Option<u128>,
    pub(super) changed: bool,
}

/// The rows of one table in memory.
pub(super) struct Slots<M: ReadModel> {
    purpose: TableUse,
    by_key: Map<Tenant, Map<M::Key, usize>>,
    pub(super) slots: Vec<Slot<M>>,
    /// Rows by what a column holds, for the columns that facts were routed by.
    columns: Vec<ColumnIndex>,
    /// The rows before each change since the last [`Slots::settle`], oldest first, in a table that is read.
    history: Map<usize, History<M>>,
    /// The rows before the run at hand, in a table whose run may have to start again.
    undo: Option<Undo<M>>,
    wanted: Vec<RowRef>,
    changed: Vec<usize>,
}

/// The row before each change, with the position of the change, oldest first.
type History<M> = Vec<(Position, Option<Box<M>>)>;

struct ColumnIndex {
    column: usize,
    slots: Map<Tenant, Map<Value, BTreeSet<usize>>>,
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
            by_key: HashMap::default(),
            slots: Vec::new(),
            columns: Vec::new(),
            history: HashMap::default(),
            undo: None,
            wanted: Vec::new(),
            changed: Vec::new(),
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.purpose.fresh
    }

    /// The slot of a key that is in memory.
    pub(super) fn known(&self, tenant: &Tenant, key: &M::Key) -> Option<usize> {
        self.by_key.get(tenant).and_then(|keys| keys.get(key)).copied()
    }

    /// Whether the rows of a key are folded here.
    pub(super) fn owns(&self, tenant: &Tenant, key: &M::Key) -> bool {
        let partition = self.purpose.partition;
        partition.of() == 1 || partition.owns(tenant, &M::key_values(key))
    }

    /// The slot of a key, if its row is folded here.
    pub(super) fn own(&mut self, tenant: &Tenant, key: M::Key) -> Option<usize> {
        if self.owns(tenant, &key) { Some(self.of(tenant, key)) } else { None }
    }

    /// The slot of a key; a new one is asked of the store unless there is nothing to ask.
    pub(super) fn of(&mut self, tenant: &Tenant, key: M::Key) -> usize {
        // Looked up by reference: a key that is known, as most are, is neither cloned nor counted.
        match self.known(tenant, &key) {
            Some(slot) => slot,
            None => {
                if !self.purpose.fresh {
                    self.wanted.push(RowRef { tenant: tenant.clone(), key: M::key_values(&key) });
                }
                self.add(tenant, key)
            }
        }
    }

    /// Makes a slot that nobody has to ask for.
    pub(super) fn add(&mut self, tenant: &Tenant, key: M::Key) -> usize {
        let next = self.slots.len();
        self.by_key.entry(tenant.clone()).or_default().insert(key.clone(), next);
        let tenant = tenant.clone();
        let guard = Position::START;
        self.slots.push(Slot { tenant, key, row: None, guard, stored: None, changed: false });
        next
    }

    pub(super) fn take_wanted(&mut self) -> Vec<RowRef> {
        std::mem::take(&mut self.wanted)
    }

    /// Puts a stored row into its slot, once.
    pub(super) fn fill(&mut self, slot: usize, row: Option<M>, guard: Position, stored: Option<u128>) {
        let Self { slots, columns, .. } = self;
        let held = &mut slots[slot];
        if held.guard > Position::START {
            return;
        }
        if let Some(row) = &row {
            columns.iter_mut().for_each(|index| index.insert(&held.tenant, row.value_at(index.column), slot));
        }
        (held.row, held.guard, held.stored) = (row, guard, stored);
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
        let found = index.and_then(|index| index.slots.get(tenant)?.get(value));
        found.map(|slots| slots.iter().copied().collect()).unwrap_or_default()
    }

    /// Takes the row out to be folded, remembering it if the run may have to start again.
    pub(super) fn take(&mut self, slot: usize) -> (Option<M>, Taken<M>) {
        let held = &mut self.slots[slot];
        if let Some(undo) = &mut self.undo {
            undo.rows.entry(slot).or_insert_with(|| (held.row.clone(), held.guard));
        }
        let values = held.row.as_ref().map(|row| {
            let values = self.columns.iter().map(|index| row.value_at(index.column));
            values.collect()
        });
        let kept = if self.purpose.read { held.row.clone().map(Box::new) } else { None };
        (held.row.take(), Taken { values: values.unwrap_or_default(), kept })
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
                before.into_iter().for_each(|value| index.remove(&held.tenant, value, slot));
                after.into_iter().for_each(|value| index.insert(&held.tenant, value, slot));
            }
        }
        if purpose.read {
            history.entry(slot).or_default().push((at, taken.kept));
        }
        held.row = row;
        held.guard = guard;
        if !held.changed {
            held.changed = true;
            changed.push(slot);
        }
    }

    /// The row of a key as it stood at a position since the last [`Slots::settle`].
    pub(super) fn look(&self, tenant: &Tenant, key: &M::Key, at: Position) -> Looked<'_, M> {
        let Some(slot) = self.known(tenant, key) else {
            if self.purpose.fresh {
                return Looked::Known(None);
            }
            return Looked::Missing(RowRef { tenant: tenant.clone(), key: M::key_values(key) });
        };
        // Facts come in the order of their positions, so the changes of a row do too.
        let later = self
            .history
            .get(&slot)
            .and_then(|changes| changes.get(changes.partition_point(|(since, _)| *since <= at)));
        Looked::Known(match later {
            Some((_, before)) => before.as_deref(),
            None => self.slots[slot].row.as_ref(),
        })
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
            (held.row, held.guard) = (row, guard);
        }
        for slot in self.changed.drain(changed..) {
            self.slots[slot].changed = false;
        }
        self.history.clear();
        self.columns.iter_mut().for_each(|index| index.rebuild(&self.slots));
    }

    /// The slots that changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.changed)
    }
}

/// What is remembered of a row that was taken out of its slot.
pub(super) struct Taken<M> {
    /// What it held in the indexed columns.
    values: Vec<Value>,
    /// A copy, for those who look it up as it stood.
    kept: Option<Box<M>>,
}

impl ColumnIndex {
    fn insert(&mut self, tenant: &Tenant, value: Value, slot: usize) {
        let values = match self.slots.get_mut(tenant) {
            Some(values) => values,
            None => self.slots.entry(tenant.clone()).or_default(),
        };
        values.entry(value).or_default().insert(slot);
    }

    fn remove(&mut self, tenant: &Tenant, value: &Value, slot: usize) {
        let Some(values) = self.slots.get_mut(tenant) else { return };
        let Some(slots) = values.get_mut(value) else { return };
        slots.remove(&slot);
        if slots.is_empty() {
            values.remove(value);
        }
    }

    fn rebuild<M: ReadModel>(&mut self, slots: &[Slot<M>]) {
        self.slots.clear();
        for (number, slot) in slots.iter().enumerate() {
            if let Some(row) = &slot.row {
                self.insert(&slot.tenant, row.value_at(self.column), number);
            }
        }
    }
}
