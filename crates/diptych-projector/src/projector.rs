//! The workers of a process: one task for each group that follows the log, and `drain` for those that wait
//! to be asked.

use crate::follower::{Follower, FollowerParts, ProjectorLimits, Step};
use crate::{ProjectionMetrics, VerifyError, VerifyReport, verify};
use diptych_core::{Clock, Fault, Position};
use diptych_query::{Feed, Group, Health, Lag, Mode, ModelStore, Progress, ProgressEntry, Schema};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

/// What a [`Projector`] is made of.
pub struct ProjectorParts {
    /// The log.
    pub feed: Arc<dyn Feed>,
    /// Where rows live.
    pub store: Arc<dyn ModelStore>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// Where progress is told.
    pub progress: Arc<Progress>,
    /// The groups.
    pub groups: Vec<Arc<Group>>,
    /// The limits.
    pub limits: ProjectorLimits,
}

/// The hinge of a running process.
pub struct Projector {
    parts: FollowerParts,
    progress: Arc<Progress>,
    followed: BTreeMap<&'static str, Followed>,
    stop: watch::Sender<bool>,
    workers: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// One group with its follower; the lock keeps a worker and a drain from folding the same facts.
#[derive(Clone)]
struct Followed {
    group: Arc<Group>,
    entry: Arc<ProgressEntry>,
    follower: Arc<Mutex<Follower>>,
    /// Wakes the worker when there is something to do that the log does not tell: a reset, a mended model.
    nudge: Arc<Notify>,
}

/// What a drain did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Where the group stood before.
    pub from: Position,
    /// Where it stands now: at least where the head was when the drain began.
    pub through: Position,
}

/// Why a drain did not reach the head.
#[derive(Debug)]
pub enum DrainError {
    /// There is no such group.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A fact stopped the group.
    Stopped {
        /// How it is doing.
        health: Health,
    },
    /// Infrastructure failed.
    Fault(Fault),
}

impl fmt::Display for DrainError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(out, "there is no read model `{name}`"),
            Self::Stopped { health: Health::Stopped { reason, .. } | Health::OlderCode { reason, .. } } => {
                write!(out, "the read model has stopped {reason}")
            }
            Self::Stopped { health } => write!(out, "the read model is {}", health.as_str()),
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl std::error::Error for DrainError {}

impl From<Fault> for DrainError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Projector {
    /// Prepares a projector; nothing moves before [`Projector::start`] or [`Projector::drain`].
    #[must_use]
    pub fn new(parts: ProjectorParts) -> Self {
        let ProjectorParts { feed, store, clock, progress, groups, limits } = parts;
        let parts = FollowerParts { feed, store, clock, metrics: ProjectionMetrics::default(), limits };
        let followed = groups.into_iter().map(|group| {
            let follower = Follower::new(Arc::clone(&group), &progress, parts.clone());
            let entry = progress.entry(group.name());
            (
                group.name(),
                Followed { entry, follower: Arc::new(Mutex::new(follower)), group, nudge: Arc::default() },
            )
        });
        let followed = followed.collect();
        Self {
            followed,
            parts,
            progress,
            stop: watch::Sender::new(false),
            workers: std::sync::Mutex::default(),
        }
    }

    /// What the hinge counts.
    #[must_use]
    pub fn metrics(&self) -> &ProjectionMetrics {
        &self.parts.metrics
    }

    /// Where progress is told.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Starts a worker for each group that follows the log by itself.
    pub fn start(&self) {
        let mut workers = self.workers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for followed in self.followed.values().filter(|followed| followed.group.mode() != Mode::OnDemand) {
            followed.entry.set_followed(true);
            let head = self.parts.feed.watch();
            workers.push(tokio::spawn(follow(followed.clone(), head, self.stop.subscribe())));
        }
    }

