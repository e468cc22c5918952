//! What actions answer: the same values as tables for people and as JSON for machines.

use crate::action::{ActionPlan, Applied};
use crate::builds_report::{BuildsReport, MoveReport, builds_text, moves_table};
use crate::catalog::CatalogReport;
use crate::export::ExportReport;
use crate::history::{AuditReport, EventReport, StreamReport, events_table, stream_text};
use crate::jobs::{JobReport, JobRun, job_text, jobs_table, run_text, standings_table};
use crate::operation::{Operation, operations_table};
use crate::outbox::OutboxReport;
use crate::policies::{
    CheckedPolicies, ComparedPolicies, PoliciesReport, PolicyChange, checked_text, compared_text,
    history_text, policies_text,
};
use crate::queue::{CommandReport, command_text, commands_table};
use crate::rows_export::RowsExportReport;
use crate::rows_report::{
    DriftReport, ParkedListReport, RowHistoryReport, drift_text, incident_text, parked_text, row_history_text,
};
use crate::states_report::{StatesReport, VerifiedStates, states_table, verified_states_text};
use crate::watch::rebuild_text;
use crate::words::{bytes_in_words, freshness_in_words};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use diptych_core::{Position, Timestamp, Token};
use diptych_projector::{Incident, Rebuild, RebuildStep, VerifyReport};
use diptych_query::{Freshness, Health};
use serde::Serialize;
use std::fmt::Write;

/// For whom a report is rendered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Tables and sentences.
    Human,
    /// One JSON value.
    Json,
}

/// What an action answered.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// The log and every read model.
    Status(StatusReport),
    /// Every read model.
    Models(Vec<ModelStatus>),
    /// One read model in full.
    Model(Box<ModelReport>),
    /// Rows against the log.
    Verified(Vec<VerifyReport>),
    /// A read model was drained.
    Drained {
        /// Which.
        model: &'static str,
        /// Where it stood before.
        from: Position,
        /// Where it stands now.
        through: Position,
        /// How many positions it moved.
        events: u64,
    },
    /// Rows of a read model.
    Rows(RowsReport),
    /// What waits in the outbox.
    Outbox(OutboxReport),
    /// The outbox was drained.
    OutboxDrained {
        /// How many events came into the log.
        events: usize,
    },
    /// One stream as it is or was.
    Stream(StreamReport),
    /// The events of one stream.
    StreamEvents(Vec<EventReport>),
    /// Who did what, or what caused what.
    Audit(AuditReport),
    /// A log, or a part of it, was written to a file or taken from one.
    Exported(Box<ExportReport>),
    /// Rows of a read model were written to a file.
    RowsExported(Box<RowsExportReport>),
    /// The event catalog and its file.
    Catalog(CatalogReport),
    /// Every decider's stored states.
    States(Vec<StatesReport>),
    /// Stored states against their streams.
    StatesVerified(VerifiedStates),
    /// Stored states were brought up to date.
    StatesWritten {
        /// Of which category.
        category: &'static str,
        /// How many streams have events.
        streams: u64,
        /// How many states were written.
        written: u64,
        /// How many a command had brought further meanwhile.
        overtaken: u64,
    },
    /// Stored states were removed.
    StatesDropped {
        /// Of which category.
        category: &'static str,
        /// How many.
        rows: u64,
    },
    /// Commands of the queue.
    Commands(Vec<CommandReport>),
    /// One command of the queue.
    Command(Box<CommandReport>),
    /// Moves of builds.
    Moves(Vec<MoveReport>),
    /// What an action would do.
    Planned(Box<ActionPlan>),
    /// What came of an action.
    Applied(Box<Applied>),
    /// What operators have done.
    Operations(Vec<Operation>),
    /// Parked keys.
    Parked(ParkedListReport),
    /// Incidents and patrols.
    Drift(DriftReport),
    /// One incident.
    Incident(Box<Incident>),
    /// Which facts touched a row.
    RowHistory(RowHistoryReport),
    /// A rebuild, as far as it was watched.
    Rebuild(Box<Rebuild>),
    /// The access policies.
    Policies(PoliciesReport),
    /// Whether other policies could be used.
    PoliciesChecked(CheckedPolicies),
    /// What policies are written against.
    PolicySchema {
        /// In Cedar's form.
        schema: String,
    },
    /// What other policies would change.
    PoliciesCompared(Box<ComparedPolicies>),
    /// Which policies were in force.
    PolicyHistory(Vec<PolicyChange>),
    /// How every job stands.
    Jobs(Vec<JobReport>),
    /// One job with its runs.
    Job(Box<JobReport>),
    /// A run that was ordered.
    JobRun(Box<JobRun>),
    /// A failed command waits again.
    #[serde(rename_all = "camelCase")]
    Revived {
        /// Which.
        command_id: String,
    },
}

