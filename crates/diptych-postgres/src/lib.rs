//! The production store: log, ledger and read models on PostgreSQL.
//!
//! One task of each process appends, many commands in one durable transaction under the lock of the head;
//! every model lives in typed tables of the same database; everyone else reads, through connections that
//! PostgreSQL itself makes read-only. Absent here, on purpose: deciding, projecting and freshness, which the
//! panels do, and any wire.

mod audit;
mod connection;
mod fault;
mod ledger;
mod log;
mod migrate;
mod models;
mod notify;
mod options;
mod outbox;
mod pool;
mod queue;
mod restore;
mod shared;
mod states;
mod store;
mod time;
mod tls;
mod url;
mod writer;

pub use options::{Notify, PostgresLimits, PostgresOptions};
pub use outbox::Outbox;
pub use store::PostgresStore;
