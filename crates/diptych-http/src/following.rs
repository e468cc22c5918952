//! `GET /commands/{id}/events`: a stream of server-sent events (HTML, section 9.2), one for each change of
//! a command's state, which ends with the final one. Which change the client has seen last comes in
//! `Last-Event-ID`.

use crate::app::{App, framed};
use crate::commands::{Told, id_of, tell};
use crate::error::RETRY_AFTER_DEFAULT;
use crate::headers;
use crate::json::typed;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_command::CommandRef;
use diptych_core::{Code, CommandId, Principal};
use http_body::Frame;
use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a stream looks for what another process has done.
const LOOK: Duration = Duration::from_secs(1);

/// How often a silent stream says that it is alive, so that nothing between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How soon a client that was cut off connects again.
const RECONNECT: &str = "retry: 1000\n\n";

/// A stream under way.
struct Stream {
    app: Arc<App>,
    prefix: String,
    principal: Principal,
    id: CommandId,
    lines: mpsc::Sender<Bytes>,
    /// The change that the client has seen last.
    seen: Option<String>,
    /// When it ends, whatever has happened until then.
    end: Instant,
    _permit: OwnedSemaphorePermit,
}

/// The body of an answer whose text comes bit by bit.
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let framed = framed(&request);
    let (principal, end) = (framed.principal()?, framed.stream_end(&app));
    let prefix = framed.prefix;
    let id = id_of(path)?;
    let seen = headers::last_event_id(request.headers());
    let told = tell(&app, &principal, &prefix, &id).await?;
    if told.is_final && seen.as_ref() == Some(&told.change) {
        // A client that has seen the end is told not to come again.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        let detail = "as many event streams are open as may be; ask for the status instead";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, detail)
            .retry_after(RETRY_AFTER_DEFAULT)
    })?;
    let (lines, body) = mpsc::channel(4);
    let stream = Stream { app, prefix, principal, id, lines, seen, end, _permit: permit };
    tokio::spawn(stream.run());
    let mut response = typed(StatusCode::OK, "text/event-stream", Body::new(Lines(body)));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that know this header pass events on at once.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Stream {
    /// Tells changes until the final one, the end of its time, the end of the service, or of the client.
    async fn run(mut self) {
        let command = CommandRef { tenant: self.principal.tenant.clone(), id: self.id.clone() };
        let mut changes = self.app.wire.commands.queue_changes();
        let mut stopping = self.app.wire.stopping.clone();
        let mut heartbeat = Instant::now() + HEARTBEAT;
        if self.lines.send(Bytes::from_static(RECONNECT.as_bytes())).await.is_err() {
            return;
        }
        loop {
            match tell(&self.app, &self.principal, &self.prefix, &self.id).await {
                Ok(told) => {
                    if self.seen.as_ref() != Some(&told.change) {
                        if self.lines.send(event(&told)).await.is_err() {
                            return;
                        }
                        heartbeat = Instant::now() + HEARTBEAT;
                        self.seen = Some(told.change);
                    }
                    if told.is_final {
                        return;
                    }
                }
                // The client comes again, and hears then what is wrong.
                Err(_) => return,
            }
            let changed = async {
                match &mut changes {
                    Some(changes) => changes.of(&command).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = sleep(LOOK) => {}
                () = sleep_until(heartbeat) => {
                    if self.lines.send(Bytes::from_static(b": alive\n\n")).await.is_err() {
                        return;
                    }
                    heartbeat = Instant::now() + HEARTBEAT;
                }
                () = sleep_until(self.end) => return,
                () = self.lines.closed() => return,
                () = stopped(&mut stopping) => return,
            }
        }
    }
}

async fn stopped(stopping: &mut tokio::sync::watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        // Nobody is left who could say so.
        pending::<()>().await;
    }
}

/// One event. The document is one line of JSON, so that it is one line of data.
fn event(told: &Told) -> Bytes {
    let Told { document, status, change, .. } = told;
    Bytes::from(format!("id: {change}\nevent: {status}\ndata: {}\n\n", document.to_text()))
}
