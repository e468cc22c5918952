//! Event languages without their types: stored bytes are proven readable, and tagged, before they enter a log
//! by another way than a decider's.

use diptych_core::{DecodeError, Event, NewEvent};
use std::collections::BTreeMap;

/// Reads one type of one language: the event as it will be stored.
type Read = fn(&str, u32, &str) -> Result<Option<NewEvent>, DecodeError>;

/// Event languages, by category.
#[derive(Clone, Default)]
pub struct Languages {
    by_category: BTreeMap<&'static str, Read>,
}

impl Languages {
    /// Adds a language.
    pub fn add<E: Event>(&mut self) {
        self.by_category.insert(E::CATEGORY, read::<E>);
    }

    /// The categories, in their order.
    pub fn categories(&self) -> impl Iterator<Item = &'static str> {
        self.by_category.keys().copied()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_category.is_empty()
    }

    /// Whether one of them is of that category.
    #[must_use]
    pub fn contains(&self, category: &str) -> bool {
        self.by_category.contains_key(category)
    }

    /// The event that stored bytes are, with its tags; the bytes stay as they are. None for a type that is
    /// retired or ignored, and in a category that no language is of.
    ///
    /// # Errors
    /// Bytes that their language cannot read.
    pub fn read(
        &self,
        category: &str,
        name: &str,
        schema_version: u32,
        payload: &str,
    ) -> Result<Option<NewEvent>, DecodeError> {
        match self.by_category.get(category) {
            Some(read) => read(name, schema_version, payload),
            None => Ok(None),
        }
    }
}

fn read<E: Event>(name: &str, version: u32, payload: &str) -> Result<Option<NewEvent>, DecodeError> {
    let Some(event) = E::decode(name, version, payload)? else {
        return Ok(None);
    };
    let tags = event.tags().map_err(|error| DecodeError::malformed(name, &error))?;
    let kind = E::TYPES.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| DecodeError::unknown_type(name))?;
    Ok(Some(NewEvent::new(kind.name, version, payload.to_owned()).tagged(tags)))
}
