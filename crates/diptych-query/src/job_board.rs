//! How the scheduled jobs of a service stand, as this process last saw them: what answers of models that are
//! folded from an export say of themselves. Runs no job and reads no clock.

use crate::lag::duration_in_words;
use diptych_core::{BoxFuture, Fault, Position, Timestamp};
use serde::Serialize;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// How a job stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobStanding {
    /// Its name.
    pub job: String,
    /// What it does, in a word: `export`, `verify`.
    pub kind: &'static str,
    /// When it is due, in words: `daily at 02:00 UTC`.
    pub schedule: String,
    /// When the last run that did what it should had begun: everything recorded before is in what it wrote.
    pub succeeded_at: Option<Timestamp>,
    /// Up to where the last export reaches; none for other jobs, and before the first.
    pub exported_through: Option<Position>,
    /// Since when a run is due that has not happened.
    pub overdue_since: Option<Timestamp>,
    /// When the next run is due.
    pub next_due: Option<Timestamp>,
    /// Which process runs it now.
    pub running: Option<String>,
    /// Why the last run failed; none when it did not.
    pub failure: Option<String>,
}

impl JobStanding {
    /// How long a run has been due that has not happened, in seconds; 0 when none is.
    #[must_use]
    pub fn lag_seconds(&self, now: Timestamp) -> f64 {
        self.overdue_since.map_or(0.0, |since| now.seconds_since(since))
    }

    /// How it stands, as people say it: `last success 02:00, next due 2026-11-30 02:00`, or `25 hours late,
    /// last success 2026-11-28 02:00, due since 02:00`.
    #[must_use]
    pub fn in_words(&self, now: Timestamp) -> String {
        let last = match self.succeeded_at {
            Some(at) => format!("last success {}", clock_in_words(at, now)),
            None => "no success yet".to_owned(),
        };
        if let Some(since) = self.overdue_since.filter(|since| *since <= now) {
            let late = duration_in_words(now.seconds_since(since));
            return format!("{late} late, {last}, due since {}", clock_in_words(since, now));
        }
        match self.next_due {
            Some(next) => format!("{last}, next due {}", clock_in_words(next, now)),
            None => format!("{last}, runs only when ordered"),
        }
    }

    /// What somebody waits for who waits for what the next run brings.
    #[must_use]
    pub fn awaited_in_words(&self, now: Timestamp) -> String {
        match (self.overdue_since, self.next_due) {
            (Some(since), _) if since <= now => {
                format!("waits for the export that was due at {}", clock_in_words(since, now))
            }
            (_, Some(next)) => format!("waits for the next export at {}", clock_in_words(next, now)),
            _ => "waits for an export that is not scheduled".to_owned(),
        }
    }

    /// What is known of the export that a model is folded from: `last export 02:00`.
    #[must_use]
    pub fn export_in_words(&self, now: Timestamp) -> String {
        let mut words = match self.succeeded_at {
            Some(at) => format!("last export {}", clock_in_words(at, now)),
            None => "never exported".to_owned(),
        };
        match (self.overdue_since, self.succeeded_at, self.next_due) {
            (Some(since), ..) if since <= now => {
                let due = clock_in_words(since, now);
                words.push_str(&format!(", the export due {due} is missing"));
            }
            (_, None, Some(next)) => {
                words.push_str(&format!(", first export due {}", clock_in_words(next, now)));
            }
            _ => {}
        }
        words
    }
}

/// A time as people say it on the same day, `02:00`, and with its day on any other. In UTC.
#[must_use]
pub fn clock_in_words(at: Timestamp, now: Timestamp) -> String {
    let (date, text) = (at.date(), at.to_string());
    let time = text.split('T').nth(1).and_then(|time| time.get(..5)).unwrap_or_default();
    if date == now.date() { time.to_owned() } else { format!("{date} {time}") }
}

/// Where the standing of a job is read afresh.
pub trait JobRecords: Send + Sync + 'static {
    /// How a job stands now; none where there is no such job.
    ///
    /// # Errors
    /// A fault of the store.
    fn standing<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<Option<JobStanding>, Fault>>;
}

/// The jobs of a service. Whoever looks at their records writes here, answers read.
#[derive(Default)]
pub struct JobBoard {
    jobs: RwLock<Vec<Arc<JobStanding>>>,
    records: OnceLock<Arc<dyn JobRecords>>,
}

impl JobBoard {
    /// Says where standings are read afresh. What was said first holds.
    pub fn read_from(&self, records: Arc<dyn JobRecords>) {
        // Who says it again says the same.
        let _ = self.records.set(records);
    }

