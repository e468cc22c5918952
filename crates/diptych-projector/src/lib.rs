//! The hinge: workers that fold recorded facts into read models, and the proof that they did.
//!
//! The fold itself is pure and lives in the query crate; this crate reads the feed, drives it, retries, stops
//! visibly, and tells whoever waits. Absent here, on purpose: deciders and commands.

mod ahead;
mod alone;
mod compare;
mod follower;
mod keeper;
mod metrics;
mod operate;
mod projector;
mod rebuild;
mod shadow;
mod shares;
mod steward;
mod verify;
mod worker;

pub use compare::{
    BuildDifference, CompareReport, QuestionDifference, QuestionsCompared, Refolded, TableCompared,
};
pub use follower::{Follower, ProjectorLimits, Step};
pub use metrics::ProjectionMetrics;
pub use operate::Deprecation;
pub use projector::{DrainError, Drained, Projector, ProjectorParts};
pub use rebuild::{
    Asked, Differing, Driver, Gate, Measured, REBUILD, REBUILD_DONE, Rebuild, RebuildError, RebuildOrder,
    RebuildProgress, RebuildStep, StepTook, Switching, Wish,
};
pub use steward::{Steward, Tended};
pub use verify::{Difference, VerifyError, VerifyReport, verify};
