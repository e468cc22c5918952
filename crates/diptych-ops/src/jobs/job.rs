//! Jobs as a service declares them: what is done, when, and where files go. Values only.

use super::schedule::Schedule;
use crate::RowsFormat;
use diptych_query::Schema;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest name of a job, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A job of a service: something that is done at its time, once across all processes.
///
/// ```
/// use diptych_ops::Job;
/// use std::time::Duration;
/// let nightly = Job::export("nightly-events").daily_at("02:00");
/// let checked = Job::verify("verify-orders").of("order_summary").every(Duration::from_secs(6 * 3_600));
/// assert_eq!((nightly.kind().as_str(), checked.kind().as_str()), ("export", "verify"));
/// ```
#[derive(Clone, Debug)]
pub struct Job {
    name: String,
    kind: JobKind,
    schedule: Result<Schedule, String>,
    into: Option<PathBuf>,
    keep: Option<usize>,
}

/// What a job does. Read models go by their names.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JobKind {
    /// Writes the events since its last run to a file that joins those before.
    Export,
    /// Holds every row of a read model, or of all, against a fresh fold of the log.
    Verify {
        /// Which one; none is all.
        model: Option<String>,
    },
    /// A whole pass of the patrol over the group of a read model, or over all.
    Patrol {
        /// Which one; none is all.
        model: Option<String>,
    },
    /// Builds a read model anew beside the one that answers, compares, and switches.
    Rebuild {
        /// Which one.
        model: String,
    },
    /// Writes the rows of a read model to a file.
    Rows {
        /// Which one.
        model: String,
        /// How rows are written down.
        format: RowsFormat,
    },
}

impl JobKind {
    /// The word that operators see.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Verify { .. } => "verify",
            Self::Patrol { .. } => "patrol",
            Self::Rebuild { .. } => "rebuild",
            Self::Rows { .. } => "rows",
        }
    }

    /// The read model that it is about, where it is about one.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Export => None,
            Self::Verify { model } | Self::Patrol { model } => model.as_deref(),
            Self::Rebuild { model } | Self::Rows { model, .. } => Some(model),
        }
    }
}

impl Job {
    fn new(name: impl Into<String>, kind: JobKind) -> Self {
        Self { name: name.into(), kind, schedule: Ok(Schedule::OnOrder), into: None, keep: None }
    }

    /// A job that writes the events of the log to files, each with those since the one before. Read models
    /// may name it as their `source`.
    pub fn export(name: impl Into<String>) -> Self {
        Self::new(name, JobKind::Export)
    }

    /// A job that holds all read models against the log; [`Job::of`] names one.
    pub fn verify(name: impl Into<String>) -> Self {
        Self::new(name, JobKind::Verify { model: None })
    }

    /// A job that patrols all read models; [`Job::of`] names one.
    pub fn patrol(name: impl Into<String>) -> Self {
        Self::new(name, JobKind::Patrol { model: None })
    }

    /// A job that builds a read model anew.
    pub fn rebuild(name: impl Into<String>, model: impl Into<String>) -> Self {
        Self::new(name, JobKind::Rebuild { model: model.into() })
    }

    /// A job that writes the rows of a read model to a file.
    pub fn rows(name: impl Into<String>, model: impl Into<String>, format: RowsFormat) -> Self {
        Self::new(name, JobKind::Rows { model: model.into(), format })
    }

    /// Has it be about one read model only. An export of the log is about none, and stays so.
    #[must_use]
    pub fn of(mut self, name: impl Into<String>) -> Self {
        match &mut self.kind {
            JobKind::Verify { model } | JobKind::Patrol { model } => *model = Some(name.into()),
            JobKind::Rebuild { model } | JobKind::Rows { model, .. } => *model = name.into(),
            JobKind::Export => {}
        }
        self
    }

    /// Has it be due once a day at a time of the day in UTC, such as `02:00`. What cannot be read is a
    /// problem of the service that has the job.
    #[must_use]
    pub fn daily_at(mut self, time: &str) -> Self {
        self.schedule = Schedule::daily_at(time);
        self
    }

    /// Has it be due again and again after so long. All processes count from the same beginning.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.schedule = Schedule::every(period);
        self
    }

    /// Says in which folder its files are, under that of all exports; without, in one of its own name.
    #[must_use]
    pub fn into(mut self, folder: impl Into<PathBuf>) -> Self {
        self.into = Some(folder.into());
        self
    }

    /// Has it keep so many of its last files as they are; without, all are kept for ever. Older files of rows
    /// are removed. Older files of an export are joined into one once there are as many again: nothing that a
    /// read model may be folded from is ever lost.
    ///
    /// ```
    /// use diptych_ops::{Job, RowsFormat};
    /// let nightly = Job::export("nightly-events").daily_at("02:00").keep_last(30);
    /// let sheet = Job::rows("shelf-sheet", "shelf", RowsFormat::Csv).daily_at("06:00").keep_last(7);
    /// assert_eq!((nightly.kept(), sheet.kept()), (Some(30), Some(7)));
    /// ```
    #[must_use]
    pub fn keep_last(mut self, files: usize) -> Self {
        self.keep = Some(files);
        self
    }

    /// How many of its last files are kept as they are; none where all are.
    #[must_use]
    pub fn kept(&self) -> Option<usize> {
        self.keep
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> &JobKind {
        &self.kind
    }

    /// When it is due; a schedule that cannot be read never is.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedule.clone().unwrap_or(Schedule::OnOrder)
    }

    /// The folder of its files, under that of all exports.
    #[must_use]
    pub fn folder(&self, exports: &Path) -> PathBuf {
        exports.join(self.into.as_deref().unwrap_or_else(|| Path::new(&self.name)))
    }
}

/// What is wrong with the jobs of a service, and with the sources that its read models name.
#[must_use]
pub fn job_problems(jobs: &[Job], models: &[&Schema]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        let name = job.name();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            problems
                .push(format!("the name of job `{name}` may hold only lower-case letters, digits and `-`"));
        }
        if jobs[..index].iter().any(|other| other.name == job.name) {
            problems.push(format!("two jobs are called `{name}`"));
        }
        let mut before = jobs[..index].iter().filter(|other| other.name != job.name);
        let nowhere = Path::new("");
        if let Some(other) = before.find(|other| other.folder(nowhere) == job.folder(nowhere)) {
            problems.push(format!("jobs `{}` and `{name}` write into the same folder", other.name));
        }
        if let Err(reason) = &job.schedule {
            problems.push(format!("job `{name}` is never due: {reason}"));
        }
        match (job.keep, &job.kind) {
            (Some(0), _) => problems.push(format!("job `{name}` must keep at least its last file")),
            (Some(_), JobKind::Verify { .. } | JobKind::Patrol { .. } | JobKind::Rebuild { .. }) => {
                problems.push(format!("job `{name}` writes no files, so it cannot keep the last of them"));
            }
            _ => {}
        }
        if let Some(model) = job.kind.model()
            && models.iter().all(|schema| schema.name != model)
        {
            problems.push(format!("job `{name}` is about `{model}`, which is no read model of the service"));
        }
    }
    for schema in models.iter().filter(|schema| !schema.source.is_empty()) {
        let (name, source) = (schema.name, schema.source);
        if !jobs.iter().any(|job| job.name == source && job.kind == JobKind::Export) {
            problems.push(format!("read model `{name}` is folded from `{source}`, which no job exports"));
        }
        if schema.contract == diptych_query::Contract::Strong {
            problems.push(format!("read model `{name}` is folded from an export, so it cannot be strong"));
        }
    }
    problems
}
