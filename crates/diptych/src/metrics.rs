//! All panels' metrics under one exposition. No global recorder: two services in one process stay apart.

use crate::jobs::JobMetrics;
use diptych_command::{Commands, OutboxWorker, QueueWorkers};
use diptych_projector::Projector;
use diptych_query::Queries;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often lag is measured: a stopped model's lag must grow while nothing happens.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// The registry of a running service, and whether the store answered when it was last looked at.
pub(crate) struct Metrics {
    registry: Registry,
    projector: Arc<Projector>,
    outbox: Option<Arc<OutboxWorker>>,
    workers: Arc<QueueWorkers>,
    failure: Mutex<Option<String>>,
}

impl Metrics {
    pub(crate) fn new(
        (commands, queries): (&Commands, &Queries),
        projector: &Arc<Projector>,
        outbox: Option<Arc<OutboxWorker>>,
        workers: &Arc<QueueWorkers>,
        jobs: &JobMetrics,
    ) -> Self {
        let mut registry = Registry::default();
        commands.metrics().register(&mut registry);
        workers.metrics().register(&mut registry);
        queries.metrics().register(&mut registry);
        projector.metrics().register(&mut registry);
        jobs.register(&mut registry);
        if let Some(outbox) = &outbox {
            outbox.register(&mut registry);
        }
        let (projector, workers) = (Arc::clone(projector), Arc::clone(workers));
        Self { registry, projector, outbox, workers, failure: Mutex::default() }
    }

    /// Measures every model and the queue now and then, for as long as the service runs.
    pub(crate) async fn keep_measuring(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(MEASURE_INTERVAL);
        loop {
            ticks.tick().await;
            let measured = async {
                self.workers.measure().await?;
                if let Some(outbox) = &self.outbox {
                    outbox.status().await?;
                }
                self.projector.measure().await
            };
            let failure = measured.await.err().map(|fault| fault.to_string());
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
    }

    /// Why the store did not answer when it was last looked at; none when it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the exposition.
    pub(crate) fn exposition(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::warn!("the metrics could not be written");
        }
        text
    }
}
