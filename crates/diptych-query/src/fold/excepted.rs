//! Rows of which a fold passes over some facts. What is parked, skipped or folded again is decided
//! elsewhere.

use diptych_core::Position;

/// The facts that one row does not take.
#[derive(Clone, Default)]
pub(super) struct Excepted {
    /// Those before this one.
    since: Position,
    /// This one and those after it.
    held: Option<Position>,
    /// These.
    skipped: Vec<Position>,
}

impl Excepted {
    /// Whether the row does not take a fact.
    pub(super) fn passes_over(&self, at: Position) -> bool {
        at < self.since || self.held.is_some_and(|from| at >= from) || self.skipped.contains(&at)
    }
}

/// What is to be passed over in a row, told by the position of a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exception {
    /// Facts before this one.
    Before,
    /// This fact and those after it.
    From,
    /// This fact.
    At,
}

impl Excepted {
    /// Adds what is to be passed over.
    pub(super) fn add(&mut self, exception: Exception, at: Position) {
        match exception {
            Exception::Before => self.since = at,
            Exception::From => self.held = Some(self.held.map_or(at, |held| held.min(at))),
            Exception::At if self.skipped.contains(&at) => {}
            Exception::At => self.skipped.push(at),
        }
    }
}
