//! Event languages: how typed events become stored bytes and come back. Knows nothing of streams or stores.

use crate::{Code, TAGS_PER_EVENT_MAX, Tag};
use schemars::{Schema, SchemaGenerator};
use thiserror::Error;

/// The stable name and schema version of one kind of event, with its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventType {
    /// The stored name, such as `OrderPlaced`. Never reused for another meaning.
    pub name: &'static str,
    /// The schema version, starting at 1.
    pub version: u32,
    /// What it means, from the doc comment.
    pub meaning: &'static str,
}

/// What a reader does with a type of its category that it does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnknownTypes {
    /// It is an error: the data is newer than the code. So it is unless the code says otherwise.
    #[default]
    Refuse,
    /// It is passed over and counted: the reader wants a part of the category only, and says so.
    Ignore,
}

impl UnknownTypes {
    /// The word in declarations, reports and the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Ignore => "ignore",
        }
    }
}

/// An event language as a value, for whoever has no type of it at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Language {
    /// The category whose streams hold its events.
    pub category: &'static str,
    /// Who answers for it.
    pub owner: &'static str,
    /// Every type that can be written. Each can be read in every version from 1 up to its own.
    pub types: &'static [EventType],
    /// The names of types that are stored, mean nothing any more, and are read as nothing.
    pub retired: &'static [&'static str],
    /// What becomes of other types.
    pub unknown: UnknownTypes,
}

impl Language {
    /// The same language, for a reader that passes over what it does not know.
    #[must_use]
    pub const fn ignoring(self) -> Self {
        Self { unknown: UnknownTypes::Ignore, ..self }
    }

    /// Whether a stored type is passed over because the reader does not know it and has said so.
    #[must_use]
    pub fn ignores(&self, category: &str, name: &str) -> bool {
        self.unknown == UnknownTypes::Ignore && self.category == category && !self.knows(name)
    }

    /// Whether it is one of its types, written or retired.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.types.iter().any(|kind| kind.name == name) || self.retired.contains(&name)
    }
}

/// An event language: the events of one category. Derived by `#[derive(Event)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event language",
    note = "write `#[derive(Event)]` and `#[event(category = \"...\", owner = \"...\")]` on its enum"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// The category whose streams hold these events.
    const CATEGORY: &'static str;
    /// Who answers for the language.
    const OWNER: &'static str;
    /// Every type that can be written.
    const TYPES: &'static [EventType];
    /// The names of types that are stored and are read as nothing.
    const RETIRED: &'static [&'static str] = &[];
    /// What becomes of types that it does not know.
    const UNKNOWN: UnknownTypes = UnknownTypes::Refuse;
    /// All of this as a value.
    const LANGUAGE: Language = Language {
        category: Self::CATEGORY,
        owner: Self::OWNER,
        types: Self::TYPES,
        retired: Self::RETIRED,
        unknown: Self::UNKNOWN,
    };

    /// The type of this event.
    fn event_type(&self) -> EventType;

    /// The payload as JSON text, as it will be stored byte for byte.
    ///
    /// # Errors
    /// Refuses an event that could not be read back, such as one holding an empty id.
    fn encode(&self) -> Result<String, EncodeError>;

    /// What it is about beyond its stream, for decisions that rest on more than one stream. Fields that are
    /// marked `#[tag]` make them; without, there are none. Not part of the payload.
    ///
    /// # Errors
    /// Refuses a value that makes no tag.
    fn tags(&self) -> Result<Vec<Tag>, EncodeError> {
        Ok(Vec::new())
    }

    /// Reads a stored payload; `None` for a type that the language has declared retired, or does not know and
    /// ignores.
    ///
    /// # Errors
    /// An unknown type or version, or a payload that does not fit its type.
    fn decode(name: &str, version: u32, payload: &str) -> Result<Option<Self>, DecodeError>;

    /// The JSON Schema of every type that can be written, in the order of `TYPES`.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema>;
}

/// One or several event languages that a projection reads. Every `Event` is one; `#[derive(EventSet)]`
/// joins several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event language nor a set of them",
    note = "derive `Event` on one language, or `EventSet` on an enum with a variant for each language"
)]
pub trait EventSet: Sized + Send + Sync + 'static {
    /// The categories it reads.
    const CATEGORIES: &'static [&'static str];
    /// The languages it reads, one for each category.
    const LANGUAGES: &'static [Language];

    /// Whether a stored type is passed over because the set does not know it and has said so.
    #[must_use]
    fn ignores(category: &str, name: &str) -> bool {
        Self::LANGUAGES.iter().any(|language| language.ignores(category, name))
    }

    /// Reads a stored payload of one of its categories; `None` for a type that is retired or ignored.
    ///
    /// # Errors
    /// As [`Event::decode`], and for a category that is not in the set.
    fn decode_in(
        category: &str,
        name: &str,
        version: u32,
        payload: &str,
    ) -> Result<Option<Self>, DecodeError>;
}