    /// Notes how the jobs stand.
    pub fn note(&self, jobs: Vec<JobStanding>) {
        let jobs = jobs.into_iter().map(Arc::new).collect();
        *self.jobs.write().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    /// How all of them stood at the last look.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<JobStanding>> {
        self.jobs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How one of them stood at the last look.
    #[must_use]
    pub fn of(&self, job: &str) -> Option<Arc<JobStanding>> {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().find(|standing| standing.job == job).cloned()
    }

    /// How an export stands of which somebody holds everything up to a position. That it never was, that a
    /// run of it is missing, and what the position contradicts is not told from memory: another process may
    /// have exported since the last look.
    pub async fn export(&self, job: &str, reached: Position, now: Timestamp) -> Option<Arc<JobStanding>> {
        let seen = self.of(job)?;
        let has_come = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        let is_missing =
            seen.succeeded_at.is_none() || has_come(seen.overdue_since) || has_come(seen.next_due);
        if !is_missing && seen.exported_through >= Some(reached) {
            return Some(seen);
        }
        let Some(records) = self.records.get() else { return Some(seen) };
        match records.standing(job).await {
            Ok(Some(fresh)) => Some(self.noted(fresh)),
            Ok(None) => Some(seen),
            Err(fault) => {
                tracing::warn!(job, %fault, "how a job stands is told as it stood at the last look");
                Some(seen)
            }
        }
    }

    fn noted(&self, fresh: JobStanding) -> Arc<JobStanding> {
        let fresh = Arc::new(fresh);
        let mut jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = jobs.iter_mut().find(|held| held.job == fresh.job) {
            *held = Arc::clone(&fresh);
        }
        fresh
    }
}

impl std::fmt::Debug for JobBoard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("JobBoard").field(&self.all()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lag;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn export(succeeded: Option<&str>, overdue: Option<&str>) -> JobStanding {
        JobStanding {
            job: "nightly-events".to_owned(),
            kind: "export",
            schedule: "daily at 02:00 UTC".to_owned(),
            succeeded_at: succeeded.map(time),
            exported_through: None,
            overdue_since: overdue.map(time),
            next_due: Some(time("2026-11-30T02:00:00Z")),
            running: None,
            failure: None,
        }
    }

    #[test]
    fn an_answer_says_how_far_it_is_behind_and_of_which_export_it_is() {
        let now = time("2026-11-29T02:30:00Z");
        let behind = Lag { events: 12, seconds: 1_800.0 };
        let (last, before) = (Some("2026-11-29T02:00:00Z"), Some("2026-11-28T02:00:00Z"));
        let none = Lag::default();
        let table = [
            (none, None, "up to date"),
            (Lag { events: 1, seconds: 3.0 }, None, "3 seconds behind"),
            (behind, None, "30 minutes behind"),
            (behind, Some(export(last, None)), "30 minutes behind, last export 02:00"),
            (none, Some(export(last, None)), "up to date, last export 02:00"),
            (
                Lag { events: 9, seconds: 88_200.0 },
                Some(export(before, last)),
                "25 hours behind, last export 2026-11-28 02:00, the export due 02:00 is missing",
            ),
            (
                behind,
                Some(export(None, None)),
                "30 minutes behind, never exported, first export due 2026-11-30 02:00",
            ),
            (
                behind,
                Some(export(None, last)),
                "30 minutes behind, never exported, the export due 02:00 is missing",
            ),
        ];
        for (lag, export, words) in table {
            assert_eq!(lag.told(export.as_ref(), now), words);
        }
    }

    #[test]
    fn a_job_says_in_words_how_it_stands() {
        let now = time("2026-11-29T02:30:00Z");
        let (last, before) = (Some("2026-11-29T02:00:00Z"), Some("2026-11-28T02:00:00Z"));
        let table = [
            (export(last, None), "last success 02:00, next due 2026-11-30 02:00"),
            (export(None, None), "no success yet, next due 2026-11-30 02:00"),
            (export(before, last), "30 minutes late, last success 2026-11-28 02:00, due since 02:00"),
            (export(None, before), "25 hours late, no success yet, due since 2026-11-28 02:00"),
            (
                JobStanding { next_due: None, ..export(last, None) },
                "last success 02:00, runs only when ordered",
            ),
        ];
        for (standing, words) in table {
            assert_eq!(standing.in_words(now), words);
        }
    }

    #[test]
    fn whoever_waits_is_told_for_which_export() {
        let now = time("2026-11-29T02:30:00Z");
        let waits = |overdue| export(None, overdue).awaited_in_words(now);
        assert_eq!(waits(None), "waits for the next export at 2026-11-30 02:00");
        assert_eq!(waits(Some("2026-11-29T02:00:00Z")), "waits for the export that was due at 02:00");
    }
}
