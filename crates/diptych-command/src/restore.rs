//! The port that fills an empty store with a log that was recorded elsewhere, as it was recorded.

use diptych_core::{BoxFuture, Epoch, Fault, StreamRef, Tag, Timestamp, Version};

/// A recorded event on its way into another log. Its position is that of its turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoredEvent {
    /// The stream it belongs to, with its tenant.
    pub stream: StreamRef,
    /// Its number in that stream.
    pub version: Version,
    /// The stored type name.
    pub name: String,
    /// The schema version of its payload.
    pub schema_version: u32,
    /// When it was recorded, there.
    pub recorded_at: Timestamp,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// JSON text, byte for byte.
    pub metadata: String,
    /// JSON text, byte for byte.
    pub payload: String,
    /// What it is about beyond its stream, as its language says now.
    pub tags: Vec<Tag>,
}

/// Where a restored log comes from, piece by piece.
///
/// INVARIANT: the versions of a stream follow each other from 1, and recorded times never decrease.
pub trait RestoreSource: Send {
    /// The next events, at most so many; none when all have been read and are known to be whole.
    ///
    /// # Errors
    /// A source that is not what it should be: nothing of it is kept.
    fn next(&mut self, events_max: usize) -> Result<Vec<RestoredEvent>, Fault>;
}

/// Fills an empty store.
pub trait LogRestore: Send + Sync + 'static {
    /// Writes a whole log in one transaction: every event in its turn, with its times, its version and its
    /// bytes, from position 1 on without gaps, under an epoch of its own. Answers how many there were. The
    /// ledger and the audit stay empty. What is open over the store must be opened again to see the epoch.
    ///
    /// Refuses with `Code::StoreNotEmpty` a store that holds an event, a command or a read model. Whatever
    /// goes wrong leaves the store as it was.
    fn restore(&self, epoch: Epoch, source: Box<dyn RestoreSource>) -> BoxFuture<'_, Result<u64, Fault>>;
}
