//! Rows as a store holds them, kept from one fold to the next, so that the store need not be asked for them
//! again. Whether they are still what the store holds, only the store can say: nothing here looks.

use super::slots::Map;
use crate::ReadModel;
use diptych_core::{Position, Tenant};
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;

/// The rows that a fold has left in the tables of one group, for the fold that follows it.
pub struct Kept(Vec<Option<Box<dyn KeptTable>>>);

impl Kept {
    /// What tables have kept, as far as it has room in `bytes_max`: when half of it is full, the rows that
    /// were not met since the last time are let go.
    pub(super) fn of(mut tables: Vec<Option<Box<dyn KeptTable>>>, bytes_max: usize) -> Self {
        let bytes: usize = tables.iter().flatten().map(|table| table.young_bytes()).sum();
        if bytes > bytes_max / 2 {
            tables.iter_mut().flatten().for_each(|table| table.turn());
        }
        Self(tables)
    }

    pub(super) fn into_tables(self) -> Vec<Option<Box<dyn KeptTable>>> {
        self.0
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Kept({} tables)", self.0.len())
    }
}

/// The kept rows of one table, without their type.
pub trait KeptTable: Any + Send {
    /// About how many bytes the rows take that were met since the last turn.
    fn young_bytes(&self) -> usize;
    /// Lets the rows go that were not met since the last turn.
    fn turn(&mut self);
    /// The typed rows.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// What is known of a row in the store.
#[derive(Clone, Copy)]
pub(super) struct AsStored {
    pub(super) digest: u128,
    /// The length of its canonical form, which tells about how much memory it takes.
    bytes: NonZeroU32,
}

impl AsStored {
    pub(super) fn new(digest: u128, canonical_bytes: usize) -> Self {
        let bytes = u32::try_from(canonical_bytes).unwrap_or(u32::MAX);
        Self { digest, bytes: NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MIN) }
    }
}

/// A row as the store holds it.
pub(super) struct KeptRow<M> {
    pub(super) row: M,
    pub(super) guard: Position,
    pub(super) stored: AsStored,
}

/// The rows of one table, in two generations: those met since the last turn, and those met before it.
pub(super) struct KeptRows<M: ReadModel> {
    young: Generation<M>,
    old: Generation<M>,
}

struct Generation<M: ReadModel> {
    rows: Map<Tenant, Map<M::Key, KeptRow<M>>>,
    bytes: usize,
}

impl<M: ReadModel> Default for Generation<M> {
    fn default() -> Self {
        Self { rows: Map::default(), bytes: 0 }
    }
}

impl<M: ReadModel> Default for KeptRows<M> {
    fn default() -> Self {
        Self { young: Generation::default(), old: Generation::default() }
    }
}

impl<M: ReadModel> KeptRows<M> {
    /// Takes a row out. Nothing where it is not kept, which does not mean that there is none.
    pub(super) fn take(&mut self, tenant: &Tenant, key: &M::Key) -> Option<KeptRow<M>> {
        // INVARIANT: a row is in one generation at most, or else the older one would be met later.
        self.young.take(tenant, key).or_else(|| self.old.take(tenant, key))
    }

    /// A row that stays where it is.
    pub(super) fn get(&self, tenant: &Tenant, key: &M::Key) -> Option<&M> {
        let generations = [&self.young, &self.old];
        generations.into_iter().find_map(|rows| Some(&rows.rows.get(tenant)?.get(key)?.row))
    }

    /// Keeps a row that was taken out, or never was here.
    pub(super) fn put(&mut self, tenant: &Tenant, row: KeptRow<M>) {
        let key = row.row.key();
        self.old.take(tenant, &key);
        self.young.put(tenant, key, row);
    }
}

impl<M: ReadModel> Generation<M> {
    fn take(&mut self, tenant: &Tenant, key: &M::Key) -> Option<KeptRow<M>> {
        let row = self.rows.get_mut(tenant)?.remove(key)?;
        self.bytes -= bytes_of(&row);
        Some(row)
    }

    fn put(&mut self, tenant: &Tenant, key: M::Key, row: KeptRow<M>) {
        self.bytes += bytes_of(&row);
        let before = match self.rows.get_mut(tenant) {
            Some(rows) => rows.insert(key, row),
            None => self.rows.entry(tenant.clone()).or_default().insert(key, row),
        };
        self.bytes -= before.as_ref().map_or(0, bytes_of);
    }
}

/// About how much memory a row takes: itself, its texts, and its key once more.
fn bytes_of<M: ReadModel>(row: &KeptRow<M>) -> usize {
    size_of::<(M::Key, KeptRow<M>)>() + row.stored.bytes.get() as usize
}

impl<M: ReadModel> KeptTable for KeptRows<M> {
    fn young_bytes(&self) -> usize {
        self.young.bytes
    }

    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
