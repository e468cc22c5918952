//! Given/when/then for deciders and projections: the promises of a domain as sentences, without a store.
#![allow(clippy::panic, clippy::missing_panics_doc, reason = "a test kit fails by panicking")]

mod boundary;
mod catalog;
mod decider;
mod golden;
mod policies;
mod projection;
mod sample;

pub use boundary::{GivenLog, given_log};
pub use catalog::catalog;
pub use decider::{Given, Outcome, given, stored_state};
pub use golden::{WRITE_GOLDEN, golden};
pub use policies::{GivenPolicies, GivenPrincipal, GivenStream, policies};
pub use projection::{GivenFact, GivenFacts, given_facts, on};

use diptych_core::{EventName, NewEvent};
use diptych_core::{Position, RawFact, StreamId, StreamRef, Tenant, Timestamp, Version};
use std::sync::Arc;

/// The tenant of every fact that a test makes.
pub const TENANT: &str = "test";

/// A recorded event as a store would hand it out: through the real codec.
fn recorded(stream: &StreamId, version: u64, position: u64, event: NewEvent, at: Timestamp) -> Arc<RawFact> {
    let actor = r#"{"actor":"tester","command":"test"}"#;
    let tenant = Tenant::from_stored(TENANT);
    Arc::new(RawFact {
        position: Position(position),
        stream: Arc::new(StreamRef { tenant, stream: stream.clone() }),
        version: Version(version),
        event: EventName { name: event.name.into(), schema_version: event.schema_version },
        recorded_at: at,
        occurred_at: at,
        metadata: actor.into(),
        payload: event.payload.into(),
    })
}
