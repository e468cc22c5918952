//! `GET /audit`: who gave which command and what came of it; `GET /commands/{id}/tree`: what caused what.

use crate::app::{App, framed, private};
use crate::command::{event_head, key_of};
use crate::commands::{outcome, status};
use crate::history::bad;
use crate::json::{Node, Object};
use crate::model::pairs;
use crate::problem::Problem;
use crate::{error, words};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_command::{AuditEntry, AuditFilter, AuditPlace, CauseNode, Outcome, TreeLimits};
use diptych_core::{
    Actor, Category, CausationId, Code, CorrelationId, Fingerprint, StreamId, Timestamp, event_id,
};
use std::sync::Arc;

/// How many rows a page of the audit has unless the caller says so, and at most.
const PAGE_ROWS_DEFAULT: usize = 50;
const PAGE_ROWS_MAX: usize = 200;

/// What an address asks of the audit.
struct Asked {
    filter: AuditFilter,
    rows_max: usize,
    before: Option<AuditPlace>,
    /// Of everything that a page token is bound to.
    question: Fingerprint,
}

pub(crate) async fn list(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let framed = framed(&request);
    let (principal, prefix) = (framed.principal()?, framed.prefix);
    let Asked { filter, rows_max, before, question } = asked(&pairs(request.uri())?)?;
    let found = app.wire.commands.audit(&principal, filter, before, rows_max).await;
    let page = found.map_err(error::of_command_side)?;
    let items: Vec<_> = page.entries.iter().map(|entry| document(&app, &prefix, entry)).collect();
    let next = page.next.map(|place| format!("{:x}.{question}", place.0));
    let body = Object::new().with("items", items).with("page", Object::new().with("nextPageToken", next));
    let mut response = body.response(StatusCode::OK);
    private(response.headers_mut());
    Ok(response)
}

pub(crate) async fn tree(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let framed = framed(&request);
    let (principal, prefix) = (framed.principal()?, framed.prefix);
    let id = key_of(path)?;
    let found = app.wire.commands.tree(&principal, &id, TreeLimits::default()).await;
    let tree = found.map_err(error::of_command_side)?.ok_or_else(|| {
        let detail = format!("neither a command nor an event `{id}` is known");
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    })?;
    let causes: Vec<_> = tree.causes.iter().map(|entry| document(&app, &prefix, entry)).collect();
    let body = Object::new()
        .with("causes", causes)
        .with_some("outsideCause", tree.outside.as_ref().map(CausationId::as_str))
        .with("tree", node(&app, &prefix, &tree.root))
        .with("cutShort", tree.cut_short);
    let mut response = body.response(StatusCode::OK);
    private(response.headers_mut());
    Ok(response)
}

/// A command with its events, the rows that each touched, and what they caused.
fn node(app: &App, prefix: &str, tree: &CauseNode) -> Object {
    let events = tree.events.iter().map(|raw| {
        let rows =
            app.wire.queries.touched(raw).iter().map(|touched| Node::Value(touched.to_json())).collect();
        let id = event_id(&raw.stream.stream, raw.version);
        event_head(raw)
            .with_some("eventId", id.as_ref().map(CausationId::as_str))
            .with("touches", Node::List(rows))
    });
    let events: Vec<_> = events.collect();
    let caused: Vec<_> = tree.caused.iter().map(|child| node(app, prefix, child)).collect();
    document(app, prefix, &tree.entry).with("events", events).with("caused", caused)
}

/// One row of the audit.
fn document(app: &App, prefix: &str, entry: &AuditEntry) -> Object {
    let stream = &entry.stream.stream;
    let (category, key) = (stream.category.as_str(), stream.key.as_str());
    let address = format!("{prefix}/{}/{}", app.names.collection(category), words::percent_encoded(key));
    let target = Object::new()
        .with("category", category)
        .with(words::id_member(category), key)
        .with("address", address);
    let events = match entry.outcome {
        Outcome::Accepted { base } => entry.version.0.saturating_sub(base.0),
        Outcome::Rejected { .. } | Outcome::Refused(_) => 0,
    };
    Object::new()
        .with("commandId", entry.id.as_str())
        .with("status", status(&entry.outcome))
        .with("command", entry.command.as_str())
        .with("target", target)
        .with("actor", entry.actor.as_str())
        .with_some("correlationId", entry.correlation.as_ref().map(CorrelationId::as_str))
        .with_some("causationId", entry.causation.as_ref().map(CausationId::as_str))
        .with_some("policyVersion", entry.policy.as_ref().map(|policy| policy.0.as_ref()))
        .with("occurredAt", entry.occurred_at.to_string())
        .with("recordedAt", entry.recorded_at.to_string())
        .with("version", entry.version.0)
        .with("position", entry.position.0)
        .with("eventCount", events)
        .with_all(outcome(&entry.outcome))
}

