//! What operators have announced of read models, and where each stands: looked up at most once a second, and
//! told with every answer as `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and a link to what comes after.

use crate::app::{App, framed};
use crate::error::gone;
use crate::headers;
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use diptych_core::{Code, Fault, Timestamp};
use diptych_query::{Build, Notice, Registry, Stage, own_build};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old what is told may be.
const LOOK: Duration = Duration::from_secs(1);

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// What was announced, as of a moment.
#[derive(Clone, Default)]
pub(crate) struct Announcements {
    notices: BTreeMap<String, Notice>,
    builds: BTreeMap<&'static str, (u32, Vec<Build>)>,
}

/// What was announced, kept for a while.
#[derive(Default)]
pub(crate) struct Announced {
    held: RwLock<Option<(Instant, Arc<Announcements>)>>,
    looking: Mutex<()>,
}

impl Announcements {
    /// What was announced of a group.
    pub(crate) fn of(&self, group: &str) -> Option<&Notice> {
        self.notices.get(group)
    }

    /// Where a group's own build stands; none where it is not known.
    pub(crate) fn stage(&self, group: &str) -> Option<Stage> {
        let (revision, builds) = self.builds.get(group)?;
        match own_build(builds, *revision) {
            Some(build) => Some(build.stage),
            None => builds.iter().any(|build| build.id.revision == *revision).then_some(Stage::Retired),
        }
    }

    /// What was announced of a read model that is gone and was asked under an address, also where no code
    /// declares it any more.
    pub(crate) fn retired(&self, path: &str) -> Option<&Notice> {
        let segment = path.trim_start_matches('/').split('/').next()?;
        let mut notices = self.notices.values();
        notices.find(|notice| notice.retired_at.is_some() && notice.segments.iter().any(|it| it == segment))
    }
}

impl Announced {
    /// What is announced now. Where that cannot be told, what was told last: an answer is not refused because
    /// its announcement is not at hand.
    pub(crate) async fn now(&self, app: &App) -> Arc<Announcements> {
        let held = self.held();
        if let Some((since, known)) = &held
            && since.elapsed() < LOOK
        {
            return Arc::clone(known);
        }
        let known = held.map(|(_, known)| known);
        // One looks; the others tell what they have, or wait where there is nothing to tell.
        let _looking = match (self.looking.try_lock(), known.clone()) {
            (Ok(looking), _) => looking,
            (Err(_), Some(known)) => return known,
            (Err(_), None) => self.looking.lock().await,
        };
        if let Some((since, known)) = self.held()
            && since.elapsed() < LOOK
        {
            return known;
        }
        let found = look(app).await.map(Arc::new).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "what is announced of read models is not known");
            known.unwrap_or_default()
        });
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some((Instant::now(), Arc::clone(&found)));
        found
    }

    fn held(&self) -> Option<(Instant, Arc<Announcements>)> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn look(app: &App) -> Result<Announcements, Fault> {
    let registry: &dyn Registry = &*app.wire.registry;
    let notices = Notice::all(registry).await?.into_iter().collect();
    let mut builds = BTreeMap::new();
    for (_, group) in app.wire.queries.models() {
        if !builds.contains_key(group.name()) {
            builds.insert(group.name(), (group.revision(), registry.builds(group.name()).await?));
        }
    }
    Ok(Announcements { notices, builds })
}

/// An answer of a read model with what is announced of its group; of one that is gone, what replaces it.
pub(crate) async fn told(
    app: &App,
    group: &str,
    prefix: &str,
    answer: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let known = app.announced.now(app).await;
    let notice = known.of(group);
    if known.stage(group) == Some(Stage::Retired) {
        return retired(&notice.cloned().unwrap_or_default(), prefix);
    }
    let mut response = answer.await.into_response();
    if let Some(notice) = notice {
        announce(response.headers_mut(), notice, prefix);
    }
    response
}

/// The answer at an address where nothing lives: perhaps something did.
pub(crate) async fn unknown(State(app): State<Arc<App>>, request: Request) -> Response {
    let prefix = framed(&request).prefix;
    let known = app.announced.now(&app).await;
    if let Some(notice) = known.retired(request.uri().path()) {
        return retired(notice, &prefix);
    }
    let detail = "nothing lives at this address; `/` lists what does";
    Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail).into_response()
}

fn retired(notice: &Notice, prefix: &str) -> Response {
    let successor = notice.successor.as_deref().map(|successor| address(successor, prefix));
    let mut response = gone(successor.as_deref(), notice.retired_at).into_response();
    announce(response.headers_mut(), notice, prefix);
    response
}

fn announce(headers: &mut HeaderMap, notice: &Notice, prefix: &str) {
    let Notice { deprecated_at, sunset, successor, .. } = notice;
    if deprecated_at.is_none() && notice.retired_at.is_none() {
        return;
    }
    let texts = [
        (DEPRECATION, deprecated_at.map(|since| format!("@{}", seconds(since)))),
        (SUNSET, sunset.map(http_date)),
        (
            header::LINK,
            successor.as_deref().map(|it| format!("<{}>; rel=\"successor-version\"", address(it, prefix))),
        ),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| headers::value(&text)) {
            headers.append(name, value);
        }
    }
}

/// Where a successor answers: a read model of this service, or an address as it stands.
fn address(successor: &str, prefix: &str) -> String {
    if successor.contains("://") || successor.starts_with('/') {
        successor.to_owned()
    } else {
        format!("{prefix}/{successor}")
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}

/// A time as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn http_date(time: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = seconds(time);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let date = time.date();
    let mut parts = date.rsplitn(3, '-');
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    // The first of January 1970 was a Thursday.
    let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
    format!(
        "{}, {} {} {} {:02}:{:02}:{:02} GMT",
        DAYS[weekday],
        day.unwrap_or_default(),
        MONTHS[(month - 1) % 12],
        year.unwrap_or_default(),
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        for (time, expected) in [
            ("1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2027-02-28T23:59:59.9Z", "Sun, 28 Feb 2027 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(time.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_successor_is_a_model_of_this_service_or_an_address() {
        for (successor, expected) in [
            ("order-lines", "/api/order-lines"),
            ("/v2/orders", "/v2/orders"),
            ("https://orders.example/lines", "https://orders.example/lines"),
        ] {
            assert_eq!(address(successor, "/api"), expected);
        }
    }
}
