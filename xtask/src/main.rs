//! All automation of the workspace, one subcommand each. Holds no product code: no crate and no service
//! depends on it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks on its standard streams"
)]

use std::path::PathBuf;
use std::process::ExitCode;

mod certificates;
mod ci;
mod environment;
mod launch;
mod pooler;
mod postgres;
mod pouchdb;
mod process;
mod programs;
mod server;
mod sweeper;
mod testing;
mod tidy;

use testing::Occasion;

const USAGE: &str = "\
usage: cargo xtask <subcommand>

  test                          run every test of the workspace, doc tests included; none may be ignored
  tidy                          check edges between crates, sizes, root files, forbidden calls, headers, codes
  ci                            fmt, tidy, clippy, bench, test, with the duration of each: what .ci/run calls
  crash [--kills N] [--seed S]  kill -9 the orders server N times (default 50) under load, check what is left
  bench [arguments]             run the benchmarks in release, with a private PostgreSQL, arguments passed on
  postgres -- COMMAND           run a command with a private PostgreSQL and a pooler before it: their URLs are
                                in DIPTYCH_POSTGRES_URL and DIPTYCH_PGBOUNCER_URL, and the program of a
                                document server is in DIPTYCH_POUCHDB_SERVER
  server [--tls WHERE]          a private PostgreSQL that a test may stop, by `stop at once` and `start` on
                                standard input
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one subcommand: `Ok(false)` when it ran and found something wrong, `Err` when it could not run.
fn dispatch(arguments: &[String]) -> Result<bool, String> {
    let root = root();
    let Some((subcommand, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(true);
    };
    match subcommand.as_str() {
        "test" => without_arguments(rest).and_then(|()| testing::run(&root, Occasion::Test)),
        "tidy" => without_arguments(rest).and_then(|()| tidy::run(&root)),
        "ci" => without_arguments(rest).and_then(|()| ci::run(&root)),
        "crash" => launch::crash(&root, rest),
        "bench" => launch::bench(&root, rest),
        "postgres" => environment::around(&root, rest),
        "server" => server::run(rest),
        programs::NOTE => programs::note(rest),
        "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(true)
        }
        other => Err(format!("no subcommand `{other}`: `cargo xtask --help` lists them")),
    }
}

fn without_arguments(rest: &[String]) -> Result<(), String> {
    match rest.first() {
        None => Ok(()),
        Some(first) => Err(format!("unexpected argument `{first}`: this subcommand takes none")),
    }
}

fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn no_arguments_and_help_print_the_subcommands() {
        assert_eq!(dispatch(&words("")), Ok(true));
        assert_eq!(dispatch(&words("--help")), Ok(true));
        for subcommand in ["test", "tidy", "ci", "crash", "bench", "postgres", "server"] {
            assert!(USAGE.contains(&format!("\n  {subcommand} ")), "{subcommand}");
        }
    }

    #[test]
    fn an_unknown_subcommand_and_a_surplus_argument_are_named() {
        let unknown = dispatch(&words("tset")).expect_err("no such subcommand");
        assert!(unknown.contains("`tset`"), "{unknown}");
        let surplus = dispatch(&words("test --skip slow")).expect_err("test takes no arguments");
        assert!(surplus.contains("`--skip`"), "{surplus}");
    }
}
