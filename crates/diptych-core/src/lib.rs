//! The language of facts: what both panels and the hinge say to each other.
//!
//! Streams, versions, positions, tokens, events, metadata, portable values, money, identities and
//! faults. Absent here, on purpose: any database, any transport, any `async fn`, and any clock: time is
//! always handed in.

mod authenticate;
mod authorize;
mod clock;
mod code;
mod currency;
mod event;
mod fact;
mod fault;
mod id;
mod identity;
mod limits;
mod metadata;
mod money;
mod money_cases;
mod portable;
mod position;
mod query;
mod stream;
mod tag;
#[doc(hidden)]
pub mod tagged;
mod text;
mod time;
mod value;

pub use authenticate::{Anybody, Authenticate, Authenticated, Credentials, Everybody, Flaw, Unauthenticated};
pub use authorize::{
    Action, AttributeKind, Authorize, Forbidden, Permit, PolicyAttribute, PolicyVersion, Unrestricted,
};
pub use clock::{BoxFuture, Clock};
pub use code::Code;
pub use currency::Currency;
pub use event::{DecodeError, EncodeError, Event, EventSet, EventType, Language, NewEvent, UnknownTypes};
pub use fact::{EventName, Fact, RawFact, SharedText};
pub use fault::Fault;
pub use id::{Id, Scalar};
pub use identity::{Actor, CausationId, Claims, CommandId, CorrelationId, Principal, PrincipalError, Tenant};
pub use limits::{INDEXED_TEXT_BYTES_MAX, KEY_BYTES_MAX, TAG_BYTES_MAX, TAGS_PER_EVENT_MAX};
pub use limits::{QUERY_ITEMS_MAX, TAGS_PER_ITEM_MAX, TYPES_PER_ITEM_MAX};
pub use metadata::Metadata;
pub use money::{Money, MoneyError};
pub use money_cases::{MONEY_CASES, MoneyCase, MoneyFlaw};
pub use portable::Portable;
pub use position::{Epoch, Fingerprint, Position, Token, TokenError};
pub use query::{QueryItem, TagError, TagQuery};
pub use stream::{Category, ExpectedVersion, StreamId, StreamKey, StreamRef, Version, event_id};
pub use tag::{Tag, TagValue};
pub use text::TextError;
pub use time::{Timestamp, TimestampError};
pub use value::{Value, ValueType};
