//! What the hinge counts, under Prometheus names.

use crate::lasting::Seen;
use diptych_core::{Position, Timestamp};
use diptych_query::{Group, Lag, Passed};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Gauges, counters and latencies of projections. The label `projection` is the operators' *model*.
#[derive(Clone, Debug)]
pub struct ProjectionMetrics {
    lag_seconds: Family<ProjectionLabels, Gauge<f64, AtomicU64>>,
    lag_events: Family<ProjectionLabels, Gauge>,
    last_position: Family<ProjectionLabels, Gauge>,
    errors: Family<EventLabels, Counter>,
    no_ops: Family<ProjectionLabels, Counter>,
    ignored: Family<ProjectionLabels, Counter>,
    rebuild: Family<ProjectionLabels, Histogram, fn() -> Histogram>,
    rebuilt: Family<ProjectionLabels, Gauge<f64, AtomicU64>>,
    visible: Family<EventLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProjectionLabels {
    projection: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(non_snake_case, reason = "the label's name is part of the contract with dashboards")]
struct EventLabels {
    projection: String,
    eventType: String,
}

impl Default for ProjectionMetrics {
    fn default() -> Self {
        Self {
            lag_seconds: Family::default(),
            lag_events: Family::default(),
            last_position: Family::default(),
            errors: Family::default(),
            no_ops: Family::default(),
            ignored: Family::default(),
            rebuild: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 4.0, 12))),
            rebuilt: Family::default(),
            visible: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
        }
    }
}

impl ProjectionMetrics {
    /// Offers the metrics for exposition.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "projection_lag_seconds",
            "Age of the first event that a model has not applied",
            self.lag_seconds.clone(),
        );
        registry.register(
            "projection_lag_events",
            "Events that a model has not applied",
            self.lag_events.clone(),
        );
        registry.register(
            "projection_last_processed_position",
            "The last position that a model has applied",
            self.last_position.clone(),
        );
        registry.register("projection_error", "Failures of a model, by event type", self.errors.clone());
        registry.register(
            "projection_no_op",
            "Events that met no row of a model and left none",
            self.no_ops.clone(),
        );
        registry.register(
            "projection_ignored",
            "Events whose type a model does not know and ignores",
            self.ignored.clone(),
        );
        registry.register(
            "projection_rebuild_duration_seconds",
            "Time to build a model from the start of the log",
            self.rebuild.clone(),
        );
        registry.register(
            "projection_rebuild_progress_ratio",
            "How far a rebuild that this process drives has come, 0 to 1",
            self.rebuilt.clone(),
        );
        registry.register(
            "projection_time_to_visible_seconds",
            "Time from an event's recording to its row being visible",
            self.visible.clone(),
        );
    }

    /// Notes where a model stands against the log, measured when somebody looks.
    pub fn measured(&self, projection: &str, position: Position, lag: Lag) {
        let labels = projection_labels(projection);
        self.lag_seconds.get_or_create(&labels).set(lag.seconds);
        self.lag_events.get_or_create(&labels).set(i64::try_from(lag.events).unwrap_or(i64::MAX));
        self.last_position.get_or_create(&labels).set(i64::try_from(position.0).unwrap_or(i64::MAX));
    }

    pub(crate) fn failed(&self, projection: &str, event_type: &str) {
        self.errors.get_or_create(&event_labels(projection, event_type)).inc();
    }

    pub(crate) fn passed(&self, projection: &str, passed: Passed) {
        for (counts, events) in [(&self.no_ops, passed.no_ops), (&self.ignored, passed.ignored)] {
            if events > 0 {
                counts.get_or_create(&projection_labels(projection)).inc_by(events);
            }
        }
    }

    pub(crate) fn built(&self, projection: &str, took: Duration) {
        self.rebuild.get_or_create(&projection_labels(projection)).observe(took.as_secs_f64());
    }

    /// Notes how far a rebuild has come, 0 to 1; none when it is over.
    pub(crate) fn rebuilding(&self, group: &Group, share: Option<f64>) {
        for model in group.models() {
            let labels = projection_labels(model.schema().name);
            match share {
                Some(share) => drop(self.rebuilt.get_or_create(&labels).set(share)),
                None => drop(self.rebuilt.remove(&labels)),
            }
        }
    }

    /// Observes when facts became visible in each model that reads them; a histogram is looked up once for
    /// each type, not for each fact.
    pub(crate) fn visible(&self, group: &Group, now: Timestamp, seen: &[Seen]) {
        for model in group.models() {
            let mut known: Vec<(&str, Histogram)> = Vec::new();
            let reads = |seen: &&Seen| model.categories().contains(&seen.stream.stream.category.as_str());
            for Seen { event, recorded_at, .. } in seen.iter().filter(reads) {
                let seconds = now.seconds_since(*recorded_at);
                if let Some((_, histogram)) = known.iter().find(|(name, _)| *name == &**event) {
                    histogram.observe(seconds);
                    continue;
                }
                let labels = event_labels(model.schema().name, event);
                let histogram = self.visible.get_or_create_owned(&labels);
                histogram.observe(seconds);
                known.push((event, histogram));
            }
        }
    }
}

fn projection_labels(projection: &str) -> ProjectionLabels {
    ProjectionLabels { projection: projection.to_owned() }
}

fn event_labels(projection: &str, event_type: &str) -> EventLabels {
    EventLabels { projection: projection.to_owned(), eventType: event_type.to_owned() }
}
