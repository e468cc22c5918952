//! What an operator can do and look at. Every action answers with a report.

use crate::builds_report::builds_of;
use crate::report::{
    ColumnReport, ModelReport, ModelStatus, PartitionReport, Report, RowsReport, StatusReport,
};
use crate::{JobDesk, PoliciesInForce};
use diptych_command::{CommandQueue, Commands, OutboxWorker, QueueStatus, RawError};
use diptych_core::{Fault, Principal, UnknownTypes, Value};
use diptych_projector::{DrainError, Projector, RebuildError, TroubleError, VerifyError};
use diptych_query::{
    AnyModel, Ask, Feed, Group, Mark, ModelStore, PartitionState, Queries, QueryError, Registry, Storage,
    own_build,
};
use std::sync::Arc;
use thiserror::Error;

/// How many differing columns a verification names for each model.
const DIFFERENCES_MAX: usize = 100;

/// What an operator works on.
pub struct Operator<'a> {
    /// The name of the service.
    pub service: &'a str,
    /// On whose behalf.
    pub principal: &'a Principal,
    /// The left panel.
    pub commands: &'a Commands,
    /// The queue of commands that are done later.
    pub queue: &'a dyn CommandQueue,
    /// The right panel.
    pub queries: &'a Queries,
    /// The hinge.
    pub projector: &'a Projector,
    /// The outbox of applications, where the service has one.
    pub outbox: Option<&'a OutboxWorker>,
    /// The log as readers see it.
    pub feed: &'a dyn Feed,
    /// Where rows live.
    pub models: &'a dyn ModelStore,
    /// What is known of read models beside their rows.
    pub registry: &'a dyn Registry,
    /// The access policies.
    pub policies: PoliciesInForce<'a>,
    /// The scheduled jobs.
    pub jobs: &'a JobDesk,
    /// How the log stands.
    pub log: LogStatus,
}

/// What stands in the log.
#[derive(Clone, Debug)]
pub struct LogStatus {
    /// Where the store is.
    pub location: String,
    /// Where read models declared `document` are kept, if not in the store.
    pub documents: Option<String>,
    /// The last entry.
    pub head: Mark,
    /// How many streams there are.
    pub streams: u64,
    /// How many commands the ledger knows.
    pub commands: u64,
    /// How many bytes the log takes.
    pub bytes: u64,
}

