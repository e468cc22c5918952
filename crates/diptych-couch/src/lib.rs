//! Read models kept as documents in a server that speaks the CouchDB protocol, such as CouchDB or
//! pouchdb-server. No log, no ledger, no registry: those stay in the home store.
//!
//! [`CouchStore`] keeps the rows, [`Documents`] sends each group to where it lives.

mod address;
mod advance;
mod batch;
mod builds;
mod client;
mod document;
mod documents;
mod export;
mod index;
mod leases;
mod models;
mod money;
mod order;
mod part;
mod plan;
mod read;
mod registry;
mod route;
mod scan;
mod store;

pub use address::Address;
pub use documents::Documents;
pub use store::{CouchLimits, CouchOptions, CouchStore};
