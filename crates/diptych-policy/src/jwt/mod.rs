//! Tokens that say who asks: JSON Web Tokens (RFC 7519) whose signatures are checked with keys from a file.
//! Calls no identity provider, and decides nothing about permission.

mod algorithm;
mod claims;
mod issue;
mod key_file;
mod keys;
mod token;

#[cfg(test)]
mod tests;

pub use claims::ClaimNames;
pub use issue::{TOKEN_LIFE_MAX, write_secret};
pub use token::TOKEN_BYTES_MAX;

use diptych_core::{Authenticate, Authenticated, Credentials, Fault, Timestamp, Unauthenticated};
use key_file::KeyFile;
use keys::{Format, Key};
use serde_json::{Map, Value};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use token::Token;

/// How far the clocks of the identity provider and of the service may be apart, unless told otherwise.
const LEEWAY_DEFAULT: Duration = Duration::from_secs(60);

/// The largest leeway: a token is not to outlive its end by much.
const LEEWAY_MAX: Duration = Duration::from_secs(300);

/// Knows callers by the JSON Web Tokens that they bring.
///
/// A token has to be signed with a key of the file by an algorithm that fits the key (never `none`), has to
/// say when it ends (`exp`), and has to name an actor and a tenant. Issuer and audience are checked where
/// they are set; a token that names an audience is refused where none is set, because it is meant for
/// somebody else (RFC 7519, section 4.1.3).
///
/// ```no_run
/// use diptych_policy::Jwt;
/// # fn main() -> Result<(), diptych_core::Fault> {
/// let jwt = Jwt::jwks("keys.json")?
///     .issuer("https://login.example.org/")
///     .audience("orders")
///     .levels(["PUBLIC", "INTERNAL", "CONFIDENTIAL"]);
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
pub struct Jwt {
    keys: KeyFile,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    names: ClaimNames,
    levels: Vec<String>,
}

impl Jwt {
    /// Checks signatures with a set of public keys (RFC 7517). The file is read again when it changes.
    ///
    /// # Errors
    /// [`Code::AuthenticationInvalid`](diptych_core::Code::AuthenticationInvalid): a file that cannot be
    /// read, or holds no key that signatures can be checked with.
    pub fn jwks(file: impl AsRef<Path>) -> Result<Self, Fault> {
        Self::open(file.as_ref(), Format::Jwks)
    }

    /// Checks signatures with the public keys of a PEM file. The file is read again when it changes.
    ///
    /// # Errors
    /// As [`Jwt::jwks`]; a private key is refused, because nothing here needs one.
    pub fn public_key(file: impl AsRef<Path>) -> Result<Self, Fault> {
        Self::open(file.as_ref(), Format::Pem)
    }

    /// Checks signatures with shared secrets, one in each line of a file. Whoever knows one can be anybody,
    /// so prefer public keys. The file is read again when it changes.
    ///
    /// # Errors
    /// As [`Jwt::jwks`]; a secret that is too short is refused.
    pub fn secret(file: impl AsRef<Path>) -> Result<Self, Fault> {
        Self::open(file.as_ref(), Format::Secret)
    }

    fn open(file: &Path, format: Format) -> Result<Self, Fault> {
        Ok(Self {
            keys: KeyFile::open(file, format)?,
            issuer: None,
            audience: None,
            leeway: LEEWAY_DEFAULT,
            names: ClaimNames::default(),
            levels: Vec::new(),
        })
    }

    /// Takes only tokens of this issuer (`iss`).
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Takes only tokens that are meant for this audience (`aud`).
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How far the clocks may be apart; one minute where this is not called, five at most.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(LEEWAY_MAX);
        self
    }

    /// Under which names a token says what.
    #[must_use]
    pub fn claim_names(mut self, names: ClaimNames) -> Self {
        self.names = names;
        self
    }

    /// The levels of clearance that a token may name, from the lowest on: the first has rank 0. Without them
    /// a clearance is a number.
    #[must_use]
    pub fn levels(mut self, levels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.levels = levels.into_iter().map(Into::into).collect();
        self
    }

    /// The keys that may have signed a token. One that is not known here is looked for in the file.
    fn candidates(&self, token: &Token<'_>, now: Timestamp) -> Result<Vec<Arc<Key>>, Unauthenticated> {
        let fitting = |keys: &[Arc<Key>]| -> Vec<_> {
            keys.iter().filter(|key| key.fits(token.header())).map(Arc::clone).collect()
        };
        let found = fitting(&self.keys.current(now));
        if !found.is_empty() {
            return Ok(found);
        }
        let found = fitting(&self.keys.look_again(now));
        if found.is_empty() {
            return Err(Unauthenticated::refused(
                "the token is signed with a key, or by an algorithm, that is not accepted here",
            ));
        }
        Ok(found)
    }

    fn check_times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Unauthenticated> {
        let ends = claims::time(claims, "exp")?;
        let ends =
            ends.ok_or_else(|| Unauthenticated::refused("the token does not say when it ends (`exp`)"))?;
        if now >= ends.plus(self.leeway) {
            return Err(Unauthenticated::refused(format!("the token ran out at {ends}")));
        }
        match claims::time(claims, "nbf")? {
            Some(begins) if begins > now.plus(self.leeway) => {
                Err(Unauthenticated::refused(format!("the token holds from {begins} on only")))
            }
            _ => Ok(ends.plus(self.leeway)),
        }
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Unauthenticated> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Unauthenticated::refused(format!("the token is not of the issuer `{issuer}`")));
        }
        let audiences = claims::texts(claims.get("aud"), "aud")?;
        match &self.audience {
            Some(audience) if !audiences.contains(audience) => {
                Err(Unauthenticated::refused(format!("the token is not for the audience `{audience}`")))
            }
            None if !audiences.is_empty() => Err(Unauthenticated::refused(
                "the token is for an audience (`aud`), and this service is not told to be one",
            )),
            _ => Ok(()),
        }
    }
}

impl Authenticate for Jwt {
    fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: Timestamp,
    ) -> Result<Authenticated, Unauthenticated> {
        let text = credentials.bearer.ok_or_else(|| {
            Unauthenticated::missing("the request brings no token (`Authorization: Bearer ...`)")
        })?;
        let token = Token::parse(text)?;
        let candidates = self.candidates(&token, now)?;
        if !candidates.iter().any(|key| token.is_signed_with(key)) {
            return Err(Unauthenticated::refused("the signature of the token is not right"));
        }
        // Nothing of what the token says is looked at before its signature is known to be right.
        let claims = token.claims()?;
        let until = self.check_times(&claims, now)?;
        self.check_parties(&claims)?;
        let principal = self.names.principal(&claims, &self.levels)?;
        Ok(Authenticated { principal, until: Some(until) })
    }
}

/// Without any key.
impl fmt::Debug for Jwt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, issuer, audience, leeway, names, levels } = self;
        out.debug_struct("Jwt")
            .field("keys", keys)
            .field("issuer", issuer)
            .field("audience", audience)
            .field("leeway", leeway)
            .field("names", names)
            .field("levels", levels)
            .finish()
    }
}
