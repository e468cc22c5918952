//! The system's clock: the one place where a service reads the time.

use diptych_core::{Clock, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// The system's clock, UTC.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }
}
