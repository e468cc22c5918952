//! `GET /{model}` and `GET /{model}/{key...}`: rows that say how fresh they are.

use crate::app::{App, Framed, framed};
use crate::json::{Node, Object, typed};
use crate::problem::Problem;
use crate::rows::{HealthMember, Item, PageBody, PageMember, RowBody, text};
use crate::{announced, caching, error, freshness, headers};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use diptych_core::Code;
use diptych_query::{Answer, AnswerTag, Ask, Freshness, Health, Latency, QueryError, Schema, Unless};
use std::sync::Arc;
use std::time::Instant;

const PROJECTION_POSITION: HeaderName = HeaderName::from_static("projection-position");
const PROJECTION_LAG_SECONDS: HeaderName = HeaderName::from_static("projection-lag-seconds");
const PROJECTION_LAG_EVENTS: HeaderName = HeaderName::from_static("projection-lag-events");
const PROJECTION_TOKEN: HeaderName = HeaderName::from_static("projection-token");

/// One read model's address for pages, or for rows.
pub(crate) struct Endpoint {
    pub(crate) app: Arc<App>,
    pub(crate) schema: &'static Schema,
    pub(crate) group: &'static str,
    pub(crate) latency: Latency,
}

/// A page of rows.
pub(crate) async fn page(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let Endpoint { app, group, .. } = &*endpoint;
    let prefix = framed(&request).prefix;
    announced::told(app, group, &prefix, answer_page(&endpoint, request)).await
}

/// One row by its key.
pub(crate) async fn row(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let Endpoint { app, group, .. } = &*endpoint;
    let prefix = framed(&request).prefix;
    announced::told(app, group, &prefix, answer_row(&endpoint, request)).await
}

async fn answer_page(endpoint: &Endpoint, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let Endpoint { app, schema, latency, .. } = endpoint;
    let framed = framed(&request);
    let principal = framed.principal()?;
    let ask = read_ask(app, &framed, schema, request.uri(), request.headers())?;
    let held = caching::held(request.headers());
    let answer = app.wire.queries.ask_unless(&principal, schema.name, &ask, &held).await;
    latency.observe(started.elapsed());
    let Answer { value, freshness, health } = answer.map_err(error::of_query)?;
    let (page, tag) = match value {
        Unless::Same(tag) => return Ok(unchanged(schema, &ask, &freshness, &tag)),
        Unless::New(page, tag) => (page, tag),
    };
    let body = PageBody {
        items: page.rows.iter().map(|row| Item { schema, row }).collect(),
        page: PageMember { next_page_token: page.next_page_token.as_deref() },
        freshness: &freshness,
        health: HealthMember(&health),
    };
    let body = text(&body, schema, page.rows.len());
    Ok(answered(body, schema, &ask, &freshness, tag.as_ref()))
}

async fn answer_row(endpoint: &Endpoint, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let Endpoint { app, schema, latency, .. } = endpoint;
    let framed = framed(&request);
    let principal = framed.principal()?;
    let (mut parts, _) = request.into_parts();
    let Path(key) = Path::<Vec<String>>::from_request_parts(&mut parts, &()).await.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::BadKey,
            "the key in the path is not percent-encoded UTF-8",
        )
    })?;
    let ask = read_ask(app, &framed, schema, &parts.uri, &parts.headers)?;
    only_freshness(&ask)?;
    let segments: Vec<_> = key.iter().map(String::as_str).collect();
    let held = caching::held(&parts.headers);
    let answer = app.wire.queries.get_text_unless(&principal, schema.name, &segments, &ask, &held).await;
    latency.observe(started.elapsed());
    let Answer { value, freshness, health } = answer.map_err(error::of_query)?;
    match value {
        Unless::Same(tag) => Ok(unchanged(schema, &ask, &freshness, &tag)),
        Unless::New(Some(row), tag) => {
            let item = Item { schema, row: &row };
            let body = RowBody { item, freshness: &freshness, health: HealthMember(&health) };
            Ok(answered(text(&body, schema, 1), schema, &ask, &freshness, tag.as_ref()))
        }
        Unless::New(None, _) => Err(missing(schema, &key, &freshness, &health)),
    }
}

/// The answer where no row has the key, which says how fresh that is, too.
fn missing(schema: &Schema, key: &[String], freshness: &Freshness, health: &Health) -> Problem {
    let detail = format!("read model `{}` has no row `{}`", schema.name, key.join("/"));
    let problem = Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail);
    let problem = problem.with_all(told(freshness, health));
    let headers = freshness_headers(freshness).into_iter();
    headers.fold(problem, |problem, (name, value)| problem.header(name, value))
}

/// Reads the question from the address and from `Prefer: wait`.
fn read_ask(
    app: &App,
    framed: &Framed,
    schema: &'static Schema,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Ask, Problem> {
    let pairs = pairs(uri)?;
    let pairs = pairs.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut ask = Ask::from_text(schema, pairs).map_err(error::of_query)?;
    ask.wait = headers::preferences(headers).wait.map(|wait| freshness::within(app, framed, wait));
    Ok(ask)
}

pub(crate) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    if uri.query().is_none() {
        return Ok(Vec::new());
    }
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

/// How fresh an answer is and how its model is doing, as members.
fn told(freshness: &Freshness, health: &Health) -> Object {
    Object::new().with("freshness", Node::written(freshness)).with("health", Node::of(health))
}

fn answered(
    body: Vec<u8>,
    schema: &Schema,
    ask: &Ask,
    freshness: &Freshness,
    tag: Option<&AnswerTag>,
) -> Response {
    let mut response = typed(StatusCode::OK, "application/json", body);
    mark(response.headers_mut(), schema, ask, freshness, tag);
    response
}

/// The answer to whoever holds it already: how fresh it is now, and nothing else.
fn unchanged(schema: &Schema, ask: &Ask, freshness: &Freshness, tag: &AnswerTag) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    mark(response.headers_mut(), schema, ask, freshness, Some(tag));
    response
}

fn mark(headers: &mut HeaderMap, schema: &Schema, ask: &Ask, freshness: &Freshness, tag: Option<&AnswerTag>) {
    headers.extend(freshness_headers(freshness));
    caching::mark(headers, schema, ask, freshness, tag);
    if let Some(applied) = ask.wait.and_then(headers::wait_applied) {
        headers.insert(headers::PREFERENCE_APPLIED, applied);
    }
}

fn freshness_headers(freshness: &Freshness) -> [(HeaderName, HeaderValue); 4] {
    let Freshness { projection_position, lag_seconds, lag_events, token, .. } = freshness;
    let seconds =
        if *lag_events == 0 { HeaderValue::from_static("0.000") } else { shown(format!("{lag_seconds:.3}")) };
    [
        (PROJECTION_POSITION, HeaderValue::from(projection_position.0)),
        (PROJECTION_LAG_SECONDS, seconds),
        (PROJECTION_LAG_EVENTS, HeaderValue::from(*lag_events)),
        (PROJECTION_TOKEN, shown(token.to_string())),
    ]
}

fn shown(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits, letters and dots are a header value")
}
