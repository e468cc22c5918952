//! What the right panel counts, under Prometheus names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::OnceLock;
use std::time::Duration;

/// Counters and latencies of queries.
#[derive(Clone, Debug)]
pub struct QueryMetrics {
    latency: LatencyFamily,
    stale: Family<EndpointLabels, Counter>,
}

/// How long the answers of one endpoint take: looked up among the metrics once, not for every answer.
#[derive(Clone, Debug)]
pub struct Latency {
    family: LatencyFamily,
    labels: EndpointLabels,
    histogram: OnceLock<Histogram>,
}

type LatencyFamily = Family<EndpointLabels, Histogram, fn() -> Histogram>;

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

    /// Where an endpoint's latencies are noted. It appears among the metrics with the first one.
    #[must_use]
    pub fn latency(&self, endpoint: impl Into<String>) -> Latency {
        let labels = EndpointLabels { endpoint: endpoint.into() };
        Latency { family: self.latency.clone(), labels, histogram: OnceLock::new() }
    }

    pub(crate) fn stale(&self, endpoint: &str) {
        self.stale.get_or_create(&labels(endpoint)).inc();
    }
}

impl Latency {
    /// Notes how long an answer took.
    pub fn observe(&self, took: Duration) {
        let histogram = self.histogram.get_or_init(|| self.family.get_or_create_owned(&self.labels));
        histogram.observe(took.as_secs_f64());
    }
}

fn labels(endpoint: &str) -> EndpointLabels {
    EndpointLabels { endpoint: endpoint.to_owned() }
}
