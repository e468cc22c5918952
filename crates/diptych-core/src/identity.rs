//! Who acts, for whom, and by which command.

use crate::limits::KEY_BYTES_MAX;
use crate::text::{self, checked_text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

checked_text! {
    /// Whose data it is: part of the identity of every stream, command, row and token.
    Tenant, "tenant", |what, name| text::check(what, name, KEY_BYTES_MAX)
}

checked_text! {
    /// Who acts: a person or a machine, as the authentication names it.
    Actor, "actor", |what, name| text::check(what, name, KEY_BYTES_MAX)
}

checked_text! {
    /// The identity of a command and its idempotency key, end to end: any text of 1 to 200 bytes without NUL.
    CommandId, "command id", |what, id| text::check(what, id, KEY_BYTES_MAX)
}

checked_text! {
    /// What ties everything that one outside request set off.
    CorrelationId, "correlation id", |what, id| text::check(what, id, KEY_BYTES_MAX)
}

checked_text! {
    /// The event or command that directly caused a command.
    CausationId, "causation id", |what, id| text::check(what, id, KEY_BYTES_MAX)
}

/// On whose behalf something is asked: a tenant and an actor. No request exists without one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Principal {
    /// Whose data may be touched.
    pub tenant: Tenant,
    /// Who asks.
    pub actor: Actor,
    /// What else the authentication says of the actor.
    pub claims: Arc<Claims>,
}

/// What an authentication says of an actor beside the name: policies decide by it. The default is nobody in
/// particular.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claims {
    /// The teams that the actor works in.
    pub teams: BTreeSet<String>,
    /// What the actor is trusted with, such as `approver`.
    pub roles: BTreeSet<String>,
    /// How careful a thing the actor may look at: the rank of a level of sensitivity, 0 being the lowest.
    pub clearance: u32,
}

impl Claims {
    /// The claims as stores keep them, a JSON object; none where nothing is known.
    #[must_use]
    pub fn to_stored(&self) -> Option<String> {
        let stored = || serde_json::to_string(self).expect("lists of texts and a number always are JSON");
        (*self != Self::default()).then(stored)
    }
}

impl Principal {
    /// Names a principal of whom nothing else is known.
    ///
    /// # Errors
    /// Refuses an empty or overlong tenant or actor.
    pub fn new(tenant: impl AsRef<str>, actor: impl AsRef<str>) -> Result<Self, crate::TextError> {
        Ok(Self::named(Tenant::new(tenant)?, Actor::new(actor)?))
    }

    /// A principal of whom nothing but the name is known.
    #[must_use]
    pub fn named(tenant: Tenant, actor: Actor) -> Self {
        Self { tenant, actor, claims: Arc::default() }
    }

    /// The same principal, of whom this is known.
    #[must_use]
    pub fn with(mut self, claims: Claims) -> Self {
        self.claims = Arc::new(claims);
        self
    }

    /// Reads a principal as people write one: `main/ann;teams=north,south;roles=approver;clearance=2`. What
    /// is not said is nothing.
    ///
    /// ```
    /// use diptych_core::Principal;
    /// let ann = Principal::from_text("main/ann;teams=north,south;clearance=2").unwrap();
    /// assert_eq!(ann.tenant.as_str(), "main");
    /// assert!(ann.claims.teams.contains("south") && ann.claims.roles.is_empty());
    /// assert_eq!(ann.to_string(), "main/ann;teams=north,south;clearance=2");
    /// ```
    ///
    /// # Errors
    /// Names what is not of this form.
    pub fn from_text(text: &str) -> Result<Self, PrincipalError> {
        let mut parts = text.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        let (tenant, actor) = named.split_once('/').ok_or(PrincipalError::Form)?;
        let principal = Self::new(tenant.trim(), actor.trim())?;
        let mut claims = Claims::default();
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(PrincipalError::Form)?;
            let words = value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned);
            match name.trim() {
                "teams" => claims.teams.extend(words),
                "roles" => claims.roles.extend(words),
                "clearance" => {
                    claims.clearance = value.trim().parse().map_err(|_| PrincipalError::Clearance)?;
                }
                _ => return Err(PrincipalError::Form),
            }
        }
        Ok(principal.with(claims))
    }
}

/// As [`Principal::from_text`] reads it.
impl fmt::Display for Principal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claims { teams, roles, clearance } = &*self.claims;
        write!(out, "{}/{}", self.tenant, self.actor)?;
        for (name, words) in [("teams", teams), ("roles", roles)] {
            if !words.is_empty() {
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                write!(out, ";{name}={}", words.join(","))?;
            }
        }
        if *clearance > 0 { write!(out, ";clearance={clearance}") } else { Ok(()) }
    }
}

/// Why a text names no principal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrincipalError {
    /// It is of another form.
    #[error("a principal is written as `tenant/actor;teams=a,b;roles=c;clearance=2`")]
    Form,
    /// The clearance is no number.
    #[error("the clearance of a principal is a whole number from 0")]
    Clearance,
    /// The tenant or the actor cannot be one.
    #[error(transparent)]
    Text(#[from] crate::TextError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_stored_under_names_that_never_change() {
        let ann = Principal::from_text("main/ann;teams=b,a;roles=approver;clearance=2").unwrap();
        let stored = r#"{"teams":["a","b"],"roles":["approver"],"clearance":2}"#;
        assert_eq!(ann.claims.to_stored().as_deref(), Some(stored));
        assert_eq!(serde_json::from_str::<Claims>(stored).unwrap(), *ann.claims);
        assert_eq!(
            serde_json::from_str::<Claims>(r#"{"teams":[],"later":true}"#).unwrap(),
            Claims::default()
        );
        assert_eq!(Claims::default().to_stored(), None);
    }

    #[test]
    fn a_principal_of_another_form_is_refused() {
        for text in ["", "ann", "main", "main/ann;teams", "main/ann;team=a", "main/ann;clearance="] {
            assert!(Principal::from_text(text).is_err(), "{text}");
        }
        for text in ["/ann", "main/", "main/ann;clearance=-1", "main/ann;clearance=two"] {
            assert!(Principal::from_text(text).is_err(), "{text}");
        }
        let spaced = Principal::from_text(" main / ann ; teams = a , b ; ; clearance = 3 ").unwrap();
        assert_eq!(spaced.to_string(), "main/ann;teams=a,b;clearance=3");
    }
}
