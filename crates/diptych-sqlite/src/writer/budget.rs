//! The time that inline models may take for one command: told when it is exceeded, and not told all the time.

use diptych_core::Timestamp;
use std::time::Duration;

/// How often a warning is written at most.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Commands whose inline models took too long, since somebody was last told.
#[derive(Default)]
pub(crate) struct OverBudget {
    commands: u64,
    longest: Duration,
    told_at: Option<Timestamp>,
}

impl OverBudget {
    /// Notes how long the inline models took for one command.
    pub(super) fn note(&mut self, took: Duration, budget: Duration, now: Timestamp) {
        if took <= budget {
            return;
        }
        self.commands += 1;
        self.longest = self.longest.max(took);
        if self.told_at.is_some_and(|told_at| now < told_at.plus(TELL_INTERVAL)) {
            return;
        }
        let Self { commands, longest, .. } = self;
        tracing::warn!(commands, ?longest, ?budget, "inline read models took longer than their budget");
        *self = Self { told_at: Some(now), ..Self::default() };
    }
}
