//! What a service hands over to be put on the wire. Holds no handler.

use crate::OwnPage;
use diptych_command::Commands;
use diptych_core::Authenticate;
use diptych_query::{Queries, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A running service, ready to be reached.
#[derive(Clone)]
pub struct Wire {
    /// What the service calls itself.
    pub service: ServiceInfo,
    /// The left panel.
    pub commands: Arc<Commands>,
    /// The right panel.
    pub queries: Arc<Queries>,
    /// What is known of read models beside their rows: their builds, and what operators announced.
    pub registry: Arc<dyn Registry>,
    /// Says on whose behalf a request acts: the tenant is never a request's own claim.
    pub authenticate: Arc<dyn Authenticate>,
    /// Writes the metrics of the whole service as OpenMetrics text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Says whether the service can do its work.
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Who may read the metrics where callers have to prove who they are.
    pub metrics_access: MetricsAccess,
    /// The limits of a request.
    pub limits: HttpLimits,
    /// Collections by category, where `s` after the category is not the right plural.
    pub collections: BTreeMap<String, String>,
    /// Addresses worth trying first, shown on the front page.
    pub entries: Vec<String>,
    /// Pages of the service's own, HTML for people.
    pub own_pages: Vec<Arc<dyn OwnPage>>,
    /// Under which host names the service answers.
    pub hosts: Hosts,
    /// Which of its panels this process serves.
    pub panels: Panels,
    /// Turns true when the service is about to stop: event streams end then.
    pub stopping: watch::Receiver<bool>,
}

/// Which panels of a service a process serves. Addresses of the others answer that they are elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Panels {
    /// Commands and questions.
    #[default]
    Both,
    /// Commands, and aggregates as they are.
    Left,
    /// Questions to read models.
    Right,
    /// None: the process moves read models and says how it is.
    Neither,
}

impl Panels {
    /// Whether commands are taken here.
    #[must_use]
    pub fn takes_commands(self) -> bool {
        matches!(self, Self::Both | Self::Left)
    }

    /// Whether questions are answered here.
    #[must_use]
    pub fn answers_questions(self) -> bool {
        matches!(self, Self::Both | Self::Right)
    }
}

/// Who may read the metrics of a service whose callers have to prove who they are. They count the work of all
/// tenants, and name models, categories and partitions, never a tenant, a key or a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MetricsAccess {
    /// Whoever proves who it is.
    #[default]
    Proven,
    /// Everybody who can reach the service.
    Open,
}

/// What a service calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceInfo {
    /// Its name, such as `orders`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, one sentence.
    pub description: String,
}

/// Whether the service can do its work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readiness {
    /// Why it cannot; empty when it can.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Whether nothing stands in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Under which host names the service answers. A page in a browser can make the browser send requests to this
/// machine, under a name of the page's choice (DNS rebinding); the `Host` header tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hosts {
    /// `localhost` and loopback addresses only: for a service without authentication.
    #[default]
    Loopback,
    /// Any: for a router inside an application that checks by itself.
    Any,
}

/// The limits of a request, each with what happens beyond it. Limits of headers are hyper's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpLimits {
    /// The largest body, in bytes; a larger one is refused with DP0014.
    pub body_bytes_max: usize,
    /// The longest time for one request; beyond it DP0027, or DP0012 for a command whose outcome is unknown.
    pub request_duration_max: Duration,
    /// How many event streams may be open; one more is refused with DP0007.
    pub sse_streams_max: usize,
    /// The longest time for one event stream; its client connects again and goes on.
    pub sse_duration_max: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            request_duration_max: Duration::from_secs(35),
            sse_streams_max: 256,
            sse_duration_max: Duration::from_secs(600),
        }
    }
}
