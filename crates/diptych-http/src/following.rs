//! `GET /commands/{id}/events`: a stream of server-sent events (HTML, section 9.2), one for each change of
//! a command's state, which ends with the final one. Which change the client has seen last comes in
//! `Last-Event-ID`.

use crate::app::{App, framed};
use crate::commands::{Told, id_of, tell};
use crate::headers;
use crate::problem::Problem;
use crate::sse::{self, Closed, Outlet, Woken};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_command::CommandRef;
use diptych_core::{CommandId, Principal};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often a stream looks for what another process has done.
const LOOK: Duration = Duration::from_secs(1);

/// A stream under way.
struct Stream {
    app: Arc<App>,
    prefix: String,
    principal: Principal,
    id: CommandId,
    outlet: Outlet,
    /// The change that the client has seen last.
    seen: Option<String>,
}

pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let framed = framed(&request);
    let principal = framed.principal()?;
    let id = id_of(path)?;
    let seen = headers::last_event_id(request.headers());
    let told = tell(&app, &principal, &framed.prefix, &id).await?;
    if told.is_final && seen.as_ref() == Some(&told.change) {
        // A client that has seen the end is told not to come again.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let (outlet, response) = sse::open(&app, &framed)?;
    tokio::spawn(Stream { app, prefix: framed.prefix, principal, id, outlet, seen }.run());
    Ok(response)
}

impl Stream {
    /// Tells changes until the final one, the end of its time, the end of the service, or of the client.
    async fn run(mut self) -> Result<(), Closed> {
        let command = CommandRef { tenant: self.principal.tenant.clone(), id: self.id.clone() };
        let mut changes = self.app.wire.commands.queue_changes();
        loop {
            let told = tell(&self.app, &self.principal, &self.prefix, &self.id).await;
            // The client comes again, and hears then what is wrong.
            let Told { document, status, change, is_final } = told.map_err(|_| Closed)?;
            if self.seen.as_ref() != Some(&change) {
                self.outlet.send(Some(&change), status, &document.to_text()).await?;
                self.seen = Some(change);
            }
            if is_final {
                return Ok(());
            }
            let changed = async {
                let changed = async {
                    match &mut changes {
                        Some(changes) => changes.of(&command).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    () = changed => {}
                    () = sleep(LOOK) => {}
                }
            };
            if self.outlet.rest(changed).await? == Woken::Silence {
                self.outlet.beat().await?;
            }
        }
    }
}
