//! The scheduled jobs of a running service: looked after beat by beat where read models are moved, only
//! looked at elsewhere, and measured.

use crate::{Config, Models, Place, Role, Service, Store};
use diptych_command::{Commands, OutboxWorker};
use diptych_core::Fault;
use diptych_ops::export::ExportSources;
use diptych_ops::jobs::StoredJobs;
use diptych_ops::{JobDesk, JobRun, LogStatus, Operator, run_due_jobs};
use diptych_projector::Projector;
use diptych_query::{Feed, JobBoard, JobStanding, Queries, Statistics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Everything that an operator works with, for whoever does what operators do at its time.
pub(crate) struct Jobs {
    pub(crate) service: Service,
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) projector: Arc<Projector>,
    pub(crate) outbox: Option<Arc<OutboxWorker>>,
    pub(crate) desk: JobDesk,
    pub(crate) metrics: JobMetrics,
}

impl Jobs {
    /// What an operator looks at and acts on.
    pub(crate) async fn operator(&self) -> Result<Operator<'_>, Fault> {
        let Statistics { streams, commands, log_bytes, .. } = self.store.statistics().await?;
        Ok(Operator {
            service: &self.service.name,
            principal: &self.config.principal,
            queue: &*self.store,
            commands: &self.commands,
            queries: &self.queries,
            projector: &self.projector,
            outbox: self.outbox.as_deref(),
            feed: &*self.store,
            models: &*self.models,
            registry: &*self.models,
            policies: self.service.in_force(),
            jobs: &self.desk,
            log: LogStatus {
                location: self.config.store.to_string(),
                documents: self.config.documents.as_ref().map(ToString::to_string),
                head: self.store.head().await?,
                streams,
                commands,
                bytes: log_bytes,
            },
        })
    }

    /// Looks how the jobs stand and which files there are.
    pub(crate) async fn look(&self) -> Result<(), Fault> {
        let now = self.service.clock.now();
        self.desk.look(&*self.store, now).await?;
        self.metrics.measured(&self.desk.board.all(), now);
        Ok(())
    }

    /// Runs what is due and nobody runs.
    pub(crate) async fn step(&self) -> Result<Vec<(String, JobRun)>, Fault> {
        let runs = run_due_jobs(&self.operator().await?).await?;
        for (job, run) in &runs {
            self.metrics.ended(job, run);
        }
        self.metrics.measured(&self.desk.board.all(), self.service.clock.now());
        Ok(runs)
    }

    /// Gives back what this process has claimed, so that another need not wait until it has been silent for
    /// long.
    pub(crate) async fn let_go(&self) {
        if let Err(fault) = self.desk.let_go(&*self.store, self.service.clock.now()).await {
            tracing::warn!(%fault, "a job could not be handed over");
        }
    }

    /// Looks after the jobs for as long as the service runs; a process that moves no read models only looks.
    pub(crate) async fn keep(self: Arc<Self>) {
        let runs = self.config.roles.contains(Role::Projector);
        let every = self.desk.limits.beat;
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            beat.tick().await;
            let done = if runs { self.step().await.map(drop) } else { self.look().await };
            if let (Err(fault), false) = (&done, failing) {
                tracing::warn!(%fault, "the jobs cannot be looked after");
            }
            failing = done.is_err();
        }
    }
}

/// The jobs of a service in one process, as they stand, before anything else is opened.
pub(crate) async fn desk(
    service: &Service,
    config: &Config,
    store: &Arc<dyn Store>,
    process: &str,
) -> Result<JobDesk, Fault> {
    let exports = exports(config);
    let board = Arc::<JobBoard>::default();
    board.read_from(Arc::new(StoredJobs {
        jobs: service.jobs.clone(),
        registry: Arc::clone(store) as _,
        clock: Arc::clone(&service.clock),
    }));
    let log = Arc::clone(store) as Arc<dyn Feed>;
    let sources = Arc::new(ExportSources::new(&log, &service.jobs, &exports, &board));
    let (jobs, limits) = (service.jobs.clone(), config.jobs.clone());
    let desk = JobDesk { jobs, process: process.to_owned(), exports, limits, sources, board };
    let now = service.clock.now();
    if config.roles.contains(Role::Projector) {
        desk.know(&**store, now).await?;
    }
    desk.look(&**store, now).await?;
    Ok(desk)
}

/// The folder of exports: as configured, or in that of the embedded store, or in the working folder.
fn exports(config: &Config) -> PathBuf {
    let default = || match &config.store {
        Place::Directory(directory) => directory.join("exports"),
        Place::Postgres(_) => PathBuf::from("exports"),
    };
    config.exports.clone().unwrap_or_else(default)
}

/// What is measured of jobs, under Prometheus names.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobMetrics {
    lag: Family<JobLabels, Gauge<f64, AtomicU64>>,
    success: Family<JobLabels, Gauge<f64, AtomicU64>>,
    runs: Family<RunLabels, Counter>,
    rows: Family<JobLabels, Gauge>,
    seconds: Family<JobLabels, Gauge<f64, AtomicU64>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JobLabels {
    job: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RunLabels {
    job: String,
    outcome: &'static str,
}

impl JobMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let (lag, success) = (self.lag.clone(), self.success.clone());
        registry.register("job_lag_seconds", "Since when a run of a job is due that has not happened", lag);
        registry.register(
            "job_last_success_timestamp_seconds",
            "When the last run of a job that did what it should began, in Unix time",
            success,
        );
        registry.register("job_runs", "Runs of a job that ended in this process", self.runs.clone());
        let (rows, seconds) = (self.rows.clone(), self.seconds.clone());
        registry.register("job_last_run_rows", "Rows of the last run of a job in this process", rows);
        registry.register("job_last_run_seconds", "How long the last run of a job took", seconds);
    }

    fn measured(&self, jobs: &[Arc<JobStanding>], now: diptych_core::Timestamp) {
        for standing in jobs {
            let labels = JobLabels { job: standing.job.clone() };
            self.lag.get_or_create(&labels).set(standing.lag_seconds(now));
            if let Some(at) = standing.succeeded_at {
                self.success.get_or_create(&labels).set(at.as_micros() as f64 / 1e6);
            }
        }
    }

    fn ended(&self, job: &str, run: &JobRun) {
        let outcome = if run.failure.is_none() { "done" } else { "failed" };
        self.runs.get_or_create(&RunLabels { job: job.to_owned(), outcome }).inc();
        let labels = JobLabels { job: job.to_owned() };
        if let (Some(done), Some(ended)) = (&run.done, run.ended) {
            self.rows.get_or_create(&labels).set(i64::try_from(done.rows).unwrap_or(i64::MAX));
            self.seconds.get_or_create(&labels).set(ended.seconds_since(run.began));
        }
    }
}
