//! A kitchen with a nightly export, a clock that is moved by hand, and a folder for its files.

use crate::support::Folder;
use crate::support::jar::{Jar, JarCommand, JarEvent, JarId};
use crate::support::kitchen::{fresh, give, rows, shelf};
use diptych::core::Clock;
use diptych::ops::jobs::{JOB, JobState};
use diptych::ops::{JobRun, Output, Report, jobs};
use diptych::prelude::*;
use diptych::query::Freshness;
use diptych::{Database, Place};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

shelf!(Shelf, "shelf");
shelf!(NightShelf, "night_shelf", source = "nightly-events");

/// How long a model is waited for that moves by itself.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// The name of the job.
pub(crate) const NIGHTLY: &str = "nightly-events";

/// A clock that shows what it was set to.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.0.load(Ordering::SeqCst))
    }
}

/// A place for a store, a folder for exports, and the time.
pub(crate) struct World {
    place: Place,
    hands: Hands,
    folder: PathBuf,
    /// How many files of the export stay as they are; none for all.
    kept: Option<usize>,
    /// Removes the folder; none where another process does.
    _owned: Option<Folder>,
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl World {
    pub(crate) fn on_sqlite() -> Self {
        let folder = Folder::new();
        Self::at(Place::Directory(folder.path().join("store")), folder.path().to_owned(), Some(folder))
    }

    pub(crate) fn on_postgres() -> Self {
        let folder = Folder::new();
        Self::at(fresh(), folder.path().to_owned(), Some(folder))
    }

    fn at(place: Place, folder: PathBuf, owned: Option<Folder>) -> Self {
        let hands = Hands(Arc::new(AtomicI64::new(0)));
        let world = Self { place, hands, folder, kept: None, _owned: owned };
        world.set("2026-11-28T12:00:00Z");
        world
    }

    /// What a process of its own has to be told to be in this world.
    pub(crate) fn for_a_child(&self) -> Vec<(&'static str, String)> {
        let place = match &self.place {
            Place::Directory(directory) => directory.display().to_string(),
            Place::Postgres(Database { schema, .. }) => schema.clone(),
        };
        vec![
            ("DIPTYCH_JOBS_PLACE", place),
            ("DIPTYCH_JOBS_FOLDER", self.folder.display().to_string()),
            ("DIPTYCH_JOBS_NOW", self.now().to_string()),
        ]
    }

    /// The world that a parent has told of; none where this is no child.
    pub(crate) fn of_the_parent() -> Option<Self> {
        let told = |name| std::env::var(name).ok();
        let place = told("DIPTYCH_JOBS_PLACE")?;
        let place = match (place.contains('/'), told("DIPTYCH_POSTGRES_URL")) {
            (true, _) | (false, None) => Place::Directory(place.into()),
            (false, Some(url)) => Place::Postgres(Database { schema: place, ..Database::at(url) }),
        };
        let world = Self::at(place, told("DIPTYCH_JOBS_FOLDER")?.into(), None);
        world.set(&told("DIPTYCH_JOBS_NOW")?);
        Some(world)
    }

    /// Moves the clock forwards.
    pub(crate) fn later(&self, seconds: u64) {
        let later = self.now().plus(Duration::from_secs(seconds));
        self.hands.0.store(later.as_micros(), Ordering::SeqCst);
    }

    /// Takes all files of the nightly export away.
    pub(crate) fn forget_files(&self) {
        std::fs::remove_dir_all(self.files()).unwrap();
    }

    pub(crate) fn set(&self, now: &str) {
        self.hands.0.store(time(now).as_micros(), Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.hands.now()
    }

    /// Where the files of the nightly export are.
    pub(crate) fn files(&self) -> PathBuf {
        self.files_of(NIGHTLY)
    }

    /// The names of its files, in order.
    pub(crate) fn file_names(&self) -> Vec<String> {
        self.file_names_of(NIGHTLY)
    }

    /// The names of the files of a job, in order.
    pub(crate) fn file_names_of(&self, job: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.files_of(job)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The same, where so many files of the export stay as they are.
    pub(crate) fn keeping_last(self, files: usize) -> Self {
        Self { kept: Some(files), ..self }
    }

    /// Where a job writes its files.
    pub(crate) fn files_of(&self, job: &str) -> PathBuf {
        self.folder.join("exports").join(job)
    }

    pub(crate) fn service(&self) -> Service {
        let nightly = Job::export(NIGHTLY).daily_at("02:00");
        let nightly = match self.kept {
            Some(files) => nightly.keep_last(files),
            None => nightly,
        };
        Service::new("kitchen")
            .decider::<Jar>()
            .read_model::<Shelf>()
            .read_model::<NightShelf>()
            .job(nightly)
            .job(Job::verify("checked").of("shelf").every(Duration::from_secs(3_600)))
            .clock(self.hands.clone())
    }

    pub(crate) fn config(&self) -> Config {
        let mut config =
            Config { exports: Some(self.folder.join("exports")), ..Config::at(self.place.clone()) };
        // Only what a test says happens: the first look is made before anything is due.
        config.jobs.beat = Duration::from_secs(3_600);
        config
    }

    /// A second process over the same store, where the store takes one.
    pub(crate) async fn second(&self) -> Option<Running> {
        match self.place {
            Place::Directory(_) => None,
            Place::Postgres(_) => Some(self.open().await),
        }
    }

    /// Opens the service with further jobs.
    pub(crate) async fn open_with(&self, jobs: impl IntoIterator<Item = Job>) -> Running {
        let service = jobs.into_iter().fold(self.service(), Service::job);
        service.open(self.config()).await.unwrap()
    }

    /// Opens what an operator's tool is beside a process that serves: it runs only what it is told to.
    pub(crate) async fn open_tool(&self) -> Running {
        let mut config = self.config();
        config.roles = Roles::ALL.without(Role::Projector).without(Role::Command);
        self.service().open(config).await.unwrap()
    }

    pub(crate) async fn open(&self) -> Running {
        self.service().open(self.config()).await.unwrap()
    }
}

/// What is in each jar, as the model says that follows the log.
pub(crate) async fn by_day(running: &Running, token: Token) -> Vec<(String, i64)> {
    let rows: Vec<Shelf> = rows(running, token).await;
    rows.into_iter().map(|row| (row.jar.to_string(), row.spoons)).collect()
}

/// What is in each jar, as the model says that is folded from the export.
pub(crate) async fn by_night(running: &Running) -> (Vec<(String, i64)>, Freshness) {
    let answer = running.queries().find(running.principal(), NightShelf::find()).await.unwrap();
    let rows = answer.value.items.into_iter().map(|row| (row.jar.to_string(), row.spoons)).collect();
    (rows, answer.freshness)
}

/// Puts spoons into a jar.
pub(crate) async fn fill(running: &Running, jar: &str, spoons: i64) -> Token {
    give(running, jar, JarCommand::Fill { spoons }).await
}

/// Runs what is due, and answers the runs of the nightly export.
pub(crate) async fn run_due(running: &Running) -> Vec<JobRun> {
    run_due_of(running, NIGHTLY).await
}

/// Runs what is due, and answers the runs of a job.
pub(crate) async fn run_due_of(running: &Running, job: &str) -> Vec<JobRun> {
    let runs = running.run_due_jobs().await.unwrap();
    runs.into_iter().filter(|(name, _)| name == job).map(|(_, run)| run).collect()
}

/// What is kept of the nightly export.
pub(crate) async fn state(running: &Running) -> JobState {
    let record = running.store().record(JOB, NIGHTLY).await.unwrap().unwrap();
    serde_json::from_str(&record.body).unwrap()
}

/// `jobs show` of the nightly export, as people read it.
pub(crate) async fn shown(running: &Running) -> (Report, String) {
    let report = jobs::show_job(&running.operator().await.unwrap(), NIGHTLY).await.unwrap();
    let text = report.render(Output::Human);
    (report, text)
}

/// `jobs list`.
pub(crate) async fn listed(running: &Running) -> Report {
    jobs::list_jobs(&running.operator().await.unwrap()).await.unwrap()
}

/// Waits until the night shelf holds a position.
pub(crate) async fn night_reaches(running: &Running, token: Token) {
    let awaited = running.queries().wait_all(running.principal(), &["night_shelf"], Some(token), LONG).await;
    let awaited = awaited.unwrap();
    assert_eq!(awaited[0].freshness.caught_up_to_requested_position, Some(true), "{:?}", awaited[0]);
}

/// The words of a model's freshness.
pub(crate) async fn words(running: &Running, model: &str) -> String {
    running.queries().freshness(model).await.unwrap().0.words
}
