//! Who sends a request, and what is answered to those of whom it is not known. Knows no token format, and
//! never writes a token anywhere.

use crate::app::App;
use crate::error;
use crate::headers::DEVELOPMENT_PRINCIPAL;
use crate::problem::Problem;
use crate::wire::MetricsAccess;
use axum::http::{HeaderMap, HeaderName, header};
use diptych_core::{Authenticated, Credentials, Unauthenticated};

/// The addresses that say nothing of anybody's data: what the service is, its interface, its problems, and
/// whether it is well. They are answered to whoever can reach the service.
const OPEN: [&str; 6] =
    ["/openapi.json", "/docs", "/docs/docs.js", "/docs/docs.css", "/health/live", "/health/ready"];

/// Below this everything is open: the pages on what goes wrong.
const OPEN_BELOW: &str = "/problems/";

/// What proxies add. A request that came through one has not been sent on this machine.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Tells who sends a request.
pub(crate) fn tell(app: &App, headers: &HeaderMap) -> Result<Authenticated, Unauthenticated> {
    let authenticate = &app.wire.authenticate;
    let credentials = credentials(headers, authenticate.is_proof())?;
    authenticate.authenticate(credentials, app.wire.commands.now())
}

/// Refuses callers of whom it is not known who they are, before anything is looked up: not even which
/// addresses exist is told to them.
pub(crate) fn admit(
    app: &App,
    path: &str,
    caller: &Result<Authenticated, Unauthenticated>,
) -> Result<(), Problem> {
    match caller {
        Err(unauthenticated) if !is_open(app, path) => Err(error::unauthenticated(unauthenticated)),
        _ => Ok(()),
    }
}

/// Whether an address is answered to callers of whom nothing is known.
pub(crate) fn is_open(app: &App, path: &str) -> bool {
    OPEN.contains(&path)
        || path.starts_with(OPEN_BELOW)
        || (path == "/metrics" && app.wire.metrics_access == MetricsAccess::Open)
}

/// What a request brings to say who sends it (RFC 6750, section 2.1). A token in the address or in a form is
/// never taken: it would end in logs.
fn credentials(headers: &HeaderMap, is_proof: bool) -> Result<Credentials<'_>, Unauthenticated> {
    let given = single(headers, header::AUTHORIZATION)?;
    let bearer = match given.map(|given| given.split_once(' ').unwrap_or((given, ""))) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        Some(_) if is_proof => {
            return Err(Unauthenticated::missing("`Authorization` is not of the scheme `Bearer`"));
        }
        _ => None,
    };
    let claimed = single(headers, DEVELOPMENT_PRINCIPAL)?;
    if claimed.is_some() {
        let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        if is_proof || forwarded {
            let why = if is_proof { "callers have to prove who they are here" } else { "a proxy sent it on" };
            return Err(Unauthenticated::refused(format!(
                "`{DEVELOPMENT_PRINCIPAL}` is for development on one machine, and {why}"
            )));
        }
    }
    Ok(Credentials { bearer, claimed })
}

/// A header that says one thing or nothing.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Unauthenticated> {
    let mut values = headers.get_all(&name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Unauthenticated::refused(format!("`{name}` is given more than once")));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| Unauthenticated::refused(format!("`{name}` holds what is not ASCII")))
}
