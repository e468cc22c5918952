//! Kills the real server while it does commands that it accepted before, over PostgreSQL: each accepted one
//! is done exactly once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use support::later::kill_and_prove;
use support::postgres::fresh;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_done_exactly_once() {
    kill_and_prove(&fresh()).await;
}
