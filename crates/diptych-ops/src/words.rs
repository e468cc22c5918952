//! Lag and sizes as operators read them.

use diptych_query::{Freshness, Lag};

/// Lag in words: `up to date`, `3 events, 2 seconds behind`.
///
/// ```
/// use diptych_query::Lag;
/// assert_eq!(diptych_ops::lag_in_words(Lag::default()), "up to date");
/// assert_eq!(diptych_ops::lag_in_words(Lag { events: 3, seconds: 130.0 }), "3 events, 2 minutes behind");
/// ```
#[must_use]
pub fn lag_in_words(lag: Lag) -> String {
    with_events(lag.events, lag.in_words())
}

/// What an answer says of how far it is behind, with how many events.
pub(crate) fn freshness_in_words(freshness: &Freshness) -> String {
    with_events(freshness.lag_events, freshness.words.clone())
}

fn with_events(events: u64, words: String) -> String {
    match events {
        0 => words,
        1 => format!("1 event, {words}"),
        more => format!("{more} events, {words}"),
    }
}

/// Bytes as people say them.
pub(crate) fn bytes_in_words(bytes: u64) -> String {
    let size = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", size / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", size / 1_048_576.0),
        _ => format!("{:.1} GiB", size / 1_073_741_824.0),
    }
}

/// A duration as people say it.
pub(crate) fn seconds_in_words(seconds: f64) -> String {
    match seconds {
        under if under < 1.0 => "less than a second".to_owned(),
        under if under < 90.0 => format!("{under:.0} s"),
        under if under < 5_400.0 => format!("{:.0} min", under / 60.0),
        under if under < 172_800.0 => format!("{:.1} h", under / 3_600.0),
        more => format!("{:.0} days", more / 86_400.0),
    }
}
