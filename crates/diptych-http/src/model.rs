//! `GET /{model}` and `GET /{model}/{key...}`: rows that say how fresh they are.

use crate::app::{App, private};
use crate::json::{Node, Object};
use crate::problem::Problem;
use crate::{error, headers};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use diptych_core::{Code, Value};
use diptych_query::{Answer, Ask, Freshness, Health, QueryError, Schema};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PROJECTION_POSITION: HeaderName = HeaderName::from_static("projection-position");
const PROJECTION_LAG_SECONDS: HeaderName = HeaderName::from_static("projection-lag-seconds");
const PROJECTION_LAG_EVENTS: HeaderName = HeaderName::from_static("projection-lag-events");
const PROJECTION_TOKEN: HeaderName = HeaderName::from_static("projection-token");

/// A page of rows.
pub(crate) async fn page(
    app: Arc<App>,
    schema: &'static Schema,
    uri: Uri,
    request_headers: HeaderMap,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let ask = read_ask(&app, schema, &uri, &request_headers)?;
    let answer = app.wire.queries.ask(&app.wire.principal, schema.name, &ask).await;
    app.wire.queries.metrics().observe(schema.name, started.elapsed());
    let Answer { value, freshness, health } = answer.map_err(error::of_query)?;
    let items: Vec<_> = value.rows.iter().map(|row| item(schema, row)).collect();
    let page = Object::new().with("nextPageToken", value.next_page_token);
    let body = Object::new().with("items", items).with("page", page);
    Ok(answered(body.with_all(told(&freshness, &health)), &freshness, ask.wait))
}

/// One row by its key.
pub(crate) async fn row(
    app: Arc<App>,
    schema: &'static Schema,
    path: Result<Path<Vec<String>>, PathRejection>,
    uri: Uri,
    request_headers: HeaderMap,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let Path(key) = path.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::BadKey,
            "the key in the path is not percent-encoded UTF-8",
        )
    })?;
    let ask = read_ask(&app, schema, &uri, &request_headers)?;
    only_freshness(&ask)?;
    let parts: Vec<_> = key.iter().map(String::as_str).collect();
    let answer = app.wire.queries.get_text(&app.wire.principal, schema.name, &parts, &ask).await;
    let endpoint = format!("{}/{{key}}", schema.name);
    app.wire.queries.metrics().observe(&endpoint, started.elapsed());
    let Answer { value, freshness, health } = answer.map_err(error::of_query)?;
    match value {
        Some(row) => {
            let body = Object::new().with("item", item(schema, &row));
            Ok(answered(body.with_all(told(&freshness, &health)), &freshness, ask.wait))
        }
        None => {
            let detail = format!("read model `{}` has no row `{}`", schema.name, key.join("/"));
            let problem = Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail);
            let problem = problem.with_all(told(&freshness, &health));
            Err(freshness_headers(&freshness)
                .into_iter()
                .fold(problem, |problem, (name, value)| problem.header(name, value)))
        }
    }
}

/// Reads the question from the address and from `Prefer: wait`.
fn read_ask(app: &App, schema: &'static Schema, uri: &Uri, headers: &HeaderMap) -> Result<Ask, Problem> {
    let pairs = pairs(uri)?;
    let pairs = pairs.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut ask = Ask::from_text(schema, pairs).map_err(error::of_query)?;
    let wait = headers::preferences(headers).wait;
    ask.wait = wait.map(|wait| wait.min(app.wire.queries.limits().wait_max));
    Ok(ask)
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let parsed = Query::try_from_uri(uri);
    parsed.map(|Query(pairs)| pairs).map_err(|_| {
        let detail = "the query is not percent-encoded UTF-8 text of the form `name=value&name=value`";
        Problem::new(StatusCode::BAD_REQUEST, Code::BadParameter, detail)
    })
}

/// One row is named by its key: what chooses among rows means nothing there and is not passed over.
fn only_freshness(ask: &Ask) -> Result<(), Problem> {
    let Ask { conditions, sort, page_size, page_token, .. } = ask;
    if conditions.is_empty() && sort.is_none() && page_size.is_none() && page_token.is_none() {
        return Ok(());
    }
    Err(error::of_query(QueryError::Parameter {
        name: "query".to_owned(),
        reason: "may hold minPosition and maxStale only where one row is asked for by its key".to_owned(),
    }))
}

/// A row under its public names: stored columns, then computed ones.
fn item(schema: &Schema, row: &[Value]) -> Object {
    let stored = schema.columns.iter().map(|column| column.public);
    let computed = schema.computed.iter().map(|column| column.public);
    let named = stored.chain(computed).zip(row);
    named.fold(Object::new(), |object, (name, value)| object.with(name, value_node(value)))
}

fn value_node(value: &Value) -> Node {
    match value {
        Value::Json(text) => Node::verbatim(text),
        Value::Money(money) => Object::new()
            .with("amount", money.amount().to_string())
            .with("currency", money.currency().as_str())
            .into(),
        other => Node::Value(other.to_json()),
    }
}

/// How fresh an answer is and how its model is doing, as members.
fn told(freshness: &Freshness, health: &Health) -> Object {
    Object::new().with("freshness", freshness_object(freshness)).with("health", Node::of(health))
}

/// The members of `freshness`, in the order of the contract.
pub(crate) fn freshness_object(freshness: &Freshness) -> Object {
    Object::new()
        .with("projectionPosition", freshness.projection_position.0)
        .with("lagSeconds", freshness.lag_seconds)
        .with("lagEvents", freshness.lag_events)
        .with("asOf", freshness.as_of.map(|time| time.to_string()))
        .with("caughtUpToRequestedPosition", freshness.caught_up_to_requested_position)
        .with("token", freshness.token.to_string())
        .with("stale", freshness.stale)
}

fn answered(body: Object, freshness: &Freshness, wait: Option<Duration>) -> Response {
    let mut response = body.response(StatusCode::OK);
    let headers = response.headers_mut();
    headers.extend(freshness_headers(freshness));
    private(headers);
    let applied = wait.and_then(|wait| headers::value(&format!("wait={}", wait.as_secs())));
    if let Some(applied) = applied {
        headers.insert(headers::PREFERENCE_APPLIED, applied);
    }
    response
}

fn freshness_headers(freshness: &Freshness) -> Vec<(HeaderName, HeaderValue)> {
    let texts = [
        (PROJECTION_POSITION, freshness.projection_position.to_string()),
        (PROJECTION_LAG_SECONDS, format!("{:.3}", freshness.lag_seconds)),
        (PROJECTION_LAG_EVENTS, freshness.lag_events.to_string()),
        (PROJECTION_TOKEN, freshness.token.to_string()),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, headers::value(&text)?))).collect()
}
