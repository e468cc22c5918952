//! What somebody would write by hand on PostgreSQL, for one application and with care; and bare statements.
//!
//! It checks the expected version, keeps an idempotency key per command, groups commits through one
//! connection, and rebuilds its read model in one transaction with the checkpoint. It knows nothing of the
//! product.

pub(crate) mod bare;
pub(crate) mod commands;
pub(crate) mod copy;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod rebuild;
