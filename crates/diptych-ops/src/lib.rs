//! Operator actions as values, and their command line.
//!
//! An action takes what is running and answers with a report, which renders for people or for machines.
//! Absent here: terminals and exit codes, which belong to whoever runs the action.

mod action;
mod actions;
mod builds_report;
pub mod catalog;
pub mod export;
mod history;
pub mod jobs;
mod line;
mod line_history;
mod line_jobs;
mod line_models;
mod operation;
mod outbox;
pub mod policies;
mod queue;
mod report;
mod rows_export;
mod rows_report;
mod states;
mod states_report;
mod watch;
mod words;

pub use action::{Action, ActionPlan, Applied};
pub use actions::{
    ActionError, LogStatus, Operator, drain, list_models, query, show_model, status, verify_models,
};
pub use builds_report::{BuildReport, BuildsReport, MoveReport, list_moves};
pub use history::{
    AuditReport, EventReport, StreamReport, audit_tree, list_audit, show_stream, stream_events,
};
pub use jobs::{Job, JobDesk, JobKind, JobLimits, JobRun, Schedule, order_job, run_due_jobs};
pub use line::{run, run_catalog, verbs};
pub use line_history::{import_verb, run_import};
pub use operation::{OPERATION, OPERATIONS_MAX, Operation, list_operations};
pub use outbox::{OutboxReport, drain_outbox, show_outbox};
pub use policies::{PoliciesInForce, run_policies};
pub use queue::{CommandReport, list_commands, retry_command, show_command};
pub use report::{
    ColumnReport, ModelReport, ModelStatus, Output, PartitionReport, Report, RowsReport, StatusReport,
};
pub use rows_export::{ColumnLine, RowsExportReport, RowsFormat, RowsLineage, export_rows};
pub use rows_report::{
    DriftReport, ParkedListReport, ParkedReport, RowHistoryReport, TouchReport, list_drift, list_parked,
    patrol, row_history, show_drift, show_parked,
};
pub use states::{drop_states, list_states, verify_states, write_states};
pub use states_report::{DifferenceReport, StatesReport, VerifiedStates};
pub use watch::{RebuildWatcher, watch_rebuild};
pub use words::lag_in_words;
