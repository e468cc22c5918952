//! `given::<Order>([placed()]).when(Cancel { .. }).then([cancelled()])`, and the same on a stored state.

use super::TENANT;
use diptych_command::{Command, Context, Decider, Editions, Reference, References, Rejection, StoredState};
use diptych_core::{Category, CommandId, Event, Principal, StreamId, StreamKey, Timestamp};
use std::fmt::Debug;

/// A stream's past.
#[derive(Debug)]
pub struct Given<D: Decider> {
    history: Vec<D::Event>,
    context: Context,
    /// Reads a state back from the text of its row, where the stored state is to decide too.
    stored: Option<fn(&str) -> D>,
}

/// What a decider answered.
#[derive(Debug)]
pub struct Outcome<D: Decider> {
    history: Vec<D::Event>,
    result: Result<Vec<D::Event>, D::Rejection>,
}

/// Starts from a stream's past; an empty one is a stream that does not exist.
#[track_caller]
pub fn given<D: Decider>(history: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let category = D::Event::CATEGORY;
    let stream = StreamId {
        category: Category::new(category).expect("a derived category is valid"),
        key: StreamKey::new("42").expect("the key is valid"),
    };
    let history = history.into_iter().map(through_codec).collect();
    Given { history, context: context_of(stream), stored: None }
}

/// The circumstances of a command to a stream.
pub(super) fn context_of(stream: StreamId) -> Context {
    Context {
        command: CommandId::new("test-command").expect("the id is valid"),
        principal: Principal::new(TENANT, "tester").expect("the names are valid"),
        stream,
        time: Timestamp::from_micros(1_783_414_800_000_000).expect("the time is valid"),
        correlation: None,
        causation: None,
        references: References::default(),
    }
}

/// The same with the promise that the state survives being stored: what comes back from its row is written as
/// the same text again, and decides like the state itself. Where a state keeps something from its JSON, this
/// fails.
#[track_caller]
pub fn stored_state<D: StoredState>(history: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let read: fn(&str) -> D = |text| serde_json::from_str(text).expect("a stored state must read back");
    let given = given::<D>(history);
    let texts: Vec<_> = given.states().map(|state| text_of(&state)).collect();
    for text in texts {
        assert_eq!(text_of(&read(&text)), text, "a stored state must be written as it was read");
    }
    Given { stored: Some(read), ..given }
}

impl<D: Decider> Given<D> {
    /// Decides on behalf of another actor than `tester`.
    #[must_use]
    pub fn by(mut self, actor: &str) -> Self {
        self.context.principal = Principal::new(TENANT, actor).expect("an actor must be a valid name");
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

    /// Decides on another stream than `42`.
    #[must_use]
    pub fn on(mut self, key: &str) -> Self {
        self.context.stream.key = StreamKey::new(key).expect("a key must be valid");
        self
    }

    /// The state after each event, from none on.
    fn states(&self) -> impl Iterator<Item = D> {
        (0..=self.history.len()).map(|events| {
            self.history[..events].iter().fold(D::default(), |state, event| state.evolve(event))
        })
    }

    /// Decides a command, which first goes through its codec as if it had come over the wire.
    #[track_caller]
    pub fn when(self, command: D::Command) -> Outcome<D> {
        let command = through_wire(command);
        let text = self.stored.map(|read| (read, command.encode().expect("the command must be storable")));
        let name = command.command_type().name;
        let outcome = decided(self.history, command, &self.context);
        if let Some((read, body)) = text {
            let state = outcome.history.iter().fold(D::default(), |state, event| state.evolve(event));
            let command = D::Command::decode(name, &body).expect("the command must read back");
            let said = said_by::<D>(&read(&text_of(&state)).decide(command, &self.context));
            assert_eq!(
                said,
                said_by::<D>(&outcome.result),
                "the stored state must decide as the state itself"
            );
        }
        outcome
    }
}

/// A command as it comes over the wire.
#[track_caller]
pub(super) fn through_wire<C: Command>(command: C) -> C {
    let name = command.command_type().name;
    let body = command.encode().expect("the command must be storable");
    C::decode(name, &body).expect("the command must read back")
}

/// Decides on the fold of a history.
#[track_caller]
pub(super) fn decided<D: Decider>(
    history: Vec<D::Event>,
    command: D::Command,
    context: &Context,
) -> Outcome<D> {
    let state = history.iter().fold(D::default(), |state, event| state.evolve(event));
    let result = state.decide(command, context);
    let result = result.map(|events| events.into_iter().map(through_codec).collect());
    Outcome { history, result }
}

impl<D: Decider> Outcome<D>
where
    D::Event: Debug + PartialEq,
    D::Rejection: PartialEq,
{
    /// Expects these events.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) {
        let expected: Vec<_> = expected.into_iter().collect();
        match self.result {
            Ok(events) => assert_eq!(events, expected, "other events than expected"),
            Err(rejection) => panic!("expected {expected:?}, was rejected: {rejection}"),
        }
    }

    /// Expects that nothing changes.
    #[track_caller]
    pub fn then_nothing(self) {
        self.then([]);
    }

    /// Expects this rejection, also after it has been through the ledger.
    #[track_caller]
    pub fn then_rejected(self, expected: D::Rejection) {
        match self.result {
            Ok(events) => panic!("expected a rejection ({expected}), got {events:?}"),
            Err(rejection) => {
                let data = rejection.encode().expect("the rejection must be storable");
                let name = rejection.rejection_type().name;
                let read = D::Rejection::decode(name, &data).expect("the rejection must read back");
                assert_eq!(read, expected, "another rejection than expected");
            }
        }
    }

    /// Looks at the state after the events.
    #[track_caller]
    pub fn then_state(self, look: impl FnOnce(&D)) {
        match self.result {
            Ok(events) => {
                let all = self.history.iter().chain(&events);
                look(&all.fold(D::default(), |state, event| state.evolve(event)));
            }
            Err(rejection) => panic!("expected events, was rejected: {rejection}"),
        }
    }
}

#[track_caller]
fn text_of<D: Decider>(state: &D) -> String {
    serde_json::to_string(state).expect("the state must be storable")
}

/// An answer as it would be stored.
#[track_caller]
fn said_by<D: Decider>(answer: &Result<Vec<D::Event>, D::Rejection>) -> Vec<String> {
    match answer {
        Ok(events) => {
            let texts = events.iter().map(|event| (event.event_type().name, event.encode()));
            texts
                .map(|(name, text)| format!("{name} {}", text.expect("the event must be storable")))
                .collect()
        }
        Err(rejection) => {
            let data = rejection.encode().expect("the rejection must be storable");
            vec![format!("rejected: {} {data}", rejection.rejection_type().name)]
        }
    }
}

/// An event as it comes back from the log.
#[track_caller]
fn through_codec<E: Event>(event: E) -> E {
    let kind = event.event_type();
    let payload = event.encode().expect("the event must be storable");
    let read = E::decode(kind.name, kind.version, &payload).expect("the event must read back");
    read.expect("an event that can be written is not retired")
}
