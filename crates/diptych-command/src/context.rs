//! What a decision may know besides the state and the command.

use diptych_core::{CausationId, CommandId, CorrelationId, Principal, StreamId, Timestamp};

/// The circumstances of a command. All of it is data handed in: a decider reads no clock and asks nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// The command.
    pub command: CommandId,
    /// On whose behalf.
    pub principal: Principal,
    /// The stream it is for.
    pub stream: StreamId,
    /// When it happens: the server's time, or the past time that an import gave.
    pub time: Timestamp,
    /// What ties the whole conversation.
    pub correlation: Option<CorrelationId>,
    /// What directly caused the command.
    pub causation: Option<CausationId>,
}

impl Context {
    /// The stream's key as a typed id.
    #[must_use]
    pub fn id<I: diptych_core::Id>(&self) -> I {
        I::from_key(self.stream.key.as_str())
    }

    /// Who acts.
    #[must_use]
    pub fn actor(&self) -> &str {
        self.principal.actor.as_str()
    }
}
