//! `given_log::<Enrolment>([on("rust", offered(2))]).on("ann").when(Enrol { .. }).then([enrolled("ann")])`.

use super::decider::{Outcome, context_of, decided, through_wire};
use super::projection::{GivenFact, given_facts};
use diptych_command::{Boundary, Context, Editions, Reference};
use diptych_core::{Category, Event, Principal, RawFact, StreamId, StreamKey, Tag};
use std::marker::PhantomData;
use std::sync::Arc;

/// The log as it stands before a command with a boundary.
#[derive(Debug)]
pub struct GivenLog<D> {
    log: Vec<(Arc<RawFact>, Vec<Tag>)>,
    context: Context,
    decider: PhantomData<fn() -> D>,
}

/// Starts from facts of several streams, in this order. Of these the decider sees what the command's boundary
/// matches, and nothing else.
#[track_caller]
pub fn given_log<D: Boundary>(facts: impl IntoIterator<Item = GivenFact>) -> GivenLog<D> {
    let facts: Vec<_> = facts.into_iter().collect();
    let tags: Vec<_> = facts.iter().map(|fact| fact.event.tags.clone()).collect();
    let log = given_facts(facts).facts.into_iter().zip(tags).collect();
    let stream = StreamId {
        category: Category::new(D::Event::CATEGORY).expect("a derived category is valid"),
        key: StreamKey::new("42").expect("the key is valid"),
    };
    GivenLog { log, context: context_of(stream), decider: PhantomData }
}

impl<D: Boundary> GivenLog<D> {
    /// Decides on behalf of another actor than `tester`.
    #[must_use]
    pub fn by(mut self, actor: &str) -> Self {
        self.context.principal = Principal::new(super::TENANT, actor).expect("an actor must be a valid name");
        self
    }

    /// Decides at another time than 2026-07-07T09:00:00Z.
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        self.context.time = time.parse().expect("a time must be RFC 3339");
        self
    }

    /// Decides under other reference data than the code brings along.
    #[must_use]
    pub fn under<T: Reference>(mut self, editions: Editions<T>) -> Self {
        self.context.references = self.context.references.with(editions);
        self
    }

    /// Addresses the command to another stream than `42`.
    #[must_use]
    pub fn on(mut self, key: &str) -> Self {
        self.context.stream.key = StreamKey::new(key).expect("a key must be valid");
        self
    }

    /// Decides a command on the facts that its boundary matches. Both go through their codecs first.
    #[track_caller]
    pub fn when(self, command: D::Command) -> Outcome<D> {
        let command = through_wire(command);
        let query = D::boundary(&command, &self.context).within(self.context.stream.category.clone());
        let query = query.checked().expect("the boundary must be one that a store can answer");
        let selected = query.selects(self.log.iter().map(|(fact, tags)| (&**fact, tags.as_slice())));
        let matching = self.log.iter().filter(|(fact, _)| selected.contains(&fact.position));
        let history = matching.filter_map(|(fact, _)| fact.decode().expect("a fact must read back"));
        decided(history.collect(), command, &self.context)
    }
}