fn asked(pairs: &[(String, String)]) -> Result<Asked, Problem> {
    let (mut filter, mut rows_max, mut token) = (AuditFilter::default(), PAGE_ROWS_DEFAULT, None);
    let mut question = Vec::new();
    for (name, text) in pairs {
        if !matches!(name.as_str(), "pageSize" | "pageToken") {
            question.push(format!("{name}={text}"));
        }
        let wrong = |error: String| bad(&format!("`{name}`: {error}"));
        let time = || text.parse::<Timestamp>().map_err(|error| wrong(error.to_string()));
        match name.as_str() {
            "actor" => filter.actor = Some(Actor::new(text).map_err(|error| wrong(error.to_string()))?),
            "command" => filter.command = Some(text.clone()),
            "category" => {
                filter.category = Some(Category::new(text).map_err(|error| wrong(error.to_string()))?);
            }
            "stream" => {
                let stream = StreamId::parse(text).map_err(|error| wrong(error.to_string()))?;
                (filter.category, filter.key) = (Some(stream.category), Some(stream.key));
            }
            "outcome" => filter.outcome = Some(text.parse().map_err(wrong)?),
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            "correlationId" => {
                let id = CorrelationId::new(text).map_err(|error| wrong(error.to_string()))?;
                filter.correlation = Some(id);
            }
            "causationId" => {
                filter.causation.push(CausationId::new(text).map_err(|error| wrong(error.to_string()))?);
            }
            "pageSize" => match text.parse() {
                Ok(rows) if (1..=PAGE_ROWS_MAX).contains(&rows) => rows_max = rows,
                _ => return Err(bad(&format!("`pageSize` is between 1 and {PAGE_ROWS_MAX}"))),
            },
            "pageToken" => token = Some(text.clone()),
            other => return Err(bad(&format!("`{other}` is not known here"))),
        }
    }
    question.sort();
    let question = Fingerprint::of_text(&question.join("&"));
    let before = token.map(|token| place(&token, question)).transpose()?;
    Ok(Asked { filter, rows_max, before, question })
}

/// Where a page token leads, if it is one of this question.
fn place(token: &str, question: Fingerprint) -> Result<AuditPlace, Problem> {
    let parts = token.split_once('.').filter(|(_, print)| *print == question.to_string());
    let place = parts.and_then(|(place, _)| u64::from_str_radix(place, 16).ok());
    place.map(AuditPlace).ok_or_else(|| {
        let detail = "the page token is not one of this question: pass it on with the same filters";
        Problem::new(StatusCode::BAD_REQUEST, Code::BadPageToken, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Result<Asked, Problem> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        asked(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn a_page_token_belongs_to_its_filters_in_any_order() {
        let first = question("actor=ann&outcome=rejected&pageSize=5").unwrap();
        let token = format!("{:x}.{}", 4711, first.question);
        let next = question(&format!("outcome=rejected&pageToken={token}&actor=ann")).unwrap();
        assert_eq!((next.before, next.rows_max), (Some(AuditPlace(4711)), PAGE_ROWS_DEFAULT));
        assert!(question(&format!("actor=bob&pageToken={token}")).is_err());
        assert!(question("pageToken=xyz").is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in ["pageSize=0", "pageSize=201", "since=yesterday", "outcome=fine", "who=ann", "stream=x"] {
            assert!(question(bad).is_err(), "{bad}");
        }
        let stream = question("stream=order-4-2").unwrap().filter;
        assert_eq!(stream.key.unwrap().as_str(), "4-2");
    }
}
