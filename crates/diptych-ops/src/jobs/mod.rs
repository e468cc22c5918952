//! Scheduled jobs: what a service does at its time, once across all processes. A record in the store says
//! what was done; whoever claims it against the version that it has read runs the job. What each kind of job
//! does is what operators do by hand.

mod export;
mod job;
mod keeping;
mod record;
mod report;
mod run;
mod schedule;

pub use job::{Job, JobKind, job_problems};
pub use record::{Claim, Done, ExportRange, JOB, JobRun, JobState};
pub use report::{JobReport, list_jobs, show_job};
pub(crate) use report::{job_text, jobs_table, reports, run_text, standings_table};
pub use run::{order_job, run_due_jobs};
pub use schedule::{EVERY_MAX, EVERY_MIN, Schedule};

use crate::export::ExportSources;
use diptych_core::{BoxFuture, Clock, Fault, Timestamp};
use diptych_query::{JobBoard, JobRecords, JobStanding, Registry};
use record::Held;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The limits of running jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobLimits {
    /// How often a process looks what is due.
    pub beat: Duration,
    /// How long a run is left to its process beyond the last sign of life: after that, another takes it over.
    pub lease_duration: Duration,
    /// How long a job rests after a failed run; twice as long after every further one.
    pub retry_pause_min: Duration,
    /// How long it rests at most.
    pub retry_pause_max: Duration,
    /// How many runs of a job are kept.
    pub runs_max: usize,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(1),
            lease_duration: Duration::from_secs(15),
            retry_pause_min: Duration::from_secs(60),
            retry_pause_max: Duration::from_secs(3_600),
            runs_max: 60,
        }
    }
}

/// The jobs of a service in one process.
pub struct JobDesk {
    /// What was declared.
    pub jobs: Vec<Job>,
    /// What this process is called among those that run jobs.
    pub process: String,
    /// The folder under which jobs write their files.
    pub exports: PathBuf,
    /// The limits.
    pub limits: JobLimits,
    /// The files of exports.
    pub sources: Arc<ExportSources>,
    /// Where it is told how jobs stand.
    pub board: Arc<JobBoard>,
}

impl JobDesk {
    /// The job of a name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name() == name)
    }

    /// What is put at the end of the names of files that this process has not finished.
    pub(crate) fn own_suffix(&self) -> String {
        self.process.replace(['/', '\\', ':'], "-")
    }

    /// Keeps of every job since when it is known: what is due from then on is missed where nobody runs it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn know(&self, registry: &dyn Registry, now: Timestamp) -> Result<(), Fault> {
        for job in &self.jobs {
            let mut held = Held::of(registry, job.name(), now).await?;
            if held.version == 0 {
                // Another process may have been first, which is as good.
                held.write(registry, job.name()).await?;
            }
        }
        Ok(())
    }

    /// Gives back what this process has claimed and runs no more.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn let_go(&self, registry: &dyn Registry, now: Timestamp) -> Result<(), Fault> {
        for job in &self.jobs {
            let mut held = Held::of(registry, job.name(), now).await?;
            if held.is_held_by(&self.process) {
                held.prolong(now, Duration::ZERO);
                // Whoever was first has taken it over.
                held.write(registry, job.name()).await?;
            }
        }
        Ok(())
    }

    /// Looks how the jobs stand and which files there are, and tells it where answers and feeds find it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn look(&self, registry: &dyn Registry, now: Timestamp) -> Result<(), Fault> {
        if self.jobs.is_empty() {
            return Ok(());
        }
        let mut standings = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            standings.push(Held::of(registry, job.name(), now).await?.state.standing(job, now));
        }
        self.board.note(standings);
        self.sources.look().await;
        Ok(())
    }
}

/// The records of jobs, for whoever must not tell from memory how one stands.
pub struct StoredJobs {
    /// What was declared.
    pub jobs: Vec<Job>,
    /// Where the records are.
    pub registry: Arc<dyn Registry>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
}

impl JobRecords for StoredJobs {
    fn standing<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<JobStanding>, Fault>> {
        Box::pin(async move {
            let Some(job) = self.jobs.iter().find(|job| job.name() == name) else { return Ok(None) };
            let now = self.clock.now();
            Ok(Some(Held::of(&*self.registry, name, now).await?.state.standing(job, now)))
        })
    }
}
