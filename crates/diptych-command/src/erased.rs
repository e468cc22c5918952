//! Deciders without their types: what the handler loop, the wire and the queue work with.

use crate::error::RawRejection;
use crate::{
    Boundary, Command, CommandType, Context, Decider, Persistence, Rejection, RejectionType, ShapeError,
    Stored, StoredState,
};
use diptych_core::{
    Category, Code, DecodeError, Event, EventType, Fault, Language, NewEvent, PolicyAttribute, RawFact,
    TagError, TagQuery,
};
use schemars::{Schema, SchemaGenerator};
use std::any::Any;
use std::io;
use std::sync::Arc;

/// A state without its type. Only the decider that made it can read it.
pub type State = Box<dyn Any + Send>;

/// A command, or the events of one, without its type: what a typed caller hands to the decider and gets back
/// from it, so that neither reads bytes that it has just written.
pub type Typed = Box<dyn Any + Send>;

/// A command in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawCommand {
    /// The command's name.
    pub name: String,
    /// Its body, JSON text.
    pub body: String,
}

/// What a decider answered.
#[derive(Debug)]
pub enum Decided {
    /// Events, possibly none.
    Events {
        /// As they will be stored.
        stored: Vec<NewEvent>,
        /// As the decider made them.
        typed: Typed,
    },
    /// The domain's no.
    Rejected(RawRejection),
}

/// A decider without its types.
pub trait AnyDecider: Send + Sync + 'static {
    /// The category of its streams.
    fn category(&self) -> &'static str;
    /// Who answers for it.
    fn owner(&self) -> &'static str;
    /// The event language that it writes.
    fn language(&self) -> Language;
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

    /// The properties of its state that access policies may judge commands by.
    fn policy_view(&self) -> &'static [PolicyAttribute] {
        &[]
    }

    /// Checks that a command has its shape, without a state.
    ///
    /// # Errors
    /// Everything about its body that is not as it must be.
    fn check(&self, command: &RawCommand) -> Result<(), ShapeError>;

    /// The state before any event.
    fn initial(&self) -> State;

    /// The facts that a command is decided on, confined to the decider's category; none for those of its
    /// stream. `typed` is the same command, where the caller has it, and is filled where it had to be read.
    ///
    /// # Errors
    /// A body without the command's shape, or a query that cannot be.
    fn boundary(
        &self,
        command: &RawCommand,
        typed: &mut Option<Typed>,
        context: &Context,
    ) -> Result<Option<TagQuery>, DecideError>;

    /// The state after further events of its stream, or of its boundary.
    ///
    /// # Errors
    /// An event that the code cannot read.
    fn evolve(&self, state: State, events: &[Arc<RawFact>]) -> Result<State, DecodeError>;

    /// The state after events that [`AnyDecider::decide`] has just answered.
    fn evolve_typed(&self, state: State, events: &Typed) -> State;

    /// Decides a command. `typed` is the same command, where the caller has it.
    ///
    /// # Errors
    /// A body without the command's shape, or an event that could not be read back.
    fn decide(
        &self,
        state: &State,
        command: &RawCommand,
        typed: Option<Typed>,
        context: &Context,
    ) -> Result<Decided, DecideError>;

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

    /// What it declares of storing its state; none where its state cannot be stored.
    fn stored(&self) -> Option<&Stored>;

    /// The same decider in another persistence; none where its state cannot be stored.
    fn persisted(&self, persistence: Persistence) -> Option<Arc<dyn AnyDecider>>;

    /// The state as JSON text, as its row holds it.
    ///
    /// # Errors
    /// A state that does not serialize.
    fn to_text(&self, state: &State) -> Result<String, Fault>;

    /// The state that a text of the code's shape holds.
    ///
    /// # Errors
    /// A text that is not one, or any text where the state cannot be stored.
    fn read_text(&self, text: &str) -> Result<State, DecodeError>;

    /// About how many bytes a state takes: its own size and that of its JSON text, which is not made for it.
    fn weigh(&self, state: &State) -> usize;

    /// Where its state comes from.
    fn persistence(&self) -> Persistence {
        self.stored().map_or(Persistence::EventSourced, |stored| stored.persistence)
    }
}

