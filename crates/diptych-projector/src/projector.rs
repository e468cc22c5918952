//! What a process moves: its share of the groups that follow the log, and `drain` for those that wait to be
//! asked.

use crate::follower::{Follower, FollowerParts, ProjectorLimits, Step};
use crate::keeper::{GivenUp, Keeper, KeeperParts, Kept};
use crate::serving::is_away;
use crate::steward::StewardParts;
use crate::worker::{Part, work_inline};
use crate::{ProjectionMetrics, Steward, VerifyError, VerifyReport, verify};
use diptych_core::{Clock, Fault, Position};
use diptych_query::{
    Checkpoint, Feed, Group, Health, Lag, Mode, ModelStore, NoSources, Partition, PartitionState, Progress,
    ProgressEntry, Readiness, Registry, Schema, Sources, Stopped, WorkerId,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

/// What a [`Projector`] is made of.
pub struct ProjectorParts {
    /// What this process is called among those that share the work.
    pub worker: WorkerId,
    /// The log.
    pub feed: Arc<dyn Feed>,
    /// Where rows live.
    pub store: Arc<dyn ModelStore>,
    /// What is known beside the rows; of the same store.
    pub registry: Arc<dyn Registry>,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// Where progress is told.
    pub progress: Arc<Progress>,
    /// The groups, attached.
    pub groups: Vec<Arc<Group>>,
    /// The limits.
    pub limits: ProjectorLimits,
}

/// The hinge of a running process.
pub struct Projector {
    pub(crate) worker: WorkerId,
    pub(crate) parts: FollowerParts,
    progress: Arc<Progress>,
    pub(crate) followed: BTreeMap<&'static str, Followed>,
    pub(crate) given_up: GivenUp,
    /// Has the keeper look at once.
    pub(crate) nudge: Arc<Notify>,
    pub(crate) steward: Steward,
    pub(crate) stop: watch::Sender<bool>,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// One group with what moves its partitions.
#[derive(Clone)]
pub(crate) struct Followed {
    pub(crate) group: Arc<Group>,
    pub(crate) entry: Arc<ProgressEntry>,
    pub(crate) parts: Vec<Part>,
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
        Self::with_sources(parts, Arc::new(NoSources))
    }

    /// Like [`Projector::new`], with the exports that groups may be folded from.
    #[must_use]
    pub fn with_sources(parts: ProjectorParts, sources: Arc<dyn Sources>) -> Self {
        let ProjectorParts { worker, feed, store, registry, clock, progress, groups, limits } = parts;
        let metrics = ProjectionMetrics::default();
        let parts = FollowerParts { feed, sources, store, registry, clock, metrics, limits };
        let nudge: Arc<Notify> = Arc::default();
        let steward = Steward::new(StewardParts {
            worker: WorkerId::new(format!("{worker}:steward")),
            registry: Arc::clone(&parts.registry),
            follower: parts.clone(),
            progress: Arc::clone(&progress),
            groups: groups.clone(),
            keeper: Arc::clone(&nudge),
            nudge: Notify::new(),
        });
        let followed = groups.into_iter().map(|group| {
            let entry = progress.entry(group.name());
            let own = parts.store.partitions_of(&group).into_iter().map(|partition| {
                let follower = Follower::new(Arc::clone(&group), partition, &progress, parts.clone());
                let (entry, follower) = (Arc::clone(&entry), Arc::new(Mutex::new(follower)));
                Part { partition, entry, follower, nudge: Arc::default() }
            });
            let own = own.collect();
            (group.name(), Followed { group, entry, parts: own })
        });
        let followed = followed.collect();
        Self {
            worker,
            followed,
            parts,
            progress,
            given_up: GivenUp::default(),
            nudge,
            steward,
            stop: watch::Sender::new(false),
            tasks: std::sync::Mutex::default(),
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

    /// Starts to take a share of the groups that follow the log by themselves. What this process moves and
    /// what others do is settled by leases; inline groups, which every writer moves, are caught up with here.
    pub fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        for Followed { group, parts, .. } in self.followed.values() {
            match group.mode() {
                Mode::OnDemand => {}
                Mode::Asynchronous => {
                    // Until the keeper has looked: what stopped in another life is about to be tried again.
                    parts.iter().for_each(|part| part.entry.set_followed_in(part.partition, true));
                    kept.push(Kept { group: Arc::clone(group), parts: parts.clone() });
                }
                Mode::Inline => tasks.extend(parts.iter().map(|part| {
                    let head = self.parts.feed.watch();
                    tokio::spawn(work_inline(part.clone(), head, self.stop.subscribe()))
                })),
            }
        }
        let keeper = Keeper::new(KeeperParts {
            worker: self.worker.clone(),
            feeds: self.parts.feeds(),
            store: Arc::clone(&self.parts.store),
            limits: self.parts.limits.clone(),
            kept,
            given_up: self.given_up.clone(),
            nudge: Arc::clone(&self.nudge),
        });
        let (steward, stop) = (self.steward.clone(), self.stop.subscribe());
        tasks.push(tokio::spawn(async move {
            // A build that is to be compared must not be moved before it is known to be.
            if let Err(fault) = steward.learn().await {
                tracing::warn!(%fault, "the builds of read models could not be looked at");
            }
            keeper.run(stop).await;
        }));
        tasks.push(tokio::spawn(self.steward.clone().run(self.stop.subscribe())));
    }

    /// Follows what other processes switch, where this one moves nothing itself.
    pub fn start_looking(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(tokio::spawn(self.steward.clone().keep_learning(self.stop.subscribe())));
    }

    /// Has [`Projector::stop`] wait for a task that it has told to stop.
    pub(crate) fn keep_task(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Lets every worker finish its transaction, gives the leases back, and stops.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = {
            let mut held = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a projection worker ended badly");
            }
        }
    }

    /// Sees to it that everything that the log holds by now, or the export that a group is folded from, is in
    /// the group: folds it here, or waits for the process that holds the lease.
    ///
    /// # Errors
    /// An unknown name, a fact that stops the group, or a fault.
    pub async fn drain(&self, name: &str) -> Result<Drained, DrainError> {
        let followed = self.followed(name)?;
        let head = self.parts.feeds().of(&followed.group).head().await?.position();
        self.given_up.forget(&followed.group);
        for part in &followed.parts {
            self.parts.store.set_stopped(&followed.group, part.partition, None).await?;
        }
        let from = self.parts.store.checkpoint(&followed.group).await?.mark.position();
        let mut through = None;
        for part in &followed.parts {
            let reached = self.drain_part(followed, part, head).await?;
            through = Some(through.map_or(reached, |lowest: Position| lowest.min(reached)));
            part.nudge.notify_one();
        }
        self.nudge.notify_one();
        Ok(Drained { from, through: through.unwrap_or(from).max(from) })
    }

    /// Brings one partition to a position: by the worker's lease, under one of its own, or by whoever has it.
    async fn drain_part(
        &self,
        followed: &Followed,
        part: &Part,
        head: Position,
    ) -> Result<Position, DrainError> {
        let FollowerParts { store, limits, .. } = &self.parts;
        let Followed { group, .. } = followed;
        // A name of its own: a drain that is cut short must not leave a lease that this process keeps alive.
        let drain = WorkerId::new(format!("{}:drain", self.worker));
        loop {
            let mut follower = part.follower.lock().await;
            let mut borrowed = None;
            if group.mode() == Mode::Inline || follower.lease().is_some() {
                // Somebody may have moved the checkpoint since this process last looked.
                follower.forget();
            } else if let Some(lease) =
                store.claim(group, part.partition, &drain, limits.lease_duration).await?
            {
                borrowed = Some(lease);
                follower.set_lease(borrowed);
            } else {
                drop(follower);
                if let Some(reached) = self.reached_elsewhere(group, part.partition, head).await? {
                    return Ok(reached);
                }
                tokio::time::sleep(limits.foreign_poll).await;
                continue;
            }
            let drained = self.drain_under(&mut follower, &followed.entry, head).await;
            if let Some(lease) = borrowed {
                follower.set_lease(None);
                store.release(group, lease).await?;
            }
            if let Some(reached) = drained? {
                return Ok(reached);
            }
        }
    }

    /// Where a partition stands that another process moves, once it stands at a position or beyond.
    async fn reached_elsewhere(
        &self,
        group: &Group,
        partition: Partition,
        head: Position,
    ) -> Result<Option<Position>, DrainError> {
        let Checkpoint { mark, stopped, .. } = self.parts.store.checkpoint_of(group, partition).await?;
        match stopped {
            _ if mark.position() >= head => Ok(Some(mark.position())),
            Some(Stopped { position, reason }) => {
                Err(DrainError::Stopped { health: Health::Stopped { position, reason } })
            }
            None => Ok(None),
        }
    }

    /// Steps until a position is reached. Answers none when the lease was lost.
    async fn drain_under(
        &self,
        follower: &mut Follower,
        entry: &ProgressEntry,
        head: Position,
    ) -> Result<Option<Position>, DrainError> {
        let mut failures = 0;
        loop {
            match follower.step().await {
                Step::Advanced => failures = 0,
                Step::CaughtUp => return Ok(Some(follower.position())),
                Step::Lost => return Ok(None),
                Step::Stopped => return Err(DrainError::Stopped { health: entry.health() }),
                Step::Retry(pause) => {
                    failures += 1;
                    if failures > self.parts.limits.fold_retries_max + 1 {
                        return Err(DrainError::Stopped { health: entry.health() });
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            if follower.position() >= head && failures == 0 {
                return Ok(Some(follower.position()));
            }
        }
    }

    /// Empties a group and lets it build again from the start of the log.
    ///
    /// # Errors
    /// An unknown name or a fault.
    pub async fn reset(&self, name: &str) -> Result<(), DrainError> {
        let Followed { group, entry, parts } = self.followed(name)?;
        let mut followers = Vec::new();
        for part in parts {
            followers.push(part.follower.lock().await);
        }
        let checkpoint = self.parts.store.reset(group).await?;
        followers.iter_mut().for_each(|follower| follower.forget());
        self.given_up.forget(group);
        entry.reset();
        // A store may have caught an inline group up at once.
        entry.advance(checkpoint.mark.position());
        entry.set_health(Health::Live);
        drop(followers);
        parts.iter().for_each(|part| part.nudge.notify_one());
        self.nudge.notify_one();
        Ok(())
    }

    /// Counts and compares every row of a group with a fresh fold of the log.
    ///
    /// # Errors
    /// An unknown name, a fact that cannot be folded, or a fault.
    pub async fn verify(&self, name: &str, differences_max: usize) -> Result<Vec<VerifyReport>, VerifyError> {
        let followed = self.followed(name).map_err(|_| VerifyError::Unknown { name: name.to_owned() })?;
        let FollowerParts { feed, store, registry, .. } = &self.parts;
        verify(&**feed, &**store, &**registry, &followed.group, differences_max).await
    }

    /// Measures every model against the log, for the metrics, and looks what is wrong with any.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn measure(&self) -> Result<(), Fault> {
        self.look().await?;
        let FollowerParts { feed, store, clock, .. } = &self.parts;
        for followed in self.followed.values() {
            let position = match store.checkpoint(&followed.group).await {
                Err(fault) if is_away(&fault) => continue,
                checkpoint => checkpoint?.mark.position(),
            };
            let lag = Lag::measure(&**feed, &**clock, position).await?;
            for model in followed.group.models() {
                self.metrics().measured(model.schema().name, position, lag);
            }
        }
        Ok(())
    }

    /// The partitions of a group, where they stand, and which process moves each.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn partitions(&self, group: &Arc<Group>) -> Result<Vec<PartitionState>, Fault> {
        // Under a name of its own, so that looking says nothing of what this process can do.
        let looker = WorkerId::new(format!("{}:look", self.worker));
        let asked = [(Arc::clone(group), Readiness::Unable)];
        let shares = self.parts.store.share(&looker, &asked, self.parts.limits.lease_duration).await?;
        Ok(shares.into_iter().flat_map(|shares| shares.partitions).collect())
    }

    /// How many rows a model has.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn row_count(&self, group: &Group, schema: &'static Schema) -> Result<u64, Fault> {
        self.parts.store.row_count(group, schema).await
    }

    pub(crate) fn group(&self, name: &str) -> Option<Arc<Group>> {
        self.followed.get(name).map(|followed| Arc::clone(&followed.group))
    }

    fn followed(&self, name: &str) -> Result<&Followed, DrainError> {
        self.followed.get(name).ok_or_else(|| DrainError::Unknown { name: name.to_owned() })
    }
}
