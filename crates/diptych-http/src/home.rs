//! `GET /`: what this service is, a page for people and JSON for programs, with every model's lag and how its
//! jobs stand.

use crate::app::{App, framed, private};
use crate::headers;
use crate::html::{self, escape};
use crate::jobs;
use crate::json::{Node, Object};
use crate::wire::Panels;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_command::AnyDecider;
use diptych_core::Timestamp;
use diptych_query::{Freshness, Health, Mode, Schema, Stage};
use std::fmt::Write;
use std::sync::Arc;

/// One read model as it is now.
pub(crate) struct Standing {
    pub(crate) schema: &'static Schema,
    pub(crate) mode: Mode,
    /// Where its build stands; none when the store could not tell.
    pub(crate) stage: Option<Stage>,
    /// From when on it may be gone, if it is deprecated.
    pub(crate) sunset: Option<Timestamp>,
    /// How fresh it is; none when the store could not tell, which the log explains.
    pub(crate) now: Option<(Freshness, Health)>,
}

impl Standing {
    /// The lag in words.
    fn lag(&self) -> String {
        let now = self.now.as_ref();
        now.map_or_else(|| "not known".to_owned(), |(freshness, _)| freshness.words.clone())
    }

    /// The health in one word.
    fn health(&self) -> &'static str {
        self.now.as_ref().map_or("unknown", |(_, health)| health.as_str())
    }

    /// The stage in a word or two.
    fn stage(&self) -> String {
        let stage = self.stage.map_or("unknown", Stage::as_str);
        match self.sunset {
            Some(sunset) => format!("{stage} until {}", sunset.date()),
            None => stage.to_owned(),
        }
    }

    /// The model as JSON.
    pub(crate) fn object(&self, prefix: &str) -> Object {
        let schema = self.schema;
        Object::new()
            .with("name", schema.name)
            .with("address", format!("{prefix}/{}", schema.segment()))
            .with("meaning", schema.meaning)
            .with("owner", schema.governance.owner)
            .with("stage", self.stage.map(Stage::as_str))
            .with_some("sunset", self.sunset.map(|sunset| sunset.to_string()))
            .with("mode", self.mode.as_str())
            .with("contract", schema.contract.to_string())
            .with("lag", self.lag())
            .with("health", self.now.as_ref().map(|(_, health)| Node::of(health)))
            .with("freshness", self.now.as_ref().map(|(freshness, _)| Node::written(freshness)))
    }
}

/// Every read model as it is now.
pub(crate) async fn standings(app: &App) -> Vec<Standing> {
    let known = app.announced.now(app).await;
    let mut all = Vec::new();
    for (model, group) in app.wire.queries.models() {
        let schema = model.schema();
        let now = match app.wire.queries.freshness(schema.name).await {
            Ok(now) => Some(now),
            Err(error) => {
                tracing::warn!(model = schema.name, "the freshness of a model is not known: {error}");
                None
            }
        };
        let sunset = known.of(group.name()).and_then(|notice| notice.sunset);
        all.push(Standing { schema, mode: group.mode(), stage: known.stage(group.name()), sunset, now });
    }
    all
}

