//! The time that inline models may take for one group of commands: told when it is exceeded, and not told all
//! the time.

use diptych_core::Timestamp;
use std::time::Duration;

/// How often a warning is written at most.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Groups of commands whose inline models took too long, since somebody was last told.
#[derive(Default)]
pub(super) struct OverBudget {
    groups: u64,
    longest: Duration,
    told_at: Option<Timestamp>,
}

impl OverBudget {
    /// Notes how long the inline models took for one group of commands.
    pub(super) fn note(&mut self, took: Duration, budget: Duration, now: Timestamp) {
        if took <= budget {
            return;
        }
        self.groups += 1;
        self.longest = self.longest.max(took);
        if self.told_at.is_some_and(|told_at| now < told_at.plus(TELL_INTERVAL)) {
            return;
        }
        let Self { groups, longest, .. } = self;
        tracing::warn!(groups, ?longest, ?budget, "inline read models took longer than their budget");
        *self = Self { told_at: Some(now), ..Self::default() };
    }
}
