//! `/metrics`, `/health/live`, `/health/ready`: what machines ask.

use crate::app::App;
use crate::home::standings;
use crate::jobs;
use crate::json::{Node, Object, typed};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    typed(StatusCode::OK, OPEN_METRICS, (app.wire.metrics)())
}

/// The process runs and answers; nothing else is looked at, so that a broken store does not cause restarts.
pub(crate) async fn live() -> Response {
    uncached(Object::new().with("status", "live").response(StatusCode::OK))
}

/// The service can do its work. A stopped read model or an overdue job is told, and takes nothing else out of
/// service.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let readiness = (app.wire.ready)();
    let models: Vec<_> = standings(&app)
        .await
        .into_iter()
        .map(|standing| {
            let now = standing.now.as_ref();
            Object::new()
                .with("model", standing.schema.name)
                .with("health", now.map(|(_, health)| Node::of(health)))
                .with("lagSeconds", now.map(|(freshness, _)| freshness.lag_seconds))
                .with("lagEvents", now.map(|(freshness, _)| freshness.lag_events))
        })
        .collect();
    let (status, word) = if readiness.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let body = Object::new().with("status", word).with("reasons", readiness.reasons).with("models", models);
    let body = body.with_some("jobs", jobs::told(&app));
    uncached(body.response(status))
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
