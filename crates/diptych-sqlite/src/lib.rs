//! The embedded store: log, ledger and read models on SQLite.
//!
//! One thread appends to `log.db`, many commands in one durable transaction; each asynchronous read model
//! has a file of its own; everyone else reads, through connections that SQLite itself makes read-only.
//! Absent here, on purpose: deciding, projecting and freshness, which the panels do, and any wire.

mod audit;
mod connection;
mod fault;
mod follow;
mod key;
mod ledger;
mod log;
mod models;
mod options;
mod outbox;
mod pool;
mod queue;
mod restore;
mod shared;
mod states;
mod store;
mod writer;

pub use options::{Durability, SqliteLimits, SqliteOptions};
pub use outbox::{Outbox, OutboxFile};
pub use store::SqliteStore;
