//! Calls that lose a caller's request, read a clock in pure code, hope in tests, or skip a test. Judges the
//! words of the code, not types: a method of the same name is refused too.

use super::source::{Source, Token};
use super::{Finding, RustFile, is_product_source};

/// Crates in which time is an argument.
const CLOCKLESS: &[&str] =
    &["crates/diptych-core/src/", "crates/diptych-query/src/", "crates/diptych-macros/src/"];

/// Libraries that may write to standard output, because they are the command line.
const SPEAKING: &[&str] = &["crates/diptych-ops/src/", "crates/diptych/src/"];

/// A pattern of code, where it is refused, and what to do instead.
struct Ban {
    pattern: &'static str,
    applies: fn(&str, &Token) -> bool,
    advice: &'static str,
}

const CLOCK_ADVICE: &str = "reads a clock in a pure crate: take the time as an argument";
const UNFINISHED_ADVICE: &str = "is unfinished work: finish it, or open an issue and return an error";
const PRINT_ADVICE: &str = "writes to standard output from a library: return the value, or use `tracing`";
const SLEEP_ADVICE: &str = "is luck, not a test: wait for the thing itself, by a channel or a bounded poll";

const BANS: &[Ban] = &[
    Ban {
        pattern: ".unwrap()",
        applies: in_product,
        advice: "loses the caller's request: return an error, or say why it holds with `expect(\"…\")`",
    },
    Ban { pattern: "todo!", applies: in_product, advice: UNFINISHED_ADVICE },
    Ban { pattern: "unimplemented!", applies: in_product, advice: UNFINISHED_ADVICE },
    Ban { pattern: "dbg!", applies: in_product, advice: "was for one moment only: remove it" },
    Ban { pattern: "SystemTime::now", applies: in_clockless, advice: CLOCK_ADVICE },
    Ban { pattern: "Instant::now", applies: in_clockless, advice: CLOCK_ADVICE },
    Ban { pattern: "Timestamp::now", applies: in_clockless, advice: CLOCK_ADVICE },
    Ban { pattern: "Zoned::now", applies: in_clockless, advice: CLOCK_ADVICE },
    Ban { pattern: "println!", applies: in_silent_library, advice: PRINT_ADVICE },
    Ban { pattern: "print!", applies: in_silent_library, advice: PRINT_ADVICE },
    Ban { pattern: "thread::sleep", applies: in_test, advice: SLEEP_ADVICE },
    Ban { pattern: "time::sleep", applies: in_test, advice: SLEEP_ADVICE },
    Ban { pattern: "sleep(", applies: in_test, advice: SLEEP_ADVICE },
    Ban { pattern: "#[ignore", applies: |_, _| true, advice: "skips a test silently: run it, or remove it" },
];

/// Finds forbidden calls in Rust code, and examples in its comments that are not compiled.
pub(super) fn check(files: &[RustFile<'_>]) -> Vec<Finding> {
    files.iter().flat_map(|file| in_file(file.path, &file.source)).collect()
}

/// Finds fenced examples in Markdown that are not compiled when the page is included as documentation.
pub(super) fn check_page(path: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().enumerate().filter(|(_, line)| is_ignored_example(line));
    lines.map(|(index, _)| ignored_example(path, index + 1)).collect()
}

fn in_file(path: &str, source: &Source) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for ban in BANS {
        for (index, token) in source.finds(ban.pattern) {
            let before = index.checked_sub(1).map(|before| source.tokens[before].text.as_str());
            // A function or method that is named `sleep` is another one.
            let other = ban.pattern == "sleep(" && matches!(before, Some("." | "fn" | ":"));
            if !other && (ban.applies)(path, token) {
                let message = format!("`{}` {}", ban.pattern, ban.advice);
                findings.push(Finding::new(path, token.line, message));
            }
        }
    }
    let examples = source
        .comments
        .iter()
        .filter(|(_, comment)| is_ignored_example(comment.trim_start_matches(['/', '!', '*'])));
    findings.extend(examples.map(|(line, _)| ignored_example(path, *line)));
    findings
}

/// Whether a line opens a fenced block whose words name `ignore`.
fn is_ignored_example(line: &str) -> bool {
    let fence = line.trim().strip_prefix("```");
    fence.is_some_and(|words| words.split([',', ' ', '{', '}']).any(|word| word.starts_with("ignore")))
}

