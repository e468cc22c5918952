//! What is kept of a job: up to when it was done, which process runs it, and its runs. One record of each,
//! changed only against the version that was read, so that one process at a time runs it.

use super::job::Job;
use super::schedule::Schedule;
use diptych_core::{Code, Fault, Position, Timestamp, Token};
use diptych_query::{JobStanding, Order, Record, Registry};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The kind of record of a job, by its name.
pub const JOB: &str = "job";

/// What is kept of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    /// Everything that was due up to here is done, or was due before the job was known.
    pub settled: Timestamp,
    /// Which process runs it now.
    pub claim: Option<Claim>,
    /// When the last run that did what it should began.
    pub succeeded_at: Option<Timestamp>,
    /// Up to where the files of an export reach.
    pub exported_through: Option<Token>,
    /// How many runs in a row have failed.
    pub failures: u32,
    /// Before when it is not tried again after a failure.
    pub retry_at: Option<Timestamp>,
    /// How many runs there were.
    pub runs_ever: u64,
    /// Its runs, the last one first.
    pub runs: Vec<JobRun>,
}

/// Which process runs a job, and how long the others leave it alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Its name.
    pub process: String,
    /// Until when, unless it says again that it lives.
    pub until: Timestamp,
}

/// One run of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRun {
    /// Which one, from 1.
    pub number: u64,
    /// When it was due; of one that was ordered, when that was.
    pub due: Timestamp,
    /// How many runs it makes up for that were due and did not happen; 0 for one that began in its time.
    pub missed: u64,
    /// Who ordered it and why; none for one that was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; none while it is under way.
    pub ended: Option<Timestamp>,
    /// Which process ran it.
    pub process: String,
    /// What is exported, from when it is known on: a process that takes the run over writes the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ExportRange>,
    /// What it did.
    pub done: Option<Done>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What an export holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportRange {
    /// After which position it begins.
    pub from: Position,
    /// Up to where it goes.
    pub through: Token,
    /// As of when.
    pub at: Timestamp,
}

/// What a run did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Done {
    /// In a sentence.
    pub outcome: String,
    /// Events or rows that it wrote or compared.
    pub rows: u64,
    /// The size of what it wrote, in bytes.
    pub bytes: u64,
    /// The file that it wrote; none where there was nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Of what it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Up to where what it did holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Why older files could not be joined or removed; what the run was for is done all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untidied: Option<String>,
}

