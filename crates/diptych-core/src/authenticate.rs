//! The seam for identity: who is it that asks. No token format here.

use crate::{Code, Principal, Timestamp};
use std::fmt;

/// What a request brings to say who sends it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Credentials<'a> {
    /// The token of `Authorization: Bearer` (RFC 6750), where there is one.
    pub bearer: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    /// A token is never written anywhere.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials(bearer: {})", if self.bearer.is_some() { "given" } else { "none" })
    }
}

/// Who sends a request, as far as an authentication is sure of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authenticated {
    /// On whose behalf it acts.
    pub principal: Principal,
    /// Until when that holds; a stream of events ends then. None where it holds until further notice.
    pub until: Option<Timestamp>,
}

/// Nobody can be told from what a request brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unauthenticated {
    /// Why, in words that may be shown to the caller.
    pub reason: String,
}

impl fmt::Display for Unauthenticated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.reason, Code::Unauthenticated)
    }
}

impl std::error::Error for Unauthenticated {}

/// Tells who sends a request. Asked for every request before anything else.
pub trait Authenticate: Send + Sync + 'static {
    /// Tells who it is.
    ///
    /// # Errors
    /// [`Unauthenticated`] with a reason that may be shown.
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Authenticated, Unauthenticated>;

    /// Whether a caller has to prove who it is. A service whose callers need not is reachable from its own
    /// machine only.
    fn is_proof(&self) -> bool {
        true
    }
}

/// Takes every caller for the same principal: for development, on a service that only its own machine can
/// reach.
#[derive(Clone, Debug)]
pub struct Everybody(pub Principal);

impl Authenticate for Everybody {
    fn authenticate(&self, _: Credentials<'_>) -> Result<Authenticated, Unauthenticated> {
        Ok(Authenticated { principal: self.0.clone(), until: None })
    }

    fn is_proof(&self) -> bool {
        false
    }
}
