//! `GET /freshness`: how read models stand, without any of their rows; one position awaited over several of
//! them at once, within one time. As a stream of events: told again whenever that changes.

use crate::app::{App, Framed, framed, private};
use crate::error;
use crate::headers::{self, preferences};
use crate::jobs;
use crate::json::{Node, Object};
use crate::model::pairs;
use crate::problem::Problem;
use crate::sse::{self, Closed, Outlet};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_core::{Principal, Token};
use diptych_query::{Awaited, Breach, Contract, Moves, QueryError, WaitOutcome};
use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest time between two events of one stream.
const PAUSE: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Asked {
    /// Of which models, by their names; none where all are meant.
    pub(crate) models: Vec<&'static str>,
    /// With everything up to this position.
    pub(crate) at_least: Option<Token>,
}

pub(crate) async fn read(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let framed = framed(&request);
    let principal = framed.principal()?;
    let asked = asked(&app, &principal, &pairs(request.uri())?)?;
    let wait = preferences(request.headers()).wait.map(|wait| within(&app, &framed, wait));
    if sse::is_asked_for(request.headers()) {
        return follow(&app, &framed, principal, asked).await;
    }
    let all = all(&app, &principal, &asked, wait.unwrap_or_default()).await?;
    let mut response = document(&app, &framed.prefix, &all).response(StatusCode::OK);
    let headers = response.headers_mut();
    private(headers);
    if let Some(applied) = wait.and_then(headers::wait_applied) {
        headers.insert(headers::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Tells how the models stand whenever one of them, or the log, has moved.
async fn follow(
    app: &Arc<App>,
    framed: &Framed,
    principal: Principal,
    asked: Asked,
) -> Result<Response, Problem> {
    let queries = &app.wire.queries;
    let moves = asked.models.iter().map(|model| queries.watch(&principal, model));
    let moves = moves.collect::<Result<Vec<_>, _>>().map_err(error::of_query)?;
    let first = all(app, &principal, &asked, Duration::ZERO).await?;
    let (outlet, response) = sse::open(app, framed)?;
    let (app, prefix) = (Arc::clone(app), framed.prefix.clone());
    tokio::spawn(tell(app, prefix, principal, (asked, first), moves, outlet));
    Ok(response)
}

async fn tell(
    app: Arc<App>,
    prefix: String,
    principal: Principal,
    (asked, first): (Asked, Vec<Awaited>),
    mut moves: Vec<Moves>,
    mut outlet: Outlet,
) -> Result<(), Closed> {
    let mut head = app.wire.queries.watch_head();
    let mut told = first;
    loop {
        // The least of them: whoever has seen it has seen no more.
        let least = told.iter().map(|awaited| awaited.freshness.token).min_by_key(|token| token.position);
        let id = least.map(|token| token.to_string());
        outlet.send(id.as_deref(), "freshness", &document(&app, &prefix, &told).to_text()).await?;
        let woken = async {
            let head = async {
                if head.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = any(&mut moves) => {}
                () = head => {}
            }
        };
        outlet.rest(woken).await?;
        outlet.pause(PAUSE).await?;
        // The client comes again, and hears then what is wrong.
        told = all(&app, &principal, &asked, Duration::ZERO).await.map_err(|_| Closed)?;
    }
}

/// Returns when one of the models has moved.
async fn any(moves: &mut [Moves]) {
    let mut waiting: Vec<_> = moves.iter_mut().map(|moves| Box::pin(moves.changed())).collect();
    poll_fn(|context| {
        let moved = waiting.iter_mut().any(|waiting| waiting.as_mut().poll(context).is_ready());
        if moved { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// How long a request may wait: as long as it says, as a question may, and as its own time lasts.
pub(crate) fn within(app: &App, framed: &Framed, wait: Duration) -> Duration {
    let left = framed.deadline.saturating_duration_since(Instant::now());
    wait.min(app.wire.queries.limits().wait_max).min(left)
}

/// Reads what is asked; where no model is named, every one that the principal may ask.
pub(crate) fn asked(app: &App, principal: &Principal, pairs: &[(String, String)]) -> Result<Asked, Problem> {
    let queries = &app.wire.queries;
    let mut asked = Asked::default();
    for (name, text) in pairs {
        match name.as_str() {
            "model" => {
                let found = queries.models().map(|(model, _)| model.schema());
                let mut found = found.filter(|schema| schema.name == text || schema.segment() == *text);
                let Some(schema) = found.next() else {
                    return Err(error::of_query(QueryError::UnknownModel { name: text.clone() }));
                };
                if !asked.models.contains(&schema.name) {
                    asked.models.push(schema.name);
                }
            }
            "minPosition" => {
                let token = text.parse();
                let token = token.map_err(|error| QueryError::Token { reason: format!("{error}") });
                asked.at_least = Some(token.map_err(error::of_query)?);
            }
            _ => {
                let reason = "is not known here; there are: model, several times if need be, and minPosition";
                let (name, reason) = (name.clone(), reason.to_owned());
                return Err(error::of_query(QueryError::Parameter { name, reason }));
            }
        }
    }
    if asked.models.is_empty() {
        let all = queries.models().map(|(model, _)| model.schema().name);
        asked.models = all.filter(|model| queries.may_ask(principal, model)).collect();
    }
    Ok(asked)
}

/// How the models stand, after waiting.
pub(crate) async fn all(
    app: &App,
    principal: &Principal,
    asked: &Asked,
    wait: Duration,
) -> Result<Vec<Awaited>, Problem> {
    let answer = app.wire.queries.wait_all(principal, &asked.models, asked.at_least, wait).await;
    answer.map_err(error::of_query)
}

/// How models stand, as it is told.
pub(crate) fn document(app: &App, prefix: &str, all: &[Awaited]) -> Object {
    let reached = all.iter().all(|awaited| awaited.outcome == Some(WaitOutcome::Reached));
    let asked = all.iter().any(|awaited| awaited.outcome.is_some());
    Object::new()
        .with("caughtUpToRequestedPosition", asked.then_some(reached))
        .with("models", all.iter().map(|awaited| model(prefix, awaited)).collect::<Vec<_>>())
        .with_some("jobs", jobs::told(app))
}

fn model(prefix: &str, awaited: &Awaited) -> Object {
    let Awaited { schema, freshness, health, outcome } = awaited;
    let reason = outcome.as_ref().and_then(WaitOutcome::reason);
    Object::new()
        .with("model", schema.name)
        .with("address", format!("{prefix}/{}", schema.segment()))
        .with("contract", contract(&schema.contract))
        .with_some("outcome", outcome.as_ref().map(WaitOutcome::as_str))
        .with_some("reason", reason)
        .with("freshness", Node::written(freshness))
        .with("health", Node::of(health))
}

/// What a model promises, for programs.
fn contract(contract: &Contract) -> Object {
    match contract {
        Contract::Strong => Object::new().with("kind", "strong"),
        Contract::Eventual => Object::new().with("kind", "eventual"),
        Contract::Bounded { within, breach } => Object::new()
            .with("kind", "bounded")
            .with("withinSeconds", within.as_secs_f64())
            .with("breach", if *breach == Breach::Refuse { "refuse" } else { "flag" }),
    }
}