impl<E: Event> EventSet for E {
    const CATEGORIES: &'static [&'static str] = &[E::CATEGORY];
    const LANGUAGES: &'static [Language] = &[E::LANGUAGE];

    fn decode_in(
        category: &str,
        name: &str,
        version: u32,
        payload: &str,
    ) -> Result<Option<Self>, DecodeError> {
        if category == E::CATEGORY {
            E::decode(name, version, payload)
        } else {
            Err(DecodeError::foreign(category))
        }
    }
}

/// An event on its way into the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEvent {
    /// The stored type name.
    pub name: &'static str,
    /// The schema version of the payload.
    pub schema_version: u32,
    /// JSON text.
    pub payload: String,
    /// Its tags, each once.
    pub tags: Vec<Tag>,
}

impl NewEvent {
    /// An event in bytes, without tags.
    #[must_use]
    pub fn new(name: &'static str, schema_version: u32, payload: String) -> Self {
        Self { name, schema_version, payload, tags: Vec::new() }
    }

    /// The same event with these tags, each of them once.
    #[must_use]
    pub fn tagged(self, mut tags: Vec<Tag>) -> Self {
        tags.sort_unstable();
        tags.dedup();
        Self { tags, ..self }
    }

    /// Encodes a typed event, and tags it.
    ///
    /// # Errors
    /// As [`Event::encode`] and [`Event::tags`], and for more tags than one event may have.
    pub fn from_event<E: Event>(event: &E) -> Result<Self, EncodeError> {
        let kind = event.event_type();
        let new = Self::new(kind.name, kind.version, event.encode()?).tagged(event.tags()?);
        if new.tags.len() > TAGS_PER_EVENT_MAX {
            let reason = format!("it has {} tags, at most {TAGS_PER_EVENT_MAX} fit", new.tags.len());
            return Err(EncodeError::new(kind.name, reason));
        }
        Ok(new)
    }
}

/// A typed value that cannot be stored, because it could not be read back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{what}` cannot be stored: {reason}")]
pub struct EncodeError {
    what: String,
    reason: String,
}

impl EncodeError {
    /// Says what could not be stored and why.
    pub fn new(what: &str, reason: impl ToString) -> Self {
        Self { what: what.to_owned(), reason: reason.to_string() }
    }
}

/// Stored bytes that the running code cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The language does not know the type.
    #[error("event type `{name}` is not known to this code")]
    UnknownType {
        /// The stored name.
        name: String,
    },
    /// The language knows the type, not this version of it.
    #[error("event type `{name}` has no version {version} in this code")]
    UnknownVersion {
        /// The stored name.
        name: String,
        /// The stored version.
        version: u32,
    },
    /// The category belongs to no language of the set.
    #[error("category `{category}` is not one that this projection reads")]
    ForeignCategory {
        /// The stored category.
        category: String,
    },
    /// The bytes do not fit the type.
    #[error("`{what}` does not fit its type: {reason}")]
    Malformed {
        /// What was being read.
        what: String,
        /// What did not fit.
        reason: String,
    },
}

impl DecodeError {
    /// The code with a page of its own: an unknown type is newer data, one that does not fit is damage.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownType { .. } | Self::UnknownVersion { .. } => Code::OlderCode,
            Self::ForeignCategory { .. } | Self::Malformed { .. } => Code::Undecodable,
        }
    }

    /// For an unknown type name.
    #[must_use]
    pub fn unknown_type(name: &str) -> Self {
        Self::UnknownType { name: name.to_owned() }
    }

    /// For a known type at an unknown version.
    #[must_use]
    pub fn unknown_version(name: &str, version: u32) -> Self {
        Self::UnknownVersion { name: name.to_owned(), version }
    }

    /// For a category outside the set.
    #[must_use]
    pub fn foreign(category: &str) -> Self {
        Self::ForeignCategory { category: category.to_owned() }
    }

    /// For bytes that do not fit.
    pub fn malformed(what: &str, reason: &impl ToString) -> Self {
        Self::Malformed { what: what.to_owned(), reason: reason.to_string() }
    }
}
