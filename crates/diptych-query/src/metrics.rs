//! What the right panel counts, under Prometheus names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Counters and latencies of queries.
#[derive(Clone, Debug)]
pub struct QueryMetrics {
    latency: Family<EndpointLabels, Histogram, fn() -> Histogram>,
    stale: Family<EndpointLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: String,
}

impl Default for QueryMetrics {
    fn default() -> Self {
        Self {
            latency: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 2.0, 18))),
            stale: Family::default(),
        }
    }
}

impl QueryMetrics {
    /// Offers the metrics for exposition.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "query_latency_seconds",
            "Time from a question to its answer",
            self.latency.clone(),
        );
        registry.register(
            "query_result_stale",
            "Answers older than their contract allows",
            self.stale.clone(),
        );
    }

    /// Notes how long an endpoint took.
    pub fn observe(&self, endpoint: &str, took: Duration) {
        self.latency.get_or_create(&labels(endpoint)).observe(took.as_secs_f64());
    }

    pub(crate) fn stale(&self, endpoint: &str) {
        self.stale.get_or_create(&labels(endpoint)).inc();
    }
}

fn labels(endpoint: &str) -> EndpointLabels {
    EndpointLabels { endpoint: endpoint.to_owned() }
}
