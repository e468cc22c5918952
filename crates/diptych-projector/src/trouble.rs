//! Why something that an operator asked of a read model's rows could not be done.

use crate::VerifyError;
use diptych_core::Fault;
use diptych_query::{AdvanceError, FoldError};
use std::fmt;

/// Why rows could not be looked after.
#[derive(Debug)]
#[non_exhaustive]
pub enum TroubleError {
    /// There is no such read model.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The name of a row is none of this group's: another model, or a key that its columns cannot hold.
    NoSuchRow {
        /// The row.
        row: String,
    },
    /// The row is not parked.
    NotParked {
        /// The row.
        row: String,
    },
    /// There is no such incident.
    NoSuchIncident {
        /// Its id.
        id: String,
    },
    /// SQL keeps the rows, so no fold knows what they should be.
    KeptBySql {
        /// The read model.
        model: &'static str,
    },
    /// It moves on faster than its rows can be folded again.
    Busy {
        /// The read model.
        name: String,
    },
    /// Another process patrols it.
    Patrolled {
        /// The read model.
        name: String,
        /// Which process.
        worker: String,
    },
    /// The log cannot be folded up to the checkpoint.
    Fold(FoldError),
    /// Infrastructure failed.
    Fault(Fault),
}

impl fmt::Display for TroubleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(out, "there is no read model `{name}`"),
            Self::NoSuchRow { row } => write!(out, "there can be no row {row}"),
            Self::NotParked { row } => write!(out, "row {row} is not parked"),
            Self::NoSuchIncident { id } => write!(out, "there is no incident `{id}`"),
            Self::KeptBySql { model } => {
                write!(out, "the rows of `{model}` are kept by SQL, so no fold can tell what they should be")
            }
            Self::Busy { name } => {
                write!(out, "`{name}` moves on faster than its rows can be folded again; try again")
            }
            Self::Patrolled { name, worker } => write!(out, "`{name}` is patrolled by `{worker}` now"),
            Self::Fold(error) => error.fmt(out),
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl std::error::Error for TroubleError {}

impl From<Fault> for TroubleError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FoldError> for TroubleError {
    fn from(error: FoldError) -> Self {
        Self::Fold(error)
    }
}

impl From<VerifyError> for TroubleError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unknown { name } => Self::Unknown { name },
            VerifyError::Fold(error) => Self::Fold(error),
            VerifyError::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// What a store says of rows that it was to put right; that they moved is judged before.
pub(crate) fn unmended(error: AdvanceError) -> TroubleError {
    match error {
        AdvanceError::Fold(error) => TroubleError::Fold(error),
        AdvanceError::Fault(fault) => TroubleError::Fault(fault),
        other => TroubleError::Fault(Fault::transient(diptych_core::Code::Storage, format!("{other:?}"))),
    }
}
