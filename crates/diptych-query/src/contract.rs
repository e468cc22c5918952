//! What a read model promises about freshness, and what happens when it cannot keep it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The promise of every answer of a read model. A request may tighten it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contract {
    /// An answer holds everything committed before the question, or there is none.
    Strong,
    /// An answer is at most this old.
    Bounded {
        /// The bound.
        within: Duration,
        /// What happens beyond it.
        breach: Breach,
    },
    /// An answer says how old it is.
    Eventual,
}

/// How consistent an answer a request asks for. It only tightens what the model declares: where that promises
/// more, more is given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Consistency {
    /// As fresh as it happens to be.
    Eventual,
    /// Refused beyond the bound: the tighter one of what the model declares and what the request names.
    Bounded,
    /// With everything committed before the question, or refused.
    Strong,
}

impl FromStr for Consistency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "eventual" => Ok(Self::Eventual),
            "bounded" => Ok(Self::Bounded),
            "strong" => Ok(Self::Strong),
            _ => Err("must be one of: strong, bounded, eventual"),
        }
    }
}

/// What happens when an answer is older than its contract allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// It is given and marked stale.
    Flag,
    /// It is not given.
    Refuse,
}

impl fmt::Display for Contract {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strong => out.write_str("strong"),
            Self::Eventual => out.write_str("eventual"),
            Self::Bounded { within, breach } => {
                let word = if *breach == Breach::Refuse { " refuse" } else { "" };
                write!(out, "bounded {within:?}{word}")
            }
        }
    }
}
