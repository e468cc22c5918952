//! How a case says that a store is wrong: as a value, so that a deliberate defect can be asserted to be
//! caught.

use diptych_command::{CommitError, HandleError};
use diptych_core::{DecodeError, EncodeError, Fault, TextError, TimestampError};
use diptych_query::{AdvanceError, FoldError, QueryError};
use std::fmt;
use std::panic::Location;

/// What a case ends in.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a case failed, and where in the suite.
pub struct Failure {
    message: String,
    at: &'static Location<'static>,
}

impl Failure {
    /// A failure at the caller's line.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: Location::caller() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.message, self.at)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Errors that a case did not expect.
macro_rules! unexpected {
    ($($type:ty),+ $(,)?) => {
        $(impl From<$type> for Failure {
            #[track_caller]
            fn from(error: $type) -> Self {
                Self::new(format!("unexpected: {error:?}"))
            }
        })+
    };
}
unexpected!(AdvanceError, CommitError, DecodeError, EncodeError, Fault, FoldError);
unexpected!(QueryError, TextError, TimestampError);

impl<R: fmt::Debug> From<HandleError<R>> for Failure {
    #[track_caller]
    fn from(error: HandleError<R>) -> Self {
        Self::new(format!("unexpected: {error:?}"))
    }
}

/// Ends the case with a failure unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new(format!($($message)+)));
        }
    };
}

/// Ends the case with a failure unless two values are equal.
macro_rules! ensure_eq {
    ($actual:expr, $expected:expr, $($message:tt)+) => {
        match (&$actual, &$expected) {
            (actual, expected) => {
                if *actual != *expected {
                    let what = format!($($message)+);
                    let message = format!("{what}: got {actual:?}, expected {expected:?}");
                    return Err($crate::Failure::new(message));
                }
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};
