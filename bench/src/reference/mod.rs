//! What somebody would write by hand on raw SQLite, for one application and with care: the bar to measure
//! against.
//!
//! It checks the expected version, keeps an idempotency key per command, groups commits, and rebuilds its
//! read model in one transaction with the checkpoint. It knows nothing of the product.

pub(crate) mod bare;
pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod http;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod postgres;
pub(crate) mod rebuild;
