//! The left panel: commands change state under invariants.
//!
//! Pure deciders, the one loop that handles a command, the idempotency ledger and the port to the event
//! store. Absent here, on purpose: read models. Nothing in this crate can see one.

mod cache;
mod command;
mod context;
mod decider;
mod erased;
mod error;
mod fields;
mod handler;
mod ledger;
mod metrics;
mod queue;
mod reading;
mod receipt;
mod rejection;
mod request;
mod store;

pub use command::{Command, CommandType};
pub use context::Context;
pub use decider::Decider;
pub use erased::{AnyDecider, DecideError, Decided, RawCommand, State, Typed, erase};
pub use error::{Conflict, HandleError, RawError, RawRejection, Refusal};
pub use fields::{FieldProblem, Fields, ShapeError};
pub use handler::{CommandLimits, Commands};
pub use ledger::{CommandHeader, CommandRecord, InputHash, Outcome, RefusedFor};
pub use metrics::CommandMetrics;
pub use queue::{
    Accepted, After, Attempt, Claim, ClaimError, ClaimNumber, ClaimedCommand, CommandQueue, CommandRef,
    Ending, EnqueueError, Enqueued, Holder, QueueChanges, QueueCounts, QueueEntry, QueueLimits, QueueMetrics,
    QueuePanel, QueueSignal, QueueState, QueueStatus, QueueWorkers, QueueWorkersParts, QueuedCommand,
    Revived, Trouble, after, retry_pause,
};
pub use reading::Aggregate;
pub use receipt::{RawReceipt, Receipt};
pub use rejection::{Rejection, RejectionKind, RejectionType};
pub use request::{RawRequest, Request, RequestBy, generate_command_id};
pub use store::{Commit, CommitError, Committed, Effect, EventStore};
