//! Access policies in force on both stores: commands judged by what is asked and by the state, rows and
//! fields of read models, the record of what came into force.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod changes;
mod commands;
mod rows;
#[allow(unreachable_pub, reason = "the file is shared with tests that are crates of their own")]
#[path = "../support/mod.rs"]
mod support;
mod verbs;
mod world;
