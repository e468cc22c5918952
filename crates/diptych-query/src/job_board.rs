//! How the scheduled jobs of a service stand, as this process last saw them: what answers of models that are
//! folded from an export say of themselves. Runs no job and reads no clock.

use diptych_core::{Position, Timestamp};
use serde::Serialize;
use std::sync::{PoisonError, RwLock};

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

/// The jobs of a service. Whoever looks at their records writes here, answers read.
#[derive(Debug, Default)]
pub struct JobBoard(RwLock<Vec<JobStanding>>);

impl JobBoard {
    /// Notes how the jobs stand.
    pub fn note(&self, jobs: Vec<JobStanding>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    /// How all of them stand.
    #[must_use]
    pub fn all(&self) -> Vec<JobStanding> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How one of them stands.
    #[must_use]
    pub fn of(&self, job: &str) -> Option<JobStanding> {
        let jobs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().find(|standing| standing.job == job).cloned()
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
    fn whoever_waits_is_told_for_which_export() {
        let now = time("2026-11-29T02:30:00Z");
        let waits = |overdue| export(None, overdue).awaited_in_words(now);
        assert_eq!(waits(None), "waits for the next export at 2026-11-30 02:00");
        assert_eq!(waits(Some("2026-11-29T02:00:00Z")), "waits for the export that was due at 02:00");
    }
}
