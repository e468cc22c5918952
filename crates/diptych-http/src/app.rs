//! What every handler shares: the service and its names.

use crate::announced::Announced;
use crate::error;
use crate::names::Names;
use crate::problem::Problem;
use crate::wire::Wire;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use diptych_core::{Authenticated, Principal, Unauthenticated};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A service on the wire.
pub(crate) struct App {
    pub(crate) wire: Wire,
    pub(crate) names: Names,
    pub(crate) announced: Announced,
    /// One permit for each event stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(wire: Wire, names: Names) -> Self {
        let streams = Arc::new(Semaphore::new(wire.limits.sse_streams_max));
        Self { wire, names, announced: Announced::default(), streams }
    }
}

/// What the frame knows about a request. Set on every request.
#[derive(Clone, Debug)]
pub(crate) struct Framed {
    /// Where the router was nested, such as `/api`; empty at the root.
    pub(crate) prefix: String,
    /// When the request must be answered.
    pub(crate) deadline: Instant,
    /// Who sends it, or why that is not known.
    pub(crate) caller: Result<Authenticated, Unauthenticated>,
}

impl Framed {
    /// On whose behalf the request acts.
    pub(crate) fn principal(&self) -> Result<Principal, Problem> {
        match &self.caller {
            Ok(authenticated) => Ok(authenticated.principal.clone()),
            Err(unauthenticated) => Err(error::unauthenticated(unauthenticated)),
        }
    }

    /// When a stream of events to the caller ends: its client connects again, and proves again who it is.
    pub(crate) fn stream_end(&self, app: &App) -> Instant {
        let most = app.wire.limits.sse_duration_max;
        let until = self.caller.as_ref().ok().and_then(|authenticated| authenticated.until);
        let left = until.map(|until| until.seconds_since(app.wire.commands.now()));
        let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok()).unwrap_or(most);
        Instant::now() + left.min(most)
    }
}

/// What the frame noted about a request.
pub(crate) fn framed(request: &Request) -> Framed {
    let framed = request.extensions().get().cloned();
    framed.expect("the frame stands around every handler and notes what it knows")
}

/// On whose behalf a request acts.
pub(crate) fn principal(request: &Request) -> Result<Principal, Problem> {
    framed(request).principal()
}

/// Marks an answer as the caller's own, to be asked for again before every use.
pub(crate) fn private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}
