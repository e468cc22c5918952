//! What the proofs of this service share, also with those of the orders service: a folder of their own, a
//! small HTTP client, the real server, stories that run as told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(dead_code, reason = "each test program uses its own part")]

#[path = "../../../orders/tests/support/folder.rs"]
pub(crate) mod folder;
#[path = "../../../orders/tests/support/http.rs"]
pub(crate) mod http;
#[path = "../../../orders/tests/support/postgres.rs"]
pub(crate) mod postgres;
#[path = "../../../orders/tests/support/server.rs"]
pub(crate) mod server;
#[path = "../../../orders/tests/support/told.rs"]
pub(crate) mod told;
