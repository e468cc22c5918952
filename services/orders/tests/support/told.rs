//! Stories in Markdown that run as they stand there: each command with the lines that it is said to print.

use super::server::Server;

/// A command of a text with the lines that it says will be printed.
pub(crate) struct Told {
    pub(crate) command: String,
    output: Vec<String>,
}

/// The commands of every `console` block of a text, in their order.
pub(crate) fn story(text: &str) -> Vec<Told> {
    let mut story: Vec<Told> = Vec::new();
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), story.last_mut()) {
            (Some(command), _) => story.push(Told { command: command.to_owned(), output: Vec::new() }),
            (None, Some(told)) => told.output.push(line.to_owned()),
            (None, None) => panic!("the text shows an output before any command: {line}"),
        }
    }
    story
}

/// Runs a story against a server in one shell, as a reader's does, and compares what it prints with what was
/// told.
pub(crate) async fn run_as_told(story: &[Told], server: &Server) {
    let mut script = String::from("set -u\n");
    for told in story {
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
}

/// Whether a text is what was told, where `…` stands for anything.
pub(crate) fn fits(told: &str, text: &str) -> bool {
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
