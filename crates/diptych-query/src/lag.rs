//! Lag: how far something is behind the head of the log. Measured and put into words here and nowhere else.

use crate::{Feed, JobStanding};
use diptych_core::{Clock, Fault, Position, Timestamp};

/// How far a position is behind the head of the log.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Lag {
    /// How many events lie between.
    pub events: u64,
    /// Seconds since the first of them was recorded; 0 when there is none.
    pub seconds: f64,
}

impl Lag {
    /// Measures a position against the head as it is now.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn measure(feed: &dyn Feed, clock: &dyn Clock, position: Position) -> Result<Self, Fault> {
        let events = position.lag_to(feed.head().await?.position());
        if events == 0 {
            return Ok(Self::default());
        }
        let first = feed.mark(position.next()).await?;
        let seconds = first.map_or(0.0, |first| clock.now().seconds_since(first.recorded_at));
        Ok(Self { events, seconds })
    }

    /// As people say it: `up to date`, `2 seconds behind`.
    ///
    /// ```
    /// use diptych_query::Lag;
    /// assert_eq!(Lag { events: 3, seconds: 130.0 }.in_words(), "2 minutes behind");
    /// ```
    #[must_use]
    pub fn in_words(self) -> String {
        if self.events == 0 {
            return "up to date".to_owned();
        }
        format!("{} behind", duration_in_words(self.seconds))
    }

    /// What an answer says of itself: the lag, and for a model that is folded from an export, of which one:
    /// `30 minutes behind, last export 02:00`. Reads after the name of what lags: "analytics is …".
    #[must_use]
    pub fn told(self, export: Option<&JobStanding>, now: Timestamp) -> String {
        match export {
            Some(export) => format!("{}, {}", self.in_words(), export.export_in_words(now)),
            None => self.in_words(),
        }
    }
}

/// A time that has passed, as people say it: `2 minutes`.
pub(crate) fn duration_in_words(seconds: f64) -> String {
    let some = |count: f64, unit: &str| {
        let count = count.round();
        let plural = if count > 1.0 { "s" } else { "" };
        format!("{count} {unit}{plural}")
    };
    match seconds {
        s if s < 1.0 => "less than a second".to_owned(),
        s if s < 120.0 => some(s, "second"),
        s if s < 7_200.0 => some(s / 60.0, "minute"),
        s if s < 172_800.0 => some(s / 3_600.0, "hour"),
        s => some(s / 86_400.0, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_said_in_words() {
        let check = |events, seconds, words: &str| assert_eq!(Lag { events, seconds }.in_words(), words);
        check(0, 0.0, "up to date");
        check(3, 0.4, "less than a second behind");
        check(3, 1.2, "1 second behind");
        check(3, 2.2, "2 seconds behind");
        check(3, 119.0, "119 seconds behind");
        check(3, 120.0, "2 minutes behind");
        check(3, 300.0, "5 minutes behind");
        check(3, 10_800.0, "3 hours behind");
        check(3, 259_200.0, "3 days behind");
    }
}
