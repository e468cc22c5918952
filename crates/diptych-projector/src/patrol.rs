//! The patrol: compares rows with their hashes, digests with rows, and rows with the log, a bounded
//! slice at a time, for as long as the service runs. How far it has come is kept, and one process at a
//! time patrols a group.

use crate::incident::{from_record, to_json};
use crate::patrolling::Working;
use crate::projector::Followed;
use crate::{Driver, Incident, Projector, TroubleError};
use diptych_core::{Code, Fault, Position, Timestamp};
use diptych_query::{Contract, Lag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The kind of record that says how far a patrol has come, by the name of its group.
pub const PATROL: &str = "patrol";

/// How long a process may be silent in the middle of a patrol before another takes it over.
const DRIVER_LEASE: Duration = Duration::from_secs(60);

/// How long the patrol rests where nothing is due.
const REST_MAX: Duration = Duration::from_secs(10);

/// How far the patrol of a group has come.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PatrolState {
    /// The group.
    pub group: String,
    /// Up to which position all rows were compared with the log by the last whole pass.
    pub verified_up_to: Option<Position>,
    /// When that pass ended.
    pub verified_at: Option<Timestamp>,
    /// How many rows it compared.
    pub verified_rows: u64,
    /// The read models whose digests it could not compare, because they moved on all the time.
    pub uncounted: Vec<String>,
    /// How many passes have ended.
    pub passes: u64,
    /// What the pass at hand has come to; none between two passes.
    pub pass: Option<Pass>,
    /// The rows that were older than the contract of the model allows, as it was last looked at.
    pub stale: Vec<Stale>,
    /// Since when the patrol rests, or waits for its first pass.
    pub rested_since: Option<Timestamp>,
    /// Which process patrols.
    pub driver: Option<Driver>,
}

/// A pass that is under way.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    /// When it began.
    pub started_at: Timestamp,
    /// What is done next.
    pub phase: Phase,
    /// The lowest position at which rows were compared with the log so far.
    pub lowest: Option<Position>,
    /// How many rows were compared so far.
    pub rows: u64,
    /// The buckets whose digest is not that of their rows, by table, until the rows are compared with
    /// the log.
    pub suspects: Vec<(usize, u8)>,
    /// The read models whose digests cannot be compared, because they move on all the time.
    pub uncounted: Vec<String>,
}

/// What a pass does next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "doing")]
pub enum Phase {
    /// Compares the rows of a table with their hashes, and their sums with the digest.
    Recount {
        /// The table, by its index in the group.
        table: usize,
        /// How often it has moved on meanwhile.
        moved: u8,
    },
    /// Folds rows again from their streams, after a row.
    Streams {
        /// The table, by its index in the group.
        table: usize,
        /// The last row that was compared.
        after: Option<crate::RowName>,
    },
    /// Folds a share of the rows again from the log.
    Shares {
        /// Which share is next.
        next: u8,
        /// Into how many the rows are split.
        of: u8,
    },
    /// Folds the buckets again that are suspect, one after the other.
    Suspects,
}

/// Rows that are older than their contract allows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stale {
    /// The read model.
    pub model: String,
    /// How old its rows are.
    pub lag_seconds: f64,
    /// How old they may be.
    pub within_seconds: f64,
    /// When that was seen.
    pub at: Timestamp,
}

/// What one slice of a patrol did.
#[derive(Clone, PartialEq, Debug)]
pub enum Patrolled {
    /// No group is due, or others patrol those that are.
    Nothing,
    /// A slice of a group, with what was found.
    Slice {
        /// The group.
        group: String,
        /// What was found, new or known.
        found: Vec<Incident>,
        /// Whether a whole pass over the group ended.
        pass_ended: bool,
    },
}

/// The patrol of a process over its groups.
pub struct Patrol {
    projector: Arc<Projector>,
    /// What is in memory of the passes at hand, by group.
    working: BTreeMap<&'static str, Working>,
}

impl Patrol {
    /// A patrol over the groups of a process.
    #[must_use]
    pub fn new(projector: Arc<Projector>) -> Self {
        Self { projector, working: BTreeMap::new() }
    }

