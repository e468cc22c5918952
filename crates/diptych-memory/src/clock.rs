//! A clock that stands still until it is moved, forwards or backwards. Reads no real time.

use diptych_core::{Clock, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock for tests: it shows what it was set to.
#[derive(Debug)]
pub struct ManualClock {
    micros: AtomicI64,
}

impl ManualClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        let micros = AtomicI64::new(time.as_micros());
        Self { micros }
    }

    /// Shows another time from now on, which may be an earlier one.
    pub fn set(&self, time: Timestamp) {
        self.micros.store(time.as_micros(), Ordering::SeqCst);
    }

    /// Moves forwards.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.micros.load(Ordering::SeqCst))
    }
}
