//! `GET /commands/{id}`: what became of a command, and since when each read model shows it.

use crate::app::{App, framed, private};
use crate::command::{COMMAND_ID, event_head, key_of};
use crate::json::{Node, Object};
use crate::problem::Problem;
use crate::{error, headers, words};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_command::{CommandRecord, Outcome, RefusedFor};
use diptych_core::{Code, CommandId, RawFact};
use diptych_query::{Health, Mode, Visibility, VisibleSince};
use std::sync::Arc;

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let prefix = framed(&request).prefix;
    let text = key_of(path)?;
    let id = CommandId::new(&text)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, Code::BadKey, error.to_string()))?;
    let principal = &app.wire.principal;
    let found = app.wire.commands.recorded(principal, &id).await.map_err(error::of_command_side)?;
    let record = found.ok_or_else(|| {
        let detail = format!("no outcome of a command `{text}` is kept");
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    })?;
    let events = app.wire.commands.events_of(principal, &record).await.map_err(error::of_command_side)?;
    let visible = app.wire.queries.visibility(&events).await.map_err(error::of_query)?;
    let read_models = visible.iter().map(|one| visibility(&app, one)).collect();
    let mut response = document(&app, &prefix, &record, &events, read_models).response(StatusCode::OK);
    let response_headers = response.headers_mut();
    private(response_headers);
    if let Some(value) = headers::value(id.as_str()) {
        response_headers.insert(COMMAND_ID, value);
    }

    Ok(response)
}

fn document(
    app: &App,
    prefix: &str,
    record: &CommandRecord,
    events: &[Arc<RawFact>],
    read_models: Vec<Object>,
) -> Object {
    let header = &record.header;
    let stream = &header.stream.stream;
    let (category, key) = (stream.category.as_str(), stream.key.as_str());
    let address = format!("{prefix}/{}/{}", app.names.collection(category), words::segment(key));
    let target = Object::new()
        .with("category", category)
        .with(words::id_member(category), key)
        .with("address", address);
    let outcome = outcome(&record.outcome);
    Object::new()
        .with("commandId", header.id.as_str())
        .with("status", status(&record.outcome))
        .with("command", header.name.as_str())
        .with("target", target)
        .with("actor", header.actor.as_str())
        .with_some("correlationId", header.correlation.as_ref().map(|id| id.as_str()))
        .with_some("causationId", header.causation.as_ref().map(|id| id.as_str()))
        .with_some("policyVersion", header.policy.as_ref().map(|policy| policy.0.as_ref()))
        .with("occurredAt", header.occurred_at.to_string())
        .with("recordedAt", record.recorded_at.to_string())
        .with("version", record.version.0)
        .with("committedPosition", record.token.to_string())
        .with_all(outcome)
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
