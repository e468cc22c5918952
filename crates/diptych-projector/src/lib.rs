//! The hinge: workers that fold recorded facts into read models, and the proof that they did.
//!
//! The fold itself is pure and lives in the query crate; this crate reads the feed, drives it, retries, stops
//! visibly, and tells whoever waits. Absent here, on purpose: deciders and commands.

mod ahead;
mod follower;
mod incident;
mod keeper;
mod metrics;
mod parked;
mod parking;
mod patrol;
mod patrolling;
mod projector;
mod recount;
mod refold;
mod repair;
mod retry;
mod row_name;
mod serving;
mod shares;
mod skips;
mod trouble;
mod verify;
mod worker;

pub use follower::{Follower, ProjectorLimits, Step};
pub use incident::{
    ActionTaken, Differs, Finding, FoundBy, INCIDENT, INCIDENTS_MAX, Incident, IncidentStatus, Incidents,
    Subject,
};
pub use metrics::ProjectionMetrics;
pub use parked::{Keys, Retried, RetryPlan};
pub use patrol::{Driver, PATROL, Pass, Patrol, PatrolState, Patrolled, Phase, Stale};
pub use projector::{DrainError, Drained, Projector, ProjectorParts};
pub use repair::{DigestCheck, Repair, Repaired};
pub use row_name::RowName;
pub use skips::Skip;
pub use trouble::TroubleError;
pub use verify::{Difference, VerifyError, VerifyReport, verify};
