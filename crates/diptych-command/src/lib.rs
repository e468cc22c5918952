//! The left panel: commands change state under invariants.
//!
//! Pure deciders, the one loop that handles a command, the idempotency ledger and the port to the event
//! store. Absent here, on purpose: read models. Nothing in this crate can see one.

mod audit;
mod boundary;
mod cache;
mod command;
mod context;
mod decider;
mod erased;
mod error;
mod fields;
mod handler;
mod history;
mod intake;
mod languages;
mod ledger;
mod metrics;
mod outbox;
mod outbox_worker;
mod patience;
mod permission;
mod queue;
mod reading;
mod receipt;
mod reference;
mod rejection;
mod request;
mod restore;
mod rows;
mod state;
mod store;
mod tree;

pub use audit::{
    AUDIT_ROWS_MAX, AuditEntry, AuditFilter, AuditLog, AuditOutcome, AuditPage, AuditPlace, AuditQuery,
};
pub use boundary::Boundary;
pub use command::{Command, CommandType};
pub use context::Context;
pub use decider::Decider;
pub use erased::{
    AnyDecider, DecideError, Decided, RawCommand, State, Typed, erase, erase_boundary, erase_stored,
};
pub use error::{Conflict, ConflictCause, HandleError, RawError, RawRejection, Refusal};
pub use fields::{FieldProblem, Fields, ShapeError};
pub use handler::{CommandLimits, Commands};
pub use history::{AsOf, Past, PastAggregate};
pub use intake::{
    Arrival, EntryPrint, Intake, Source, SourcePosition, TakenIn, Watermark, not_in_order, out_of_order,
};
pub use languages::Languages;
pub use ledger::{CommandHeader, CommandRecord, InputHash, Outcome, RefusedFor};
pub use metrics::CommandMetrics;
pub use outbox::{
    BadRow, Facts, FactsBy, NewRow, OutboxError, OutboxRow, OutboxTable, UNNAMED_COMMAND, Waiting, arrivals,
};
pub use outbox_worker::{OutboxHealth, OutboxLimits, OutboxStatus, OutboxWorker};
pub use patience::patiently;
pub use queue::{
    Accepted, After, Attempt, Claim, ClaimError, ClaimNumber, ClaimedCommand, CommandQueue, CommandRef,
    Ending, EnqueueError, Enqueued, Holder, QueueChanges, QueueCounts, QueueEntry, QueueLimits, QueueMetrics,
    QueuePanel, QueueSignal, QueueState, QueueStatus, QueueWorkers, QueueWorkersParts, QueuedCommand,
    Revived, Trouble, after, retry_pause,
};
pub use reading::Aggregate;
pub use receipt::{RawReceipt, Receipt};
pub use reference::{EDITIONS_MAX, Edition, Editions, EditionsError, Reference, References, Standing};
pub use rejection::{Rejection, RejectionKind, RejectionType};
pub use request::{RawRequest, Request, RequestBy, generate_command_id};
pub use restore::{LogRestore, RestoreSource, RestoredEvent};
pub use rows::{DifferingState, RowCounts, RowProblem, WrittenRows};
pub use state::{
    NewState, Persistence, Shape, StateColumn, StateColumnKind, StateIndex, StateRow, Stored, StoredState,
    StreamStanding,
};
pub use store::{Base, Commit, CommitError, Committed, Condition, Effect, EventStore, Matched, StateStore};
pub use tree::{CauseNode, CauseTree, TreeLimits};