/// Why a decision could not be made.
#[derive(Debug)]
pub enum DecideError {
    /// The body does not have the command's shape.
    Shape(ShapeError),
    /// The facts to decide on cannot be asked for.
    Boundary(TagError),
    /// The decider's own doing.
    Fault(Fault),
}

/// Takes the types off a decider whose state is not stored.
#[must_use]
pub fn erase<D: Decider>() -> Arc<dyn AnyDecider> {
    Arc::new(Erased::<D> { boundary: None, storage: None })
}

/// Takes the types off a decider whose commands have a boundary each.
#[must_use]
pub fn erase_boundary<D: Boundary>() -> Arc<dyn AnyDecider> {
    Arc::new(Erased::<D> { boundary: Some(D::boundary), storage: None })
}

/// Takes the types off a decider whose state can be stored.
#[must_use]
pub fn erase_stored<D: StoredState>(persistence: Persistence) -> Arc<dyn AnyDecider> {
    let stored = Stored::of::<D>(persistence);
    let storage = Storage { stored, read: |text| serde_json::from_str(text) };
    Arc::new(Erased::<D> { boundary: None, storage: Some(storage) })
}

struct Erased<D: Decider> {
    boundary: Option<fn(&D::Command, &Context) -> TagQuery>,
    storage: Option<Storage<D>>,
}

/// How a state is stored, and how it is read back.
struct Storage<D> {
    stored: Stored,
    read: fn(&str) -> serde_json::Result<D>,
}

impl<D: Decider> AnyDecider for Erased<D> {
    fn category(&self) -> &'static str {
        D::Event::CATEGORY
    }

    fn owner(&self) -> &'static str {
        D::Event::OWNER
    }

    fn language(&self) -> Language {
        D::Event::LANGUAGE
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

    fn policy_view(&self) -> &'static [PolicyAttribute] {
        D::POLICY_VIEW
    }

    fn check(&self, command: &RawCommand) -> Result<(), ShapeError> {
        D::Command::decode(&command.name, &command.body).map(drop)
    }

    fn initial(&self) -> State {
        Box::new(D::default())
    }

    fn boundary(
        &self,
        command: &RawCommand,
        typed: &mut Option<Typed>,
        context: &Context,
    ) -> Result<Option<TagQuery>, DecideError> {
        let Some(boundary) = self.boundary else {
            return Ok(None);
        };
        let read = match held::<D>(typed.take()) {
            Some(command) => command,
            None => Box::new(read::<D>(command)?),
        };
        let category =
            Category::new(D::Event::CATEGORY).map_err(|error| DecideError::Boundary(error.into()))?;
        let query = boundary(&read, context).within(category).checked().map_err(DecideError::Boundary)?;
        *typed = Some(read);
        Ok(Some(query))
    }

    fn evolve(&self, state: State, events: &[Arc<RawFact>]) -> Result<State, DecodeError> {
        let mut state = owned::<D>(state);
        for raw in events {
            if let Some(event) = raw.decode::<D::Event>()? {
                *state = std::mem::take(&mut *state).evolve(&event);
            }
        }
        Ok(state)
    }

    fn evolve_typed(&self, state: State, events: &Typed) -> State {
        let events: &Vec<D::Event> =
            (**events).downcast_ref().expect("events belong to the decider that answered them");
        let mut state = owned::<D>(state);
        for event in events {
            *state = std::mem::take(&mut *state).evolve(event);
        }
        state
    }

    fn decide(
        &self,
        state: &State,
        command: &RawCommand,
        typed: Option<Typed>,
        context: &Context,
    ) -> Result<Decided, DecideError> {
        let command = match held::<D>(typed) {
            Some(command) => *command,
            None => read::<D>(command)?,
        };
        match self::typed::<D>(state).decide(command, context) {
            Ok(events) => {
                let stored: Result<Vec<_>, _> = events.iter().map(NewEvent::from_event).collect();
                let stored = stored.map_err(|error| DecideError::Fault(unstorable(&error)))?;
                debug_assert!(stored.iter().all(reads_back::<D::Event>), "what is stored must be readable");
                Ok(Decided::Events { stored, typed: Box::new(events) })
            }
            Err(rejection) => raw_rejection(&rejection).map(Decided::Rejected).map_err(DecideError::Fault),
        }
    }

    fn to_json(&self, state: &State) -> Result<serde_json::Value, Fault> {
        serde_json::to_value(typed::<D>(state)).map_err(unserializable)
    }

    fn rejection(&self, name: &str, data: &str) -> Result<RawRejection, DecodeError> {
        let rejection = D::Rejection::decode(name, data)?;
        raw_rejection(&rejection).map_err(|fault| DecodeError::malformed(name, &fault))
    }

    fn stored(&self) -> Option<&Stored> {
        self.storage.as_ref().map(|storage| &storage.stored)
    }

    fn persisted(&self, persistence: Persistence) -> Option<Arc<dyn AnyDecider>> {
        let Storage { stored, read } = self.storage.as_ref()?;
        let storage = Storage { stored: Stored { persistence, ..stored.clone() }, read: *read };
        Some(Arc::new(Self { boundary: self.boundary, storage: Some(storage) }))
    }

    fn to_text(&self, state: &State) -> Result<String, Fault> {
        serde_json::to_string(typed::<D>(state)).map_err(unserializable)
    }

    fn read_text(&self, text: &str) -> Result<State, DecodeError> {
        let Some(storage) = &self.storage else {
            return Err(DecodeError::malformed("state", &"it is not a stored one"));
        };
        let state = (storage.read)(text).map_err(|error| DecodeError::malformed("state", &error))?;
        Ok(Box::new(state))
    }

    fn weigh(&self, state: &State) -> usize {
        let mut counting = Counting(size_of::<D>());
        // What does not serialize is never kept.
        serde_json::to_writer(&mut counting, typed::<D>(state)).map_or(usize::MAX, |()| counting.0)
    }
}

