//! What can be wrong with policies, in words for who writes them.

use diptych_core::{Code, Fault};
use std::fmt;

/// Policies that cannot be used, with everything that is wrong with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// A sentence each, without a code.
    pub problems: Vec<String>,
}

impl PolicyError {
    pub(crate) fn one(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.problems.join("; "), Code::PolicyInvalid)
    }
}

impl std::error::Error for PolicyError {}

impl From<PolicyError> for Fault {
    fn from(error: PolicyError) -> Self {
        Self::permanent(Code::PolicyInvalid, error.problems.join("; "))
    }
}
