//! Takes what waits in an outbox into the log, for as long as the service runs. Several processes may do so
//! over one outbox: the store sees to it that each row is taken once.

use crate::Languages;
use crate::intake::{SourcePosition, TakenIn};
use crate::outbox::{BadRow, OutboxTable, Waiting, arrivals};
use diptych_core::{Clock, Code, Fault};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The limits of taking in.
#[derive(Clone, Debug)]
pub struct OutboxLimits {
    /// How many rows are taken in at once.
    pub rows_max: usize,
    /// How often the outbox is looked at while nothing waits.
    pub poll: Duration,
    /// The longest pause after a failure; it doubles from `poll` with each further one.
    pub retry_pause_max: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { rows_max: 1_000, poll: Duration::from_millis(50), retry_pause_max: Duration::from_secs(10) }
    }
}

/// How the taking in is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum OutboxHealth {
    /// What waits is taken in.
    #[default]
    Live,
    /// It stands before a row that cannot be taken: it, and everything behind it, waits.
    Stopped {
        /// The row.
        row: SourcePosition,
        /// What is wrong with it.
        reason: String,
    },
    /// The database does not answer.
    Failing {
        /// What it said.
        reason: String,
    },
}

/// What waits and how the taking in is doing, for an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxStatus {
    /// Where the outbox is.
    pub location: String,
    /// What waits.
    pub waiting: Waiting,
    /// The row in front, where it cannot be taken as it is.
    pub blocked: Option<BadRow>,
    /// How this process is doing.
    pub health: OutboxHealth,
}

/// The counters of an outbox.
#[derive(Clone, Debug, Default)]
struct Counts {
    taken: Counter,
    waiting: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    stopped: Gauge,
}

/// One outbox and its loop.
pub struct OutboxWorker {
    table: Arc<dyn OutboxTable>,
    languages: Languages,
    limits: OutboxLimits,
    clock: Arc<dyn Clock>,
    health: Mutex<OutboxHealth>,
    counts: Counts,
}

/// What one step did.
enum Step {
    /// Rows were taken; more may wait.
    Went(usize),
    /// Nothing waits.
    Idle,
    /// A row cannot be taken.
    Stuck(BadRow),
}

impl OutboxWorker {
    /// Joins an outbox with the languages that may come by it.
    #[must_use]
    pub fn new(
        table: Arc<dyn OutboxTable>,
        languages: Languages,
        clock: Arc<dyn Clock>,
        limits: OutboxLimits,
    ) -> Self {
        let (health, counts) = (Mutex::default(), Counts::default());
        Self { table, languages, limits, clock, health, counts }
    }

    /// Offers the metrics for exposition.
    pub fn register(&self, registry: &mut Registry) {
        let Counts { taken, waiting, oldest, stopped } = &self.counts;
        registry.register("outbox_events_taken", "Events taken from the outbox into the log", taken.clone());
        registry.register("outbox_rows_waiting", "Rows that wait in the outbox", waiting.clone());
        registry.register("outbox_oldest_seconds", "Age of the oldest row that waits", oldest.clone());
        registry.register(
            "outbox_stopped",
            "1 while a row that cannot be taken holds the outbox up",
            stopped.clone(),
        );
    }

    /// Takes in for as long as the task is left alone.
    pub async fn keep_taking(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let pause = match self.step().await {
                Ok(Step::Went(_)) => {
                    failures = 0;
                    continue;
                }
                Ok(Step::Idle) => {
                    failures = 0;
                    self.limits.poll
                }
                Ok(Step::Stuck(_)) | Err(_) => {
                    failures += 1;
                    let pause = self.limits.poll.saturating_mul(1 << failures.min(16));
                    pause.min(self.limits.retry_pause_max)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes in everything that waits by now. Answers how many events.
    ///
    /// # Errors
    /// A fault of the store, or a row that cannot be taken.
    pub async fn drain(&self) -> Result<usize, Fault> {
        let mut events = 0;
        loop {
            match self.step().await? {
                Step::Went(taken) => events += taken,
                Step::Idle => return Ok(events),
                Step::Stuck(BadRow { id, reason }) => {
                    let message =
                        format!("row {id} of {} cannot be taken in: {reason}", self.table.location());
                    return Err(Fault::permanent(Code::IntakeStopped, message));
                }
            }
        }
    }

    /// What waits, measured now.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn status(&self) -> Result<OutboxStatus, Fault> {
        let waiting = self.table.waiting().await?;
        self.counts.waiting.set(i64::try_from(waiting.rows).unwrap_or(i64::MAX));
        let age = waiting.oldest.map_or(0, |oldest| self.clock.now().as_micros() - oldest.as_micros());
        self.counts.oldest.set(Duration::from_micros(age.max(0).unsigned_abs()).as_secs_f64());
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let front = self.table.oldest(1).await?;
        let (_, blocked) = arrivals(&front, &self.languages);
        Ok(OutboxStatus { location: self.table.location(), waiting, blocked, health })
    }

    async fn step(&self) -> Result<Step, Fault> {
        let step = self.step_once().await;
        let health = match &step {
            Ok(Step::Went(_) | Step::Idle) => OutboxHealth::Live,
            Ok(Step::Stuck(BadRow { id, reason })) => {
                OutboxHealth::Stopped { row: *id, reason: reason.clone() }
            }
            Err(fault) => OutboxHealth::Failing { reason: fault.to_string() },
        };
        self.tell(health);
        step
    }

    async fn step_once(&self) -> Result<Step, Fault> {
        let rows = self.table.oldest(self.limits.rows_max).await?;
        let (arrivals, bad) = arrivals(&rows, &self.languages);
        if arrivals.is_empty() {
            return Ok(bad.map_or(Step::Idle, Step::Stuck));
        }
        let sizes: Vec<_> =
            arrivals.iter().map(|arrival| (arrival.position(), arrival.events.len())).collect();
        let TakenIn { taken, passed_over, refused, .. } = self.table.take(arrivals).await?;
        let refused = refused.map(|(id, fault)| BadRow { id, reason: fault.to_string() });
        let settled = sizes.iter().take(taken + passed_over).map(|(_, events)| events).sum::<usize>();
        self.counts.taken.inc_by(settled as u64);
        match refused {
            Some(refused) if settled == 0 => Ok(Step::Stuck(refused)),
            _ => Ok(Step::Went(settled)),
        }
    }

    /// Notes how it goes, and says aloud what has changed.
    fn tell(&self, health: OutboxHealth) {
        let mut held = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if *held == health {
            return;
        }
        let location = self.table.location();
        match &health {
            OutboxHealth::Live => tracing::info!(outbox = location, "the outbox is taken in again"),
            OutboxHealth::Stopped { row, reason } => {
                let code = Code::IntakeStopped.as_str();
                tracing::error!(outbox = location, code, "row {row} cannot be taken in: {reason}");
            }
            OutboxHealth::Failing { reason } => {
                tracing::warn!(outbox = location, "the outbox cannot be taken in: {reason}");
            }
        }
        self.counts.stopped.set(i64::from(matches!(health, OutboxHealth::Stopped { .. })));
        *held = health;
    }
}
