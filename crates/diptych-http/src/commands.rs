//! `GET /commands/{id}`: where a command stands or what became of it, and since when each read model shows
//! it.

use crate::app::{App, framed, private};
use crate::command::{COMMAND_ID, event_head, insert, key_of};
use crate::json::{Node, Object};
use crate::later::expected_position;
use crate::problem::Problem;
use crate::{error, headers, words};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_command::{
    CommandHeader, CommandRecord, CommandRef, Ending, Outcome, QueueEntry, QueueState, QueueStatus,
    RefusedFor, Trouble,
};
use diptych_core::{Code, CommandId, Principal, RawFact};
use diptych_query::{Health, Mode, Visibility, VisibleSince};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a waiting request looks for what another process has done.
const LOOK: Duration = Duration::from_millis(250);

/// What stands in the place of a number where the queue has forgotten how often a command changed.
pub(crate) const FINAL: &str = "final";

/// A command's status as it is told.
pub(crate) struct Told {
    pub(crate) document: Object,
    pub(crate) status: &'static str,
    /// Which change of its state this is.
    pub(crate) change: String,
    pub(crate) is_final: bool,
}

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let framed = framed(&request);
    let id = id_of(path)?;
    let wait = headers::preferences(request.headers()).wait;
    let until = wait.map(|wait| (Instant::now() + wait).min(framed.deadline));
    let principal = framed.principal()?;
    let told = tell_by(&app, (&principal, &framed.prefix), &id, until).await?;
    let mut response = told.document.response(StatusCode::OK);
    let response_headers = response.headers_mut();
    private(response_headers);
    insert(response_headers, COMMAND_ID, id.as_str());
    if let Some(wait) = wait {
        insert(response_headers, headers::PREFERENCE_APPLIED, &format!("wait={}", wait.as_secs()));
    }
    Ok(response)
}

/// The id in the path.
pub(crate) fn id_of(path: Result<Path<String>, PathRejection>) -> Result<CommandId, Problem> {
    CommandId::new(key_of(path)?)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, Code::BadKey, error.to_string()))
}

/// The status, waiting for the final one at most until a time.
async fn tell_by(
    app: &App,
    (principal, prefix): (&Principal, &str),
    id: &CommandId,
    until: Option<Instant>,
) -> Result<Told, Problem> {
    let command = CommandRef { tenant: principal.tenant.clone(), id: id.clone() };
    // Before the first look, so that no change falls between.
    let mut changes = app.wire.commands.queue_changes();
    loop {
        let told = tell(app, principal, prefix, id).await?;
        let (Some(until), Some(changes)) = (until, &mut changes) else {
            return Ok(told);
        };
        if told.is_final || Instant::now() >= until {
            return Ok(told);
        }
        tokio::select! {
            () = changes.of(&command) => {}
            () = sleep(LOOK) => {}
            () = sleep_until(until) => {}
        }
    }
}

/// The status as it is now: from the queue while it remembers the command, and from the ledger and the audit.
pub(crate) async fn tell(
    app: &App,
    principal: &Principal,
    prefix: &str,
    id: &CommandId,
) -> Result<Told, Problem> {
    let commands = &app.wire.commands;
    let entry = commands.queued(principal, id).await.map_err(error::of_command_side)?;
    let asks_ledger = entry
        .as_ref()
        .is_none_or(|entry| matches!(entry.status(), QueueStatus::Succeeded | QueueStatus::Rejected));
    let record = if asks_ledger {
        commands.recorded(principal, id).await.map_err(error::of_command_side)?
    } else {
        None
    };
    if entry.is_none() && record.is_none() {
        let detail = format!("no command `{id}` waits, and no outcome of one is kept");
        return Err(Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail));
    }
    let (mut events, mut read_models) = (Vec::new(), Vec::new());
    if let Some(record) = &record {
        events = commands.events_of(principal, record).await.map_err(error::of_command_side)?;
        let visible = app.wire.queries.visibility(&events).await.map_err(error::of_query)?;
        read_models = visible.iter().map(|one| visibility(app, one)).collect();
    }
    let status = match (&entry, &record) {
        (Some(entry), _) => entry.status().as_str(),
        (None, Some(record)) => status(&record.outcome),
        (None, None) => FINAL,
    };
    let mut document = Object::new().with("commandId", id.as_str()).with("status", status);
    document = document.with_all(asked(app, prefix, entry.as_ref(), record.as_ref()));
    if let Some(entry) = &entry {
        document = document.with_all(queued(entry, prefix));
    }
    if let Some(record) = &record {
        document = document.with_all(recorded(record, &events, read_models));
    }
    let change = entry.as_ref().map_or_else(|| FINAL.to_owned(), |entry| entry.changes.to_string());
    let is_final = entry.is_none_or(|entry| entry.status().is_final());
    Ok(Told { document, status, change, is_final })
}

