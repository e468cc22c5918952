//! A command with its circumstances. It cannot be built without a principal.

use crate::RawCommand;
use diptych_core::{
    CausationId, CommandId, CorrelationId, ExpectedVersion, Id, Principal, TextError, Timestamp, Version,
};

/// A typed command on its way to a stream: `Request::by(&ann).to(&order, Confirm)`.
#[derive(Clone, Debug)]
pub struct Request<C> {
    pub(crate) command: C,
    pub(crate) envelope: Envelope,
}

/// A command in bytes, as the wire and the queue bring it.
#[derive(Clone, Debug)]
pub struct RawRequest {
    pub(crate) category: String,
    pub(crate) command: RawCommand,
    pub(crate) envelope: Envelope,
}

/// Everything about a command but its data.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) principal: Principal,
    pub(crate) key: String,
    pub(crate) id: Option<String>,
    /// Whether the id was made for this request, so that no ledger can know it.
    pub(crate) id_is_new: bool,
    pub(crate) expected: ExpectedVersion,
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) causation: Option<CausationId>,
    pub(crate) time: Option<Timestamp>,
    /// When a command that waited in the queue was accepted: the service's own time, nobody's claim.
    pub(crate) accepted_at: Option<Timestamp>,
}

/// The start of a request: who asks.
#[derive(Clone, Debug)]
pub struct RequestBy {
    principal: Principal,
}

impl RequestBy {
    /// Addresses a typed command to the stream of `id`.
    #[must_use]
    pub fn to<C>(self, id: &impl Id, command: C) -> Request<C> {
        Request { command, envelope: Envelope::new(self.principal, id.as_str()) }
    }

    /// Addresses a command in bytes to the stream `key` of `category`.
    #[must_use]
    pub fn to_raw(self, category: &str, key: &str, command: RawCommand) -> RawRequest {
        RawRequest { category: category.to_owned(), command, envelope: Envelope::new(self.principal, key) }
    }
}

impl Request<()> {
    /// Starts a request.
    #[must_use]
    pub fn by(principal: &Principal) -> RequestBy {
        RequestBy { principal: principal.clone() }
    }
}

macro_rules! with_envelope {
    ($type:ty $(, $generic:ident)?) => {
        impl$(<$generic>)? $type {
            /// Names the command, so that asking twice does it once: the idempotency key. 1 to 200 bytes.
            #[must_use]
            pub fn command_id(mut self, id: impl Into<String>) -> Self {
                self.envelope.id = Some(id.into());
                self
            }

            /// Names the command by an id that [`generate_command_id`] has just made for it.
            #[must_use]
            pub fn generated_id(mut self, id: &CommandId) -> Self {
                self.envelope.id = Some(id.as_str().to_owned());
                self.envelope.id_is_new = true;
                self
            }

            /// Asks for the change only if the stream is exactly there.
            #[must_use]
            pub fn if_version(mut self, version: Version) -> Self {
                self.envelope.expected = ExpectedVersion::Exactly(version);
                self
            }

            /// Ties the command to a conversation.
            #[must_use]
            pub fn correlation(mut self, id: CorrelationId) -> Self {
                self.envelope.correlation = Some(id);
                self
            }

            /// Says what directly caused the command.
            #[must_use]
            pub fn causation(mut self, id: CausationId) -> Self {
                self.envelope.causation = Some(id);
                self
            }

            /// Sets the time at which it happened. Needs the permission to import.
            #[must_use]
            pub fn at(mut self, time: Timestamp) -> Self {
                self.envelope.time = Some(time);
                self
            }
        }
    };
}
impl RawRequest {
    /// Whether the caller named the command, so that the ledger may know it.
    pub(crate) fn is_keyed(&self) -> bool {
        self.envelope.id.is_some() && !self.envelope.id_is_new
    }
}

with_envelope!(Request<C>, C);
with_envelope!(RawRequest);

impl Envelope {
    fn new(principal: Principal, key: &str) -> Self {
        Self {
            principal,
            key: key.to_owned(),
            id: None,
            id_is_new: false,
            expected: ExpectedVersion::Any,
            correlation: None,
            causation: None,
            time: None,
            accepted_at: None,
        }
    }

    /// The caller's command id, checked.
    pub(crate) fn checked_id(&self) -> Option<Result<CommandId, TextError>> {
        self.id.as_ref().map(CommandId::new)
    }
}

/// A new command id: a UUID of version 7 (RFC 9562), whose order in time keeps the ledger's index dense.
#[must_use]
pub fn generate_command_id() -> CommandId {
    CommandId::from_stored(uuid::Uuid::now_v7().to_string())
}
