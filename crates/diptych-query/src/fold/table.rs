//! The working set of one table: rows by key, facts waiting for them, and what changed.

use super::digest::{bucket_of, row_digest, short};
use super::{FoldError, FoldErrorKind, ROWS_PER_FACT_MAX};
use crate::{Projection, ReadModel, Route, RowChange, RowRef, StoredRow, TableChanges};
use diptych_core::{Fact, Position, RawFact, Tenant, Value};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One table of a fold, without its types.
pub trait TableFold: Send {
    /// Decodes and routes facts. A table that is known to be empty folds them at once.
    ///
    /// # Errors
    /// A fact that cannot be decoded or routed.
    fn plan(&mut self, facts: &[Arc<RawFact>]) -> Result<(), FoldError>;
    /// The rows still to be supplied, each named once.
    fn needs(&mut self) -> Vec<RowRef>;
    /// Hands over stored rows.
    ///
    /// # Errors
    /// A row that is not what was written.
    fn supply(&mut self, rows: Vec<StoredRow>) -> Result<(), FoldError>;
    /// Folds the planned facts; `clock` is the position that the group had reached before.
    ///
    /// # Errors
    /// A fact at which the projection failed.
    fn run(&mut self, clock: Position) -> Result<(), FoldError>;
    /// What changed since it was last asked.
    ///
    /// # Errors
    /// A row that no store can keep.
    fn changes(&mut self) -> Result<TableChanges, FoldError>;
    /// How many facts met no row and left none.
    fn no_ops(&self) -> u64;
    /// How many rows are held.
    fn rows_held(&self) -> usize;
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A table of a typed projection.
pub struct TypedTable<M: Projection> {
    fresh: bool,
    index: Map<Tenant, Map<M::Key, usize>>,
    slots: Vec<Slot<M>>,
    queue: Vec<(Fact<M::Event>, Touched<M>)>,
    wanted: Vec<RowRef>,
    changed: Vec<usize>,
    no_ops: u64,
}

/// A row in memory.
struct Slot<M: ReadModel> {
    tenant: Tenant,
    key: M::Key,
    row: Option<M>,
    guard: Position,
    /// The digest of what the store holds; none when it holds no row.
    stored: Option<u128>,
    changed: bool,
}

/// The slots a fact touches.
enum Touched<M> {
    One(usize),
    Many(Vec<usize>),
    /// With the row that each starts from where there is none.
    Starting(Vec<(usize, M)>),
}

impl<M: Projection> TypedTable<M> {
    /// An empty working set; `fresh` when the stored table is known to be empty.
    #[must_use]
    pub fn new(fresh: bool) -> Self {
        Self {
            fresh,
            index: HashMap::default(),
            slots: Vec::new(),
            queue: Vec::new(),
            wanted: Vec::new(),
            changed: Vec::new(),
            no_ops: 0,
        }
    }

    /// The slot of a key; a new one is asked of the store unless there is nothing to ask.
    fn slot(&mut self, tenant: &Tenant, key: M::Key) -> usize {
        let next = self.slots.len();
        // Looked up by reference: a key that is known, as most are, is neither cloned nor counted.
        if let Some(slot) = self.index.get(tenant).and_then(|keys| keys.get(&key)) {
            return *slot;
        }
        self.index.entry(tenant.clone()).or_default().insert(key.clone(), next);
        if !self.fresh {
            self.wanted.push(RowRef { tenant: tenant.clone(), key: M::key_values(&key) });
        }
        self.slots.push(Slot {
            tenant: tenant.clone(),
            key,
            row: None,
            guard: Position::START,
            stored: None,
            changed: false,
        });
        next
    }

