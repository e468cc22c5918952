//! What a token says, made a principal. Judges nothing but the form.

use diptych_core::{Claims, Principal, Timestamp, Unauthenticated};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most teams, or roles, of one token.
const CLAIM_VALUES_MAX: usize = 256;

/// The longest name of a team or a role, in bytes.
const CLAIM_BYTES_MAX: usize = 200;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// Under which names a token says what. A name that begins with `/` is a path into nested objects (a JSON
/// pointer, RFC 6901), such as `/realm_access/roles`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimNames {
    /// Who acts; `sub`.
    pub actor: String,
    /// Whose data may be touched; `tenant`.
    pub tenant: String,
    /// The actor's teams, a text or a list of texts; `teams`.
    pub teams: String,
    /// The actor's roles, a text or a list of texts; `roles`.
    pub roles: String,
    /// How careful a thing the actor may look at, a number or the name of a level; `clearance`.
    pub clearance: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            actor: "sub".to_owned(),
            tenant: "tenant".to_owned(),
            teams: "teams".to_owned(),
            roles: "roles".to_owned(),
            clearance: "clearance".to_owned(),
        }
    }
}

impl ClaimNames {
    /// Reads who the bearer of a token is.
    pub(super) fn principal(
        &self,
        claims: &Map<String, Value>,
        levels: &[String],
    ) -> Result<Principal, Unauthenticated> {
        let name = |name: &str| {
            let text = find(claims, name).and_then(Value::as_str);
            text.ok_or_else(|| Unauthenticated::refused(format!("the token has no text `{name}`")))
        };
        let principal = Principal::new(name(&self.tenant)?, name(&self.actor)?)
            .map_err(|error| Unauthenticated::refused(format!("the token names nobody: {error}")))?;
        Ok(principal.with(Claims {
            teams: texts(find(claims, &self.teams), &self.teams)?,
            roles: texts(find(claims, &self.roles), &self.roles)?,
            clearance: self.clearance(claims, levels)?,
        }))
    }

    /// The rank of the clearance; a token that says none has the lowest.
    fn clearance(&self, claims: &Map<String, Value>, levels: &[String]) -> Result<u32, Unauthenticated> {
        let rank = match find(claims, &self.clearance) {
            None | Some(Value::Null) => Some(0),
            Some(Value::Number(number)) => number.as_u64().and_then(|rank| u32::try_from(rank).ok()),
            Some(Value::String(level)) => {
                levels.iter().position(|known| known == level).and_then(|rank| u32::try_from(rank).ok())
            }
            Some(_) => None,
        };
        rank.ok_or_else(|| {
            let name = &self.clearance;
            Unauthenticated::refused(format!(
                "`{name}` of the token is no rank and no level that is known here"
            ))
        })
    }
}

/// A claim by its name or path.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(path) = name.strip_prefix('/') else {
        return claims.get(name);
    };
    let mut parts = path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_object()?.get(&part))
}

/// A text, or a list of them; nothing is an empty list.
pub(super) fn texts(value: Option<&Value>, name: &str) -> Result<BTreeSet<String>, Unauthenticated> {
    let unusable = || Unauthenticated::refused(format!("`{name}` of the token is no list of texts"));
    let one = std::slice::from_ref;
    let values = match value {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(values)) => values,
        Some(value) => one(value),
    };
    if values.len() > CLAIM_VALUES_MAX {
        let message = format!("`{name}` of the token has more than {CLAIM_VALUES_MAX} values");
        return Err(Unauthenticated::refused(message));
    }
    let text = |value: &Value| match value {
        Value::String(text) if text.len() <= CLAIM_BYTES_MAX && !text.contains('\0') => Ok(text.clone()),
        _ => Err(unusable()),
    };
    values.iter().map(text).collect()
}

/// A time in seconds since 1970 (RFC 7519, section 2: NumericDate).
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Unauthenticated> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let micros = value.as_f64().map(|seconds| seconds * MICROS).filter(|micros| micros.abs() < 9e18);
    // The conversion cuts off fractions of a microsecond, and the bound above keeps it in range.
    let time = micros.and_then(|micros| Timestamp::from_micros(micros as i64).ok());
    time.map(Some).ok_or_else(|| Unauthenticated::refused(format!("`{name}` of the token is no time")))
}