pub(crate) async fn read(State(app): State<Arc<App>>, request: Request) -> Response {
    let prefix = framed(&request).prefix;
    let standings = if app.wire.panels.answers_questions() { standings(&app).await } else { Vec::new() };
    let mut response = if headers::wants_html(request.headers()) {
        html::page(&app.wire.service.name, &page(&app, &prefix, &standings))
    } else {
        document(&app, &prefix, &standings).response(StatusCode::OK)
    };
    private(response.headers_mut());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn document(app: &App, prefix: &str, standings: &[Standing]) -> Object {
    let service = &app.wire.service;
    let commands = deciders(app).flat_map(|decider| commands(app, prefix, decider.as_ref()));
    let models: Vec<_> = standings.iter().map(|standing| standing.object(prefix)).collect();
    let entries: Vec<_> = entries(app).map(|entry| format!("{prefix}{entry}")).collect();
    Object::new()
        .with("service", service.name.as_str())
        .with("version", service.version.as_str())
        .with("description", service.description.as_str())
        .with("commands", commands.collect::<Vec<_>>())
        .with("readModels", models)
        .with_some("jobs", jobs::told(app))
        .with("try", entries)
        .with("documentation", format!("{prefix}/docs"))
        .with("openapi", format!("{prefix}/openapi.json"))
        .with("metrics", format!("{prefix}/metrics"))
        .with("ready", format!("{prefix}/health/ready"))
}

fn commands(app: &App, prefix: &str, decider: &dyn AnyDecider) -> Vec<Object> {
    let collection = app.names.collection(decider.category());
    let object = |command: &diptych_command::CommandType| {
        Object::new()
            .with("name", command.name)
            .with("method", "POST")
            .with("address", format!("{prefix}/{collection}/{{id}}/{}", command.segment))
            .with("meaning", command.meaning)
            .with("keyRequired", command.key_required)
    };
    decider.commands().iter().map(object).collect()
}

/// The deciders whose commands this process takes.
fn deciders(app: &App) -> impl Iterator<Item = &Arc<dyn AnyDecider>> {
    app.wire.commands.deciders().filter(|_| app.wire.panels.takes_commands())
}

/// Addresses of this service only, so that the front page cannot point elsewhere.
fn entries(app: &App) -> impl Iterator<Item = &String> {
    let shown = app.wire.panels == Panels::Both;
    app.wire.entries.iter().filter(move |entry| shown && entry.starts_with('/') && !entry.starts_with("//"))
}

fn page(app: &App, prefix: &str, standings: &[Standing]) -> String {
    let service = &app.wire.service;
    let mut out = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"soft\">version {}</p>\n<p>{}</p>\n</header>\n<main>\n",
        escape(&service.name),
        escape(&service.version),
        escape(&service.description)
    );
    let mut links = entries(app).peekable();
    if links.peek().is_some() {
        out.push_str("<section aria-labelledby=\"try\">\n<h2 id=\"try\">Try it</h2>\n<ul>\n");
        for entry in links {
            let address = escape(&format!("{prefix}{entry}"));
            write_to(&mut out, format_args!("<li><a href=\"{address}\"><code>{address}</code></a></li>\n"));
        }
        out.push_str("</ul>\n</section>\n");
    }
    if !standings.is_empty() {
        model_table(&mut out, prefix, standings);
    }
    jobs::table(&mut out, app);
    for decider in deciders(app) {
        command_table(&mut out, app, prefix, decider.as_ref());
    }
    let prefix = escape(prefix);
    write_to(
        &mut out,
        format_args!(
            "</main>\n<footer>\n<nav aria-label=\"About this service\">\
             <a href=\"{prefix}/docs\">Documentation</a> · \
             <a href=\"{prefix}/openapi.json\">OpenAPI</a> · <a href=\"{prefix}/metrics\">Metrics</a> · \
             <a href=\"{prefix}/health/ready\">Health</a></nav>\n</footer>\n"
        ),
    );
    out
}

fn model_table(out: &mut String, prefix: &str, standings: &[Standing]) {
    out.push_str(
        "<section aria-labelledby=\"models\">\n<h2 id=\"models\">Read models</h2>\n\
         <div class=\"scroll\"><table>\n\
         <thead><tr><th scope=\"col\">Ask</th><th scope=\"col\">What it tells</th>\
         <th scope=\"col\">Stage</th><th scope=\"col\">Freshness</th>\
         <th scope=\"col\">Kept</th><th scope=\"col\">Contract</th>\
         <th scope=\"col\">Health</th></tr></thead>\n<tbody>\n",
    );
    for standing in standings {
        let schema = standing.schema;
        let address = escape(&format!("{prefix}/{}", schema.segment()));
        let health = standing.health();
        let tone = if matches!(health, "live" | "rebuilding") { "good" } else { "bad" };
        write_to(
            out,
            format_args!(
                "<tr><th scope=\"row\"><a href=\"{address}\"><code>{address}</code></a></th>\
                 <td>{}</td><td>{}</td><td>{}</td>\
                 <td>{}</td><td>{}</td><td class=\"{tone}\">{}</td></tr>\n",
                escape(schema.meaning),
                escape(&standing.stage()),
                escape(&standing.lag()),
                standing.mode.as_str().replace('_', " "),
                escape(&schema.contract.to_string()),
                health.replace('_', " "),
            ),
        );
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn command_table(out: &mut String, app: &App, prefix: &str, decider: &dyn AnyDecider) {
    let category = decider.category();
    let collection = app.names.collection(category);
    let id = format!("commands-{category}");
    let title = escape(&format!("{prefix}/{collection}/{{id}}"));
    write_to(
        out,
        format_args!(
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">Commands to <code>{title}</code></h2>\n\
             <div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Post to</th>\
             <th scope=\"col\">What it asks for</th><th scope=\"col\">Key</th></tr></thead>\n<tbody>\n"
        ),
    );
    for command in decider.commands() {
        let key = if command.key_required { "required" } else { "optional" };
        write_to(
            out,
            format_args!(
                "<tr><th scope=\"row\"><code>…/{}</code></th><td>{}</td><td>{key}</td></tr>\n",
                escape(command.segment),
                escape(command.meaning)
            ),
        );
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn write_to(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("writing to a text cannot fail");
}
