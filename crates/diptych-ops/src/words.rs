//! Lag as people say it.

/// Lag in words: `up to date`, `3 events, 2 s behind`.
///
/// ```
/// assert_eq!(diptych_ops::lag_in_words(0, 0.0), "up to date");
/// assert_eq!(diptych_ops::lag_in_words(3, 130.0), "3 events, 2 min behind");
/// ```
#[must_use]
pub fn lag_in_words(lag_events: u64, lag_seconds: f64) -> String {
    let events = match lag_events {
        0 => return "up to date".to_owned(),
        1 => "1 event".to_owned(),
        more => format!("{more} events"),
    };
    let time = match lag_seconds {
        seconds if seconds < 1.0 => "less than 1 s".to_owned(),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        seconds => format!("{:.0} days", seconds / 86_400.0),
    };
    format!("{events}, {time} behind")
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
