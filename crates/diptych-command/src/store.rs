//! The port to the event store: load a stream, commit a command, look one up. Called once per command.

use crate::{AuditLog, CommandHeader, CommandRecord, Conflict};
use diptych_core::{BoxFuture, CommandId, Fault, NewEvent, RawFact, StreamRef, Tenant, Timestamp, Version};
use std::sync::Arc;
use std::time::Duration;

/// A decided command on its way into the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// What was asked, for the ledger.
    pub header: CommandHeader,
    /// What to do.
    pub effect: Effect,
}

impl Commit {
    /// A commit of an effect, and of nothing besides.
    #[must_use]
    pub fn new(header: CommandHeader, effect: Effect) -> Self {
        Self { header, effect }
    }
}

/// What a command does to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append these events, none included, if the stream is still at `base`, and claim the key.
    Append {
        /// The version the decision was made on.
        base: Version,
        /// The events, oldest first.
        events: Vec<NewEvent>,
    },
    /// Record the domain's no, if the stream is still at `base`, and claim the key.
    Reject {
        /// The version the decision was made on.
        base: Version,
        /// The rejection's name.
        name: String,
        /// Its data, JSON text.
        data: String,
    },
    /// Keep evidence of a refusal; the key stays free.
    Refuse {
        /// Why.
        reason: crate::RefusedFor,
        /// The stream's version, as far as it is known.
        version: Version,
    },
}

/// What the store did, or had done before under the same key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The ledger's row.
    pub record: CommandRecord,
    /// The events as recorded; empty when replayed: they are read by their range of versions.
    pub events: Vec<Arc<RawFact>>,
    /// Whether the row was already there: nothing was appended now.
    pub replayed: bool,
}

/// Why a commit did not happen. In every case but `Indeterminate` nothing of it is in the store.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// The stream is not at the base any more.
    Conflict(Conflict),
    /// The key belongs to a command that asked for something else.
    KeyReused,
    /// The queue is full.
    Overloaded {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The connection was lost while committing: the ledger will tell.
    Indeterminate,
    /// Infrastructure, or an inline read model that could not take the events.
    Fault(Fault),
}

/// The write side of a store, with its audit. Positions are gap-free and in commit order; times never
/// decrease with position.
///
/// INVARIANT: the ledger row, the events and the inline rows of a command are committed together or not at
/// all.
pub trait EventStore: AuditLog {
    /// The events of a stream after a version, oldest first, at most `events_max`.
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>>;

    /// Commits one command durably. A key that is already claimed answers what it claimed, or `KeyReused`.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// The ledger's final row under a key, or the latest refusal where no final one exists.
    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>>;

    /// Frees the keys claimed before a time, at most `keys_max` of them; the audit rows stay. Answers how
    /// many.
    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>>;
}
