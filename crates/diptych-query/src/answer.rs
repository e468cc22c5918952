//! Answers that say how fresh they are. A query never returns a bare value.

use crate::Lag;
use diptych_core::{Position, Timestamp, Token};
use serde::Serialize;

/// A value, how fresh it is, and how its read model is doing.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// How fresh it is.
    pub freshness: Freshness,
    /// How its read model is doing.
    pub health: Health,
}

impl<T> Answer<T> {
    /// The same answer with another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: map(self.value), freshness: self.freshness, health: self.health }
    }
}

/// How fresh an answer is: the rows and the position were read in one snapshot, the head after them, so
/// that lag is never understated.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// Everything up to this position is in the answer.
    pub projection_position: Position,
    /// Seconds since the first event that is not in it was recorded; 0 when none is missing.
    pub lag_seconds: f64,
    /// How many events of the log are not in it.
    pub lag_events: u64,
    /// When the last event in it was recorded; none before the first.
    pub as_of: Option<Timestamp>,
    /// Whether the requested position is in it; none when none was requested.
    pub caught_up_to_requested_position: Option<bool>,
    /// The position as a token, to ask another model for at least this.
    pub token: Token,
    /// Whether the answer is older than the model's contract allows.
    pub stale: bool,
    /// How far behind it is, in words, after the name of what is asked: `30 minutes behind, last export
    /// 02:00` of a model that is folded from an export, `3 seconds behind` of others. In UTC.
    pub words: String,
}

impl Freshness {
    /// How far behind the answer is.
    #[must_use]
    pub fn lag(&self) -> Lag {
        Lag { events: self.lag_events, seconds: self.lag_seconds }
    }
}

/// How a read model is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It follows the log.
    #[default]
    Live,
    /// An inline model that follows like an asynchronous one until it has caught up.
    CatchingUp,
    /// It stopped at a fact and waits for an operator.
    Stopped {
        /// The fact it could not take.
        position: Position,
        /// Why, in a sentence with a code.
        reason: String,
    },
    /// Its worker tries again after a failure of infrastructure.
    Retrying {
        /// Why, in a sentence with a code.
        reason: String,
    },
    /// Facts exist that only newer code can read.
    OlderCode {
        /// The first such fact.
        position: Position,
        /// What is unknown.
        reason: String,
    },
    /// It is filled for the first time, and the rows are those that are in it by now.
    Building,
    /// It answers, and a successor is under way.
    Rebuilding,
    /// It follows the log, and some of its rows are not what the log says: their keys are parked, or
    /// incidents are open.
    Degraded {
        /// How many keys are held back.
        parked: u64,
        /// How many incidents are open.
        incidents: u64,
    },
    /// It follows the log, and answers nobody until somebody resumes it.
    Suspended {
        /// Why, in a sentence.
        reason: String,
    },
}

impl Health {
    /// The word that operators see.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching_up",
            Self::Stopped { .. } => "stopped",
            Self::Retrying { .. } => "retrying",
            Self::OlderCode { .. } => "older_code",
            Self::Building => "building",
            Self::Rebuilding => "rebuilding",
            Self::Degraded { .. } => "degraded",
            Self::Suspended { .. } => "suspended",
        }
    }

    /// Whether the model will not move on by itself.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::OlderCode { .. })
    }
}

/// One page of rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; none when this is the last.
    pub next_page_token: Option<String>,
}
