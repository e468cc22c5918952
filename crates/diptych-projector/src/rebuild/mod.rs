//! A rebuild as a durable value: which build replaces which, how far that has come, what was measured and
//! what an operator wants of it. Kept as one record of its group, so that any process can read it, and
//! changed only against the version that was read, so that exactly one process drives it.

mod drive;
mod error;
mod filled;
mod filling;
mod records;
mod wishes;

pub(crate) use drive::{Drive, Driving};
pub use error::RebuildError;
pub(crate) use records::{Held, Records};

use crate::compare::CompareReport;
use diptych_core::{Position, Timestamp};
use diptych_query::{BuildId, Order};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The kind of record of a rebuild under way, by the name of its group.
pub const REBUILD: &str = "rebuild";

/// The kind of record of a rebuild that is over, by group and build.
pub const REBUILD_DONE: &str = "rebuild_done";

/// Where a rebuild stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildStep {
    /// The new build is filled from the log.
    Building,
    /// It takes what was recorded meanwhile.
    CatchingUp,
    /// It follows the one that answers, and is about to be compared.
    Shadowing,
    /// It is compared.
    Comparing,
    /// It was compared and nothing stands against the switch.
    Ready,
    /// It was compared and differs in ways that were not declared. It goes on following.
    Blocked,
    /// It was taken back after a switch. It goes on following.
    RolledBack,
    /// It answers; the old one follows for as long as a rollback must be possible.
    Switched,
    /// The old one is retired. The end.
    Finished,
    /// It stands still until it is told to go on.
    Paused,
    /// It was given up, and nothing of it is left. The end.
    Cancelled,
    /// It cannot go on by itself; the reason says why. It can be told to try again, or be cancelled.
    Failed,
}

impl RebuildStep {
    /// The word that operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::CatchingUp => "catching_up",
            Self::Shadowing => "shadowing",
            Self::Comparing => "comparing",
            Self::Ready => "ready",
            Self::Blocked => "blocked",
            Self::RolledBack => "rolled_back",
            Self::Switched => "switched",
            Self::Finished => "finished",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }

    /// Whether it waits for an operator, or for time to pass.
    #[must_use]
    pub const fn rests(self) -> bool {
        !matches!(self, Self::Building | Self::CatchingUp | Self::Shadowing | Self::Comparing)
    }
}

impl fmt::Display for RebuildStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What an operator orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RebuildOrder {
    /// Who and why.
    pub order: Order,
    /// In what the new build may differ from the old one, beyond what its declaration says.
    pub intended: Differing,
    /// What happens once nothing stands against the switch.
    pub switching: Switching,
    /// An export file, or a folder of files that join, that the new build is filled from instead of the log.
    pub filled_from: Option<String>,
}

impl RebuildOrder {
    /// A rebuild that may differ in nothing and switches once it was compared.
    #[must_use]
    pub fn by(order: Order) -> Self {
        Self { order, intended: Differing::default(), switching: Switching::Automatic, filled_from: None }
    }
}

/// What happens once a new build was compared and nothing stands against the switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switching {
    /// It answers from then on.
    #[default]
    Automatic,
    /// It waits until it is told to.
    Ordered,
}

/// In what a new build may differ from the old one.
///
/// ```
/// use diptych_projector::Differing;
/// let intended: Differing = "status, +rows".parse().unwrap();
/// assert_eq!(intended.columns, ["status"]);
/// assert!(intended.rows_added && !intended.rows_removed);
/// assert_eq!(intended.to_string(), "status,+rows");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Differing {
    /// Columns whose values may differ, by their names in SQL.
    pub columns: Vec<String>,
    /// Whether there may be rows that were not there.
    pub rows_added: bool,
    /// Whether rows may be missing.
    pub rows_removed: bool,
}

impl FromStr for Differing {
    type Err = std::convert::Infallible;

    /// Names of columns, `+rows` and `-rows`, with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut differing = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "+rows" => differing.rows_added = true,
                "-rows" => differing.rows_removed = true,
                column => differing.columns.push(column.to_owned()),
            }
        }
        Ok(differing)
    }
}

impl fmt::Display for Differing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<_> = self.columns.iter().map(String::as_str).collect();
        words.extend(self.rows_added.then_some("+rows"));
        words.extend(self.rows_removed.then_some("-rows"));
        out.write_str(&words.join(","))
    }
}

/// Whether a switch must have been compared clean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It must.
    Compared,
    /// The order's reason stands against whatever was found.
    Forced,
}

