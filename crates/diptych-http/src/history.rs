//! `GET /{collection}/{id}?version=3`: one aggregate as it was, at a version or at a time that is said.

use crate::aggregate::document;
use crate::app::{App, private};
use crate::error;
use crate::json::{Node, Object};
use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use diptych_command::{AsOf, Past, PastAggregate};
use diptych_core::{Code, Principal, Timestamp, Version};
use diptych_query::Latency;
use std::time::Instant;

/// The moment that an address names; none for the present. What is not understood is not passed over: an
/// answer about the present would look like one about the past.
pub(crate) fn moment(pairs: &[(String, String)], now: Timestamp) -> Result<Option<AsOf>, Problem> {
    let mut moment = None;
    for (name, text) in pairs {
        let time = || -> Result<Timestamp, Problem> {
            let time: Timestamp = text.parse().map_err(|error| bad(&format!("`{name}`: {error}")))?;
            if time > now {
                return Err(bad(&format!("`{name}` lies in the future, which nobody knows yet")));
            }
            Ok(time)
        };
        let found = match name.as_str() {
            "version" => match text.parse() {
                Ok(version) if version > 0 => AsOf::Version(Version(version)),
                _ => return Err(bad("`version` is a whole number from 1")),
            },
            "at" => AsOf::Recorded(time()?),
            "occurredAt" => AsOf::Occurred(time()?),
            other => {
                return Err(bad(&format!("`{other}` is not known here; known are version, at, occurredAt")));
            }
        };
        if moment.replace(found).is_some() {
            return Err(bad("only one of version, at and occurredAt can be asked for"));
        }
    }
    Ok(moment)
}

pub(crate) async fn read(
    app: &App,
    latency: &Latency,
    (principal, category, key): (&Principal, &str, &str),
    moment: AsOf,
    request_headers: &HeaderMap,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let found = app.wire.commands.aggregate_as_of(principal, category, key, moment).await;
    latency.observe(started.elapsed());
    let past = match found.map_err(error::of_command_side)? {
        Past::State(past) => past,
        other => return Err(missing(category, key, &other)),
    };
    // Strong for this address, and of no use as If-Match: what was is not what a command may expect to find.
    let tag = format!("\"as-of-{}\"", past.aggregate.version);
    let held = request_headers.get_all(header::IF_NONE_MATCH).iter();
    let mut held = held.filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
    let mut response = if held.any(|one| one.trim().trim_start_matches("W/") == tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        document(category, &past.aggregate).with("asOf", as_of(&past, moment)).response(StatusCode::OK)
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    private(response.headers_mut());
    Ok(response)
}

/// What the state takes in, and which question it answers.
fn as_of(past: &PastAggregate, moment: AsOf) -> Object {
    let asked = match moment {
        AsOf::Version(_) => Object::new(),
        AsOf::Recorded(time) => Object::new().with("at", time.to_string()).with("counted", "recordedAt"),
        AsOf::Occurred(time) => Object::new().with("at", time.to_string()).with("counted", "occurredAt"),
    };
    Object::new()
        .with("version", past.aggregate.version.0)
        .with("recordedAt", past.last.recorded_at.to_string())
        .with("occurredAt", past.last.occurred_at.to_string())
        .with_all(asked)
}

/// Why there is no state, in words and with where there would be one.
fn missing(category: &str, key: &str, past: &Past) -> Problem {
    let what = category.replace('_', " ");
    let problem = |detail: String| Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail);
    match past {
        Past::NotYet(first) => problem(format!(
            "{what} `{key}` had not begun: its first event was recorded at {} and happened at {}",
            first.recorded_at, first.occurred_at
        ))
        .with_all(
            Object::new()
                .with("firstRecordedAt", first.recorded_at.to_string())
                .with("firstOccurredAt", first.occurred_at.to_string()),
        ),
        Past::Beyond(version) => problem(format!("{what} `{key}` has only come to version {version}"))
            .with_all(Object::new().with("currentVersion", Node::from(version.0))),
        Past::NeverBegan | Past::State(_) => problem(format!("there is no {what} `{key}`")),
    }
}

pub(crate) fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, Code::BadParameter, detail)
}
