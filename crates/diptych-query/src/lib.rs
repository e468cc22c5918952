//! The right panel and the pure part of the hinge: read models, the fold that keeps them, and honest answers.
//!
//! Declarations, filters, pages, contracts, freshness, and the ports to the feed and the model store. Absent
//! here, on purpose: commands. Nothing in this crate can give one, and no clock is read: time is handed in.

mod answer;
mod any_model;
mod build;
mod column;
mod contract;
mod correction;
mod declared;
mod document;
mod error;
mod export;
mod feed;
mod find;
pub mod fold;
mod group;
mod held_back;
mod job_board;
mod lag;
mod metrics;
mod model;
mod model_store;
mod money_guard;
mod notice;
mod order;
mod page;
mod partition;
mod progress;
mod projection;
mod queries;
mod registry;
mod row_rule;
mod rows_stamp;
mod samples;
mod schema;
mod select;
mod serving;
mod siblings;
mod sight;
mod sources;
mod sql_projection;
mod stage;
mod text;
mod touch;
mod upkeep;
mod words;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Freshness, Health, Page};
pub use any_model::{AnyModel, erase, erase_sql};
pub use build::{
    Build, BuildId, BuildMove, Order, StageMove, TransitError, judge, own_build, stand_in, taken_over,
};
pub use column::{CanFilter, CanSort, Column};
pub use contract::{Breach, Consistency, Contract};
pub use correction::{CORRECTION, Corrected, Correction, CorrectionError, ROW_CORRECTED};
pub use declared::as_declared;
pub use document::{DocumentError, Written, read_document, write_document};
pub use error::QueryError;
pub use export::{EXPORT_BATCH_ROWS, ExportRows, ExportSender, Exporting, RawExport, export_channel};
pub use feed::{Block, Categories, Feed, Mark, RawBlock, RawFacts, Statistics};
pub use find::{Condition, Cursor, Direction, Filter, Find, Operator, RawFind, Sort};
pub use fold::{Batch, FailedRow, Fold, FoldError, FoldErrorKind, Passed};
pub use group::{Group, GroupError, Tables};
pub use job_board::{JobBoard, JobRecords, JobStanding, clock_in_words};
pub use lag::Lag;
pub use metrics::{Latency, QueryMetrics};
pub use model::ReadModel;
pub use model_store::{
    AdvanceError, Advanced, BucketDigest, Changed, Checkpoint, FoldAhead, Found, Matching, Mend, ModelStore,
    Parked, RowChange, RowRef, RowsAhead, ScannedRow, Stopped, StoredRow, TableChanges, TableNeeds,
    TableSnapshot,
};
pub use money_guard::{MoneyPath, MoneyPlaces, MoneyStep, money_field, money_in_columns, money_paths};
pub use notice::{NOTICE, Notice, Suspension};
pub use order::sort_in_table_order;
pub use page::PageKey;
pub use partition::{Fence, Lease, PARTITIONS_MAX, Partition, PartitionState, Readiness, Shares, WorkerId};
pub use progress::{Progress, ProgressEntry, Standing, Troubles};
pub use projection::{JoinedProjection, Projection, Route};
pub use queries::{
    AnswerTag, Ask, AskedRow, Awaited, ExportTotals, Moves, PendingCommand, PendingCommands, Queries,
    QueryLimits, QueryParts, RawPage, RawRow, RowStream, Unless, Visibility, VisibleSince, WaitOutcome,
};
pub use registry::{Record, RecordOf, Registry};
pub use row_rule::{PatternPart, RowConditions, RowDialect, RowExpr, RowFailed, RowRule, RowType};
pub use rows_stamp::RowsStamp;
pub use samples::Samples;
pub use schema::{
    ColumnSpec, ComputedSpec, Facets, Governance, IndexSpec, Mode, Schema, Sensitivity, Storage, Tenants,
    Withheld,
};
pub use serving::Serving;
pub use siblings::{NoCircularReads, Reads, Siblings};
pub use sight::{FieldRule, Purpose, ReadPolicy, Sight};
pub use sources::{NoSources, Sources};
pub use sql_projection::{Dialect, GIVEN_UP, SqlProjection, Statements, statement_texts};
pub use stage::{IllegalMove, Stage};
pub use text::key_from_text;
pub use touch::{Touch, Touched};
pub use upkeep::{Corrections, Degraded, Intended, OnFailure, Patrol, Upkeep};
pub use words::{WORDS_MAX, Word, Words};
