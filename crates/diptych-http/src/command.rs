//! `POST /{collection}/{id}/{segment}`: one command, one answer that lets the caller read its own write.

use crate::app::{App, Framed, framed};
use crate::json::{Node, Object};
use crate::later::{self, Known};
use crate::problem::Problem;
use crate::{body, error, headers, words};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_command::{
    Accepted, AnyDecider, CommandType, HandleError, RawCommand, RawError, RawReceipt, RawRequest, Refusal,
    Request as By, generate_command_id,
};
use diptych_core::{CausationId, Code, CommandId, CorrelationId, Principal, RawFact, Version};
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

/// What a request says about a command besides the command.
pub(crate) struct Asked {
    pub(crate) id: CommandId,
    pub(crate) keyed: bool,
    pub(crate) expected: Option<Version>,
    pub(crate) timing: Timing,
    representation: bool,
    correlation: Option<CorrelationId>,
    causation: Option<CausationId>,
    pub(crate) framed: Framed,
    /// On whose behalf it is asked.
    pub(crate) principal: Principal,
}

/// When a caller would like a command to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timing {
    /// Before the answer.
    AtOnce,
    /// After the answer, which says where its status is told.
    Later,
}

pub(crate) async fn give(
    app: Arc<App>,
    endpoint: Endpoint,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let key = key_of(path)?;
    let asked = read_headers(&request)?;
    let raw = timeout_at(asked.framed.deadline, assemble(&app, &endpoint, &key, &asked, request)).await;
    let raw = raw.unwrap_or_else(|_| Err(too_slow()));
    let raw = raw.map_err(|problem| problem.command(&asked.id))?;
    run(&app, endpoint.decider.as_ref(), raw, &asked).await
}

/// Has a command done, or accepted, and answers.
pub(crate) async fn run(
    app: &App,
    decider: &dyn AnyDecider,
    raw: RawRequest,
    asked: &Asked,
) -> Result<Response, Problem> {
    let (commands, deadline) = (&app.wire.commands, asked.framed.deadline);
    let unknown = |_| Err(unknown_outcome(&asked.id));
    let result = match asked.timing {
        Timing::Later if commands.has_queue() => {
            match timeout_at(deadline, commands.accept(raw)).await.unwrap_or_else(unknown) {
                Ok(Accepted::Now(entry)) => return Ok(later::accepted(&entry, asked, Known::New)),
                Ok(Accepted::Before(entry)) => return Ok(later::accepted(&entry, asked, Known::Before)),
                Ok(Accepted::Done(receipt)) => Ok(receipt),
                Err(error) => Err(error),
            }
        }
        // A preference may be ignored (RFC 7240, section 2), and is where there is no queue.
        Timing::Later | Timing::AtOnce => timeout_at(deadline, commands.handle_raw(raw))
            .await
            .unwrap_or_else(|_| Err(unknown_outcome(&asked.id))),
    };
    match result {
        Ok(receipt) => {
            let status = status_of(app, &asked.principal, &receipt).await;
            Ok(answer(app, &receipt, status, asked))
        }
        Err(error) => {
            let problem = error::of_command(error, decider, asked.expected.is_some());
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

pub(crate) fn read_headers(request: &Request) -> Result<Asked, Problem> {
    let map = request.headers();
    let key = headers::idempotency_key(map)?;
    let keyed = key.is_some();
    let id = key.unwrap_or_else(generate_command_id);
    let of_command = |problem: Problem| problem.command(&id);
    let expected = headers::if_match(map).map_err(of_command)?;
    let correlation = headers::correlation(map).map_err(of_command)?;
    let causation = headers::causation(map).map_err(of_command)?;
    let preferences = headers::preferences(map);
    let timing = if preferences.respond_async { Timing::Later } else { Timing::AtOnce };
    let (representation, framed) = (preferences.representation, framed(request));
    let principal = framed.principal()?;
    Ok(Asked { id, keyed, expected, timing, representation, correlation, causation, framed, principal })
}

async fn assemble(
    app: &App,
    endpoint: &Endpoint,
    key: &str,
    asked: &Asked,
    request: Request,
) -> Result<RawRequest, Problem> {
    must_be_keyed(&endpoint.command, asked)?;
    let body = body::json_text(request, app.wire.limits.body_bytes_max).await?;
    let command = RawCommand { name: endpoint.command.name.to_owned(), body };
    let by = By::by(&asked.principal);
    Ok(asked.complete(by.to_raw(endpoint.decider.category(), key, command)))
}

/// Refuses a command without a key where it needs one.
pub(crate) fn must_be_keyed(command: &CommandType, asked: &Asked) -> Result<(), Problem> {
    if !command.key_required || asked.keyed {
        return Ok(());
    }
    let detail =
        format!("`{}` must come with an `Idempotency-Key`, so that asking twice does it once", command.name);
    Err(Problem::new(StatusCode::BAD_REQUEST, Code::KeyMissing, detail))
}

impl Asked {
    /// Adds to a request what was said besides its command.
    pub(crate) fn complete(&self, raw: RawRequest) -> RawRequest {
        // An unkeyed command gets its id here, so that errors can name it too; no ledger row can hold it yet.
        let mut raw = if self.keyed { raw.command_id(self.id.as_str()) } else { raw.generated_id(&self.id) };
        if let Some(version) = self.expected {
            raw = raw.if_version(version);
        }
        if let Some(id) = &self.correlation {
            raw = raw.correlation(id.clone());
        }
        if let Some(id) = &self.causation {
            raw = raw.causation(id.clone());
        }
        raw
    }
}

/// The text property `status` of the state that the command left; none when there is none to show. Never an
/// error: the command is done, whatever may be read.
async fn status_of(app: &App, principal: &Principal, receipt: &RawReceipt) -> Option<String> {
    let stream = &receipt.stream;
    let (category, key) = (stream.category.as_str(), stream.key.as_str());
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
    let mut body = Object::new().with(words::id_member(category), key);
    if let Some(status) = status {
        body = body.with("status", status);
    }
    body = body.with("version", receipt.version.0).with("committedPosition", receipt.token.to_string());
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
        insert(headers, header::LOCATION, &format!("{prefix}/{collection}/{}", words::percent_encoded(key)));
    }
    insert(headers, COMMAND_ID, receipt.command.as_str());
    // `status` is the link relation of RFC 8631 for where a thing's status is told.
    let told = status_url(prefix, &receipt.command);
    insert(headers, header::LINK, &format!("<{told}>; rel=\"status\""));
    if asked.representation {
        headers.insert(headers::PREFERENCE_APPLIED, HeaderValue::from_static("return=representation"));
    }
    if receipt.replayed {
        headers.insert(headers::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where a command's status is told.
pub(crate) fn status_url(prefix: &str, id: &CommandId) -> String {
    format!("{prefix}/commands/{}", words::percent_encoded(id.as_str()))
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

pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Some(value) = headers::value(text) {
        headers.insert(name, value);
    }
}

/// The body did not arrive in time; nothing has been handled.
pub(crate) fn too_slow() -> Problem {
    let detail = "the body did not arrive in the time that a request may take";
    Problem::new(StatusCode::REQUEST_TIMEOUT, Code::TimedOut, detail)
}

/// The handling was cut off: it may still be committed.
fn unknown_outcome(id: &CommandId) -> RawError {
    HandleError::Refused(Refusal::Indeterminate { id: id.clone() })
}
