//! The seam for identity: who is it that asks. No token format here.

use crate::{Code, Principal, Timestamp};
use std::fmt;

/// What a request brings to say who sends it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Credentials<'a> {
    /// The token of `Authorization: Bearer` (RFC 6750), where there is one.
    pub bearer: Option<&'a str>,
    /// Who the caller says it is, unproven, as [`Principal::from_text`] reads it. Only [`Anybody`] listens.
    pub claimed: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    /// A token is never written anywhere.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bearer = if self.bearer.is_some() { "given" } else { "none" };
        write!(out, "Credentials(bearer: {bearer}, claimed: {:?})", self.claimed)
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
    /// Why, in words that may be shown to the caller: never any part of a token.
    pub reason: String,
    /// What the caller did.
    pub flaw: Flaw,
}

/// How far a request came in saying who sends it (RFC 6750, section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It brings nothing.
    Missing,
    /// It brings something that is not accepted.
    Refused,
}

impl Unauthenticated {
    /// A request that brings nothing.
    #[must_use]
    pub fn missing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), flaw: Flaw::Missing }
    }

    /// A request that brings something that is not accepted.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), flaw: Flaw::Refused }
    }
}

impl fmt::Display for Unauthenticated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.reason, Code::Unauthenticated)
    }
}

impl std::error::Error for Unauthenticated {}

/// Tells who sends a request. Asked for every request before anything else.
pub trait Authenticate: Send + Sync + 'static {
    /// Tells who it is, at the present time.
    ///
    /// # Errors
    /// [`Unauthenticated`] with a reason that may be shown.
    fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: Timestamp,
    ) -> Result<Authenticated, Unauthenticated>;

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
    fn authenticate(
        &self,
        credentials: Credentials<'_>,
        _: Timestamp,
    ) -> Result<Authenticated, Unauthenticated> {
        if credentials.claimed.is_some() {
            // Whoever tries policies as somebody else must not believe the answer to be that one's.
            return Err(Unauthenticated::refused("the service takes everybody for the same principal"));
        }
        Ok(Authenticated { principal: self.0.clone(), until: None })
    }

    fn is_proof(&self) -> bool {
        false
    }
}

/// Takes every caller for whom it says it is, and one that says nothing for a principal of its own: for
/// trying policies in development, on a service that only its own machine can reach.
#[derive(Clone, Debug)]
pub struct Anybody(pub Principal);

impl Authenticate for Anybody {
    fn authenticate(
        &self,
        credentials: Credentials<'_>,
        _: Timestamp,
    ) -> Result<Authenticated, Unauthenticated> {
        let principal = match credentials.claimed {
            None => self.0.clone(),
            Some(text) => {
                Principal::from_text(text).map_err(|error| Unauthenticated::refused(error.to_string()))?
            }
        };
        Ok(Authenticated { principal, until: None })
    }

    fn is_proof(&self) -> bool {
        false
    }
}