    fn plan_one(&mut self, raw: &Arc<RawFact>) -> Result<(), FoldError> {
        let event = raw.decode::<M::Event>().map_err(|error| FoldError::undecodable(raw, error))?;
        let Some(event) = event else { return Ok(()) };
        let fact = Fact::new(event, Arc::clone(raw));
        let touched = match M::route(&fact) {
            Route::None => return Ok(()),
            Route::Key(key) => Touched::One(self.slot(fact.tenant(), key)),
            Route::Keys(keys) if keys.len() > ROWS_PER_FACT_MAX => {
                return Err(FoldError::at(raw, FoldErrorKind::TooManyRows { rows: keys.len() }));
            }
            Route::Keys(keys) => {
                let mut slots: Vec<_> = keys.into_iter().map(|key| self.slot(fact.tenant(), key)).collect();
                slots.sort_unstable();
                slots.dedup();
                Touched::Many(slots)
            }
            Route::Starting(rows) if rows.len() > ROWS_PER_FACT_MAX => {
                return Err(FoldError::at(raw, FoldErrorKind::TooManyRows { rows: rows.len() }));
            }
            Route::Starting(rows) => {
                let slots = rows.into_iter().map(|row| (self.slot(fact.tenant(), row.key()), row));
                let mut slots: Vec<_> = slots.collect();
                slots.sort_by_key(|(slot, _)| *slot);
                slots.dedup_by_key(|(slot, _)| *slot);
                Touched::Starting(slots)
            }
        };
        if self.fresh {
            // A table that is empty asks for no row: the fact is folded while it is at hand.
            return self.fold_touched(&fact, &touched, Position::START);
        }
        self.queue.push((fact, touched));
        Ok(())
    }

    fn fold_touched(
        &mut self,
        fact: &Fact<M::Event>,
        touched: &Touched<M>,
        clock: Position,
    ) -> Result<(), FoldError> {
        match touched {
            Touched::One(slot) => self.fold_one(*slot, None, fact, clock),
            Touched::Many(slots) => slots.iter().try_for_each(|slot| self.fold_one(*slot, None, fact, clock)),
            Touched::Starting(slots) => {
                slots.iter().try_for_each(|(slot, start)| self.fold_one(*slot, Some(start), fact, clock))
            }
        }
    }

    fn fold_one(
        &mut self,
        slot: usize,
        start: Option<&M>,
        fact: &Fact<M::Event>,
        clock: Position,
    ) -> Result<(), FoldError> {
        let Some(slot_ref) = self.slots.get_mut(slot) else {
            return Ok(());
        };
        if fact.position() <= slot_ref.guard {
            return Ok(());
        }
        let before = slot_ref.row.take();
        let existed = before.is_some();
        let after = M::project(before.or_else(|| start.cloned()), fact);
        match &after {
            None if !existed => {
                self.no_ops += 1;
                return Ok(());
            }
            Some(row) if row.key() != slot_ref.key => {
                let routed = format!("{:?}", slot_ref.key);
                let answered = format!("{:?}", row.key());
                return Err(FoldError::at(fact.raw(), FoldErrorKind::KeyChanged { routed, answered }));
            }
            _ => {}
        }
        slot_ref.row = after;
        // INVARIANT: a touched row absorbs the group's clock, not only the fact it took.
        slot_ref.guard = fact.position().max(clock);
        if !slot_ref.changed {
            slot_ref.changed = true;
            self.changed.push(slot);
        }
        Ok(())
    }
}

impl<M: ReadModel> Slot<M> {
    /// The row as it must be kept, and what that changes in the digest.
    fn take_change(&mut self, digest: &mut BTreeMap<u8, (i64, u128)>) -> Result<RowChange, FoldError> {
        let key = M::key_values(&self.key);
        let values = self.row.as_ref().map(M::to_row);
        let held = |value: &Value| matches!(value, Value::Text(text) if text.contains('\0'));
        if values.iter().flatten().any(held) {
            return Err(row_error(&key, |key| FoldErrorKind::RowUnstorable { key }));
        }
        let new = values.as_ref().map(|values| row_digest(&self.tenant, values));
        let (rows, sum) = digest.entry(bucket_of(&self.tenant, &key)).or_default();
        *rows += i64::from(new.is_some()) - i64::from(self.stored.is_some());
        *sum = sum.wrapping_add(new.unwrap_or(0)).wrapping_sub(self.stored.unwrap_or(0));
        let existed = self.stored.is_some();
        let row = RowRef { tenant: self.tenant.clone(), key };
        let stored = StoredRow { row, values, guard: self.guard, hash: short(new.unwrap_or(0)) };
        self.stored = new;
        self.changed = false;
        Ok(RowChange { stored, existed })
    }
}

/// Runs user code over facts; a panic names the fact it happened at.
fn guarded(
    facts: &dyn Fn(usize) -> Option<Arc<RawFact>>,
    run: &mut dyn FnMut(&mut usize) -> Result<(), FoldError>,
) -> Result<(), FoldError> {
    let mut cursor = 0;
    match catch_unwind(AssertUnwindSafe(|| run(&mut cursor))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let kind = FoldErrorKind::Panicked { message };
            Err(match facts(cursor) {
                Some(raw) => FoldError::at(&raw, kind),
                None => {
                    FoldError { position: Position::START, event: String::new(), stream: String::new(), kind }
                }
            })
        }
    }
}