/// The log and every read model.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The service.
    pub service: String,
    /// Where its store is.
    pub store: String,
    /// How many events the log holds.
    pub events: u64,
    /// When the last was recorded.
    pub last_recorded_at: Option<Timestamp>,
    /// The head of the log.
    pub token: Token,
    /// How many streams there are.
    pub streams: u64,
    /// How many commands the ledger knows.
    pub commands: u64,
    /// How many bytes the log takes.
    pub log_bytes: u64,
    /// Every read model.
    pub models: Vec<ModelStatus>,
    /// Every job with its last run; none where the service has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobReport>,
}

/// How a read model is doing.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// Its name.
    pub model: &'static str,
    /// The code's version of it.
    pub revision: u32,
    /// Where its build stands; none where there is none.
    pub stage: Option<&'static str>,
    /// The build of its group that this code moves and reads, such as `r2g1`.
    pub build: Option<String>,
    /// When its facts are folded.
    pub mode: &'static str,
    /// Where its rows are kept, unless they are columns of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// What its answers promise.
    pub contract: String,
    /// Who answers for it.
    pub owner: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// How fresh it is.
    pub freshness: Freshness,
    /// How it is doing.
    pub health: Health,
}

/// One read model in full.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// How it is doing.
    #[serde(flatten)]
    pub status: ModelStatus,
    /// The builds of its group.
    #[serde(flatten)]
    pub builds: BuildsReport,
    /// What it means.
    pub meaning: &'static str,
    /// The fingerprint of its shape.
    pub shape: String,
    /// The group whose checkpoint it moves under: its own name when it moves alone.
    pub group: &'static str,
    /// The scheduled export that it is folded from; none where that is the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// The read models that its projection looks rows up in.
    pub reads: Vec<&'static str>,
    /// What it gives up because SQL keeps its rows.
    pub given_up: Option<&'static str>,
    /// Its stored columns.
    pub columns: Vec<ColumnReport>,
    /// Its columns computed at read time.
    pub computed: Vec<&'static str>,
    /// Its secondary indexes.
    pub indexes: Vec<String>,
    /// The categories whose facts it reads.
    pub categories: Vec<&'static str>,
    /// The event types whose facts it reads.
    pub event_types: Vec<&'static str>,
    /// Who answers for it and why it exists.
    pub governance: Vec<(&'static str, &'static str)>,
    /// The categories of which it passes over types that it does not know.
    pub ignores: Vec<&'static str>,
    /// How many facts met no row and left none, in this process.
    pub no_ops: u64,
    /// How many facts were passed over because their type is ignored, in this process.
    pub ignored: u64,
    /// The partitions of its group, and who moves each.
    pub partitions: Vec<PartitionReport>,
}

/// One partition of a model's group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionReport {
    /// Its number, from 0.
    pub partition: u8,
    /// Where it stands.
    pub position: Position,
    /// The process that moves it; none when nobody does, or where processes share no work.
    pub worker: Option<String>,
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnReport {
    /// Its name in SQL.
    pub name: &'static str,
    /// Its name on the wire.
    pub public: &'static str,
    /// Its type.
    pub value_type: String,
    /// Whether it may hold no value.
    pub nullable: bool,
    /// Whether it is part of the key.
    pub key: bool,
    /// Whether a query may filter by it.
    pub filter: bool,
    /// Whether a query may sort by it.
    pub sort: bool,
    /// How careful to be with it.
    pub sensitivity: String,
    /// What it means.
    pub meaning: &'static str,
}

/// Rows of a read model.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowsReport {
    /// The columns' names on the wire.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Where the next page starts.
    pub next_page_token: Option<String>,
    /// How fresh they are.
    pub freshness: Freshness,
    /// How the model is doing.
    pub health: Health,
}

