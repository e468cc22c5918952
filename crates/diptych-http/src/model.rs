//! `GET /{model}` and `GET /{model}/{key...}`: rows that say how fresh they are.

use crate::answers::{self, Given};
use crate::app::{App, Framed, framed};
use crate::json::typed;
use crate::problem::Problem;
use crate::watching::{self, Subject};
use crate::{announced, caching, error, freshness, headers, sse};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use diptych_core::Code;
use diptych_query::{AnswerTag, Ask, Freshness, Latency, QueryError, Schema};
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
    let (Endpoint { app, group, .. }, framed) = (&*endpoint, framed(&request));
    announced::told(app, group, &framed.prefix, answer_page(&endpoint, &framed, request)).await
}

/// One row by its key.
pub(crate) async fn row(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let (Endpoint { app, group, .. }, framed) = (&*endpoint, framed(&request));
    announced::told(app, group, &framed.prefix, answer_row(&endpoint, &framed, request)).await
}

async fn answer_page(endpoint: &Endpoint, framed: &Framed, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let Endpoint { app, schema, latency, .. } = endpoint;
    let principal = framed.principal()?;
    let ask = read_ask(app, framed, schema, request.uri(), request.headers())?;
    if sse::is_asked_for(request.headers()) {
        let place = (instance(request.uri(), framed), headers::last_event_id(request.headers()));
        return watching::follow(app, framed, schema, (Subject::Page, ask), place).await;
    }
    let held = caching::held(request.headers());
    let given = answers::page(app, &principal, schema, &ask, &held).await;
    latency.observe(started.elapsed());
    Ok(match given? {
        Given::Held(tag, freshness) => unchanged(schema, &ask, &freshness, &tag),
        Given::Fresh(answer, tag) => answered(answer.text(), schema, &ask, &answer.freshness, tag.as_ref()),
    })
}

async fn answer_row(endpoint: &Endpoint, framed: &Framed, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    let Endpoint { app, schema, latency, .. } = endpoint;
    let principal = framed.principal()?;
    let (mut parts, _) = request.into_parts();
    let key = key_segments(&mut parts).await?;
    let ask = read_ask(app, framed, schema, &parts.uri, &parts.headers)?;
    only_freshness(&ask)?;
    if sse::is_asked_for(&parts.headers) {
        let place = (instance(&parts.uri, framed), headers::last_event_id(&parts.headers));
        return watching::follow(app, framed, schema, (Subject::Row(key), ask), place).await;
    }
    let segments: Vec<_> = key.iter().map(String::as_str).collect();
    let held = caching::held(&parts.headers);
    let given = answers::row(app, &principal, schema, (&segments, &ask), &held).await;
    latency.observe(started.elapsed());
    match given? {
        Given::Held(tag, freshness) => Ok(unchanged(schema, &ask, &freshness, &tag)),
        Given::Fresh(answer, tag) => match answer.text(&key) {
            Ok(body) => Ok(answered(body, schema, &ask, &answer.freshness, tag.as_ref())),
            Err(missing) => {
                let headers = freshness_headers(&answer.freshness).into_iter();
                Err(headers.fold(missing, |missing, (name, value)| missing.header(name, value)))
            }
        },
    }
}

/// The address that was asked, as the caller wrote it.
fn instance(uri: &Uri, framed: &Framed) -> String {
    format!("{}{}", framed.prefix, uri.path())
}

/// The parts of the key in the path.
async fn key_segments(parts: &mut Parts) -> Result<Vec<String>, Problem> {
    let path = Path::<Vec<String>>::from_request_parts(parts, &()).await;
    path.map(|Path(key)| key).map_err(|_| {
        let detail = "the key in the path is not percent-encoded UTF-8";
        Problem::new(StatusCode::BAD_REQUEST, Code::BadKey, detail)
    })
}

/// Reads the question from the address and from `Prefer: wait`.
fn read_ask(
    app: &App,
    framed: &Framed,
    schema: &'static Schema,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Ask, Problem> {
    ask_of(app, framed, schema, &pairs(uri)?, headers)
}

/// The question that pairs of text and `Prefer: wait` ask.
pub(crate) fn ask_of(
    app: &App,
    framed: &Framed,
    schema: &'static Schema,
    pairs: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Ask, Problem> {
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

pub(crate) fn freshness_headers(freshness: &Freshness) -> [(HeaderName, HeaderValue); 4] {
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
