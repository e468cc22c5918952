//! The facts of one block, decoded once for all tables that read the same languages.

use super::FoldError;
use super::guarded::guarded;
use diptych_core::{EventSet, Fact, RawFact};
use std::any::{Any, TypeId};
use std::sync::Arc;

/// What a block says in each set of event languages that tables read it in.
#[derive(Default)]
pub struct Decoded {
    /// Whether several tables read the block.
    shared: bool,
    sets: Vec<(TypeId, Box<dyn Any>)>,
}

/// The facts of a block in one set of languages, in the block's order; none for what it does not speak of.
pub(super) type Facts<E> = Arc<Vec<Option<Fact<E>>>>;

impl Decoded {
    /// For a block that so many tables read.
    pub(super) fn between(tables: usize) -> Self {
        Self { shared: tables > 1, sets: Vec::new() }
    }

    /// Whether other tables may read the same facts.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// The block in the languages of `E`. The block is the same at every call.
    pub(super) fn facts<E: EventSet>(&mut self, block: &[Arc<RawFact>]) -> Result<Facts<E>, FoldError> {
        let set = TypeId::of::<E>();
        let held = self.sets.iter().find(|(held, _)| *held == set);
        if let Some(facts) = held.and_then(|(_, facts)| facts.downcast_ref::<Facts<E>>()) {
            return Ok(Arc::clone(facts));
        }
        let mut facts = Vec::with_capacity(block.len());
        guarded(&|cursor| block.get(cursor).map(Arc::clone), &mut |cursor| {
            for (index, raw) in block.iter().enumerate() {
                *cursor = index;
                facts.push(decode(raw)?);
            }
            Ok(())
        })?;
        let facts: Facts<E> = Arc::new(facts);
        self.sets.push((set, Box::new(Arc::clone(&facts))));
        Ok(facts)
    }
}

/// One fact in the languages of `E`.
pub(super) fn decode<E: EventSet>(raw: &Arc<RawFact>) -> Result<Option<Fact<E>>, FoldError> {
    if !E::CATEGORIES.contains(&raw.stream.stream.category.as_str()) {
        return Ok(None);
    }
    let event = raw.decode::<E>().map_err(|error| FoldError::undecodable(raw, error))?;
    Ok(event.map(|event| Fact::new(event, Arc::clone(raw))))
}
