//! Validated text: the one check behind every name and key that is stored.

use thiserror::Error;

/// Why a text cannot be a key or a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// The text is empty.
    #[error("{} {what} must not be empty", article(what))]
    Empty {
        /// What the text was meant to be.
        what: &'static str,
    },
    /// The text is longer than its limit.
    #[error("{} {what} has at most {limit} bytes, this one has {length}", article(what))]
    TooLong {
        /// What the text was meant to be.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// The length met, in bytes.
        length: usize,
    },
    /// The text holds a character that its place does not allow.
    #[error("{} {what} must not contain `{character}`", article(what))]
    Character {
        /// What the text was meant to be.
        what: &'static str,
        /// The offending character, escaped.
        character: String,
    },
}

/// What stands before what a text was meant to be.
fn article(what: &str) -> &'static str {
    if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Checks a key: not empty, at most `limit` bytes, no NUL (databases disagree about it).
pub(crate) fn check(what: &'static str, text: &str, limit: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty { what });
    }
    if text.len() > limit {
        return Err(TextError::TooLong { what, limit, length: text.len() });
    }
    forbid(what, text, |character| character == '\0')
}

/// Refuses the first character for which `bad` holds.
pub(crate) fn forbid(what: &'static str, text: &str, bad: impl Fn(char) -> bool) -> Result<(), TextError> {
    match text.chars().find(|character| bad(*character)) {
        Some(character) => {
            Err(TextError::Character { what, character: character.escape_default().to_string() })
        }
        None => Ok(()),
    }
}

/// Defines a cheaply cloned text type whose constructor checks its text.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl Clone for $name {
            fn clone(&self) -> Self {
                Self(std::sync::Arc::clone(&self.0))
            }

            fn clone_from(&mut self, source: &Self) {
                // The same text is not counted anew.
                if !std::sync::Arc::ptr_eq(&self.0, &source.0) {
                    self.0 = std::sync::Arc::clone(&source.0);
                }
            }
        }

        impl $name {
            /// Checks and wraps a text.
            ///
            /// # Errors
            /// Refuses a text that is empty, too long, or holds a character that its place does not allow.
            pub fn new(text: impl AsRef<str>) -> Result<Self, $crate::TextError> {
                let text = text.as_ref();
                let check: fn(&'static str, &str) -> Result<(), $crate::TextError> = $check;
                check($what, text)?;
                Ok(Self(text.into()))
            }

            /// Wraps a text that a store has read back, which was checked before it was written.
            #[must_use]
            pub fn from_stored(text: impl Into<std::sync::Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "{:?}", &*self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&*text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use checked_text;

#[cfg(test)]
mod tests {
    use crate::{Actor, CommandId, KEY_BYTES_MAX, TextError};

    #[track_caller]
    fn refused<T: std::fmt::Debug>(made: Result<T, TextError>, expected: &str) {
        assert_eq!(made.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_refusal_is_a_sentence() {
        let long = "a".repeat(KEY_BYTES_MAX + 1);
        refused(Actor::new(""), "an actor must not be empty");
        refused(CommandId::new(""), "a command id must not be empty");
        refused(Actor::new(&long), "an actor has at most 200 bytes, this one has 201");
        refused(Actor::new("a\0"), "an actor must not contain `\\u{0}`");
    }
}
