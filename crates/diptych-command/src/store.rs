//! The port to the event store: load a stream, commit a command, look one up. Called once per command.

use crate::{
    AuditLog, CommandHeader, CommandRecord, Conflict, NewState, StateColumn, StateRow, StreamStanding,
};
use diptych_core::{
    BoxFuture, CommandId, Fault, NewEvent, Position, RawFact, StreamRef, TagQuery, Tenant, Timestamp, Version,
};
use std::sync::Arc;
use std::time::Duration;

/// A decided command on its way into the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// What was asked, for the ledger.
    pub header: CommandHeader,
    /// What to do.
    pub effect: Effect,
    /// The state after the events, to be written with them; heeded where the effect appends some.
    pub state: Option<NewState>,
    /// What must still hold, beside the stream's version.
    pub condition: Option<Condition>,
}

impl Commit {
    /// A commit of an effect, and of nothing besides.
    #[must_use]
    pub fn new(header: CommandHeader, effect: Effect) -> Self {
        Self { header, effect, state: None, condition: None }
    }

    /// The same, which also leaves the state after its events in the stream's row.
    #[must_use]
    pub fn with_state(self, state: NewState) -> Self {
        Self { state: Some(state), ..self }
    }

    /// The same, only if a condition holds.
    #[must_use]
    pub fn on(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self }
    }
}

/// That no fact of the command's tenant has come to match a query since a position: what was decided rests on
/// every fact that did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The facts that the decision rests on.
    pub query: TagQuery,
    /// The position up to which they were looked at.
    pub after: Position,
}

/// Where a stream must be for a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// Exactly there: the decision rests on its events up to this version.
    At(Version),
    /// Anywhere: the events go behind whatever it has.
    Any,
}

impl Base {
    /// Whether a stream at `actual` will do.
    #[must_use]
    pub fn admits(self, actual: Version) -> bool {
        match self {
            Self::At(version) => version == actual,
            Self::Any => true,
        }
    }
}

impl From<Version> for Base {
    fn from(version: Version) -> Self {
        Self::At(version)
    }
}

/// What a command does to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append these events with their tags, none included, if the stream is at `base`, and claim the key.
    Append {
        /// Where the stream must be.
        base: Base,
        /// The events, oldest first.
        events: Vec<NewEvent>,
    },
    /// Record the domain's no, if the stream is at `base`, and claim the key.
    Reject {
        /// Where the stream must be.
        base: Base,
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
    /// The stream is not at the base any more, or the condition does not hold.
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

/// Facts that match a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// The facts, in order of position.
    pub facts: Vec<Arc<RawFact>>,
    /// INVARIANT: nothing that matches stands between the position asked from and this one but `facts`.
    pub through: Position,
}

/// The write side of a store, with its audit. Positions are gap-free and in commit order; times never
/// decrease with position.
///
/// INVARIANT: the ledger row, the events with their tags, the state and the inline rows of a command are
/// committed together or not at all. A version and a condition are checked in the same transaction, when no
/// other command can append any more, and against the earlier commands of the same group.
pub trait EventStore: AuditLog + StateStore {
    /// The events of a stream after a version, oldest first, at most `events_max`.
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>>;

    /// The facts of a tenant that match a query and stand after a position, at most `facts_max`. With as
    /// many, there may be more after the last of them; with fewer, there was none up to the head.
    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>>;

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

/// Where states are kept in rows beside the log, one for a stream. That of a command is written by
/// [`EventStore::commit`]; what is here reads them and serves the operator.
pub trait StateStore: Send + Sync + 'static {
    /// The stored state of a stream, of whatever shape; whether that is the code's is the caller's to judge.
    fn load_state<'a>(&'a self, stream: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>>;

    /// The streams of a category that have events, each once and in an order of the store's own, beyond one
    /// of them; at most `streams_max`.
    fn streams_of<'a>(
        &'a self,
        category: &'a str,
        after: Option<&'a StreamRef>,
        streams_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>>;

    /// Writes a state that was folded from its stream, unless the stream has a row of a later version.
    /// Answers whether it was written; never for a stream without events.
    fn write_state<'a>(&'a self, stream: &'a StreamRef, row: StateRow) -> BoxFuture<'a, Result<bool, Fault>>;

    /// Removes stored states of a category, at most `rows_max` of them. Answers how many.
    fn drop_states<'a>(&'a self, category: &'a str, rows_max: usize) -> BoxFuture<'a, Result<usize, Fault>>;

    /// Makes the view `state_{category}` with these columns, and their indexes, where they are not so yet.
    /// A store without SQL has none.
    fn show_states<'a>(
        &'a self,
        category: &'a str,
        columns: &'static [StateColumn],
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Removes the view and the indexes that [`StateStore::show_states`] has made, if it has.
    fn hide_states<'a>(&'a self, category: &'a str) -> BoxFuture<'a, Result<(), Fault>>;
}
