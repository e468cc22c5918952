//! `POST /{collection}/{id}/{segment}`: one command, one answer that lets the caller read its own write.

use crate::app::{App, Framed, framed};
use crate::json::{Node, Object};
use crate::problem::Problem;
use crate::{body, error, headers, words};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_command::{
    AnyDecider, CommandType, HandleError, RawCommand, RawError, RawReceipt, RawRequest, Refusal,
    Request as By, generate_command_id,
};
use diptych_core::{Code, CommandId, RawFact, Version};
use std::sync::Arc;
use tokio::time::timeout_at;

/// The identity of a command, also where the caller brought none.
pub(crate) const COMMAND_ID: HeaderName = HeaderName::from_static("command-id");

/// One command's address.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) decider: Arc<dyn AnyDecider>,
    pub(crate) command: CommandType,
}

/// What the headers say about a command.
struct Asked {
    id: CommandId,
    keyed: bool,
    expected: Option<Version>,
    representation: bool,
    framed: Framed,
}

pub(crate) async fn give(
    app: Arc<App>,
    endpoint: Endpoint,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let key = key_of(path)?;
    let asked = read_headers(&request)?;
    let deadline = asked.framed.deadline;
    let raw = timeout_at(deadline, assemble(&app, &endpoint, &key, &asked, request)).await;
    let raw = raw.unwrap_or_else(|_| Err(too_slow()));
    let raw = raw.map_err(|problem| problem.command(&asked.id))?;
    let result = timeout_at(deadline, app.wire.commands.handle_raw(raw)).await;
    let result = result.unwrap_or_else(|_| Err(unknown_outcome(&asked.id)));
    match result {
        Ok(receipt) => {
            let status = status_of(&app, &receipt).await;
            Ok(answer(&app, &receipt, status, &asked))
        }
        Err(error) => {
            let problem = error::of_command(error, endpoint.decider.as_ref(), asked.expected.is_some());
            Err(problem.command(&asked.id))
        }
    }
}

/// The id in a path; the router has found it, so only its encoding can be wrong.
pub(crate) fn key_of(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    path.map(|Path(key)| key).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, Code::BadKey, "the id in the path is not percent-encoded UTF-8")
    })
}

fn read_headers(request: &Request) -> Result<Asked, Problem> {
    let map = request.headers();
    let key = headers::idempotency_key(map)?;
    let keyed = key.is_some();
    let id = key.unwrap_or_else(generate_command_id);
    let expected = headers::if_match(map).map_err(|problem| problem.command(&id))?;
    Ok(Asked {
        id,
        keyed,
        expected,
        representation: headers::preferences(map).representation,
        framed: framed(request),
    })
}

async fn assemble(
    app: &App,
    endpoint: &Endpoint,
    key: &str,
    asked: &Asked,
    request: Request,
) -> Result<RawRequest, Problem> {
    let command = &endpoint.command;
    if command.key_required && !asked.keyed {
        let detail = format!(
            "`{}` must come with an `Idempotency-Key`, so that asking twice does it once",
            command.name
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::KeyMissing, detail));
    }
    let correlation = headers::correlation(request.headers())?;
    let causation = headers::causation(request.headers())?;
    let body = body::json_text(request, app.wire.limits.body_bytes_max).await?;
    let command = RawCommand { name: command.name.to_owned(), body };
    let by = By::by(&app.wire.principal);
    let mut raw = by.to_raw(endpoint.decider.category(), key, command);
    // An unkeyed command gets its id here, so that errors can name it too; no ledger row can hold it yet.
    raw = if asked.keyed { raw.command_id(asked.id.as_str()) } else { raw.generated_id(&asked.id) };
    if let Some(version) = asked.expected {
        raw = raw.if_version(version);
    }
    if let Some(id) = correlation {
        raw = raw.correlation(id);
    }
    if let Some(id) = causation {
        raw = raw.causation(id);
    }
    Ok(raw)
}

/// The text property `status` of the state that the command left; none when there is none to show. Never an
/// error: the command is done, whatever may be read.
async fn status_of(app: &App, receipt: &RawReceipt) -> Option<String> {
    let stream = &receipt.stream;
    let (category, key) = (stream.category.as_str(), stream.key.as_str());
    let principal = &app.wire.principal;
    let read = app.wire.commands.aggregate(principal, category, key, Some(receipt.version)).await;
    match read {
        Ok(aggregate) => {
            let aggregate = aggregate.filter(|aggregate| aggregate.version == receipt.version)?;
            aggregate.state.get("status")?.as_str().map(str::to_owned)
        }
        Err(HandleError::Fault(fault)) => {
            tracing::warn!(code = fault.code().as_str(), "a command's answer lacks the status: {fault}");
            None
        }
        Err(_) => None,
    }
}

fn answer(app: &App, receipt: &RawReceipt, status: Option<String>, asked: &Asked) -> Response {
    let category = receipt.stream.category.as_str();
    let key = receipt.stream.key.as_str();
    let mut body = Object::new()
        .with(words::id_member(category), key)
        .with("status", status)
        .with("version", receipt.version.0)
        .with("committedPosition", receipt.token.to_string());
    if asked.representation {
        let events: Vec<_> = receipt.events.iter().map(|raw| event(raw)).collect();
        body = body.with("events", events);
    }
    let base = receipt.version.0.saturating_sub(receipt.events.len() as u64);
    let created = base == 0 && !receipt.events.is_empty();
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = body.response(code);
    let prefix = &asked.framed.prefix;
    let headers = response.headers_mut();
    if receipt.version > Version::NONE {
        headers.insert(header::ETAG, headers::etag(receipt.version));
    }
    if created {
        let collection = app.names.collection(category);
        insert(headers, header::LOCATION, &format!("{prefix}/{collection}/{}", words::segment(key)));
    }
    insert(headers, COMMAND_ID, receipt.command.as_str());
    // `status` is the link relation of RFC 8631 for where a thing's status is told.
    let told = words::segment(receipt.command.as_str());
    insert(headers, header::LINK, &format!("<{prefix}/commands/{told}>; rel=\"status\""));
    if asked.representation {
        headers.insert(headers::PREFERENCE_APPLIED, HeaderValue::from_static("return=representation"));
    }
    if receipt.replayed {
        headers.insert(headers::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An event as callers see it, with its data as stored.
fn event(raw: &RawFact) -> Object {
    event_head(raw).with("occurredAt", raw.occurred_at.to_string()).with("data", Node::verbatim(&raw.payload))
}

/// An event without its data.
pub(crate) fn event_head(raw: &RawFact) -> Object {
    Object::new()
        .with("type", &*raw.event.name)
        .with("schemaVersion", raw.event.schema_version)
        .with("version", raw.version.0)
        .with("position", raw.position.0)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Some(value) = headers::value(text) {
        headers.insert(name, value);
    }
}

/// The body did not arrive in time; nothing has been handled.
fn too_slow() -> Problem {
    let detail = "the body did not arrive in the time that a request may take";
    Problem::new(StatusCode::REQUEST_TIMEOUT, Code::TimedOut, detail)
}

/// The handling was cut off: it may still be committed.
fn unknown_outcome(id: &CommandId) -> RawError {
    HandleError::Refused(Refusal::Indeterminate { id: id.clone() })
}
