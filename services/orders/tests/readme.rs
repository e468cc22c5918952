//! The README is true: its story runs as it stands there, and its program is the one in `services/runs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use support::folder::Folder;
use support::server::Server;
use support::told::{fits, run_as_told, story};

const README: &str = include_str!("../../../README.md");
const PROGRAM: &str = include_str!("../../runs/src/main.rs");

#[tokio::test]
async fn the_story_of_the_readme_runs_as_told() {
    let folder = Folder::new("readme");
    let server = Server::start(&folder.store()).await;
    let story = story(README);
    assert!(story.len() >= 6, "the README tells the whole story");
    run_as_told(&story, &server).await;
    server.terminate().await;
}

#[test]
fn the_program_of_the_readme_is_the_runs_service() {
    let program = PROGRAM.replace("\n#[cfg(test)]\nmod tests;\n", "");
    let shown = README.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(program.as_str()), "copy services/runs/src/main.rs into the README");
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    assert!(fits("a…c", "abbbc"));
    assert!(fits("a…c…", "abcd"));
    assert!(!fits("a…c", "abd"));
    assert!(!fits("abc", "abcd"));
}
