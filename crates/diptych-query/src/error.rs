//! Why a question has no answer.

use crate::{Health, Schema};
use diptych_core::{Code, Fault, Forbidden, Token};
use std::fmt;
use std::time::Duration;

/// Why a question has no answer. Each kind says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum QueryError {
    /// The principal may not ask it.
    Forbidden(Forbidden),
    /// The principal may see the rows and not this column, so may not ask by it either.
    FieldWithheld {
        /// The column, by its public name.
        field: &'static str,
    },
    /// The question is for more than an answer may hold.
    Unbounded {
        /// What is too much, and what would do.
        reason: String,
        /// The read model, whose export has no such bound.
        model: &'static str,
    },
    /// There is no such read model.
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// A filter, sort, size or other parameter cannot be understood.
    Parameter {
        /// Which.
        name: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The page token is damaged, or belongs to another question.
    PageToken {
        /// What is wrong.
        reason: &'static str,
    },
    /// The page token's build of the read model is gone.
    PageTokenExpired,
    /// `minPosition` is not a token.
    Token {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The token is from another life of the log, or from another log.
    EpochChanged {
        /// The token.
        token: Token,
    },
    /// The answer would be older than its contract allows.
    NotFreshEnough {
        /// How old it would be.
        lag_seconds: f64,
        /// How old it may be; none for a strong contract.
        within: Option<Duration>,
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The model does not move on by itself, and the position asked for is beyond it.
    Stalled {
        /// How it is doing.
        health: Health,
    },
    /// An operator has taken the model out of service.
    Suspended {
        /// Why, in a sentence.
        reason: String,
    },
    /// Rows of the model are not what the log says, and it declares that it does not answer then.
    Degraded {
        /// How it is doing.
        health: Health,
    },
    /// It took longer than a query may.
    TimedOut,
    /// Infrastructure failed.
    Fault(Fault),
}

impl QueryError {
    /// The code with a page of its own.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Forbidden(_) => Code::Forbidden,
            Self::FieldWithheld { .. } => Code::FieldWithheld,
            Self::Unbounded { .. } => Code::Unbounded,
            Self::UnknownModel { .. } => Code::NotFound,
            Self::Parameter { .. } => Code::BadParameter,
            Self::PageToken { .. } => Code::BadPageToken,
            Self::PageTokenExpired => Code::PageTokenExpired,
            Self::Token { .. } => Code::BadToken,
            Self::EpochChanged { .. } => Code::EpochChanged,
            Self::NotFreshEnough { .. } => Code::NotFreshEnough,
            Self::Stalled { .. } => Code::ModelStopped,
            Self::Suspended { .. } => Code::ModelSuspended,
            Self::Degraded { .. } => Code::ModelDegraded,
            Self::TimedOut => Code::TimedOut,
            Self::Fault(fault) => fault.code(),
        }
    }

    pub(crate) fn withheld(schema: &Schema, column: usize) -> Self {
        let stored = schema.columns.get(column).map(|column| column.public);
        let computed = || schema.computed.get(column.checked_sub(schema.columns.len())?).map(|it| it.public);
        Self::FieldWithheld { field: stored.or_else(computed).unwrap_or_default() }
    }

    pub(crate) fn parameter(name: &str, reason: impl Into<String>) -> Self {
        Self::Parameter { name: name.to_owned(), reason: reason.into() }
    }
}

impl From<Fault> for QueryError {
    fn from(fault: Fault) -> Self {
        if fault.code() == Code::TimedOut { Self::TimedOut } else { Self::Fault(fault) }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Self::Forbidden(forbidden) => forbidden.fmt(out),
            Self::Fault(fault) => fault.fmt(out),
            Self::FieldWithheld { field } => {
                write!(out, "not allowed: `{field}` is withheld, and may not be asked by ({code})")
            }
            Self::Unbounded { reason, model } => {
                write!(out, "{reason}; the export of `{model}` has no such bound ({code})")
            }
            Self::UnknownModel { name } => write!(out, "there is no read model `{name}` ({code})"),
            Self::Parameter { name, reason } => write!(out, "`{name}` {reason} ({code})"),
            Self::PageToken { reason } => {
                write!(out, "the page token {reason}; start at the first page ({code})")
            }
            Self::PageTokenExpired => {
                write!(out, "the page token outlived its read model; start at the first page ({code})")
            }
            Self::Token { reason } => write!(out, "{reason} ({code})"),
            Self::EpochChanged { token } => {
                write!(
                    out,
                    "the token `{token}` is not from this log as it is now; ask again without it ({code})"
                )
            }
            Self::NotFreshEnough { lag_seconds, within: Some(within), .. } => {
                write!(out, "the answer would be {lag_seconds:.1} s old, {within:?} is allowed ({code})")
            }
            Self::NotFreshEnough { lag_seconds, within: None, .. } => {
                write!(
                    out,
                    "the answer would lack the newest {lag_seconds:.1} s, and none may be lacking ({code})"
                )
            }
            Self::Stalled { health: Health::Stopped { position, reason } } => {
                write!(out, "the read model stopped at position {position}: {reason} ({code})")
            }
            Self::Stalled { health } => write!(out, "the read model is {} ({code})", health.as_str()),
            Self::Suspended { reason } => {
                write!(out, "the read model is suspended: {reason} ({code})")
            }
            Self::Degraded { health: Health::Degraded { parked, incidents } } => write!(
                out,
                "the read model is degraded and does not answer then: {parked} keys are parked, {incidents} \
                 incidents are open ({code})"
            ),
            Self::Degraded { health } => {
                write!(out, "the read model is {} and does not answer then ({code})", health.as_str())
            }
            Self::TimedOut => write!(out, "the query took longer than allowed; ask for less ({code})"),
        }
    }
}

impl std::error::Error for QueryError {}
