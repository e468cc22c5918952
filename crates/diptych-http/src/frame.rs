//! What stands around every handler: whom it answers, how long it may take, how problems look, the log.

use crate::app::{App, Deadline, Prefix};
use crate::problem::{Carried, Problem};
use crate::wire::Hosts;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use diptych_core::Code;
use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a handler has to answer after its deadline.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// Runs a handler inside the limits and turns a problem it carries into a document.
pub(crate) async fn frame(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let original = request.extensions().get::<OriginalUri>().map(|uri| uri.0.clone());
    let original = original.unwrap_or_else(|| request.uri().clone());
    let prefix = original.path().strip_suffix(request.uri().path()).unwrap_or_default().to_owned();
    let deadline = tokio::time::Instant::now() + app.wire.limits.request_duration_max;
    request.extensions_mut().insert(Prefix(prefix.clone()));
    request.extensions_mut().insert(Deadline(deadline));
    let response = match admit(&app, &original, &request) {
        // The grace lets a handler that keeps the deadline itself say more about what was cut off.
        Ok(()) => match tokio::time::timeout_at(deadline + ANSWER_GRACE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => timed_out().into_response(),
        },
        Err(problem) => problem.into_response(),
    };
    let mut response = finish(response, original.path(), &prefix);
    secure(response.headers_mut());
    tracing::debug!(
        %method,
        path = original.path(),
        status = response.status().as_u16(),
        took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// What a panic of a handler becomes.
pub(crate) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let detail = format!("{}; the service's log says why", Code::Internal.title());
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, detail)
        .logged(format!("a handler panicked: {text}"))
        .into_response()
}

fn timed_out() -> Problem {
    let detail = "the request took longer than allowed; ask for less, or try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::TimedOut, detail)
        .retry_after(crate::error::RETRY_AFTER_DEFAULT)
        .logged("a request ran into `request_duration_max`")
}

/// Renders a carried problem; faults are logged here, once.
fn finish(response: Response, instance: &str, prefix: &str) -> Response {
    let Some(Carried(problem)) = response.extensions().get::<Carried>().cloned() else {
        return response;
    };
    if let Some(line) = problem.log_line() {
        tracing::error!(code = problem.code().as_str(), path = instance, "{line}");
    }
    let mut rendered = problem.render(instance, prefix);
    for (name, value) in response.headers() {
        if !rendered.headers().contains_key(name) && *name != header::CONTENT_LENGTH {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    rendered
}

fn secure(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// Keeps other people's web pages from using a visitor's browser against this service.
fn admit(app: &App, uri: &Uri, request: &Request<Body>) -> Result<(), Problem> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    if app.wire.hosts == Hosts::Loopback && host.is_some_and(|host| !is_loopback(host)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden,
            "not allowed: without authentication only `localhost` and loopback addresses are answered",
        ));
    }
    let changes = *request.method() != Method::GET && *request.method() != Method::HEAD;
    if changes && is_foreign(headers, host) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden,
            "not allowed: the request comes from a page of another origin",
        ));
    }
    Ok(())
}

/// Whether a browser says that another site's page sends this (Fetch Metadata; RFC 6454).
fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match text("origin") {
        None => false,
        Some(origin) => origin.split_once("://").map(|(_, authority)| authority) != host,
    }
}

/// Whether a `Host` header names this machine itself; the port does not matter.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org:80", "10.0.0.1:8080", "0.0.0.0", "[::]:80", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_foreign_page_is_recognized() {
        let foreign = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, text) in pairs {
                headers.insert(*name, HeaderValue::from_static(text));
            }
            is_foreign(&headers, Some("localhost:8080"))
        };
        assert!(!foreign(&[]));
        assert!(!foreign(&[("origin", "http://localhost:8080")]));
        assert!(foreign(&[("origin", "http://example.org")]));
        assert!(foreign(&[("origin", "null")]));
        assert!(foreign(&[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8080")]));
        assert!(!foreign(&[("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[("sec-fetch-site", "none")]));
    }
}
