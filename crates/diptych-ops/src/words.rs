//! Lag and sizes as operators read them.

use diptych_query::Lag;

/// Lag in words: `up to date`, `3 events, 2 s behind`.
///
/// ```
/// use diptych_query::Lag;
/// assert_eq!(diptych_ops::lag_in_words(Lag::default()), "up to date");
/// assert_eq!(diptych_ops::lag_in_words(Lag { events: 3, seconds: 130.0 }), "3 events, 2 min behind");
/// ```
#[must_use]
pub fn lag_in_words(lag: Lag) -> String {
    let words = lag.in_words();
    match lag.events {
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