impl Report {
    /// Renders the report.
    #[must_use]
    pub fn render(&self, output: Output) -> String {
        match output {
            // The last line of those that told how far it had come.
            Output::Json if matches!(self, Self::Rebuild(_)) => {
                serde_json::to_string(self).unwrap_or_else(|error| error.to_string())
            }
            Output::Json => serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string()),
            Output::Human => self.to_text(),
        }
    }

    /// Whether nothing is wrong: a script's exit code.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Verified(reports) => reports.iter().all(VerifyReport::is_clean),
            Self::Outbox(report) => report.is_clean(),
            Self::Catalog(report) => report.is_clean(),
            Self::StatesVerified(verified) => verified.differences.is_empty(),
            Self::Planned(plan) => plan.is_allowed(),
            Self::Applied(applied) => !applied.blocked,
            Self::Parked(parked) => parked.parked.is_empty(),
            Self::PoliciesChecked(checked) => checked.problems.is_empty(),
            Self::Drift(drift) => drift.is_clean(),
            Self::Jobs(jobs) => jobs.iter().all(JobReport::is_clean),
            Self::Rebuild(rebuild) => !matches!(rebuild.step, RebuildStep::Blocked | RebuildStep::Failed),
            _ => true,
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Status(status) => status_text(status),
            Self::Jobs(jobs) => jobs_table(jobs),
            Self::Job(job) => job_text(job),
            Self::JobRun(run) => run_text(run),
            Self::Models(models) => models_table(models),
            Self::Model(model) => model_text(model),
            Self::Verified(reports) => reports.iter().map(verified_text).collect::<Vec<_>>().join("\n"),
            Self::Drained { model, from, through, events } => {
                format!("{model}: {events} events folded, from position {from} to {through}")
            }
            Self::Rows(rows) => rows_text(rows),
            Self::Outbox(report) => report.to_text(),
            Self::OutboxDrained { events } => format!("{events} events taken into the log"),
            Self::Stream(stream) => stream_text(stream),
            Self::StreamEvents(events) => events_table(events),
            Self::Audit(report) => report.to_text(),
            Self::Exported(report) => report.to_text(),
            Self::RowsExported(report) => report.to_text(),
            Self::Catalog(report) => report.to_text(),
            Self::States(reports) => states_table(reports),
            Self::StatesVerified(verified) => verified_states_text(verified),
            Self::StatesWritten { category, streams, written, overtaken } => {
                format!("{category}: {written} states written, {overtaken} overtaken, of {streams} streams")
            }
            Self::StatesDropped { category, rows } => format!("{category}: {rows} states dropped"),
            Self::Commands(commands) => commands_table(commands),
            Self::Command(command) => command_text(command),
            Self::Moves(moves) => moves_table(moves),
            Self::Policies(report) => policies_text(report),
            Self::PoliciesChecked(report) => checked_text(report),
            Self::PolicySchema { schema } => schema.trim_end().to_owned(),
            Self::PoliciesCompared(report) => compared_text(report),
            Self::PolicyHistory(changes) => history_text(changes),
            Self::Planned(plan) => plan.to_text(),
            Self::Applied(applied) => applied.to_text(),
            Self::Operations(operations) => operations_table(operations),
            Self::Parked(report) => parked_text(report),
            Self::Drift(report) => drift_text(report),
            Self::Incident(incident) => incident_text(incident),
            Self::RowHistory(report) => row_history_text(report),
            Self::Rebuild(rebuild) => rebuild_text(rebuild),
            Self::Revived { command_id } => format!("{command_id}: accepted to be run again"),
        }
    }
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table
}

fn status_text(status: &StatusReport) -> String {
    let last = status.last_recorded_at.map_or("never".to_owned(), |time| time.to_string());
    let mut text = format!(
        "{} on {}\n{} events in {} streams, {} commands, {} (last recorded {last})\n{}",
        status.service,
        status.store,
        status.events,
        status.streams,
        status.commands,
        bytes_in_words(status.log_bytes),
        models_table(&status.models)
    );
    for model in &status.models {
        if let Some(kept) = &model.kept {
            let _ = write!(text, "\n{} is kept as {kept}", model.model);
        }
    }
    if !status.jobs.is_empty() {
        let _ = write!(text, "\n{}", standings_table(&status.jobs));
    }
    text
}

fn models_table(models: &[ModelStatus]) -> String {
    let mut table =
        table(&["model", "stage", "build", "mode", "contract", "rows", "position", "lag", "health"]);
    for model in models {
        let projection_position = model.freshness.projection_position;
        table.add_row(vec![
            model.model.to_owned(),
            model.stage.unwrap_or_default().to_owned(),
            model.build.clone().unwrap_or_default(),
            model.mode.to_owned(),
            model.contract.clone(),
            model.rows.to_string(),
            projection_position.to_string(),
            freshness_in_words(&model.freshness),
            health_text(&model.health),
        ]);
    }
    table.to_string()
}

fn health_text(health: &Health) -> String {
    match health {
        Health::Stopped { position, reason } | Health::OlderCode { position, reason } => {
            format!("{} at {position}: {reason}", health.as_str())
        }
        Health::Retrying { reason } => format!("retrying: {reason}"),
        Health::Degraded { parked, incidents } => {
            format!("degraded: {parked} keys parked, {incidents} incidents open")
        }
        Health::Suspended { reason } => format!("suspended: {reason}"),
        other => other.as_str().to_owned(),
    }
}

