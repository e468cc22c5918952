//! Rows as a store holds them, kept from one fold to the next, so that the store need not be asked for them
//! again. Whether they are still what the store holds, only the store can say: nothing here looks.

use super::index::KeyIndex;
use super::slots::Tenants;
use crate::ReadModel;
use diptych_core::{Position, Tenant, Value};
use std::any::Any;
use std::fmt;
use std::hash::BuildHasher;
use std::num::NonZeroU32;

/// The rows that a fold has left in the tables of one group, for the fold that follows it.
pub struct Kept(Vec<Option<Box<dyn KeptTable>>>);

impl Kept {
    /// What tables have kept, as far as it has room in `bytes_max`: otherwise rows that were not met since
    /// rows were last let go are let go, and all of them where that is not enough.
    pub(super) fn of(tables: Vec<Option<Box<dyn KeptTable>>>, bytes_max: usize) -> Self {
        let mut kept = Self(tables);
        if kept.bytes() > bytes_max {
            kept.0.iter_mut().flatten().for_each(|table| table.let_go());
            // Half of the room, so that this is not done again and again for little.
            if kept.bytes() > bytes_max / 2 {
                kept.0.clear();
            }
        }
        kept
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().flatten().map(|table| table.bytes()).sum()
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
    /// About how many bytes they take.
    fn bytes(&self) -> usize;
    /// Lets the rows go that were not met since this was last asked.
    fn let_go(&mut self);
    /// The typed rows.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// What is known of a row in the store.
#[derive(Clone, Copy)]
pub(super) struct AsStored {
    pub(super) digest: u128,
    /// The length of its canonical form, which tells about how much memory it takes.
    bytes: NonZeroU32,
    /// Where it was taken from among the kept rows; [`NOWHERE`] for others.
    kept_at: u32,
}

/// The place of a row that was not kept.
const NOWHERE: u32 = u32::MAX;

impl AsStored {
    pub(super) fn new(digest: u128, canonical_bytes: usize) -> Self {
        let bytes = u32::try_from(canonical_bytes).unwrap_or(u32::MAX);
        Self { digest, bytes: NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MIN), kept_at: NOWHERE }
    }

    /// The same row, which has changed: it goes back to where it was taken from.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        Self { kept_at: before.map_or(NOWHERE, |before| before.kept_at), ..self }
    }
}

/// A row as the store holds it.
pub(super) struct KeptRow<M> {
    pub(super) row: M,
    pub(super) guard: Position,
    pub(super) stored: AsStored,
    /// What indexes hold of it, where the store has said so; empty where it was written by a fold, which made
    /// it from the row. A row that was only read may read back as something else than was written.
    pub(super) indexed: Box<[Value]>,
}

impl<M> KeptRow<M> {
    /// About how many bytes its texts take.
    fn text_bytes(&self) -> usize {
        self.stored.bytes.get() as usize
    }
}

/// The rows of one table.
pub(super) struct KeptRows<M: ReadModel> {
    by_key: KeyIndex,
    hasher: foldhash::fast::RandomState,
    tenants: Tenants,
    places: Vec<Place<M>>,
    /// How many places hold a row.
    held: usize,
    /// About how many bytes their texts take.
    text_bytes: usize,
}

/// How many places may hold no row before it is looked whether they are most of all.
const EMPTY_PLACES_MAX: usize = 1_024;

/// Where a row is kept.
struct Place<M> {
    /// None while a fold has it, and when it was deleted.
    held: Option<KeptRow<M>>,
    tenant: u32,
    met: bool,
}

impl<M: ReadModel> Default for KeptRows<M> {
    fn default() -> Self {
        let (by_key, tenants) = (KeyIndex::default(), Tenants::default());
        Self { by_key, hasher: Default::default(), tenants, places: Vec::new(), held: 0, text_bytes: 0 }
    }
}

impl<M: ReadModel> KeptRows<M> {
    fn find(&self, tenant: &Tenant, key: &M::Key) -> Option<usize> {
        let tenant = self.tenants.known(tenant)?;
        self.by_key.find(self.hasher.hash_one((tenant, key)), |place| {
            let Place { held, tenant: owner, .. } = &self.places[place];
            *owner == tenant && held.as_ref().is_some_and(|held| held.row.has_key(key))
        })
    }

    /// A row that stays where it is. Nothing where it is not kept, which does not mean that there is none.
    pub(super) fn get(&self, tenant: &Tenant, key: &M::Key) -> Option<&M> {
        self.places[self.find(tenant, key)?].held.as_ref().map(|held| &held.row)
    }

    /// Takes a row out, to be put back.
    pub(super) fn take(&mut self, tenant: &Tenant, key: &M::Key) -> Option<KeptRow<M>> {
        let at = self.find(tenant, key)?;
        let mut row = self.places[at].held.take()?;
        (self.held, self.text_bytes) = (self.held - 1, self.text_bytes - row.text_bytes());
        row.stored.kept_at = u32::try_from(at).unwrap_or(NOWHERE);
        Some(row)
    }

    /// Puts a row back, or keeps one that was not kept as it is now.
    pub(super) fn put(&mut self, tenant: &Tenant, row: KeptRow<M>) {
        (self.held, self.text_bytes) = (self.held + 1, self.text_bytes + row.text_bytes());
        // INVARIANT: what is taken out is put back before anybody else may take a place.
        if let Some(place) = self.places.get_mut(row.stored.kept_at as usize) {
            (place.held, place.met) = (Some(row), true);
            return;
        }
        let key = row.row.key();
        if let Some(at) = self.find(tenant, &key) {
            if let Some(before) = self.places[at].held.replace(row) {
                (self.held, self.text_bytes) = (self.held - 1, self.text_bytes - before.text_bytes());
            }
            self.places[at].met = true;
            return;
        }
        let tenant = self.tenants.number(tenant);
        self.by_key.insert(self.hasher.hash_one((tenant, &key)), self.places.len());
        self.places.push(Place { held: Some(row), tenant, met: true });
    }

    /// Forgets the places of rows that were deleted, once they are most of all. Said when all rows are back.
    pub(super) fn settle(&mut self) {
        if self.places.len() > 2 * self.held + EMPTY_PLACES_MAX {
            self.retain(|_| true);
        }
    }

    /// Keeps some of the places that hold a row.
    fn retain(&mut self, stays: impl Fn(&Place<M>) -> bool) {
        let Self { tenants, places, .. } = std::mem::take(self);
        for place in places.into_iter().filter(stays) {
            let Place { held: Some(row), tenant, met } = place else { continue };
            let stored = AsStored { kept_at: NOWHERE, ..row.stored };
            self.put(tenants.name(tenant), KeptRow { stored, ..row });
            if let Some(place) = self.places.last_mut() {
                place.met = met;
            }
        }
    }
}

impl<M: ReadModel> KeptTable for KeptRows<M> {
    fn bytes(&self) -> usize {
        self.places.len() * size_of::<Place<M>>() + self.text_bytes
    }

    fn let_go(&mut self) {
        self.retain(|place| place.met);
        self.places.iter_mut().for_each(|place| place.met = false);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
