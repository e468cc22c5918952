//! What the queue counts, under Prometheus names.

use super::QueueCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Depth and age of the queue, and what workers of this process did.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    depth: Family<StateLabels, Gauge>,
    oldest: Gauge<f64, AtomicU64>,
    attempts: Counter,
    outcomes: Family<OutcomeLabels, Counter>,
    took: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl Default for QueueMetrics {
    fn default() -> Self {
        Self {
            depth: Family::default(),
            oldest: Gauge::default(),
            attempts: Counter::default(),
            outcomes: Family::default(),
            took: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
        }
    }
}

impl QueueMetrics {
    /// Offers the metrics for exposition.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("command_queue_depth", "Unfinished queued commands by state", self.depth.clone());
        registry.register(
            "command_queue_oldest_age_seconds",
            "How long the oldest unfinished queued command has waited",
            self.oldest.clone(),
        );
        registry.register("command_queue_attempts", "Queued commands that were begun", self.attempts.clone());
        registry.register(
            "command_queue_outcomes",
            "Attempts at queued commands by what came of them",
            self.outcomes.clone(),
        );
        registry.register(
            "command_queue_attempt_seconds",
            "Time of one attempt at a queued command",
            self.took.clone(),
        );
    }

    pub(super) fn measured(&self, counts: QueueCounts) {
        for (state, count) in [("accepted", counts.accepted), ("running", counts.running)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.depth.get_or_create(&StateLabels { state }).set(count);
        }
        self.oldest.set(counts.oldest_seconds);
    }

    pub(super) fn begun(&self) {
        self.attempts.inc();
    }

    pub(super) fn ended(&self, outcome: &'static str, took: Duration) {
        self.outcomes.get_or_create(&OutcomeLabels { outcome }).inc();
        self.took.observe(took.as_secs_f64());
    }
}
