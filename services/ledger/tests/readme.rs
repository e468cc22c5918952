//! The README is true: its story runs as it stands there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use support::folder::Folder;
use support::server::{Server, run, said};
use support::told::{run_as_told, story};

const README: &str = include_str!("../README.md");

#[tokio::test]
async fn the_story_of_the_readme_runs_as_told() {
    let folder = Folder::new("readme");
    let given = run(&folder.store(), &["scenario"]).await;
    assert_eq!(given.status.code(), Some(0), "{}", said(&given));
    let server = Server::start_with(&folder.store(), &[]).await;
    let story = story(README);
    assert!(story.len() >= 7, "the README tells the whole story");
    run_as_told(&story, &server).await;
    server.terminate().await;
}