impl<M: Projection> TableFold for TypedTable<M> {
    fn plan(&mut self, facts: &[Arc<RawFact>]) -> Result<(), FoldError> {
        let categories = <M::Event as diptych_core::EventSet>::CATEGORIES;
        guarded(&|cursor| facts.get(cursor).cloned(), &mut |cursor| {
            for (index, raw) in facts.iter().enumerate() {
                *cursor = index;
                if categories.contains(&raw.stream.stream.category.as_str()) {
                    self.plan_one(raw)?;
                }
            }
            Ok(())
        })
    }

    fn needs(&mut self) -> Vec<RowRef> {
        std::mem::take(&mut self.wanted)
    }

    fn supply(&mut self, rows: Vec<StoredRow>) -> Result<(), FoldError> {
        for stored in rows {
            let StoredRow { row: RowRef { tenant, key }, values, guard, hash } = stored;
            let unreadable = |error| row_error(&key, |key| FoldErrorKind::RowUnreadable { key, error });
            let typed = M::key_from_values(&key).map_err(unreadable)?;
            let Some(slot) = self.index.get(&tenant).and_then(|keys| keys.get(&typed)) else {
                continue;
            };
            let slot = &mut self.slots[*slot];
            slot.guard = guard;
            if let Some(values) = values {
                let digest = row_digest(&tenant, &values);
                if short(digest) != hash {
                    return Err(row_error(&key, |key| FoldErrorKind::RowEdited { key }));
                }
                slot.row = Some(M::from_row(&values).map_err(unreadable)?);
                slot.stored = Some(digest);
            }
        }
        Ok(())
    }

    fn run(&mut self, clock: Position) -> Result<(), FoldError> {
        let queue = std::mem::take(&mut self.queue);
        let raw = |cursor: usize| {
            queue.get(cursor).map(|(fact, _): &(Fact<M::Event>, Touched<M>)| Arc::new(fact.raw().clone()))
        };
        guarded(&raw, &mut |cursor| {
            for (index, (fact, touched)) in queue.iter().enumerate() {
                *cursor = index;
                self.fold_touched(fact, touched, clock)?;
            }
            Ok(())
        })
    }

    fn changes(&mut self) -> Result<TableChanges, FoldError> {
        let mut changes = TableChanges::default();
        let mut digest: BTreeMap<u8, (i64, u128)> = BTreeMap::new();
        guarded(&|_| None, &mut |_| {
            for index in std::mem::take(&mut self.changed) {
                let Some(slot) = self.slots.get_mut(index) else { continue };
                let change = slot.take_change(&mut digest)?;
                changes.rows.push(change);
            }
            Ok(())
        })?;
        changes.digest = digest.into_iter().map(|(bucket, (rows, sum))| (bucket, rows, sum)).collect();
        Ok(changes)
    }

    fn no_ops(&self) -> u64 {
        self.no_ops
    }

    fn rows_held(&self) -> usize {
        self.slots.len()
    }
}

/// An error about a row that no single fact is to blame for.
fn row_error(key: &[Value], kind: impl FnOnce(String) -> FoldErrorKind) -> FoldError {
    let key = key.iter().map(|value| value.to_json().to_string()).collect::<Vec<_>>().join(", ");
    FoldError { position: Position::START, event: String::new(), stream: String::new(), kind: kind(key) }
}