/// Takes bytes in and keeps nothing but their number.
struct Counting(usize);

impl io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The command with its type, where the caller has it.
fn held<D: Decider>(typed: Option<Typed>) -> Option<Box<D::Command>> {
    // A caller may have the type of another decider of the same category; its bytes say what it means.
    typed.and_then(|command| command.downcast().ok())
}

fn read<D: Decider>(command: &RawCommand) -> Result<D::Command, DecideError> {
    D::Command::decode(&command.name, &command.body).map_err(DecideError::Shape)
}

fn typed<D: Decider>(state: &State) -> &D {
    (**state).downcast_ref().expect("a state belongs to the decider that made it")
}

fn owned<D: Decider>(state: State) -> Box<D> {
    // INVARIANT: the handler hands a state back only to the decider that made it.
    state.downcast().expect("a state belongs to the decider that made it")
}

/// Whether the language can read what it has just written.
fn reads_back<E: Event>(event: &NewEvent) -> bool {
    matches!(E::decode(event.name, event.schema_version, &event.payload), Ok(Some(_)))
}

fn raw_rejection(rejection: &impl Rejection) -> Result<RawRejection, Fault> {
    let kind = rejection.rejection_type();
    let data = rejection.encode().map_err(|error| unstorable(&error))?;
    let (name, message, kind) = (kind.name.to_owned(), rejection.to_string(), kind.kind);
    Ok(RawRejection { name, data, message, kind, replayed: false })
}

fn unserializable(error: serde_json::Error) -> Fault {
    Fault::permanent(Code::Internal, "the state does not serialize").because(error)
}

fn unstorable(error: &diptych_core::EncodeError) -> Fault {
    Fault::permanent(Code::Internal, "the decider answered with something that cannot be stored")
        .because(error.clone())
}
