//! What a decision may know besides the state and the command.

use crate::{Editions, Reference, References};
use diptych_core::{CausationId, CommandId, CorrelationId, Principal, StreamId, Timestamp};
use std::sync::Arc;

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
    /// The reference data that the service was handed.
    pub references: References,
}

impl Context {
    /// The stream's key as a typed id.
    #[must_use]
    pub fn id<I: diptych_core::Id>(&self) -> I {
        I::from_key(self.stream.key.as_str())
    }

    /// The reference data of a kind that decisions are taken under: what the service was handed, or else what
    /// the code brings along.
    #[must_use]
    pub fn reference<T: Reference>(&self) -> Arc<Editions<T>> {
        self.references.get()
    }

    /// Who acts.
    #[must_use]
    pub fn actor(&self) -> &str {
        self.principal.actor.as_str()
    }
}