    /// Does one bounded slice of a group that is due.
    ///
    /// # Errors
    /// A fault, or a fact that cannot be folded.
    pub async fn step(&mut self) -> Result<Patrolled, TroubleError> {
        let projector = Arc::clone(&self.projector);
        let interval = projector.parts.limits.patrol_interval;
        let mut failed = None;
        for (name, followed) in &projector.followed {
            let working = self.working.entry(name).or_default();
            match projector.patrol_slice(followed, working, interval).await {
                Ok(Patrolled::Nothing) => {}
                Ok(patrolled) => return Ok(patrolled),
                // Other groups are patrolled all the same.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Patrolled::Nothing), Err)
    }

    /// Patrols until told to stop: at most a slice in a second.
    pub async fn run(mut self, mut stop: tokio::sync::watch::Receiver<bool>) {
        while !*stop.borrow() {
            let pause = match self.step().await {
                Ok(Patrolled::Slice { .. }) => Duration::from_secs(1),
                Ok(Patrolled::Nothing) => self.projector.parts.limits.patrol_interval.min(REST_MAX),
                Err(error) => {
                    tracing::warn!(%error, "the patrol could not go on");
                    REST_MAX
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => {}
            }
        }
    }
}

impl Projector {
    /// Patrols the groups of this process from now on, until [`Projector::stop`].
    pub fn start_patrol(self: &Arc<Self>) {
        let patrol = Patrol::new(Arc::clone(self));
        self.keep_task(tokio::spawn(patrol.run(self.stop.subscribe())));
    }

    /// A whole pass over one group, now and without a pause.
    ///
    /// # Errors
    /// An unknown name, a fact that cannot be folded, another process that patrols it, or a fault.
    pub async fn patrol_now(&self, name: &str) -> Result<(PatrolState, Vec<Incident>), TroubleError> {
        let followed = self.known(name)?;
        let (mut working, mut all) = (Working::default(), Vec::<Incident>::new());
        self.forget_pass(followed).await?;
        loop {
            let patrolled = self.patrol_slice(followed, &mut working, Duration::ZERO).await?;
            let Patrolled::Slice { found, pass_ended, .. } = patrolled else {
                let (_, state) = self.patrol_state(followed).await?;
                return match state.driver {
                    Some(Driver { worker, .. }) => {
                        Err(TroubleError::Patrolled { name: name.to_owned(), worker })
                    }
                    None => Ok((state, all)),
                };
            };
            for found in found {
                if all.iter().all(|held| held.id != found.id) {
                    all.push(found);
                }
            }
            if pass_ended {
                return Ok((self.patrol_state(followed).await?.1, all));
            }
        }
    }

    /// Leaves a pass that is under way, unless another process is at it.
    async fn forget_pass(&self, followed: &Followed) -> Result<(), TroubleError> {
        let (seen, mut state) = self.patrol_state(followed).await?;
        if self.is_foreign(&state) || state.pass.is_none() {
            return Ok(());
        }
        (state.pass, state.driver) = (None, None);
        self.parts.registry.write_record(PATROL, followed.group.name(), seen, &to_json(&state)?).await?;
        Ok(())
    }

    /// Whether another process patrols a group.
    fn is_foreign(&self, state: &PatrolState) -> bool {
        let now = self.parts.clock.now();
        let foreign = |driver: &Driver| driver.worker != self.worker.as_str() && now < driver.until;
        state.driver.as_ref().is_some_and(foreign)
    }

    /// How far patrols have come, by group.
    ///
    /// # Errors
    /// A fault.
    pub async fn patrols(&self) -> Result<Vec<PatrolState>, Fault> {
        let mut states = Vec::new();
        for followed in self.followed.values() {
            states.push(self.patrol_state(followed).await?.1);
        }
        Ok(states)
    }

    async fn patrol_state(&self, followed: &Followed) -> Result<(u64, PatrolState), Fault> {
        let name = followed.group.name();
        let record = self.parts.registry.record(PATROL, name).await?;
        let none = || (0, PatrolState { group: name.to_owned(), ..PatrolState::default() });
        record.map_or_else(|| Ok(none()), |record| Ok((record.version, from_record(&record)?)))
    }

    /// Does a slice of a group if it is due and nobody else does.
    async fn patrol_slice(
        &self,
        followed: &Followed,
        working: &mut Working,
        interval: Duration,
    ) -> Result<Patrolled, TroubleError> {
        let (seen, mut state) = self.patrol_state(followed).await?;
        if self.is_foreign(&state) {
            *working = Working::default();
            return Ok(Patrolled::Nothing);
        }
        if state.pass.is_none() && !self.begin_pass(followed, &mut state, interval, seen).await? {
            return Ok(Patrolled::Nothing);
        }
        let Some(mut pass) = state.pass.take() else { return Ok(Patrolled::Nothing) };
        let found = match self.patrol_on(followed, working, &mut pass).await {
            Ok(found) => found,
            Err(error) => {
                // Keys may have been parked meanwhile that the folds in memory have not been told of.
                *working = Working::default();
                return Err(error);
            }
        };
        if pass.lowest.is_none() && pass.phase == Phase::Suspects {
            // There is no row that could differ.
            pass.lowest = Some(self.parts.store.checkpoint(&followed.group).await?.mark.position());
        }
        let pass_ended = pass.phase == Phase::Suspects && pass.suspects.is_empty();
        let now = self.parts.clock.now();
        if pass_ended {
            *working = Working::default();
            (state.verified_up_to, state.verified_at) = (pass.lowest, Some(now));
            (state.verified_rows, state.passes) = (pass.rows, state.passes + 1);
            state.uncounted = pass.uncounted;
            (state.driver, state.rested_since) = (None, Some(now));
        } else {
            state.driver = Some(Driver { worker: self.worker.to_string(), until: now.plus(DRIVER_LEASE) });
            state.pass = Some(pass);
        }
        let (name, body) = (followed.group.name(), to_json(&state)?);
        if self.parts.registry.write_record(PATROL, name, seen, &body).await?.is_none() {
            // Another process took it over: what was found is recorded all the same.
            *working = Working::default();
        }
        if !found.is_empty() {
            self.look_at(followed).await?;
        }
        Ok(Patrolled::Slice { group: followed.group.name().to_owned(), found, pass_ended })
    }

    /// Begins a pass if one is due. Answers whether there is one now.
    async fn begin_pass(
        &self,
        followed: &Followed,
        state: &mut PatrolState,
        interval: Duration,
        seen: u64,
    ) -> Result<bool, TroubleError> {
        let now = self.parts.clock.now();
        let folded = followed.group.models().iter().any(|model| model.statements().is_none());
        if !folded {
            return Ok(false);
        }
        let rested = state.rested_since.map(|since| since.plus(interval) <= now);
        if !interval.is_zero() && rested != Some(true) {
            if rested.is_none() {
                // The first pass waits like every other one, so that a start has the machine for itself.
                state.rested_since = Some(now);
                let name = followed.group.name();
                self.parts.registry.write_record(PATROL, name, seen, &to_json(state)?).await?;
            }
            return Ok(false);
        }
        state.stale = self.stale(followed).await?;
        state.pass = Some(Pass {
            started_at: now,
            phase: Phase::Recount { table: 0, moved: 0 },
            lowest: None,
            rows: 0,
            suspects: Vec::new(),
            uncounted: Vec::new(),
        });
        Ok(true)
    }

    /// The models of a group whose rows are older than they may be.
    async fn stale(&self, followed: &Followed) -> Result<Vec<Stale>, Fault> {
        let position = self.parts.store.checkpoint(&followed.group).await?.mark.position();
        let lag = Lag::measure(&*self.parts.feed, &*self.parts.clock, position).await?;
        let mut stale = Vec::new();
        for model in followed.group.models() {
            let Contract::Bounded { within, .. } = model.schema().contract else { continue };
            let within_seconds = within.as_secs_f64();
            if lag.seconds > within_seconds {
                let (model, lag_seconds) = (model.schema().name, lag.seconds);
                let code = Code::NotFreshEnough;
                tracing::error!(model, lag_seconds, within_seconds, %code, "rows are stale");
                let at = self.parts.clock.now();
                stale.push(Stale { model: model.to_owned(), lag_seconds, within_seconds, at });
            }
        }
        Ok(stale)
    }
}