    /// Lets every worker finish its transaction and stops.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let workers = {
            let mut held = self.workers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        for worker in workers {
            if let Err(error) = worker.await {
                tracing::error!(%error, "a projection worker ended badly");
            }
        }
        self.followed.values().for_each(|followed| followed.entry.set_followed(false));
    }

    /// Folds everything that the log holds by now into a group.
    ///
    /// # Errors
    /// An unknown name, a fact that stops the group, or a fault.
    pub async fn drain(&self, name: &str) -> Result<Drained, DrainError> {
        let followed = self.followed(name)?;
        let head = self.parts.feed.head().await?.position();
        let mut follower = followed.follower.lock().await;
        // Somebody may have moved the checkpoint since this process last looked.
        follower.forget();
        self.parts.store.set_stopped(&followed.group, None).await?;
        let from = self.parts.store.checkpoint(&followed.group).await?.mark.position();
        let mut failures = 0;
        while follower.position() < head {
            match follower.step().await {
                Step::Advanced => failures = 0,
                Step::CaughtUp => break,
                Step::Stopped => {
                    return Err(DrainError::Stopped { health: followed.entry.health() });
                }
                Step::Retry(pause) => {
                    failures += 1;
                    if failures > self.parts.limits.fold_retries_max + 1 {
                        return Err(DrainError::Stopped { health: followed.entry.health() });
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
        followed.nudge.notify_one();
        Ok(Drained { from, through: follower.position().max(from) })
    }

    /// Empties a group and lets it build again from the start of the log.
    ///
    /// # Errors
    /// An unknown name or a fault.
    pub async fn reset(&self, name: &str) -> Result<(), DrainError> {
        let followed = self.followed(name)?;
        let mut follower = followed.follower.lock().await;
        let checkpoint = self.parts.store.reset(&followed.group).await?;
        follower.forget();
        followed.entry.reset();
        // A store may have caught an inline group up at once.
        followed.entry.advance(checkpoint.mark.position());
        followed.entry.set_health(Health::Live);
        followed.nudge.notify_one();
        Ok(())
    }

    /// Counts and compares every row of a group with a fresh fold of the log.
    ///
    /// # Errors
    /// An unknown name, a fact that cannot be folded, or a fault.
    pub async fn verify(&self, name: &str, differences_max: usize) -> Result<Vec<VerifyReport>, VerifyError> {
        let followed = self.followed(name).map_err(|_| VerifyError::Unknown { name: name.to_owned() })?;
        verify(&*self.parts.feed, &*self.parts.store, &followed.group, differences_max).await
    }

    /// Measures every model against the log, for the metrics.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn measure(&self) -> Result<(), Fault> {
        let FollowerParts { feed, store, clock, .. } = &self.parts;
        for followed in self.followed.values() {
            let position = store.checkpoint(&followed.group).await?.mark.position();
            let lag = Lag::measure(&**feed, &**clock, position).await?;
            for model in followed.group.models() {
                self.metrics().measured(model.schema().name, position, lag);
            }
        }
        Ok(())
    }

    /// How many rows a model has.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn row_count(&self, group: &Group, schema: &'static Schema) -> Result<u64, Fault> {
        self.parts.store.row_count(group, schema).await
    }

    fn followed(&self, name: &str) -> Result<&Followed, DrainError> {
        self.followed.get(name).ok_or_else(|| DrainError::Unknown { name: name.to_owned() })
    }
}

/// The loop of one worker: step until caught up, then sleep until the writer wakes it.
async fn follow(followed: Followed, mut head: watch::Receiver<Position>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        head.borrow_and_update();
        let step = followed.follower.lock().await.step().await;
        match step {
            Step::Advanced => {}
            Step::CaughtUp => {
                tokio::select! {
                    changed = head.changed() => if changed.is_err() { return },
                    () = followed.nudge.notified() => {}
                    _ = stop.changed() => {}
                }
            }
            Step::Retry(pause) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => {}
                }
            }
            // Only an operator, or a restart with other code, moves a stopped model.
            Step::Stopped => {
                tokio::select! {
                    () = followed.nudge.notified() => {}
                    _ = stop.changed() => {}
                }
            }
        }
    }
}