/// Why an action did not happen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ActionError {
    /// There is no such read model.
    #[error("there is no read model `{name}`; `models list` shows them")]
    UnknownModel {
        /// What was asked for.
        name: String,
    },
    /// There is no such category.
    #[error("no decider has category `{name}`; `states list` shows them")]
    UnknownCategory {
        /// What was asked for.
        name: String,
    },
    /// An argument that cannot be understood.
    #[error("{reason}")]
    Argument {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// There is no such command in the queue.
    #[error("the queue holds no command `{id}`; `commands list` shows what it holds")]
    UnknownCommand {
        /// What was asked for.
        id: String,
    },
    /// A command that has not failed.
    #[error("command `{id}` is {status}; only a failed one can be run again")]
    NotFailed {
        /// Which.
        id: String,
        /// Where it stands.
        status: QueueStatus,
    },
    /// It may not be done as things stand.
    #[error("{reason}{}", instead_in_words(instead))]
    Refused {
        /// Why.
        reason: String,
        /// What may be done instead.
        instead: Vec<String>,
    },
    /// An order about builds was not carried out.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Rows could not be looked after.
    #[error(transparent)]
    Trouble(#[from] TroubleError),
    /// A question without an answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A drain that did not reach the head.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// A verification that could not finish.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The left panel did not answer.
    #[error(transparent)]
    Command(#[from] RawError),
    /// Infrastructure failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What the log holds, how every read model is doing, and how every job stands.
///
/// # Errors
/// A fault of the store.
pub async fn status(operator: &Operator<'_>) -> Result<Report, ActionError> {
    let LogStatus { location, head, streams, commands, bytes, .. } = operator.log.clone();
    Ok(Report::Status(StatusReport {
        service: operator.service.to_owned(),
        store: location,
        events: head.position().0,
        last_recorded_at: (head.position().0 > 0).then_some(head.recorded_at),
        token: head.token,
        streams,
        commands,
        log_bytes: bytes,
        models: statuses(operator).await?,
        jobs: crate::jobs::reports(operator).await?,
    }))
}

async fn partitions(operator: &Operator<'_>, group: &Arc<Group>) -> Result<Vec<PartitionReport>, Fault> {
    let states = operator.projector.partitions(group).await?;
    let report = |state: PartitionState| PartitionReport {
        partition: state.partition.index(),
        position: state.checkpoint.mark.position(),
        worker: state.holder.map(|holder| holder.to_string()),
    };
    Ok(states.into_iter().map(report).collect())
}

/// How every read model is doing.
///
/// # Errors
/// A fault of the store.
pub async fn list_models(operator: &Operator<'_>) -> Result<Report, ActionError> {
    Ok(Report::Models(statuses(operator).await?))
}

/// Everything that a read model declares, and how it is doing.
///
/// # Errors
/// An unknown name, or a fault of the store.
pub async fn show_model(operator: &Operator<'_>, name: &str) -> Result<Report, ActionError> {
    let (model, group) = find_model(operator, name)?;
    let schema = model.schema();
    let mut columns = Vec::new();
    for (index, column) in schema.columns.iter().enumerate() {
        columns.push(ColumnReport {
            name: column.name,
            public: column.public,
            value_type: format!("{:?}", column.value_type).to_lowercase(),
            nullable: column.nullable,
            key: schema.key.contains(&index),
            filter: column.filter,
            sort: column.sort,
            sensitivity: format!("{:?}", column.sensitivity).to_lowercase(),
            meaning: column.meaning,
        });
    }
    let indexes = schema.indexes.iter().map(|index| {
        let names = index.columns.iter().map(|(column, direction)| {
            let way = if *direction == diptych_query::Direction::Descending { " desc" } else { "" };
            format!("{}{way}", schema.columns[*column].name)
        });
        names.collect::<Vec<_>>().join(", ")
    });
    let governance = &schema.governance;
    let declared = [
        ("owner", governance.owner),
        ("purpose", governance.purpose),
        ("journey", governance.journey),
        ("freshness target", governance.freshness_target),
        ("correctness target", governance.correctness_target),
        ("latency target", governance.latency_target),
        ("signed off by", governance.signed_off_by),
        ("signed off on", governance.signed_off_on),
        ("sign-off cadence", governance.sign_off_cadence),
        ("runbook", governance.runbook),
    ];
    let passed = operator.projector.progress().entry(group.name()).passed(schema.name);
    let ignoring = model.languages().iter().filter(|language| language.unknown == UnknownTypes::Ignore);
    Ok(Report::Model(Box::new(ModelReport {
        status: one_status(operator, model, group).await?,
        builds: builds_of(operator, group).await?,
        meaning: schema.meaning,
        shape: schema.shape(),
        group: group.name(),
        given_up: model.statements().map(|_| diptych_query::GIVEN_UP),
        source: Some(schema.source).filter(|source| !source.is_empty()),
        reads: schema.reads.iter().map(|sibling| sibling.name).collect(),
        columns,
        computed: schema.computed.iter().map(|column| column.public).collect(),
        indexes: indexes.collect(),
        categories: model.categories().to_vec(),
        event_types: model.event_types().iter().map(|event| event.name).collect(),
        governance: declared.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        partitions: partitions(operator, group).await?,
        ignores: ignoring.map(|language| language.category).collect(),
        no_ops: passed.no_ops,
        ignored: passed.ignored,
    })))
}

/// Counts and compares every row of one read model, or of all, with a fresh fold of the log.
///
/// # Errors
/// An unknown name, a fact that cannot be folded, or a fault.
pub async fn verify_models(operator: &Operator<'_>, name: Option<&str>) -> Result<Report, ActionError> {
    let mut reports = Vec::new();
    let mut groups: Vec<&str> = match name {
        Some(name) => vec![find_model(operator, name)?.1.name()],
        None => operator.queries.models().map(|(_, group)| group.name()).collect(),
    };
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        reports.extend(operator.projector.verify(group, DIFFERENCES_MAX).await?);
    }
    Ok(Report::Verified(reports))
}

/// Folds everything that the log holds by now into a read model.
///
/// # Errors
/// An unknown name, a fact that stops the model, or a fault.
pub async fn drain(operator: &Operator<'_>, name: &str) -> Result<Report, ActionError> {
    let (model, group) = find_model(operator, name)?;
    let drained = operator.projector.drain(group.name()).await?;
    // A first build that holds everything by now is to answer, also where no process serves.
    operator.projector.steward().step().await?;
    let (from, through) = (drained.from, drained.through);
    Ok(Report::Drained { model: model.schema().name, from, through, events: from.lag_to(through) })
}

/// Asks a read model, with the same words as over HTTP.
///
/// # Errors
/// An unknown name, or a question without an answer.
pub async fn query(operator: &Operator<'_>, name: &str, words: &[String]) -> Result<Report, ActionError> {
    let (model, _) = find_model(operator, name)?;
    let schema = model.schema();
    let mut pairs = Vec::new();
    for word in words {
        let reason = || format!("`{word}` is not of the form `filter=value`");
        pairs.push(word.split_once('=').ok_or_else(|| ActionError::Argument { reason: reason() })?);
    }
    let ask = Ask::from_text(schema, pairs)?;
    let answer = operator.queries.ask(operator.principal, schema.name, &ask).await?;
    let stored = schema.columns.iter().map(|column| column.public);
    let columns: Vec<_> = stored.chain(schema.computed.iter().map(|column| column.public)).collect();
    let rows = answer.value.rows.iter().map(|row| row.values.iter().map(Value::to_json).collect()).collect();
    let next_page_token = answer.value.next_page_token;
    Ok(Report::Rows(RowsReport {
        columns,
        rows,
        next_page_token,
        freshness: answer.freshness,
        health: answer.health,
    }))
}

async fn statuses(operator: &Operator<'_>) -> Result<Vec<ModelStatus>, ActionError> {
    let mut all = Vec::new();
    for (model, group) in operator.queries.models() {
        all.push(one_status(operator, model, group).await?);
    }
    Ok(all)
}

async fn one_status(
    operator: &Operator<'_>,
    model: &Arc<dyn AnyModel>,
    group: &Group,
) -> Result<ModelStatus, ActionError> {
    let schema = model.schema();
    let (freshness, health) = operator.queries.freshness(schema.name).await?;
    let builds = operator.projector.builds(group.name()).await?;
    let own = own_build(&builds, group.revision());
    let rows = operator.projector.row_count(group, schema).await?;
    Ok(ModelStatus {
        model: schema.name,
        revision: schema.revision,
        stage: own.map(|own| own.stage.as_str()),
        build: own.map(|own| own.id.to_string()),
        mode: schema.mode.as_str(),
        kept: kept(operator, schema.storage),
        contract: schema.contract.to_string(),
        owner: schema.governance.owner,
        rows,
        freshness,
        health,
    })
}

/// Where the rows of a model are kept, of which people may not think at once.
fn kept(operator: &Operator<'_>, storage: Storage) -> Option<String> {
    match (storage, &operator.log.documents) {
        (Storage::Columns, _) => None,
        (Storage::Document, None) => Some("documents in the store".to_owned()),
        (Storage::Document, Some(place)) => Some(format!("documents at {place}")),
    }
}

pub(crate) fn find_model<'a>(
    operator: &'a Operator<'_>,
    name: &str,
) -> Result<(&'a Arc<dyn AnyModel>, &'a Arc<Group>), ActionError> {
    let wanted = name.replace('-', "_");
    let mut models = operator.queries.models();
    let found = models.find(|(model, _)| model.schema().name == wanted || model.schema().segment() == name);
    found.ok_or_else(|| ActionError::UnknownModel { name: name.to_owned() })
}

/// The group that a name means: its own, or that of one of its read models.
pub(crate) fn group_of<'a>(operator: &'a Operator<'_>, name: &str) -> Result<&'a Arc<Group>, ActionError> {
    let wanted = name.replace('-', "_");
    match operator.queries.models().find(|(_, group)| group.name() == wanted) {
        Some((_, group)) => Ok(group),
        None => find_model(operator, name).map(|(_, group)| group),
    }
}

fn instead_in_words(instead: &[String]) -> String {
    if instead.is_empty() { String::new() } else { format!("; what may be done: {}", instead.join(", ")) }
}