/// What an operator wants of a rebuild, until whoever drives it has seen to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What.
    pub what: Wish,
    /// Who and why.
    pub order: Order,
}

/// What can be wanted of a rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// To stand still.
    Pause,
    /// To go on.
    Resume,
    /// To be given up.
    Cancel,
    /// To be compared again.
    Compare,
    /// To answer.
    Switch(Gate),
    /// To be taken back.
    RollBack,
    /// To let go of the old build before its time.
    Finish,
}

/// One rebuild of a group.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// Of which group.
    pub group: String,
    /// The build that answers; none when there was none.
    pub from: Option<BuildId>,
    /// The build that is to take its place.
    pub to: BuildId,
    /// Where it stands.
    pub step: RebuildStep,
    /// Where it goes on after a pause or a failure.
    pub resumes_at: Option<RebuildStep>,
    /// Why it failed, is blocked, or was given up.
    pub reason: Option<String>,
    /// Who ordered it and why.
    pub order: Order,
    /// In what the builds may differ beyond the declaration.
    pub intended: Differing,
    /// What happens once nothing stands against the switch.
    pub switching: Switching,
    /// The export file or folder that it is filled from; none where that is its usual source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled_from: Option<String>,
    /// Who ordered the switch and why, where that was ordered apart.
    #[serde(default)]
    pub switch_ordered: Option<Order>,
    /// What an operator wants now.
    pub asked: Option<Asked>,
    /// Which process drives it.
    pub driver: Option<Driver>,
    /// When it was ordered.
    pub started_at: Timestamp,
    /// When this step began.
    pub step_at: Timestamp,
    /// When the new build began to answer.
    pub switched_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How far it has come.
    pub progress: RebuildProgress,
    /// What was measured.
    pub measured: Measured,
    /// What the last comparison found.
    pub compared: Option<CompareReport>,
}

/// Which process drives a rebuild, and how long the others leave it alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Driver {
    /// Its name.
    pub worker: String,
    /// Until when, unless it says again that it lives.
    pub until: Timestamp,
}

/// How far a rebuild has come. Written at most once a second.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RebuildProgress {
    /// Where the new build stands, or what is folded of it in memory.
    pub position: Position,
    /// Where it has to come.
    pub target: Position,
    /// Events of the log passed in one second, over the last seconds.
    pub events_per_second: f64,
    /// How long it takes until the target at this rate, in seconds; none where nothing moves.
    pub seconds_left: Option<f64>,
}

impl RebuildProgress {
    /// The share of the way that is behind it, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.target == Position::START { 1.0 } else { self.position.0 as f64 / self.target.0 as f64 }
            .min(1.0)
    }
}

/// What was measured of a rebuild.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measured {
    /// Facts folded while it was filled.
    pub facts: u64,
    /// Positions of the log passed while it was filled.
    pub positions: u64,
    /// Positions passed in one second while it was filled, pauses left out.
    pub events_per_second: f64,
    /// How often memory was full and rows were written before the end.
    pub spills: u64,
    /// Rows of the new build.
    pub rows: u64,
    /// Bytes of its tables.
    pub bytes: u64,
    /// The digest of its rows, table by table, in hexadecimal.
    pub digest: Vec<String>,
    /// How long each step took, in seconds, in order.
    pub steps: Vec<StepTook>,
}

/// How long a step took.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTook {
    /// The step.
    pub step: RebuildStep,
    /// How long, in seconds.
    pub seconds: f64,
}

impl Rebuild {
    /// Goes to another step, and keeps how long the one before took.
    pub(crate) fn go_to(&mut self, step: RebuildStep, now: Timestamp) {
        if self.step == step {
            return;
        }
        let took = StepTook { step: self.step, seconds: now.seconds_since(self.step_at) };
        self.measured.steps.push(took);
        (self.step, self.step_at) = (step, now);
    }

    /// Since when a rollback is no longer possible by time alone, given how long it must be.
    #[must_use]
    pub fn window_ends(&self, window: Duration) -> Option<Timestamp> {
        self.switched_at.map(|switched| switched.plus(window))
    }

    pub(crate) fn is_driven_by(&self, worker: &str) -> bool {
        self.driver.as_ref().is_some_and(|driver| driver.worker == worker)
    }

    /// Whether a process may drive it: no other does.
    pub(crate) fn may_be_driven_by(&self, worker: &str, now: Timestamp) -> bool {
        self.driver.as_ref().is_none_or(|driver| driver.worker == worker || driver.until <= now)
    }
}
