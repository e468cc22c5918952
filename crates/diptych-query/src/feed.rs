//! The port to the log as readers see it: ranges, the head, one stream, and a wake-up.

use diptych_core::{BoxFuture, Fault, Position, RawFact, StreamRef, Timestamp, Token, Version};
use std::sync::Arc;
use tokio::sync::watch;

/// An entry of the log that something stands at: its token, and when it was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The place, with its fingerprint.
    pub token: Token,
    /// The store's clock there; [`Timestamp::EPOCH`] at the start.
    pub recorded_at: Timestamp,
}

impl Mark {
    /// The place.
    #[must_use]
    pub fn position(&self) -> Position {
        self.token.position
    }
}

/// Which categories a reader wants: facts of others are passed over, not handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Categories {
    /// Every one.
    All,
    /// These.
    Only(Vec<&'static str>),
}

impl Categories {
    /// Whether a category is wanted.
    #[must_use]
    pub fn contains(&self, category: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => wanted.contains(&category),
        }
    }
}

/// A completed range of the log: everything wanted in `(after, through]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Where the range starts, not included.
    pub after: Position,
    /// Where it ends, included; facts of other categories may stand there.
    pub through: Mark,
    /// The wanted facts, in order.
    pub facts: Vec<Arc<RawFact>>,
    /// The head of the log when the range was read.
    pub head: Position,
}

/// The log as readers see it. A position once handed out is complete: nothing commits below it later.
pub trait Feed: Send + Sync + 'static {
    /// Reads on after a position, over at most `positions_max` positions.
    fn read<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<Block, Fault>>;

    /// The last entry.
    fn head(&self) -> BoxFuture<'_, Result<Mark, Fault>>;

    /// The entry at a position; none beyond the head.
    fn mark(&self, position: Position) -> BoxFuture<'_, Result<Option<Mark>, Fault>>;

    /// The facts of one stream after a version, at most `events_max`.
    fn stream<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>>;

    /// Wakes whenever the head moves.
    fn watch(&self) -> watch::Receiver<Position>;
}

/// Counts of a store, for an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// How many events the log holds.
    pub events: u64,
    /// How many streams have an event.
    pub streams: u64,
    /// How many commands the audit knows.
    pub commands: u64,
    /// The size of the log with its ledger, in bytes.
    pub log_bytes: u64,
    /// The size of the read models, in bytes.
    pub model_bytes: u64,
}
