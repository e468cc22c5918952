//! The answer to an accepted command: enough to read one's own write without asking again.

use diptych_core::{CommandId, RawFact, StreamId, Token, Version};
use std::sync::Arc;

/// What an accepted command did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt<E> {
    /// The stream.
    pub stream: StreamId,
    /// Its version after the command.
    pub version: Version,
    /// The log's position after the command: ask a read model for at least this to see it.
    pub token: Token,
    /// The events it caused.
    pub events: Vec<E>,
    /// The command.
    pub command: CommandId,
    /// Whether it had been accepted before: nothing was appended now.
    pub replayed: bool,
}

/// A receipt whose events are still bytes.
pub type RawReceipt = Receipt<Arc<RawFact>>;
