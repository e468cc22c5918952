//! Deciders without their types: what the handler loop, the wire and the queue work with.

use crate::error::RawRejection;
use crate::{Command, CommandType, Context, Decider, Rejection, RejectionType, ShapeError};
use diptych_core::{Code, DecodeError, Event, EventType, Fault, NewEvent, RawFact};
use schemars::{Schema, SchemaGenerator};
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// A state without its type. Only the decider that made it can read it.
pub type State = Box<dyn Any + Send>;

/// A command in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawCommand {
    /// The command's name.
    pub name: String,
    /// Its body, JSON text.
    pub body: String,
}

/// What a decider answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decided {
    /// Events, possibly none.
    Events(Vec<NewEvent>),
    /// The domain's no.
    Rejected(RawRejection),
}

/// A decider without its types.
pub trait AnyDecider: Send + Sync + 'static {
    /// The category of its streams.
    fn category(&self) -> &'static str;
    /// Who answers for it.
    fn owner(&self) -> &'static str;
    /// What may be asked.
    fn commands(&self) -> &'static [CommandType];
    /// What may happen.
    fn events(&self) -> &'static [EventType];
    /// What the domain may answer instead.
    fn rejections(&self) -> &'static [RejectionType];
    /// The JSON Schemas of the command bodies.
    fn command_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema>;
    /// The JSON Schemas of the event payloads.
    fn event_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema>;
    /// The JSON Schemas of the rejections' data.
    fn rejection_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema>;

    /// The state before any event.
    fn initial(&self) -> State;

    /// The state after further events of its stream.
    ///
    /// # Errors
    /// An event that the code cannot read.
    fn evolve(&self, state: State, events: &[Arc<RawFact>]) -> Result<State, DecodeError>;

    /// Decides a command.
    ///
    /// # Errors
    /// A body without the command's shape, or an event that could not be read back.
    fn decide(&self, state: &State, command: &RawCommand, context: &Context) -> Result<Decided, DecideError>;

    /// The state as JSON.
    ///
    /// # Errors
    /// A state that does not serialize.
    fn to_json(&self, state: &State) -> Result<serde_json::Value, Fault>;

    /// Rebuilds a rejection's sentence from the ledger.
    ///
    /// # Errors
    /// A rejection that the code does not know any more.
    fn rejection(&self, name: &str, data: &str) -> Result<RawRejection, DecodeError>;
}

/// Why a decision could not be made.
#[derive(Debug)]
pub enum DecideError {
    /// The body does not have the command's shape.
    Shape(ShapeError),
    /// The decider's own doing.
    Fault(Fault),
}

/// Takes the types off a decider.
#[must_use]
pub fn erase<D: Decider>() -> Arc<dyn AnyDecider> {
    Arc::new(Erased::<D>(PhantomData))
}

struct Erased<D>(PhantomData<fn() -> D>);

impl<D: Decider> AnyDecider for Erased<D> {
    fn category(&self) -> &'static str {
        D::Event::CATEGORY
    }

    fn owner(&self) -> &'static str {
        D::Event::OWNER
    }

    fn commands(&self) -> &'static [CommandType] {
        D::Command::TYPES
    }

    fn events(&self) -> &'static [EventType] {
        D::Event::TYPES
    }

    fn rejections(&self) -> &'static [RejectionType] {
        D::Rejection::TYPES
    }

    fn command_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        D::Command::schemas(generator)
    }

    fn event_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        D::Event::schemas(generator)
    }

    fn rejection_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        D::Rejection::schemas(generator)
    }

    fn initial(&self) -> State {
        Box::new(D::default())
    }

    fn evolve(&self, state: State, events: &[Arc<RawFact>]) -> Result<State, DecodeError> {
        // INVARIANT: the handler hands a state back only to the decider that made it.
        let mut state: Box<D> = state.downcast().expect("a state belongs to the decider that made it");
        for raw in events {
            if let Some(event) = raw.decode::<D::Event>()? {
                *state = std::mem::take(&mut *state).evolve(&event);
            }
        }
        Ok(state)
    }

    fn decide(&self, state: &State, command: &RawCommand, context: &Context) -> Result<Decided, DecideError> {
        let command = D::Command::decode(&command.name, &command.body).map_err(DecideError::Shape)?;
        match typed::<D>(state).decide(command, context) {
            Ok(events) => {
                let encoded: Result<_, _> = events.iter().map(NewEvent::from_event).collect();
                encoded.map(Decided::Events).map_err(|error| DecideError::Fault(unstorable(&error)))
            }
            Err(rejection) => raw_rejection(&rejection).map(Decided::Rejected).map_err(DecideError::Fault),
        }
    }

    fn to_json(&self, state: &State) -> Result<serde_json::Value, Fault> {
        serde_json::to_value(typed::<D>(state))
            .map_err(|error| Fault::permanent(Code::Internal, "the state does not serialize").because(error))
    }

    fn rejection(&self, name: &str, data: &str) -> Result<RawRejection, DecodeError> {
        let rejection = D::Rejection::decode(name, data)?;
        raw_rejection(&rejection).map_err(|fault| DecodeError::malformed(name, &fault))
    }
}

fn typed<D: Decider>(state: &State) -> &D {
    (**state).downcast_ref().expect("a state belongs to the decider that made it")
}

fn raw_rejection(rejection: &impl Rejection) -> Result<RawRejection, Fault> {
    let kind = rejection.rejection_type();
    let data = rejection.encode().map_err(|error| unstorable(&error))?;
    Ok(RawRejection { name: kind.name.to_owned(), data, message: rejection.to_string(), kind: kind.kind })
}

fn unstorable(error: &diptych_core::EncodeError) -> Fault {
    Fault::permanent(Code::Internal, "the decider answered with something that cannot be stored")
        .because(error.clone())
}
