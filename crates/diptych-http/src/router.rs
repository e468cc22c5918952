//! The addresses of a service, as a plain axum router.

use crate::app::App;
use crate::command::Endpoint;
use crate::frame::FrameLayer;
use crate::names::Names;
use crate::own_pages::OwnPage;
use crate::problem::Problem;
use crate::wire::{Panels, Wire};
use crate::{
    aggregate, announced, audit, command, commands, envelope, exports, following, freshness, health, home,
    json, model, openapi, own_pages, pages,
};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use diptych_command::AnyDecider;
use diptych_core::{Code, Fault};
use diptych_query::Schema;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Puts a service on the wire. The router stands alone or nests in an application that exists already.
///
/// # Errors
/// [`Code::ServiceInvalid`] with every name that clashes with another or with a reserved one.
pub fn router(wire: Wire) -> Result<Router, Fault> {
    let names = Names::check(&wire)?;
    let panels = wire.panels;
    let app = Arc::new(App::new(wire, names));
    let mut router = Router::new();
    for decider in app.wire.commands.deciders() {
        router = add_decider(router, &app, decider);
    }
    for (model, group) in app.wire.queries.models() {
        router = add_model(router, &app, model.schema(), group.name());
    }
    for page in &app.wire.own_pages {
        router = add_own_page(router, &app, page);
    }
    let described = Arc::clone(&app);
    let [envelopes, status, events, tree, audited] = command_routes(&app, panels);
    let freshness = if panels.answers_questions() { get(freshness::read) } else { elsewhere() };
    let router = router
        .route("/", get(home::read))
        .route("/commands", envelopes)
        .route("/commands/{id}", status)
        .route("/commands/{id}/events", events)
        .route("/commands/{id}/tree", tree)
        .route("/audit", audited)
        .route("/freshness", freshness)
        .route("/openapi.json", get(move || openapi_json(Arc::clone(&described))))
        .route("/docs", get(pages::docs))
        .route("/docs/docs.js", get(pages::docs_script))
        .route("/docs/docs.css", get(pages::docs_style))
        .route("/problems/{code}", get(pages::problem))
        .route("/metrics", get(health::metrics))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(announced::unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(FrameLayer(Arc::clone(&app)));
    Ok(router.with_state(app))
}

type Routes = Router<Arc<App>>;

fn add_decider(router: Routes, app: &Arc<App>, decider: &Arc<dyn AnyDecider>) -> Routes {
    let category = decider.category();
    let collection = app.names.collection(category).to_owned();
    if !app.wire.panels.takes_commands() {
        let below = format!("/{collection}/{{*rest}}");
        return router.route(&below, elsewhere());
    }
    let held = Arc::clone(app);
    let latency = Arc::new(app.wire.queries.metrics().latency(format!("{collection}/{{id}}")));
    let read = get(move |path: Result<Path<String>, PathRejection>, request: Request| {
        aggregate::read(Arc::clone(&held), Arc::clone(&latency), category, path, request)
    });
    // Nothing else reads a body.
    let body_limit = DefaultBodyLimit::max(app.wire.limits.body_bytes_max);
    let mut router = router.route(&format!("/{collection}/{{id}}"), read);
    for kind in decider.commands() {
        let held = Arc::clone(app);
        let endpoint = Endpoint { decider: Arc::clone(decider), command: *kind };
        let give = post(move |path: Result<Path<String>, PathRejection>, request: Request| {
            command::give(Arc::clone(&held), endpoint.clone(), path, request)
        });
        let give = give.layer(body_limit);
        router = router.route(&format!("/{collection}/{{id}}/{}", kind.segment), give);
    }
    router
}

/// Commands in envelopes, what became of one, and its stream of events.
fn command_routes(app: &Arc<App>, panels: Panels) -> [MethodRouter<Arc<App>>; 5] {
    if !panels.takes_commands() {
        return [(); 5].map(|()| elsewhere());
    }
    let body_limit = DefaultBodyLimit::max(app.wire.limits.body_bytes_max);
    let envelopes = post(envelope::take).layer(body_limit);
    [envelopes, get(commands::read), get(following::follow), get(audit::tree), get(audit::list)]
}

/// A model answers under its name with `-` and, for whoever knows the table, with `_`.
fn add_model(mut router: Routes, app: &Arc<App>, schema: &'static Schema, group: &'static str) -> Routes {
    let mut segments = vec![schema.segment()];
    if schema.segment() != schema.name {
        segments.push(schema.name.to_owned());
    }
    let key: String = (0..schema.key.len()).map(|index| format!("/{{key{index}}}")).collect();
    for segment in segments {
        let exports = format!("/exports/{segment}");
        router = router.route(&exports, export_route(app, schema, group));
        if !app.wire.panels.answers_questions() {
            router = router.route(&format!("/{segment}"), elsewhere());
            router = router.route(&format!("/{segment}{key}"), elsewhere());
            continue;
        }
        router = router.route(&format!("/{segment}"), page_route(app, schema, group));
        router = router.route(&format!("/{segment}{key}"), row_route(app, schema, group));
    }
    router
}

/// A page of the service's own, which asks the right panel.
fn add_own_page(router: Routes, app: &Arc<App>, page: &Arc<dyn OwnPage>) -> Routes {
    let address = format!("/{}/{{key}}", page.segment());
    if !app.wire.panels.answers_questions() {
        return router.route(&address, elsewhere());
    }
    let latency = Arc::new(app.wire.queries.metrics().latency(format!("{}/{{key}}", page.segment())));
    let (held, page) = (Arc::clone(app), Arc::clone(page));
    let read = get(move |path: Result<Path<String>, PathRejection>, request: Request| {
        own_pages::read(Arc::clone(&held), Arc::clone(&page), Arc::clone(&latency), path, request)
    });
    router.route(&address, read)
}

fn page_route(app: &Arc<App>, schema: &'static Schema, group: &'static str) -> MethodRouter<Arc<App>> {
    let latency = app.wire.queries.metrics().latency(schema.name);
    let endpoint = Arc::new(model::Endpoint { app: Arc::clone(app), schema, group, latency });
    get(move |request: Request| model::page(Arc::clone(&endpoint), request))
}

fn row_route(app: &Arc<App>, schema: &'static Schema, group: &'static str) -> MethodRouter<Arc<App>> {
    let latency = app.wire.queries.metrics().latency(format!("{}/{{key}}", schema.name));
    let endpoint = Arc::new(model::Endpoint { app: Arc::clone(app), schema, group, latency });
    get(move |request: Request| model::row(Arc::clone(&endpoint), request))
}

fn export_route(app: &Arc<App>, schema: &'static Schema, group: &'static str) -> MethodRouter<Arc<App>> {
    if !app.wire.panels.answers_questions() {
        return elsewhere();
    }
    let latency = app.wire.queries.metrics().latency(format!("exports/{}", schema.name));
    let endpoint = Arc::new(model::Endpoint { app: Arc::clone(app), schema, group, latency });
    get(move |request: Request| exports::read(Arc::clone(&endpoint), request))
}

/// The answer at an address of a panel that another process serves.
fn elsewhere() -> MethodRouter<Arc<App>> {
    any(|| async {
        let detail = "this process has another role; send the request to one that serves this address";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, Code::OtherRole, detail).into_response()
    })
}

async fn openapi_json(app: Arc<App>) -> Response {
    let known = app.announced.now(&app).await;
    json::typed(StatusCode::OK, "application/json", openapi::document(&app, &known))
}

async fn not_allowed(method: Method) -> Response {
    let detail = format!("this address does not take `{method}`; the header `Allow` lists what it takes");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, detail).into_response()
}
