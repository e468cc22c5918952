//! Points in time as the log and the read models keep them. Reads no clock.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// -4712-01-01T00:00:00Z.
const MICROS_MIN: i64 = -210_863_520_000_000_000;

/// A point in time: microseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC.
///
/// ```
/// use diptych_core::Timestamp;
/// let time: Timestamp = "2026-07-07T09:00:00Z".parse().unwrap();
/// assert_eq!(time.to_string(), "2026-07-07T09:00:00Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// A text or number that is not a point in time of the years -4712 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not an RFC 3339 time such as `2026-07-07T09:00:00Z`")]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Refuses a time that not every store can keep and write: PostgreSQL's begin in the year -4713, RFC
    /// 3339's end in 9999.
    pub fn from_micros(micros: i64) -> Result<Self, TimestampError> {
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(_) if micros >= MICROS_MIN => Ok(Self(micros)),
            _ => Err(TimestampError { text: micros.to_string() }),
        }
    }

    /// Wraps microseconds that a store has read back, which were checked before they were written.
    #[must_use]
    pub fn from_stored(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds from `earlier` to `self`, 0 when `earlier` is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0).max(0) as f64 / 1e6
    }

    /// The time `duration` later, at most the largest time.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The UTC date, `2026-07-07`.
    #[must_use]
    pub fn date(self) -> String {
        self.to_string().split('T').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(out),
            Err(_) => write!(out, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let error = || TimestampError { text: text.chars().take(60).collect() };
        let time: jiff::Timestamp = text.parse().map_err(|_| error())?;
        // What is read must also be written: the last fraction of a second that can be read cannot.
        Self::from_micros(time.as_microsecond()).map_err(|_| error())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_survive_the_text_form() {
        let time = Timestamp::from_micros(1_783_414_800_123_456).unwrap();
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        assert_eq!(
            "2026-07-07T11:00:00+02:00".parse::<Timestamp>().unwrap().to_string(),
            "2026-07-07T09:00:00Z"
        );
    }

    #[test]
    fn what_is_read_can_be_written() {
        for edge in ["9999-12-30T22:00:00Z", "-004712-01-01T00:00:00Z"] {
            let time: Timestamp = edge.parse().unwrap();
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time, "{edge}");
        }
        for beyond in ["9999-12-30T22:00:00.999999Z", "-004713-12-31T23:59:59.999999Z"] {
            assert!(beyond.parse::<Timestamp>().is_err(), "{beyond}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_form_that_works() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert!(error.to_string().contains("RFC 3339"));
    }
}
