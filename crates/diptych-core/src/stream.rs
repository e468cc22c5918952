//! Names of streams and the versions inside one. Knows nothing of where a stream is stored.

use crate::limits::KEY_BYTES_MAX;
use crate::text::{self, TextError, checked_text};
use crate::{CausationId, Fingerprint, Tenant};
use std::fmt;

checked_text! {
    /// The kind of a stream, such as `order`. Lower-case ASCII letters, digits and `_`; never `-`, so that
    /// `order-42` splits in one way only.
    Category, "category", |what, name| {
        text::check(what, name, KEY_BYTES_MAX)?;
        text::forbid(what, name, |c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
    }
}

checked_text! {
    /// The identity of a stream within its category, such as `42`: any text of 1 to 200 bytes without NUL.
    StreamKey, "stream key", |what, key| text::check(what, key, KEY_BYTES_MAX)
}

/// A category and a key, written `order-42`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId {
    /// The kind of stream.
    pub category: Category,
    /// Which one of that kind.
    pub key: StreamKey,
}

impl StreamId {
    /// Names a stream.
    ///
    /// # Errors
    /// Refuses a category or key that its type refuses.
    pub fn new(category: impl AsRef<str>, key: impl AsRef<str>) -> Result<Self, TextError> {
        Ok(Self { category: Category::new(category)?, key: StreamKey::new(key)? })
    }

    /// Splits `order-42` at its first `-`.
    ///
    /// # Errors
    /// Refuses a text without `-` and parts that their types refuse.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let (category, key) = text.split_once('-').ok_or(TextError::Empty { what: "stream key" })?;
        Self::new(category, key)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.category, self.key)
    }
}

/// A stream with the tenant it belongs to: the whole identity, as stores need it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamRef {
    /// Whose stream it is.
    pub tenant: Tenant,
    /// Which stream of that tenant.
    pub stream: StreamId,
}

impl fmt::Display for StreamRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(out)
    }
}

/// The number of events in a stream: an empty stream is at 0, its first event is number 1.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of a stream without events.
    pub const NONE: Self = Self(0);

    /// The version after `events` further events.
    #[must_use]
    pub fn plus(self, events: usize) -> Self {
        Self(self.0 + events as u64)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The id of an event, `order-42@3`, as a command that it causes names it. None where it would be longer than
/// an id may be.
///
/// ```
/// use diptych_core::{StreamId, Version, event_id};
/// let stream = StreamId::new("order", "42").unwrap();
/// assert_eq!(event_id(&stream, Version(3)).unwrap().as_str(), "order-42@3");
/// ```
#[must_use]
pub fn event_id(stream: &StreamId, version: Version) -> Option<CausationId> {
    CausationId::new(format!("{stream}@{version}")).ok()
}

/// What a caller believes about a stream's version before a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExpectedVersion {
    /// No belief: the command is decided again when it loses a race.
    #[default]
    Any,
    /// The stream must be exactly there: a lost race is the caller's to see.
    Exactly(Version),
}

impl ExpectedVersion {
    /// The stream must not exist yet.
    pub const NO_STREAM: Self = Self::Exactly(Version::NONE);

    /// Whether a stream at `actual` fits the belief.
    #[must_use]
    pub fn admits(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(expected) => expected == actual,
        }
    }
}

impl Fingerprint {
    /// The fingerprint of one entry of the log: every store computes the same 32 bits for the same entry.
    ///
    /// The construction is the first four bytes of BLAKE3 over the length-prefixed fields
    /// (<https://github.com/BLAKE3-team/BLAKE3-specs>).
    #[must_use]
    pub fn of_entry(
        stream: &StreamRef,
        version: Version,
        event: &str,
        recorded_at: i64,
        payload: &str,
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        let texts =
            [stream.tenant.as_str(), stream.stream.category.as_str(), stream.stream.key.as_str(), event];
        for text in texts.iter().chain([&payload]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&version.0.to_le_bytes());
        hasher.update(&recorded_at.to_le_bytes());
        Self::first_four(&hasher.finalize())
    }

    /// The fingerprint at position 0: of the log itself, so that two empty logs differ.
    #[must_use]
    pub fn of_log(identity: &str) -> Self {
        Self::first_four(&blake3::hash(identity.as_bytes()))
    }

    /// The fingerprint of any text, to tell whether it is the one that was meant.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self::first_four(&blake3::hash(text.as_bytes()))
    }

    fn first_four(hash: &blake3::Hash) -> Self {
        let bytes = hash.as_bytes();
        Self(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_splits_at_its_first_dash_only() {
        let stream = StreamId::parse("order-a-b").unwrap();
        assert_eq!((stream.category.as_str(), stream.key.as_str()), ("order", "a-b"));
        assert!(Category::new("or-der").is_err());
        assert!(StreamKey::new("x".repeat(201)).is_err());
        assert!(StreamKey::new("nul\0").is_err());
    }

    #[test]
    fn an_entry_has_the_fingerprint_it_always_had() {
        let tenant = Tenant::new("main").unwrap();
        let stream = StreamRef { tenant, stream: StreamId::new("order", "42").unwrap() };
        let golden = Fingerprint::of_entry(&stream, Version(1), "OrderPlaced", 1_000_000, "{}");
        assert_eq!(format!("{golden}"), "b135ac0f");
        let other = Fingerprint::of_entry(&stream, Version(2), "OrderPlaced", 1_000_000, "{}");
        assert_ne!(golden, other);
    }
}
