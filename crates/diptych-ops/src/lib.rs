//! Operator actions as values, and their command line.
//!
//! An action takes what is running and answers with a report, which renders for people or for machines.
//! Absent here: terminals and exit codes, which belong to whoever runs the action.

mod actions;
mod line;
mod queue;
mod report;
mod words;

pub use actions::{
    ActionError, LogStatus, Operator, drain, list_models, query, show_model, status, verify_models,
};
pub use line::{run, verbs};
pub use queue::{CommandReport, list_commands, retry_command, show_command};
pub use report::{
    ColumnReport, ModelReport, ModelStatus, Output, PartitionReport, Report, RowsReport, StatusReport,
};
pub use words::lag_in_words;
