//! How jobs stand and what their runs did, for operators.

use super::record::{Held, JobRun};
use crate::report::table;
use crate::words::{bytes_in_words, seconds_in_words};
use crate::{ActionError, Operator, Report};
use diptych_core::{Code, Fault};
use diptych_query::{JobStanding, clock_in_words};
use serde::Serialize;
use std::fmt::Write;

/// How many runs are shown of one job.
const RUNS_SHOWN: usize = 20;

/// A job with its runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReport {
    /// How it stands.
    #[serde(flatten)]
    pub standing: JobStanding,
    /// Since how many seconds a run is due that has not happened; 0 when none is.
    pub lag_seconds: f64,
    /// How it stands, as people say it.
    pub words: String,
    /// How many runs there were.
    pub runs_ever: u64,
    /// The last of them, the last one first.
    pub runs: Vec<JobRun>,
}

/// How every job stands.
///
/// # Errors
/// A fault of the store.
pub async fn list_jobs(operator: &Operator<'_>) -> Result<Report, ActionError> {
    Ok(Report::Jobs(reports(operator).await?))
}

/// Every job with its last run.
pub(crate) async fn reports(operator: &Operator<'_>) -> Result<Vec<JobReport>, ActionError> {
    let mut reports = Vec::new();
    for job in &operator.jobs.jobs {
        reports.push(report(operator, job.name(), 1).await?);
    }
    Ok(reports)
}

/// One job with its runs.
///
/// # Errors
/// [`Code::JobRefused`] for a job that there is not, or a fault of the store.
pub async fn show_job(operator: &Operator<'_>, name: &str) -> Result<Report, ActionError> {
    Ok(Report::Job(Box::new(report(operator, name, RUNS_SHOWN).await?)))
}

async fn report(operator: &Operator<'_>, name: &str, most: usize) -> Result<JobReport, ActionError> {
    let job = operator.jobs.job(name).ok_or_else(|| {
        let reason = format!("there is no job `{name}`; `jobs list` shows them");
        Fault::permanent(Code::JobRefused, reason)
    })?;
    let now = operator.commands.now();
    let Held { state, .. } = Held::of(operator.registry, name, now).await?;
    let standing = state.standing(job, now);
    let (lag_seconds, words) = (standing.lag_seconds(now), standing.in_words(now));
    let runs = state.runs.into_iter().take(most).collect();
    Ok(JobReport { standing, lag_seconds, words, runs_ever: state.runs_ever, runs })
}

impl JobReport {
    /// Whether nothing is due that did not happen, and the last run did not fail or leave anything undone.
    pub(crate) fn is_clean(&self) -> bool {
        let untidied = self.runs.first().and_then(|run| run.done.as_ref()?.untidied.as_ref());
        self.lag_seconds == 0.0 && self.standing.failure.is_none() && untidied.is_none()
    }

    fn state(&self) -> String {
        match (&self.standing.running, self.standing.overdue_since) {
            (Some(process), _) => format!("running in {process}"),
            (None, Some(since)) => {
                format!("OVERDUE by {}, since {since}", seconds_in_words(self.lag_seconds))
            }
            (None, None) => "waiting".to_owned(),
        }
    }
}

pub(crate) fn jobs_table(reports: &[JobReport]) -> String {
    let mut table = table(&["job", "does", "when", "state", "last success", "next", "last run"]);
    for report in reports {
        let JobStanding { job, kind, schedule, succeeded_at, next_due, .. } = &report.standing;
        let time =
            |at: &Option<diptych_core::Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        table.add_row(vec![
            job.clone(),
            (*kind).to_owned(),
            schedule.clone(),
            report.state(),
            time(succeeded_at),
            next_due.map_or_else(String::new, |at| at.to_string()),
            report.runs.first().map_or_else(|| "none yet".to_owned(), outcome),
        ]);
    }
    table.to_string()
}

/// How every job stands, in words: what an operator looks at first.
pub(crate) fn standings_table(reports: &[JobReport]) -> String {
    let mut table = table(&["job", "does", "when", "how it stands", "last run"]);
    for report in reports {
        let JobStanding { job, kind, schedule, running, .. } = &report.standing;
        let running = running.as_ref().map_or_else(String::new, |process| format!("; running in {process}"));
        table.add_row(vec![
            job.clone(),
            (*kind).to_owned(),
            schedule.clone(),
            format!("{}{running}", report.words),
            report.runs.first().map_or_else(|| "none yet".to_owned(), outcome),
        ]);
    }
    table.to_string()
}

fn outcome(run: &JobRun) -> String {
    match (&run.done, &run.failure, run.ended) {
        (_, Some(reason), _) => format!("FAILED: {reason}"),
        (Some(done), None, _) => match &done.untidied {
            Some(reason) => format!("{}; OLDER FILES STAY: {reason}", done.outcome),
            None => done.outcome.clone(),
        },
        (None, None, None) => "under way".to_owned(),
        (None, None, Some(_)) => "not known".to_owned(),
    }
}

pub(crate) fn run_text(run: &JobRun) -> String {
    let mut text = format!("run {}: {}", run.number, outcome(run));
    if let Some(done) = &run.done {
        if let Some(file) = &done.file {
            let _ = write!(text, "\n{file} ({})", bytes_in_words(done.bytes));
        }
        if let Some(checksum) = &done.checksum {
            let _ = write!(text, "\n{checksum}");
        }
    }
    text
}

pub(crate) fn job_text(report: &JobReport) -> String {
    let JobStanding { job, kind, schedule, succeeded_at, exported_through, next_due, .. } = &report.standing;
    let mut text = format!("{job}: {kind}, {schedule}, {}", report.state());
    let succeeded = succeeded_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let _ = write!(text, "\nlast success {succeeded}");
    if let Some(through) = exported_through {
        let _ = write!(text, ", exported through position {through}");
    }
    if let Some(next) = next_due {
        let _ = write!(text, "\nnext due {next}");
    }
    let mut table = table(&["run", "due", "began", "took", "process", "why", "what came of it"]);
    for run in &report.runs {
        let took = run.ended.map(|ended| seconds_in_words(ended.seconds_since(run.began)));
        let why = match &run.order {
            Some(order) => format!("{}: {}", order.actor.as_str(), order.reason),
            None if run.missed > 0 => format!("due, and makes up for {} before", run.missed),
            None => "due".to_owned(),
        };
        table.add_row(vec![
            run.number.to_string(),
            clock_in_words(run.due, run.began),
            run.began.to_string(),
            took.unwrap_or_default(),
            run.process.clone(),
            why,
            run_text(run).split_once(": ").map_or_else(String::new, |(_, rest)| rest.to_owned()),
        ]);
    }
    let _ = write!(text, "\n{} runs so far\n{table}", report.runs_ever);
    text
}
