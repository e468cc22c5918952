//! The ledger's language: one row for every command, final or not, and how equal inputs are recognized.

use crate::RawCommand;
use diptych_core::{
    Actor, CausationId, CommandId, CorrelationId, ExpectedVersion, Metadata, PolicyVersion, StreamRef,
    Timestamp, Token, Version,
};

/// 128 bits that tell whether two commands under one key ask for the same thing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InputHash(pub [u8; 16]);

impl InputHash {
    /// BLAKE3 over the length-prefixed actor, command, target, body and expected version, first 128 bits.
    #[must_use]
    pub fn of(actor: &Actor, stream: &StreamRef, command: &RawCommand, expected: ExpectedVersion) -> Self {
        let expected = match expected {
            ExpectedVersion::Any => String::new(),
            ExpectedVersion::Exactly(version) => version.to_string(),
        };
        let stream_id = &stream.stream;
        let parts = [actor.as_str(), stream_id.category.as_str(), stream_id.key.as_str(), &command.name];
        let mut hasher = blake3::Hasher::new();
        for part in parts.iter().chain([&expected.as_str(), &command.body.as_str()]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }
}

/// What the ledger knows of a command before its outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandHeader {
    /// The command's identity within its tenant.
    pub id: CommandId,
    /// The stream it is for, with the tenant.
    pub stream: StreamRef,
    /// The command's name.
    pub name: String,
    /// Of everything that it asks.
    pub hash: InputHash,
    /// Who asked.
    pub actor: Actor,
    /// What ties the whole conversation.
    pub correlation: Option<CorrelationId>,
    /// What directly caused it.
    pub causation: Option<CausationId>,
    /// The policies that allowed it.
    pub policy: Option<PolicyVersion>,
    /// When it happens, by the server or by the import.
    pub occurred_at: Timestamp,
}

impl CommandHeader {
    /// What stands beside each of its events, as text.
    #[must_use]
    pub fn metadata(&self) -> String {
        let metadata = Metadata {
            actor: self.actor.clone(),
            command: self.id.clone(),
            correlation: self.correlation.clone(),
            causation: self.causation.clone(),
            policy: self.policy.as_ref().map(|policy| policy.0.clone().into_owned()),
        };
        metadata.encode()
    }
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its events are in the stream: those after `base` up to the record's version. Final.
    Accepted {
        /// The stream's version before it.
        base: Version,
    },
    /// The domain said no. Final.
    Rejected {
        /// The rejection's name.
        name: String,
        /// Its data, JSON text.
        data: String,
    },
    /// Something else stood in the way. Not final: the same key may be tried again.
    Refused(RefusedFor),
}

/// Why a command was refused without claiming its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusedFor {
    /// The stream was at another version.
    Conflict,
    /// The principal may not.
    Forbidden,
}

/// A row of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandRecord {
    /// What was asked.
    pub header: CommandHeader,
    /// What became of it.
    pub outcome: Outcome,
    /// The stream's version after it.
    pub version: Version,
    /// The log's position after it: of its last event, or of the head where it has none.
    pub token: Token,
    /// The store's clock when it was recorded.
    pub recorded_at: Timestamp,
}
