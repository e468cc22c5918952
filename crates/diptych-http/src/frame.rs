//! What stands around every handler: whom it answers, how long it may take, how problems look, the log. What
//! a caller has to bring to be answered stands in `caller`.

use crate::app::{App, Framed};
use crate::caller;
use crate::problem::{Carried, Problem};
use crate::wire::Hosts;
use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use diptych_core::{BoxFuture, Code};
use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

/// How long a handler has to answer after its deadline.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// Puts the frame around a router's handlers. One layer for everything: each further one would clone a
/// service and allocate a future for every request.
#[derive(Clone)]
pub(crate) struct FrameLayer(pub(crate) Arc<App>);

/// A handler with the frame around it.
#[derive(Clone)]
pub(crate) struct Frame<S> {
    app: Arc<App>,
    handler: S,
}

impl<S> Layer<S> for FrameLayer {
    type Service = Frame<S>;

    fn layer(&self, handler: S) -> Frame<S> {
        Frame { app: Arc::clone(&self.0), handler }
    }
}

impl<S> Service<Request> for Frame<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let method = request.method().clone();
        let original = request.extensions().get::<OriginalUri>().map(|uri| uri.0.clone());
        let original = original.unwrap_or_else(|| request.uri().clone());
        let prefix = original.path().strip_suffix(request.uri().path()).unwrap_or_default().to_owned();
        let deadline = started + self.app.wire.limits.request_duration_max;
        let caller = caller::tell(&self.app, request.headers());
        let admitted = admit(&self.app, &original, &request)
            .and_then(|()| caller::admit(&self.app, request.uri().path(), &caller));
        request.extensions_mut().insert(Framed { prefix: prefix.clone(), deadline, caller });
        let answer = admitted.map(|()| catch_unwind(AssertUnwindSafe(|| self.handler.call(request))));
        Box::pin(async move {
            let response = match answer {
                Ok(Ok(answer)) => within(deadline, answer).await,
                Ok(Err(cause)) => panicked(cause),
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
            Ok(response)
        })
    }
}

/// Waits for a handler's answer; a panic and a missed deadline are answers as well.
async fn within(deadline: Instant, answer: impl Future<Output = Result<Response, Infallible>>) -> Response {
    let mut answer = pin!(answer);
    let caught = poll_fn(|context| {
        // A handler that panicked is never polled again, so that nothing half done is seen.
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(polled) => polled.map(|Ok(response)| response),
            Err(cause) => Poll::Ready(panicked(cause)),
        }
    });
    // The grace lets a handler that keeps the deadline itself say more about what was cut off.
    let answered = timeout_at(deadline + ANSWER_GRACE, caught).await;
    answered.unwrap_or_else(|_| timed_out().into_response())
}

/// What a panic of a handler becomes.
fn panicked(cause: Box<dyn Any + Send>) -> Response {
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