fn model_text(model: &ModelReport) -> String {
    let mut text =
        format!("{} (revision {}): {}\n", model.status.model, model.status.revision, model.meaning);
    text.push_str(&models_table(std::slice::from_ref(&model.status)));
    let _ = write!(text, "\n\n{}", builds_text(&model.builds));
    let mut columns = table(&["column", "on the wire", "type", "use", "sensitivity", "meaning"]);
    for column in &model.columns {
        let uses = [("key", column.key), ("filter", column.filter), ("sort", column.sort)];
        let uses: Vec<_> = uses.iter().filter(|(_, on)| *on).map(|(word, _)| *word).collect();
        let null = if column.nullable { " or null" } else { "" };
        columns.add_row(vec![
            column.name.to_owned(),
            column.public.to_owned(),
            format!("{}{null}", column.value_type),
            uses.join(", "),
            column.sensitivity.clone(),
            column.meaning.to_owned(),
        ]);
    }
    let _ = write!(text, "\n{columns}\n");
    let lists = [
        ("computed at read time", model.computed.join(", ")),
        ("indexes", model.indexes.join("; ")),
        ("reads", format!("{} ({})", model.categories.join(", "), model.event_types.join(", "))),
        ("gives up, being kept by SQL", model.given_up.unwrap_or_default().to_owned()),
        ("folded from the export", model.source.unwrap_or_default().to_owned()),
        ("looks rows up in", model.reads.join(", ")),
        (
            "moves with group",
            if model.group == model.status.model { String::new() } else { model.group.to_owned() },
        ),
        ("kept as", model.status.kept.clone().unwrap_or_default()),
        ("shape", model.shape.clone()),
        ("ignores unknown types of", model.ignores.join(", ")),
        ("facts that met no row", model.no_ops.to_string()),
        ("facts ignored", if model.ignores.is_empty() { String::new() } else { model.ignored.to_string() }),
        ("moved by", moved_by(&model.partitions)),
    ];
    let governance = model.governance.iter().map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in lists.into_iter().chain(governance).filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{name}: {value}");
    }
    text.trim_end().to_owned()
}

/// Who moves the partitions; nothing where processes share no work.
fn moved_by(partitions: &[PartitionReport]) -> String {
    if partitions.iter().all(|one| one.worker.is_none()) {
        return if partitions.len() > 1 { "nobody".to_owned() } else { String::new() };
    }
    let of = partitions.len();
    let words = partitions.iter().map(|PartitionReport { partition, position, worker }| {
        let worker = worker.as_deref().unwrap_or("nobody");
        if of == 1 { worker.to_owned() } else { format!("{partition} of {of}: {worker} at {position}") }
    });
    words.collect::<Vec<_>>().join("; ")
}

fn verified_text(report: &VerifyReport) -> String {
    let VerifyReport { model, position, facts, rows_expected, rows_actual, .. } = report;
    let digest = match report.digest_matches {
        Some(true) => "the digest matches",
        Some(false) => "THE DIGEST DIFFERS",
        None => "the digest was not compared, the model moved",
    };
    if let Some(reason) = report.unverifiable {
        return format!("{model}: NOT VERIFIED at position {position}: {rows_actual} rows; {reason}");
    }
    let verdict = if report.is_clean() { "clean" } else { "DIFFERS" };
    let differing = report.differing_rows;
    let mut text = format!("{model}: {verdict} at position {position}: {rows_actual} rows, ");
    let _ = write!(text, "{rows_expected} expected from {facts} facts, {differing} differ; {digest}");
    for difference in &report.differences {
        let key: Vec<_> = difference.key.iter().map(cell_text).collect();
        let column = difference.column.unwrap_or("row");
        let _ = write!(
            text,
            "\n  {} {}: {column} is {}, expected {}",
            difference.tenant,
            key.join("/"),
            difference.actual,
            difference.expected
        );
    }
    text
}

fn rows_text(rows: &RowsReport) -> String {
    let mut table = table(&rows.columns);
    for row in &rows.rows {
        table.add_row(row.iter().map(cell_text));
    }
    let projection_position = rows.freshness.projection_position;
    let lag = freshness_in_words(&rows.freshness);
    let mut text = format!("{table}\n{} rows, {lag} at position {projection_position}", rows.rows.len());
    if let Some(token) = &rows.next_page_token {
        let _ = write!(text, "; more with pageToken={token}");
    }
    text
}

/// A JSON value as a cell: texts bare, money as people write it, long values cut.
pub(crate) fn cell_text(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(fields)
            if fields.contains_key("amount") && fields.contains_key("currency") =>
        {
            let part = |name: &str| fields.get(name).and_then(|value| value.as_str()).unwrap_or_default();
            format!("{} {}", part("amount"), part("currency"))
        }
        other => other.to_string(),
    };
    cut(&text)
}

/// A text that is not too long for a cell.
pub(crate) fn cut(text: &str) -> String {
    const CELL_CHARS_MAX: usize = 48;
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_and_bare() {
        assert_eq!(cell_text(&serde_json::json!({"amount": "39.98", "currency": "GBP"})), "39.98 GBP");
        assert_eq!(cell_text(&serde_json::json!("x".repeat(60))).chars().count(), 48);
        assert_eq!(cell_text(&serde_json::Value::Null), "");
    }
}
