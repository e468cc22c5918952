//! The README is true: its story runs as it stands there, and its program is the one in `services/runs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use support::folder::Folder;
use support::server::Server;

const README: &str = include_str!("../../../README.md");
const PROGRAM: &str = include_str!("../../runs/src/main.rs");

/// A command of the README with the lines that it says will be printed.
struct Told {
    command: String,
    output: Vec<String>,
}

fn story() -> Vec<Told> {
    let mut story: Vec<Told> = Vec::new();
    let blocks = README.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), story.last_mut()) {
            (Some(command), _) => story.push(Told { command: command.to_owned(), output: Vec::new() }),
            (None, Some(told)) => told.output.push(line.to_owned()),
            (None, None) => panic!("the README shows an output before any command: {line}"),
        }
    }
    story
}

/// Whether a text is what was told, where `…` stands for anything.
fn fits(told: &str, text: &str) -> bool {
    let mut parts = told.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[tokio::test]
async fn the_story_of_the_readme_runs_as_told() {
    let folder = Folder::new("readme");
    let server = Server::start(&folder.store()).await;
    let story = story();
    assert!(story.len() >= 6, "the README tells the whole story");
    // One shell runs it all, as a reader's does, and marks where each command ends.
    let mut script = String::from("set -u\n");
    for told in &story {
        script.push_str(&told.command.replace("localhost:8080", &server.address.to_string()));
        script.push_str("\necho; echo '--- next ---'\n");
    }
    let shell = tokio::process::Command::new("bash").arg("-c").arg(&script).output().await.unwrap();
    let printed = String::from_utf8(shell.stdout).unwrap();
    let outputs: Vec<_> = printed.split("--- next ---\n").collect();
    assert_eq!(outputs.len(), story.len() + 1, "{printed}");
    for (told, printed) in story.iter().zip(outputs) {
        let lines: Vec<_> = printed.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), told.output.len(), "`{}` printed {lines:?}", told.command);
        for (told_line, line) in told.output.iter().zip(lines) {
            assert!(fits(told_line, line), "`{}`\ntold    {told_line}\nprinted {line}", told.command);
        }
    }
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
