//! Facts from elsewhere on their way into the log: the port of the store that takes them, once each and
//! in the
//! order of their source. Where they come from is not known here.

use crate::CommandHeader;
use diptych_core::{BoxFuture, Fault, NewEvent, Token};
use std::fmt;

/// A place that facts come from, such as another service's events or an application's outbox: a text of 1 to
/// 200 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Source(String);

impl Source {
    /// Names a source.
    ///
    /// # Errors
    /// Refuses a name that is empty, longer than 200 bytes, or holds NUL.
    pub fn new(name: impl Into<String>) -> Result<Self, diptych_core::TextError> {
        let name = name.into();
        diptych_core::StreamKey::new(&name)?;
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A place within a source: rises from entry to entry, gaps are allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SourcePosition(pub u64);

impl fmt::Display for SourcePosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// 64 bits that tell whether the entry at a position of a source is still the one that was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct EntryPrint(pub u64);

/// How far a source has been taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermark {
    /// The last entry that was taken in.
    pub position: SourcePosition,
    /// What stood there.
    pub print: EntryPrint,
}

/// What arrives from a source: events of one stream that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Of the last entry that it is made of.
    pub print: EntryPrint,
    /// Who did what, for the audit. Its id claims no key: it belongs to whoever gave it.
    pub header: CommandHeader,
    /// The events, oldest first, each with the entry that it comes from; never empty. They follow whatever
    /// their stream holds.
    pub events: Vec<(SourcePosition, NewEvent)>,
}

impl Arrival {
    /// The last entry that it is made of.
    #[must_use]
    pub fn position(&self) -> SourcePosition {
        self.events.last().map(|(entry, _)| *entry).unwrap_or_default()
    }

    /// What remains of it where some of its entries have been taken in before; none where all have.
    #[must_use]
    pub fn of_entries(mut self, new: impl Fn(SourcePosition) -> bool) -> Option<Self> {
        self.events.retain(|(entry, _)| new(*entry));
        (!self.events.is_empty()).then_some(self)
    }

    /// What remains of it beyond a watermark.
    #[must_use]
    pub fn beyond(self, watermark: Option<Watermark>) -> Option<Self> {
        self.of_entries(|entry| watermark.is_none_or(|watermark| entry > watermark.position))
    }

    /// Its events alone.
    #[must_use]
    pub fn into_commit(self) -> (CommandHeader, Vec<NewEvent>) {
        (self.header, self.events.into_iter().map(|(_, event)| event).collect())
    }
}

/// What was taken in.
#[derive(Debug)]
pub struct TakenIn {
    /// How many arrivals are in the log now that were not before.
    pub taken: usize,
    /// How many had been taken in before.
    pub passed_over: usize,
    /// The head of the log afterwards.
    pub head: Token,
    /// The arrival at which it stopped, and why: what comes behind it waits.
    pub refused: Option<(SourcePosition, Fault)>,
}

/// Takes facts from elsewhere into the log.
///
/// INVARIANT: facts and watermark are committed together, so that every arrival of a source is in the log
/// once, whatever is lost or comes again.
pub trait Intake: Send + Sync + 'static {
    /// Takes arrivals in, in their order, in one transaction. Those at or below the source's watermark are
    /// passed over.
    ///
    /// Where nothing is said because a connection was lost, asking again is safe.
    fn take_in<'a>(
        &'a self,
        source: &'a Source,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, Result<TakenIn, Fault>>;

    /// How far a source has been taken in; none when nothing of it was.
    fn watermark<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Option<Watermark>, Fault>>;
}

/// The first arrival that does not come behind the one before it, if there is one.
#[must_use]
pub fn out_of_order(arrivals: &[Arrival]) -> Option<SourcePosition> {
    let mut last = None;
    for arrival in arrivals {
        let mut bound = last;
        for (entry, _) in &arrival.events {
            // One entry may bring several events, all of one arrival.
            if bound.is_some_and(|bound| bound > *entry) || last.is_some_and(|last| last >= *entry) {
                return Some(*entry);
            }
            bound = Some(*entry);
        }
        last = bound;
    }
    None
}

/// The fault of a source whose arrivals do not rise.
#[must_use]
pub fn not_in_order(source: &Source, entry: SourcePosition) -> Fault {
    let message = format!("entry {entry} of source `{source}` does not come behind the one before it");
    Fault::permanent(diptych_core::Code::IntakeStopped, message)
}
