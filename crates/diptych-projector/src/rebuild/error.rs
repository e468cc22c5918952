//! Why an order about builds was not carried out.

use super::{Rebuild, RebuildStep};
use crate::compare::CompareReport;
use diptych_core::{Code, Fault};
use diptych_query::TransitError;
use std::fmt;

/// Why an order about builds was not carried out.
#[derive(Debug)]
#[non_exhaustive]
pub enum RebuildError {
    /// There is no such group.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A rebuild of the group is under way already.
    UnderWay {
        /// Which.
        rebuild: Box<Rebuild>,
    },
    /// No rebuild of the group is under way.
    None {
        /// The group.
        group: String,
    },
    /// The rebuild stands where the order makes no sense.
    NotNow {
        /// The group.
        group: String,
        /// Where the rebuild stands.
        step: RebuildStep,
        /// What can be ordered there instead.
        instead: &'static str,
    },
    /// The new build differs in ways that were not declared.
    Differs {
        /// In what.
        report: Box<CompareReport>,
    },
    /// The rebuild failed, or the order did.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
    /// A build does not go from where it stands to where it should.
    Move(TransitError),
    /// Infrastructure failed.
    Fault(Fault),
}

impl RebuildError {
    /// The code with a page of its own.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => Code::NotFound,
            Self::Differs { .. } => Code::BuildsDiffer,
            Self::Fault(fault) | Self::Move(TransitError::Fault(fault)) => fault.code(),
            _ => Code::MoveRefused,
        }
    }
}

impl From<Fault> for RebuildError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TransitError> for RebuildError {
    fn from(error: TransitError) -> Self {
        match error {
            TransitError::Fault(fault) => Self::Fault(fault),
            error => Self::Move(error),
        }
    }
}

impl fmt::Display for RebuildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Self::Unknown { name } => write!(out, "there is no read model `{name}` ({code})"),
            Self::UnderWay { rebuild } => {
                let Rebuild { group, to, step, .. } = &**rebuild;
                write!(out, "`{group}` is being rebuilt already: build {to} is {step} ({code})")
            }
            Self::None { group } => write!(out, "no rebuild of `{group}` is under way ({code})"),
            Self::NotNow { group, step, instead } => {
                write!(out, "the rebuild of `{group}` is {step}: {instead} ({code})")
            }
            Self::Differs { report } => {
                let CompareReport { group, to, .. } = &**report;
                let rows = report.undeclared();
                write!(
                    out,
                    "build {to} of `{group}` differs from what was declared in {rows} rows or answers \
                     ({code})"
                )
            }
            Self::Failed { reason } => write!(out, "{reason} ({code})"),
            Self::Move(error) => write!(out, "{error} ({code})"),
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl std::error::Error for RebuildError {}