impl JobState {
    /// A job that was not known before: what was due earlier is nobody's fault.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            settled: now,
            claim: None,
            succeeded_at: None,
            exported_through: None,
            failures: 0,
            retry_at: None,
            runs_ever: 0,
            runs: Vec::new(),
        }
    }

    /// The first time at which a run was due that has not happened.
    #[must_use]
    pub fn overdue_since(&self, schedule: Schedule, now: Timestamp) -> Option<Timestamp> {
        schedule.next_after(self.settled).filter(|due| *due <= now)
    }

    /// The run that is under way, or was when its process died.
    pub(crate) fn open_run(&mut self) -> Option<&mut JobRun> {
        self.runs.first_mut().filter(|run| run.ended.is_none())
    }

    /// Whether a process may run it now: no other does.
    pub(crate) fn is_free(&self, now: Timestamp) -> bool {
        self.claim.as_ref().is_none_or(|claim| claim.until <= now)
    }

    /// Begins the run that is due, that was cut short, or that is ordered; none where none is. A run that was
    /// cut short goes on as another one with the same range.
    pub(crate) fn begin(
        &mut self,
        schedule: Schedule,
        ordered: Option<Order>,
        by: Claim,
        now: Timestamp,
    ) -> Option<JobRun> {
        let overdue = self.overdue_since(schedule, now);
        let cut = self.open_run().map(|run| {
            run.ended = Some(now);
            let process = &run.process;
            run.failure =
                Some(format!("process {process} has given no sign of life and was taken over from"));
            run.clone()
        });
        let waits = self.retry_at.is_some_and(|at| at > now) && cut.is_none();
        let (due, missed, order, range) = match (ordered, cut, overdue) {
            (Some(order), cut, _) => (now, 0, Some(order), cut.and_then(|run| run.range)),
            (None, Some(cut), _) => (cut.due, cut.missed, cut.order, cut.range),
            (None, None, Some(due)) if !waits => {
                (due, schedule.times(self.settled, now).saturating_sub(1), None, None)
            }
            (None, None, _) => return None,
        };
        self.runs_ever += 1;
        let run = JobRun {
            number: self.runs_ever,
            due,
            missed,
            order,
            began: now,
            ended: None,
            process: by.process.clone(),
            range,
            done: None,
            failure: None,
        };
        self.claim = Some(by);
        self.runs.insert(0, run.clone());
        Some(run)
    }

    /// Notes how the run ended that is under way, and forgets runs beyond the most that are kept.
    pub(crate) fn end(
        &mut self,
        schedule: Schedule,
        came: Result<Done, String>,
        now: Timestamp,
        limits: &super::JobLimits,
    ) -> Option<JobRun> {
        self.claim = None;
        let run = self.open_run()?;
        run.ended = Some(now);
        let began = run.began;
        match came {
            Ok(done) => {
                run.done = Some(done);
                let (at, through) = match &run.range {
                    Some(range) => (range.at, Some(range.through)),
                    None => (began, None),
                };
                self.succeeded_at = Some(at);
                self.exported_through = through.or(self.exported_through);
                (self.failures, self.retry_at) = (0, None);
                // What became due while it ran is due still.
                let settled = schedule.last_through(began).unwrap_or(began);
                self.settled = self.settled.max(settled);
            }
            Err(reason) => {
                run.failure = Some(reason);
                let pause = limits.retry_pause_min.saturating_mul(1 << self.failures.min(16));
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(now.plus(pause.min(limits.retry_pause_max)));
            }
        }
        self.runs.truncate(limits.runs_max);
        self.runs.first().cloned()
    }

    /// How the job stands, for whoever asks.
    #[must_use]
    pub fn standing(&self, job: &Job, now: Timestamp) -> JobStanding {
        let schedule = job.schedule();
        let last = self.runs.iter().find(|run| run.ended.is_some());
        let claim = self.claim.as_ref().filter(|claim| claim.until > now);
        JobStanding {
            job: job.name().to_owned(),
            kind: job.kind().as_str(),
            schedule: schedule.to_string(),
            succeeded_at: self.succeeded_at,
            exported_through: self.exported_through.map(|token| token.position),
            overdue_since: self.overdue_since(schedule, now),
            next_due: schedule.next_after(now),
            running: claim.map(|claim| claim.process.clone()),
            failure: last.and_then(|run| run.failure.clone()),
        }
    }
}

/// A job's state with the version of its record.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) state: JobState,
    /// As it was read or written last; 0 before it was ever written.
    pub(crate) version: u64,
}

impl Held {
    pub(crate) async fn of(registry: &dyn Registry, job: &str, now: Timestamp) -> Result<Self, Fault> {
        match registry.record(JOB, job).await? {
            Some(record) => read(&record),
            None => Ok(Self { state: JobState::new(now), version: 0 }),
        }
    }

    /// Writes it, unless somebody has changed it since it was read. Answers whether it was written.
    pub(crate) async fn write(&mut self, registry: &dyn Registry, job: &str) -> Result<bool, Fault> {
        let body = serde_json::to_string(&self.state).map_err(|error| {
            Fault::permanent(Code::Internal, format!("job `{job}` cannot be written")).because(error)
        })?;
        let written = registry.write_record(JOB, job, self.version, &body).await?;
        self.version = written.unwrap_or(self.version);
        Ok(written.is_some())
    }

    /// Whether a process holds the claim.
    pub(crate) fn is_held_by(&self, process: &str) -> bool {
        self.state.claim.as_ref().is_some_and(|claim| claim.process == process)
    }

    /// Prolongs the claim of the process that has it.
    pub(crate) fn prolong(&mut self, now: Timestamp, lasting: Duration) {
        if let Some(claim) = &mut self.state.claim {
            claim.until = now.plus(lasting);
        }
    }
}

fn read(record: &Record) -> Result<Held, Fault> {
    let state = serde_json::from_str(&record.body).map_err(|error| {
        let message = format!("what is kept of job `{}` cannot be read", record.name);
        Fault::permanent(Code::StoreVersion, message).because(error)
    })?;
    Ok(Held { state, version: record.version })
}
