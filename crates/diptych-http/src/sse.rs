//! Streams of server-sent events (HTML, section 9.2), whatever they tell: how one is opened, written to, kept
//! alive and ended. What is told, and when, is for whoever opens one.

use crate::app::{App, Framed};
use crate::error::RETRY_AFTER_DEFAULT;
use crate::json::typed;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_core::Code;
use http_body::Frame;
use std::convert::Infallible;
use std::fmt::Write;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How often a silent stream says that it is alive, so that nothing between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How soon a client that was cut off connects again.
const RECONNECT: &str = "retry: 1000\n\n";

/// A stream that is open, as whoever writes to it sees it.
pub(crate) struct Outlet {
    lines: mpsc::Sender<Bytes>,
    stopping: watch::Receiver<bool>,
    end: Instant,
    beat: Instant,
    _permit: OwnedSemaphorePermit,
}

/// The client has gone, the service stops, or the stream's time is over. The client connects again and goes
/// on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closed;

/// Why a rest is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// What was waited for has happened.
    Changed,
    /// Nothing has happened for a while, and the client should hear from the stream.
    Silence,
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

/// Whether a stream of events is asked for rather than one answer.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT);
    let mut types = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    types.any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/event-stream")
}

/// Opens a stream to the caller.
///
/// # Errors
/// As many are open as may be.
pub(crate) fn open(app: &App, framed: &Framed) -> Result<(Outlet, Response), Problem> {
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        let detail = "as many event streams are open as may be; ask for one answer instead";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, detail)
            .retry_after(RETRY_AFTER_DEFAULT)
    })?;
    let (lines, body) = mpsc::channel(4);
    // The channel is empty, so that there is room.
    let _ = lines.try_send(Bytes::from_static(RECONNECT.as_bytes()));
    let outlet = Outlet {
        lines,
        stopping: app.wire.stopping.clone(),
        end: framed.stream_end(app),
        beat: Instant::now() + HEARTBEAT,
        _permit: permit,
    };
    let mut response = typed(StatusCode::OK, "text/event-stream", Body::new(Lines(body)));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Accept"));
    // Proxies that know this header pass events on at once.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok((outlet, response))
}

impl Outlet {
    /// Sends an event. A line break within its data, which stored JSON may have, begins another line of data.
    pub(crate) async fn send(&mut self, id: Option<&str>, event: &str, data: &str) -> Result<(), Closed> {
        let mut text = String::with_capacity(data.len() + 64);
        if let Some(id) = id {
            // Writing to a text never fails.
            let _ = writeln!(text, "id: {id}");
        }
        let _ = writeln!(text, "event: {event}");
        for line in data.split(['\n', '\r']) {
            let _ = writeln!(text, "data: {line}");
        }
        text.push('\n');
        self.write(Bytes::from(text)).await
    }

    /// Says nothing but that the stream is alive.
    pub(crate) async fn beat(&mut self) -> Result<(), Closed> {
        self.write(Bytes::from_static(b": alive\n\n")).await
    }

    /// Waits for something to happen, or for having been silent for long.
    pub(crate) async fn rest(&mut self, woken: impl Future<Output = ()>) -> Result<Woken, Closed> {
        tokio::select! {
            () = woken => Ok(Woken::Changed),
            () = sleep_until(self.beat) => Ok(Woken::Silence),
            () = sleep_until(self.end) => Err(Closed),
            () = self.lines.closed() => Err(Closed),
            () = stopped(&mut self.stopping) => Err(Closed),
        }
    }

    /// Waits so long before looking again, so that a busy model is not asked for every stream all the time.
    pub(crate) async fn pause(&mut self, pause: Duration) -> Result<(), Closed> {
        self.rest(tokio::time::sleep(pause)).await.map(|_| ())
    }

    async fn write(&mut self, text: Bytes) -> Result<(), Closed> {
        self.beat = Instant::now() + HEARTBEAT;
        tokio::select! {
            sent = self.lines.send(text) => sent.map_err(|_| Closed),
            // A client that takes nothing holds up nobody.
            () = sleep_until(self.end) => Err(Closed),
            () = stopped(&mut self.stopping) => Err(Closed),
        }
    }
}

/// Returns when the service is about to stop.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        // Nobody is left who could say so.
        pending::<()>().await;
    }
}
