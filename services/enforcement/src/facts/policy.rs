//! Which versions of the policy are known. A pure table: nothing here asks anybody.

use super::PolicyVersion;
use diptych::prelude::*;

/// The version that decisions are taken under today.
pub const CURRENT_POLICY: &str = "ENF-POLICY-2026.04";

/// Versions that were in force once.
const SUPERSEDED: [&str; 2] = ["ENF-POLICY-2025.10", "ENF-POLICY-2025.04"];

/// What a version of the policy is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in force.
    Current,
    /// It was in force once.
    Superseded,
    /// Nobody has heard of it.
    Unknown,
}

/// What a version of the policy is worth.
#[must_use]
pub fn standing(version: &PolicyVersion) -> Standing {
    match version.as_str() {
        CURRENT_POLICY => Standing::Current,
        text if SUPERSEDED.contains(&text) => Standing::Superseded,
        _ => Standing::Unknown,
    }
}
