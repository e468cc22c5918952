//! The hinge: workers that fold recorded facts into read models, and the proof that they did.
//!
//! The fold itself is pure and lives in the query crate; this crate reads the feed, drives it, retries, stops
//! visibly, and tells whoever waits. Absent here, on purpose: deciders and commands.

mod ahead;
mod alone;
mod compare;
mod feeds;
mod follower;
mod incident;
mod keeper;
mod lasting;
mod metrics;
mod operate;
mod parked;
mod parking;
mod patrol;
mod patrolling;
mod projector;
mod rebuild;
mod recount;
mod refold;
mod repair;
mod retry;
mod row_name;
mod serving;
mod shadow;
mod shares;
mod skips;
mod steward;
mod trouble;
mod verify;
mod worker;

pub use compare::{
    BuildDifference, CompareReport, QuestionDifference, QuestionsCompared, Refolded, TableCompared,
};
pub use follower::{Follower, ProjectorLimits, Step};
pub use incident::{
    ActionTaken, Differs, Finding, FoundBy, INCIDENT, INCIDENTS_MAX, Incident, IncidentStatus, Incidents,
    Subject,
};
pub use metrics::ProjectionMetrics;
pub use operate::Deprecation;
pub use parked::{Keys, Retried, RetryPlan};
pub use patrol::{PATROL, Pass, Patrol, PatrolState, Patrolled, Phase, Stale};
pub use projector::{DrainError, Drained, Projector, ProjectorParts};
pub use rebuild::{
    Asked, Differing, Driver, Gate, Measured, REBUILD, REBUILD_DONE, Rebuild, RebuildError, RebuildOrder,
    RebuildProgress, RebuildStep, StepTook, Switching, Wish,
};
pub use repair::{DigestCheck, Repair, Repaired};
pub use row_name::RowName;
pub use skips::Skip;
pub use steward::{Steward, Tended};
pub use trouble::TroubleError;
pub use verify::{Difference, VerifyError, VerifyReport, verify};
