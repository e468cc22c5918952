//! What the left panel counts, under Prometheus names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Counters and latencies of commands.
#[derive(Clone, Debug)]
pub struct CommandMetrics {
    latency: Family<CommandLabels, Histogram, fn() -> Histogram>,
    outcomes: Family<OutcomeLabels, Counter>,
    retries: Family<CommandLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CommandLabels {
    category: &'static str,
    command: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    category: &'static str,
    command: &'static str,
    outcome: &'static str,
}

impl Default for CommandMetrics {
    fn default() -> Self {
        Self {
            latency: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 2.0, 18))),
            outcomes: Family::default(),
            retries: Family::default(),
        }
    }
}

impl CommandMetrics {
    /// Offers the metrics for exposition.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "command_latency_seconds",
            "Time from a command's arrival to its answer",
            self.latency.clone(),
        );
        registry.register("command_outcomes", "Commands by what became of them", self.outcomes.clone());
        registry.register("command_retries", "Decisions repeated after a lost race", self.retries.clone());
    }

    pub(crate) fn observe(
        &self,
        category: &'static str,
        command: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.latency.get_or_create(&CommandLabels { category, command }).observe(took.as_secs_f64());
        self.outcomes.get_or_create(&OutcomeLabels { category, command, outcome }).inc();
    }

    pub(crate) fn retried(&self, category: &'static str, command: &'static str) {
        self.retries.get_or_create(&CommandLabels { category, command }).inc();
    }
}
