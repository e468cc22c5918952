//! Who acts, for whom, and by which command.

use crate::limits::KEY_BYTES_MAX;
use crate::text::{self, checked_text};

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
}

impl Principal {
    /// Names a principal.
    ///
    /// # Errors
    /// Refuses an empty or overlong tenant or actor.
    pub fn new(tenant: impl AsRef<str>, actor: impl AsRef<str>) -> Result<Self, crate::TextError> {
        Ok(Self { tenant: Tenant::new(tenant)?, actor: Actor::new(actor)? })
    }
}
