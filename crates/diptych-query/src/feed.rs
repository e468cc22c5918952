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

/// A block whose facts are not put together yet: whoever uses them does that, some at a time, where they are
/// used and freed. A fact that one thread makes, another uses and the first frees again is carried between
/// their processors, which costs more than the fact itself.
pub struct RawBlock {
    /// Where it ends, included.
    pub through: Mark,
    /// The head of the log when it was read.
    pub head: Position,
    /// The wanted facts, in order.
    pub facts: Box<dyn RawFacts>,
}

/// Facts that are put together when they are asked for.
pub trait RawFacts: Send {
    /// Puts the next facts in place of those that are there, at most so many; none when all have been taken.
    /// A fact that nobody else holds may be written over, so that its memory is used again.
    fn take(&mut self, facts_max: usize, into: &mut Vec<Arc<RawFact>>);
}

/// Facts that are put together already. They are counted, not handed over, so that the last of them is freed
/// with the block.
struct Ready {
    facts: Vec<Arc<RawFact>>,
    taken: usize,
}

impl RawFacts for Ready {
    fn take(&mut self, facts_max: usize, into: &mut Vec<Arc<RawFact>>) {
        let end = self.facts.len().min(self.taken.saturating_add(facts_max));
        into.clear();
        into.extend_from_slice(&self.facts[self.taken..end]);
        self.taken = end;
    }
}

impl From<Block> for RawBlock {
    fn from(block: Block) -> Self {
        let Block { through, facts, head, .. } = block;
        Self { through, head, facts: Box::new(Ready { facts, taken: 0 }) }
    }
}

impl std::fmt::Debug for RawBlock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "RawBlock(..{} of {})", self.through.position(), self.head)
    }
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

    /// Reads like [`Feed::read`], for whoever takes many blocks one after the other: a store may leave it to
    /// the taker to put the facts together.
    fn read_raw<'a>(
        &'a self,
        after: Position,
        categories: &'a Categories,
        positions_max: usize,
    ) -> BoxFuture<'a, Result<RawBlock, Fault>> {
        Box::pin(async move { Ok(self.read(after, categories, positions_max).await?.into()) })
    }

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
