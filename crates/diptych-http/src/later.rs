//! The answer to a command that is done later: 202, and where its status is told.

use crate::command::{Asked, COMMAND_ID, insert, status_url};
use crate::headers;
use crate::json::Object;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_command::{Ending, QueueEntry, QueueState};

/// Whether a command stood in the queue before it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// It was accepted now.
    New,
    /// It is asked for again.
    Before,
}

/// The answer, by RFC 9110, section 15.3.3, and RFC 7240, section 4.1.
pub(crate) fn accepted(entry: &QueueEntry, asked: &Asked, known: Known) -> Response {
    let id = &entry.command.id;
    let told = status_url(&asked.framed.prefix, id);
    let mut response = Object::new()
        .with("commandId", id.as_str())
        .with("statusUrl", told.as_str())
        .with_some("expectedReadModelPosition", expected_position(entry))
        .response(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    insert(headers, header::LOCATION, &told);
    insert(headers, COMMAND_ID, id.as_str());
    insert(headers, header::LINK, &format!("<{told}>; rel=\"status\""));
    headers.insert(headers::PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    if known == Known::Before {
        headers.insert(headers::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a read model must have reached to show a command, once that is known.
pub(crate) fn expected_position(entry: &QueueEntry) -> Option<String> {
    match &entry.state {
        QueueState::Ended(Ending::Succeeded { token, .. }) => Some(token.to_string()),
        _ => None,
    }
}
