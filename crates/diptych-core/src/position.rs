//! Places in the global log and the token that names one across restores.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A place in the global log: gap-free and commit-ordered. The log starts after 0; its first event is at 1.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// How many events lie between `self` and a later `head`; 0 when `self` is not behind.
    #[must_use]
    pub fn lag_to(self, head: Self) -> u64 {
        head.0.saturating_sub(self.0)
    }

    /// The next place.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The life of a log between restores: positions of two epochs are not comparable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The first life of a log.
    pub const FIRST: Self = Self(1);
}

/// 32 bits that tell whether the entry at a position is the one that was meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(pub u32);

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

/// A position that can be checked against the log it came from. Opaque on the wire.
///
/// ```
/// use diptych_core::Token;
/// let token: Token = "1.4711.00c0ffee".parse().unwrap();
/// assert_eq!(token.position.0, 4711);
/// assert_eq!(token.to_string(), "1.4711.00c0ffee");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token {
    /// The life of the log.
    pub epoch: Epoch,
    /// The place in it.
    pub position: Position,
    /// Of the entry at that place; at 0, of the log itself.
    pub fingerprint: Fingerprint,
}

/// A text that is not a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a position token: pass the `committedPosition` or `freshness.token` of an earlier answer"
)]
pub struct TokenError {
    text: String,
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.epoch.0, self.position, self.fingerprint)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parse = || {
            let mut parts = text.split('.');
            let epoch = Epoch(decimal(parts.next()?)?.try_into().ok()?);
            let position = Position(decimal(parts.next()?)?);
            let print = parts.next().filter(|part| part.len() == 8)?;
            let fingerprint = Fingerprint(u32::from_str_radix(print, 16).ok()?);
            parts.next().is_none().then_some(Self { epoch, position, fingerprint })
        };
        // Only the exact form that `Display` writes is a token: no sign, no leading zero, no capital.
        let exact = parse().filter(|token| token.to_string() == text);
        exact.ok_or_else(|| TokenError { text: text.chars().take(60).collect() })
    }
}

impl serde::Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_a_token() {
        for bad in
            ["", "7", "1.7", "1.7.xyz", "1.7.0000000", "+1.7.00000000", "1.07.00000000", "1.7.0000000A"]
        {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
        assert!("1.7.0000000a".parse::<Token>().is_ok());
    }

    #[test]
    fn lag_is_a_subtraction_that_never_goes_below_zero() {
        assert_eq!(Position(3).lag_to(Position(10)), 7);
        assert_eq!(Position(10).lag_to(Position(3)), 0);
    }
}
