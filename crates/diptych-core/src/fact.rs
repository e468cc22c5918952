//! Recorded events: as stores hand them out, and as projections see them.

use crate::{DecodeError, EventSet, Id, Metadata, Position, StreamId, StreamRef, Tenant, Timestamp, Version};
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The stored name and schema version of a recorded event; interned by the store, so cloning is cheap.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct EventName {
    /// The stored name.
    pub name: Arc<str>,
    /// The schema version of its payload.
    pub schema_version: u32,
}

impl Clone for EventName {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), schema_version: self.schema_version }
    }

    fn clone_from(&mut self, source: &Self) {
        // The same name is not counted anew.
        if !Arc::ptr_eq(&self.name, &source.name) {
            self.name = Arc::clone(&source.name);
        }
        self.schema_version = source.schema_version;
    }
}

/// A recorded event with its bytes still undecoded: what stores exchange with folds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawFact {
    /// Its place in the log.
    pub position: Position,
    /// The stream it belongs to, with its tenant; shared by the facts of one stream.
    pub stream: Arc<StreamRef>,
    /// Its number in that stream.
    pub version: Version,
    /// Its type.
    pub event: EventName,
    /// The store's clock when it was recorded; never decreasing with position.
    pub recorded_at: Timestamp,
    /// When it happened: the command's time.
    pub occurred_at: Timestamp,
    /// JSON text of its [`Metadata`].
    pub metadata: SharedText,
    /// JSON text of the event, byte for byte as written.
    pub payload: SharedText,
}

/// A text that may be a part of a longer one: a store hands out the texts of many facts in one piece of
/// memory, which is freed at once.
///
/// ```
/// use diptych_core::SharedText;
/// let all = "{}[]".to_owned().into();
/// assert_eq!(&*SharedText::part(&all, 2..4), "[]");
/// assert_eq!(&*SharedText::default(), "");
/// ```
#[derive(Clone, Default)]
pub struct SharedText {
    /// None for an empty text that is part of nothing.
    whole: Option<Arc<String>>,
    from: u32,
    to: u32,
}

impl SharedText {
    /// A part of a text.
    ///
    /// # Panics
    /// When the range does not lie within the text, not on the borders of characters, or beyond 4 GiB.
    #[must_use]
    pub fn part(whole: &Arc<String>, range: Range<usize>) -> Self {
        let mut part = Self::default();
        part.set(whole, range);
        part
    }

    /// Becomes a part of a text; of the same one as before without counting it anew.
    ///
    /// # Panics
    /// As [`SharedText::part`].
    pub fn set(&mut self, whole: &Arc<String>, range: Range<usize>) {
        let end = |at: usize| u32::try_from(at).expect("a text that facts share is smaller than 4 GiB");
        assert!(whole.get(range.clone()).is_some(), "the range must be a part of the text");
        (self.from, self.to) = (end(range.start), end(range.end));
        if !self.whole.as_ref().is_some_and(|held| Arc::ptr_eq(held, whole)) {
            self.whole = Some(Arc::clone(whole));
        }
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        self.whole.as_ref().map_or("", |whole| &whole[self.from as usize..self.to as usize])
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        let range = 0..text.len();
        Self::part(&Arc::new(text), range)
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl PartialEq for SharedText {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedText {}

impl fmt::Debug for SharedText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", &**self)
    }
}

impl RawFact {
    /// Decodes the payload as an event of the set `E`; `None` for a type that is retired or ignored.
    ///
    /// # Errors
    /// As [`EventSet::decode_in`].
    pub fn decode<E: EventSet>(&self) -> Result<Option<E>, DecodeError> {
        let EventName { name, schema_version } = &self.event;
        E::decode_in(self.stream.stream.category.as_str(), name, *schema_version, &self.payload)
    }
}

/// A recorded event as a projection sees it: the typed event and its envelope.
#[derive(Clone, Debug)]
pub struct Fact<E> {
    /// The typed event.
    pub event: E,
    raw: Arc<RawFact>,
}

impl<E> Fact<E> {
    /// Joins a decoded event with the record it was decoded from.
    #[must_use]
    pub fn new(event: E, raw: Arc<RawFact>) -> Self {
        Self { event, raw }
    }

    /// The stream's key as a typed id: `let order: OrderId = fact.id();`.
    #[must_use]
    pub fn id<I: Id>(&self) -> I {
        I::from_key(self.raw.stream.stream.key.as_str())
    }

    /// Whose fact it is.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.raw.stream.tenant
    }

    /// The stream it belongs to.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.raw.stream.stream
    }

    /// Its number in its stream.
    #[must_use]
    pub fn version(&self) -> Version {
        self.raw.version
    }

    /// Its place in the log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.raw.position
    }

    /// When it happened.
    #[must_use]
    pub fn occurred_at(&self) -> Timestamp {
        self.raw.occurred_at
    }

    /// When the store recorded it.
    #[must_use]
    pub fn recorded_at(&self) -> Timestamp {
        self.raw.recorded_at
    }

    /// Who caused it and by which command, decoded on demand.
    ///
    /// # Errors
    /// When the stored metadata is not what was written.
    pub fn metadata(&self) -> Result<Metadata, DecodeError> {
        Metadata::decode(&self.raw.metadata)
    }

    /// The record behind it.
    #[must_use]
    pub fn raw(&self) -> &RawFact {
        &self.raw
    }
}
