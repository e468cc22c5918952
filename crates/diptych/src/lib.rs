//! The front door: build a service from deciders and read models, and get one binary.
//!
//! Everything a service needs is in [`prelude`]. Absent here: rules of any domain, and SQL.

// Derives write paths that begin with `::diptych`, which must also hold in this crate's own tests.
#[allow(unused_extern_crates, reason = "tests and documentation derive through it")]
extern crate self as diptych;

mod authentication;
mod clock;
mod columns;
mod command_line;
pub mod compose;
mod correction;
mod jobs;
mod metrics;
mod place;
mod policing;
mod problems;
mod progress_line;
mod roles;
mod running;
mod serve;
mod service;
mod store;
pub mod testing;
mod verb;

pub use clock::SystemClock;
pub use diptych_command as command;
pub use diptych_core as core;
pub use diptych_couch as couch;
pub use diptych_http as http;
pub use diptych_macros::{Command, Data, Event, EventSet, Id, ReadModel, Rejection, Scalar};
pub use diptych_ops as ops;
pub use diptych_policy as policy;
pub use diptych_postgres as postgres;
pub use diptych_projector as projector;
pub use diptych_query as query;
pub use diptych_sqlite as sqlite;
pub use place::{Database, Place};
pub use roles::{Role, Roles};
pub use running::Running;
pub use service::{Config, GroupTables, Service};
pub use store::{Models, Store};
pub use verb::{Verb, VerbError, VerbFuture};

/// Everything that a service's code names, in one import.
pub mod prelude {
    pub use crate::{Config, Role, Roles, Running, Service};
    pub use diptych_command::{
        Boundary, Command, Context, Decider, Editions, Facts, HandleError, Persistence, Receipt, Reference,
        Rejection, Request, Standing, StateColumn, StoredState,
    };
    pub use diptych_core::{
        Currency, Event, EventSet, Fact, Id, Money, PolicyAttribute, Position, Principal, Scalar, TagQuery,
        Tenant, Timestamp, Token, Version,
    };
    pub use diptych_macros::{Command, Data, Event, EventSet, Id, ReadModel, Rejection, Scalar};
    pub use diptych_ops::{Job, RowsFormat};
    pub use diptych_policy::{Jwt, Policies};
    pub use diptych_query::{
        Answer, Dialect, JoinedProjection, Page, Projection, ReadModel, Route, Siblings, SqlProjection,
    };
    pub use std::process::ExitCode;
}

/// What derived code names. Not for people: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use diptych_command as command;
    pub use diptych_core as core;
    pub use diptych_query as query;
    pub use schemars;
    pub use serde;
    pub use serde_json;
}

/// The guide's programs, compiled and run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/start.md")]
mod start_guide {}

/// The pages on evolution, compiled and run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/evolution.md")]
mod evolution_guide {}

/// The same for the page on persistence.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/persistence.md")]
mod persistence_guide {}

/// The programs of the page on invariants across streams.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/invariants.md")]
mod invariants {}

/// The page on jobs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs.md")]
mod jobs_guide {}

/// The page on reference data.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/reference-data.md")]
mod reference_data {}

/// The page on documents.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/documents.md")]
mod documents {}
