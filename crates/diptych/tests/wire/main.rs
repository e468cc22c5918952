//! The wire contract on the embedded store: the exact names, orders and statuses that clients rely on.
#![allow(clippy::enum_variant_names, reason = "events are called what they are stored as")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod client;
mod commands;
mod contracts;
mod decisions;
mod later;
mod queries;
#[allow(unreachable_pub, reason = "the file is shared with tests that are crates of their own")]
#[path = "../support/mod.rs"]
mod support;
