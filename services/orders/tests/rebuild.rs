//! Kills the real server while its read models are built anew under commands: the next one goes on, nothing
//! is lost, and the old build answers again when it is told to.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use support::folder::Folder;
use support::rebuilding::kill_and_prove;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_rebuild_goes_on() {
    kill_and_prove(&Folder::new("rebuild").store()).await;
}
