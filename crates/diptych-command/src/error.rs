//! What handling a command can end in besides a receipt, in four families.

use crate::ShapeError;
use diptych_core::{Code, CommandId, Fault, Forbidden, Position, StreamId, TagError, TextError, Version};
use std::fmt;
use std::time::Duration;

/// What a decision was made on is not what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The stream that the command is for.
    pub stream: StreamId,
    /// Where it was believed to be.
    pub expected: Version,
    /// Where it is.
    pub actual: Version,
    /// How often the command was decided; 1 when the caller named the version.
    pub attempts: u32,
    /// What has changed.
    pub cause: ConflictCause,
}

/// What has changed since a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConflictCause {
    /// The version of the command's stream.
    Version,
    /// A fact has come to match the command's boundary.
    Boundary {
        /// Where it stands, or one of them, where there are several.
        position: Position,
    },
}

impl Conflict {
    /// A stream that is at another version.
    #[must_use]
    pub fn of_version(stream: StreamId, expected: Version, actual: Version) -> Self {
        Self { stream, expected, actual, attempts: 1, cause: ConflictCause::Version }
    }

    /// A boundary that a fact has come into; the stream is at `actual`, which did not matter.
    #[must_use]
    pub fn of_boundary(stream: StreamId, actual: Version, position: Position) -> Self {
        let cause = ConflictCause::Boundary { position };
        Self { stream, expected: actual, actual, attempts: 1, cause }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, expected, actual, .. } = self;
        match self.cause {
            ConflictCause::Version => {
                let code = Code::StaleVersion;
                write!(out, "stream `{stream}` is at version {actual}, expected {expected} ({code})")
            }
            ConflictCause::Boundary { position } => {
                let code = Code::Conflict;
                write!(out, "the boundary of a command to `{stream}` has a new fact at {position} ({code})")
            }
        }
    }
}

impl std::error::Error for Conflict {}

/// The command was not looked into, for a reason the caller can mend.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The principal may not.
    Forbidden(Forbidden),
    /// The body does not have the command's shape.
    Shape(ShapeError),
    /// The target's key or the command id is not valid text.
    Text(TextError),
    /// The command's boundary cannot be asked for.
    Boundary(TagError),
    /// No decider has that category, or it has no such command.
    Unknown {
        /// What was asked for.
        what: String,
    },
    /// The key belongs to a command that asked for something else.
    KeyReused {
        /// The key.
        id: CommandId,
    },
    /// The service has more to do than it accepts.
    Overloaded {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// As many commands wait in the queue as may.
    QueueFull {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The connection was lost while committing. Ask again with the same id: the ledger knows.
    Indeterminate {
        /// The command to ask about.
        id: CommandId,
    },
}

impl Refusal {
    /// The code with a page of its own.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Forbidden(_) => Code::Forbidden,
            Self::Shape(shape) if shape.malformed => Code::Malformed,
            Self::Shape(shape) => shape.code.unwrap_or(Code::Invalid),
            Self::Text(_) => Code::BadKey,
            Self::Boundary(_) => Code::BadQuery,
            Self::Unknown { .. } => Code::NotFound,
            Self::KeyReused { .. } => Code::KeyReused,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::QueueFull { .. } => Code::QueueFull,
            Self::Indeterminate { .. } => Code::Indeterminate,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Self::Forbidden(forbidden) => forbidden.fmt(out),
            Self::Shape(shape) => write!(out, "{shape} ({code})"),
            Self::Text(text) => write!(out, "{text} ({code})"),
            Self::Boundary(error) => write!(out, "{error} ({code})"),
            Self::Unknown { what } => write!(out, "there is no {what} here ({code})"),
            Self::KeyReused { id } => {
                write!(out, "key `{id}` was used for another command; use a new one ({code})")
            }
            Self::Overloaded { retry_after } => {
                write!(
                    out,
                    "too many commands are waiting; try again in {} s ({code})",
                    retry_after.as_secs().max(1)
                )
            }
            Self::QueueFull { retry_after } => {
                let seconds = retry_after.as_secs().max(1);
                write!(out, "the queue holds as many commands as it may; try again in {seconds} s ({code})")
            }
            Self::Indeterminate { id } => {
                write!(out, "the outcome of `{id}` is not known; ask again with the same key ({code})")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// How handling a command can end besides a receipt. `R` is the domain's own type.
#[derive(Debug)]
pub enum HandleError<R> {
    /// The domain said no. Final under this command id.
    Rejected(R),
    /// The command lost a race, or named a version that is not the stream's.
    Conflict(Conflict),
    /// Something the caller can mend stood in the way.
    Refused(Refusal),
    /// Infrastructure failed.
    Fault(Fault),
}

/// [`HandleError`] with the rejection still in the ledger's form.
pub type RawError = HandleError<RawRejection>;

/// A rejection as the ledger keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawRejection {
    /// Its stable name.
    pub name: String,
    /// Its data, JSON text.
    pub data: String,
    /// Its sentence.
    pub message: String,
    /// How it reads to a caller.
    pub kind: crate::RejectionKind,
    /// Whether it was given before, under the same key, and nothing was decided now.
    pub replayed: bool,
}

impl fmt::Display for RawRejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for RawRejection {}

impl<R> HandleError<R> {
    /// The same ending with the rejection in another form.
    pub(crate) fn map<S>(self, rejected: impl FnOnce(R) -> HandleError<S>) -> HandleError<S> {
        match self {
            Self::Rejected(rejection) => rejected(rejection),
            Self::Conflict(conflict) => HandleError::Conflict(conflict),
            Self::Refused(refusal) => HandleError::Refused(refusal),
            Self::Fault(fault) => HandleError::Fault(fault),
        }
    }
}

impl<R> From<Fault> for HandleError<R> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<R> From<Refusal> for HandleError<R> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<R: fmt::Display> fmt::Display for HandleError<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(out),
            Self::Conflict(conflict) => conflict.fmt(out),
            Self::Refused(refusal) => refusal.fmt(out),
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl<R: std::error::Error> std::error::Error for HandleError<R> {}
