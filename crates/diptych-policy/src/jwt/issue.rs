//! Making a token, for development and for machines that share the secret. Public keys make none.

use super::Jwt;
use super::algorithm::hash;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diptych_core::{Code, Fault, Principal, Timestamp};
use jsonwebtoken::Algorithm;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The length of a new secret before it is written as text, in bytes: enough for every hash.
const SECRET_BYTES: usize = 64;

/// The longest life of a token that is made here.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

impl Jwt {
    /// Makes a token that this authentication accepts, signed with the first secret of its file.
    ///
    /// # Errors
    /// [`Code::AuthenticationInvalid`]: the keys are public ones, which cannot sign; a claim is configured to
    /// be nested; or the life is longer than 30 days.
    pub fn issue(&self, principal: &Principal, now: Timestamp, life: Duration) -> Result<String, Fault> {
        let invalid = |why: &str| Fault::permanent(Code::AuthenticationInvalid, why);
        if life > TOKEN_LIFE_MAX {
            return Err(invalid("a token made here lives 30 days at most"));
        }
        let keys = self.keys.current(now);
        let secret = keys.iter().find_map(|key| key.secret());
        let secret = secret.ok_or_else(|| invalid("only a file of secrets can sign tokens"))?;
        let names = &self.names;
        let mut claims = Map::new();
        for (name, value) in [
            (&names.tenant, json!(principal.tenant)),
            (&names.actor, json!(principal.actor)),
            (&names.teams, json!(principal.claims.teams)),
            (&names.roles, json!(principal.claims.roles)),
            (&names.clearance, json!(principal.claims.clearance)),
        ] {
            if name.starts_with('/') {
                return Err(invalid("tokens with nested claims are made by an identity provider only"));
            }
            claims.insert(name.clone(), value);
        }
        for (name, party) in [("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(party) = party {
                claims.insert(name.to_owned(), json!(party));
            }
        }
        claims.insert("iat".to_owned(), seconds(now));
        claims.insert("exp".to_owned(), seconds(now.plus(life)));
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed =
            format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(Value::Object(claims)));
        let way = hash(Algorithm::HS256).expect("HS256 is an algorithm by secret");
        let signature = hmac::sign(&hmac::Key::new(way, secret), signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn seconds(time: Timestamp) -> Value {
    json!(time.as_micros().div_euclid(1_000_000))
}

/// Writes a new secret to a new file that only its owner can read.
///
/// # Errors
/// [`Code::AuthenticationInvalid`]: the file exists already, or cannot be written.
pub fn write_secret(file: &Path) -> Result<(), Fault> {
    let cannot = |error: std::io::Error| {
        let message = format!("`{}` cannot be written", file.display());
        Fault::permanent(Code::AuthenticationInvalid, message).because(error)
    };
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| Fault::permanent(Code::AuthenticationInvalid, "the system has no random numbers"))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut opened = options.open(file).map_err(cannot)?;
    writeln!(opened, "{}", URL_SAFE_NO_PAD.encode(secret)).map_err(cannot)
}
