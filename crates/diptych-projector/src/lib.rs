//! The hinge: workers that fold recorded facts into read models, and the proof that they did.
//!
//! The fold itself is pure and lives in the query crate; this crate reads the feed, drives it, retries, stops
//! visibly, and tells whoever waits. Absent here, on purpose: deciders and commands.

mod ahead;
mod follower;
mod keeper;
mod metrics;
mod projector;
mod shares;
mod verify;
mod worker;

pub use follower::{Follower, ProjectorLimits, Step};
pub use metrics::ProjectionMetrics;
pub use projector::{DrainError, Drained, Projector, ProjectorParts};
pub use verify::{Difference, VerifyError, VerifyReport, verify};
