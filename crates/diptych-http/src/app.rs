//! What every handler shares: the service and its names.

use crate::names::Names;
use crate::wire::Wire;
use axum::http::{HeaderMap, HeaderValue, header};

/// A service on the wire.
pub(crate) struct App {
    pub(crate) wire: Wire,
    pub(crate) names: Names,
    pub(crate) openapi: String,
}

/// Where the router was nested, such as `/api`; empty at the root. Set on every request by the frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefix(pub(crate) String);

/// When a request must be answered. Set on every request by the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) tokio::time::Instant);

/// Marks an answer as the caller's own, to be asked for again before every use.
pub(crate) fn private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}