fn ignored_example(path: &str, line: usize) -> Finding {
    Finding::new(path, line, "an `ignore` example is never compiled: make it run, or use `text`")
}

fn in_product(path: &str, token: &Token) -> bool {
    is_product_source(path) && !token.in_test
}

fn in_clockless(path: &str, token: &Token) -> bool {
    !token.in_test && CLOCKLESS.iter().any(|folder| path.starts_with(folder))
}

fn in_silent_library(path: &str, token: &Token) -> bool {
    let speaks = SPEAKING.iter().any(|folder| path.starts_with(folder));
    path.starts_with("crates/") && is_product_source(path) && !speaks && !token.in_test
}

fn in_test(_: &str, token: &Token) -> bool {
    token.in_test
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(path: &str, text: &str, refused: &[(usize, &str)]) {
        let findings = check(&[RustFile::parse(path, text)]);
        assert_eq!(findings.len(), refused.len(), "{findings:?}");
        for (finding, (line, word)) in findings.iter().zip(refused) {
            assert_eq!(finding.line, *line, "{finding:?}");
            assert!(finding.message.contains(word), "{finding:?}");
        }
    }

    #[test]
    fn requests_are_not_lost_in_product_source() {
        let text = "//! a\nfn a() {\n    b\n        .unwrap();\n    todo!();\n    dbg!(unimplemented!());\n}";
        let refused = [(4, ".unwrap()"), (5, "todo!"), (6, "unimplemented!"), (6, "dbg!")];
        check_one("crates/diptych-http/src/a.rs", text, &refused);
        check_one("services/orders/src/a.rs", text, &refused);
        check_one("crates/diptych-http/tests/a.rs", text, &[]);
        check_one(
            "crates/diptych-http/src/a.rs",
            "/// `a.unwrap()`\nfn a() { \".unwrap()\"; b.unwrap_or(1) }",
            &[],
        );
        check_one("crates/diptych-http/src/a.rs", "#[cfg(test)]\nmod tests { fn a() { b.unwrap() } }", &[]);
    }

    #[test]
    fn pure_crates_read_no_clock() {
        let text = "fn a() { std::time::SystemTime::now(); Instant::now(); Timestamp::now() }";
        let refused = [(1, "SystemTime::now"), (1, "Instant::now"), (1, "Timestamp::now")];
        check_one("crates/diptych-core/src/time.rs", text, &refused);
        check_one("crates/diptych-query/src/fold.rs", text, &refused);
        check_one("crates/diptych-sqlite/src/time.rs", text, &[]);
    }

    #[test]
    fn libraries_do_not_print() {
        let text = "fn a() { println!(); print!(\"\"); eprintln!() }";
        check_one("crates/diptych-sqlite/src/a.rs", text, &[(1, "println!"), (1, "print!")]);
        for path in ["crates/diptych-ops/src/a.rs", "crates/diptych/src/a.rs", "services/runs/src/main.rs"] {
            check_one(path, text, &[]);
        }
    }

    #[test]
    fn tests_do_not_sleep_and_are_not_ignored() {
        let path = "crates/diptych-sqlite/tests/a.rs";
        check_one(path, "fn a() { std::thread::sleep(x) }", &[(1, "thread::sleep")]);
        check_one(
            path,
            "use tokio::time::sleep;\nfn a() {\n sleep(x).await }",
            &[(1, "time::sleep"), (3, "sleep(")],
        );
        check_one(path, "fn a() { clock.sleep(x) }", &[]);
        check_one("crates/diptych-sqlite/src/a.rs", "fn a() { std::thread::sleep(x) }", &[]);
        check_one(path, "#[test]\n#[ignore = \"slow\"]\nfn a() {}", &[(2, "#[ignore")]);
    }

    #[test]
    fn examples_are_compiled() {
        let path = "crates/diptych-core/src/a.rs";
        check_one(path, "/// a\n/// ```ignore\n/// b\n/// ```\nfn a() {}", &[(2, "ignore")]);
        check_one(path, "//! ```rust,ignore\n//! ```", &[(1, "ignore")]);
        check_one(path, "/// ```text\n/// ignore\n/// ```", &[]);
        assert_eq!(check_page("README.md", "a\n```rust,ignore\n```\n").len(), 1);
        assert_eq!(check_page("README.md", "```sh\nignore\n```\n").len(), 0);
    }
}
