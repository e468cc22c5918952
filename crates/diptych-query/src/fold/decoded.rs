//! The facts of one block, decoded once for all tables that read the same languages.

use super::FoldError;
use super::guarded::guarded;
use crate::{Group, RawFacts};
use diptych_core::{EventSet, Fact, RawFact};
use std::any::{Any, TypeId};
use std::sync::Arc;

/// What a block says in each set of event languages that tables read it in.
#[derive(Default)]
pub struct Decoded {
    sets: Vec<Set>,
}

/// The facts of a block in one set of languages.
struct Set {
    id: TypeId,
    /// Whether they are those of the block at hand.
    current: bool,
    facts: Box<dyn Any + Send>,
    /// Empties them, unless a table waits with some.
    empty: fn(&mut (dyn Any + Send)),
}

/// The facts of a block in one set of languages, in the block's order; none for what it does not speak of.
pub(super) type Facts<E> = Arc<Vec<Option<Fact<E>>>>;

impl Decoded {
    /// Ends a block: another one is at hand from now on.
    pub(super) fn clear(&mut self) {
        for set in &mut self.sets {
            set.current = false;
            (set.empty)(&mut *set.facts);
        }
    }

    /// Decodes a block for tables that read it in the languages of `E`, unless it cannot be.
    pub(crate) fn prepare<E: EventSet>(&mut self, block: &[Arc<RawFact>]) {
        let _ = self.facts::<E>(block);
    }

    /// The block in the languages of `E`. The block is the same at every call until it is ended.
    pub(super) fn facts<E: EventSet>(&mut self, block: &[Arc<RawFact>]) -> Result<Facts<E>, FoldError> {
        let id = TypeId::of::<E>();
        let place = self.sets.iter().position(|set| set.id == id);
        if let Some(set) = place.map(|place| &mut self.sets[place])
            && let Some(held) = set.facts.downcast_mut::<Facts<E>>()
        {
            if set.current {
                return Ok(Arc::clone(held));
            }
            // Where no table waits with facts of the block before, its room is used again.
            if let Some(room) = Arc::get_mut(held) {
                decode_all(block, room)?;
                set.current = true;
                return Ok(Arc::clone(held));
            }
        }
        let mut facts = Vec::with_capacity(block.len());
        decode_all(block, &mut facts)?;
        let facts: Facts<E> = Arc::new(facts);
        let set = Set { id, current: true, facts: Box::new(Arc::clone(&facts)), empty: empty::<E> };
        match place {
            Some(place) => self.sets[place] = set,
            None => self.sets.push(set),
        }
        Ok(facts)
    }
}

/// Some facts of a block with what they say, for a fold that has not come to them yet: whoever waits for it
/// may decode them meanwhile.
#[derive(Default)]
pub struct DecodedFacts {
    pub(super) facts: Vec<Arc<RawFact>>,
    pub(super) decoded: Decoded,
}

impl DecodedFacts {
    /// Takes the next facts of a block, at most so many, in place of those that it holds, and decodes them
    /// for all tables of a group. Those that cannot be decoded are left to the fold, which says so in its
    /// turn. Answers whether there were any.
    pub fn take(&mut self, group: &Group, block: &mut dyn RawFacts, facts_max: usize) -> bool {
        self.decoded.clear();
        block.take(facts_max, &mut self.facts);
        for model in group.models() {
            model.decode(&self.facts, &mut self.decoded);
        }
        !self.facts.is_empty()
    }

    /// Lets what the facts say go, and keeps the room for others.
    pub fn clear(&mut self) {
        self.decoded.clear();
        // Their block's texts are not held any longer by those that will be written over.
        self.facts.retain_mut(|fact| match Arc::get_mut(fact) {
            Some(RawFact { metadata, payload, .. }) => {
                (*metadata, *payload) = Default::default();
                true
            }
            None => false,
        });
    }
}

/// Puts the facts of a block in place of what a room holds.
fn decode_all<E: EventSet>(block: &[Arc<RawFact>], room: &mut Vec<Option<Fact<E>>>) -> Result<(), FoldError> {
    room.clear();
    guarded(&|cursor| block.get(cursor).map(Arc::clone), &mut |cursor| {
        for (index, raw) in block.iter().enumerate() {
            *cursor = index;
            room.push(decode(raw)?);
        }
        Ok(())
    })
}

fn empty<E: EventSet>(facts: &mut (dyn Any + Send)) {
    if let Some(room) = facts.downcast_mut::<Facts<E>>().and_then(Arc::get_mut) {
        room.clear();
    }
}

/// One fact in the languages of `E`.
fn decode<E: EventSet>(raw: &Arc<RawFact>) -> Result<Option<Fact<E>>, FoldError> {
    if !E::CATEGORIES.contains(&raw.stream.stream.category.as_str()) {
        return Ok(None);
    }
    let event = raw.decode::<E>().map_err(|error| FoldError::undecodable(raw, error))?;
    Ok(event.map(|event| Fact::new(event, Arc::clone(raw))))
}