/// What was asked, as the ledger or the queue has it.
fn asked(app: &App, prefix: &str, entry: Option<&QueueEntry>, record: Option<&CommandRecord>) -> Object {
    match (record, entry.map(|entry| &entry.command)) {
        (Some(CommandRecord { header, .. }), _) => {
            let CommandHeader { stream, name, actor, correlation, causation, policy, .. } = header;
            of(app, prefix, &stream.stream, name, actor.as_str())
                .with_some("correlationId", correlation.as_ref().map(|id| id.as_str()))
                .with_some("causationId", causation.as_ref().map(|id| id.as_str()))
                .with_some("policyVersion", policy.as_ref().map(|policy| policy.0.as_ref()))
                .with("occurredAt", header.occurred_at.to_string())
        }
        (None, Some(command)) => {
            let (correlation, causation) = (&command.correlation, &command.causation);
            of(app, prefix, &command.stream.stream, &command.command.name, command.actor.as_str())
                .with_some("correlationId", correlation.as_ref().map(|id| id.as_str()))
                .with_some("causationId", causation.as_ref().map(|id| id.as_str()))
                .with("occurredAt", command.occurred_at.to_string())
        }
        (None, None) => Object::new(),
    }
}

fn of(app: &App, prefix: &str, stream: &diptych_core::StreamId, name: &str, actor: &str) -> Object {
    let (category, key) = (stream.category.as_str(), stream.key.as_str());
    let address = format!("{prefix}/{}/{}", app.names.collection(category), words::percent_encoded(key));
    let target = Object::new()
        .with("category", category)
        .with(words::id_member(category), key)
        .with("address", address);
    Object::new().with("command", name).with("target", target).with("actor", actor)
}

/// What the queue knows of a command.
fn queued(entry: &QueueEntry, prefix: &str) -> Object {
    let document = Object::new()
        .with("attempts", entry.attempts)
        .with("acceptedAt", entry.accepted_at.to_string())
        .with_some("startedAt", entry.started_at.map(|time| time.to_string()))
        .with_some("nextAttemptAt", entry.next_attempt_at.map(|time| time.to_string()))
        .with_some("endedAt", entry.ended_at.map(|time| time.to_string()))
        .with_some("expectedReadModelPosition", expected_position(entry));
    let trouble = match &entry.state {
        QueueState::Ended(Ending::Failed(trouble)) => Some(trouble),
        _ => entry.trouble.as_ref(),
    };
    document.with_some("problem", trouble.map(|trouble| problem(trouble, prefix)))
}

/// Why an attempt came to nothing, with the members that a problem document has.
fn problem(trouble: &Trouble, prefix: &str) -> Object {
    let Trouble { code, message } = trouble;
    Object::new()
        .with("type", format!("urn:diptych:problem:{code}"))
        .with("title", code.title())
        .with("detail", message.as_str())
        .with("code", code.as_str())
        .with("help", format!("{prefix}/problems/{code}"))
}

/// What the ledger knows of a command.
fn recorded(record: &CommandRecord, events: &[Arc<RawFact>], read_models: Vec<Object>) -> Object {
    Object::new()
        .with("recordedAt", record.recorded_at.to_string())
        .with("version", record.version.0)
        .with("committedPosition", record.token.to_string())
        .with_all(outcome(&record.outcome))
        .with("events", events.iter().map(|raw| event_head(raw)).collect::<Vec<_>>())
        .with("readModels", read_models)
}

pub(crate) fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "succeeded",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Refused(_) => "refused",
    }
}

pub(crate) fn outcome(outcome: &Outcome) -> Object {
    match outcome {
        Outcome::Accepted { .. } => Object::new(),
        Outcome::Rejected { name, data } => {
            let rejection = Object::new().with("name", name.as_str()).with("data", Node::verbatim(data));
            Object::new().with("rejection", rejection)
        }
        Outcome::Refused(reason) => {
            let (word, code) = match reason {
                RefusedFor::Conflict => ("conflict", Code::Conflict),
                RefusedFor::Forbidden => ("forbidden", Code::Forbidden),
            };
            let refusal = Object::new().with("reason", word).with("code", code.as_str());
            Object::new().with("refusal", refusal)
        }
    }
}

fn visibility(app: &App, visibility: &Visibility) -> Object {
    let model = Object::new().with("model", visibility.model).with("position", visibility.position.0);
    match &visibility.state {
        VisibleSince::Visible(since) => {
            model.with("visible", true).with("since", since.map(|time| time.to_string()))
        }
        VisibleSince::Parked { position, reason } => {
            let parked = Object::new().with("position", position.0).with("reason", reason.as_str());
            model.with("visible", false).with("reason", "parked").with("parked", parked)
        }
        VisibleSince::Pending { lag_events, health } => {
            let mut models = app.wire.queries.models();
            let drained = models.any(|(model, group)| {
                model.schema().name == visibility.model && group.mode() == Mode::OnDemand
            });
            model
                .with("visible", false)
                .with("reason", pending_reason(health, drained))
                .with("lagEvents", *lag_events)
                .with("health", Node::of(health))
        }
    }
}

/// Why a model does not show a command yet, in one word.
fn pending_reason(health: &Health, drained: bool) -> &'static str {
    match health {
        Health::Live if drained => "not_drained",
        Health::Live | Health::CatchingUp => "lag",
        other => other.as_str(),
    }
}
