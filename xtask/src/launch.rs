//! The long programs: crash test and benchmarks, built in release. Not part of `ci`, which runs a few kills
//! among the tests and only checks that the benchmarks compile.

use std::path::Path;

use crate::environment;
use crate::process::{cargo, succeeds};

const KILLS_DEFAULT: u32 = 50;

const CRASH_TEST: &[&str] = &["test", "--release", "-p", "orders", "--test", "crash", "--", "--nocapture"];

/// What the crash test is told through its environment.
#[derive(Debug, PartialEq, Eq)]
struct CrashPlan {
    kills: u32,
    seed: Option<u64>,
}

/// Kills the real server under load, many times, and checks what is left.
pub(crate) fn crash(root: &Path, arguments: &[String]) -> Result<bool, String> {
    let plan = crash_plan(arguments)?;
    let mut command = cargo(root, CRASH_TEST);
    command.env("DIPTYCH_CRASH_KILLS", plan.kills.to_string());
    if let Some(seed) = plan.seed {
        command.env("DIPTYCH_CRASH_SEED", seed.to_string());
    }
    println!("crash: {} kills", plan.kills);
    succeeds(&mut command)
}

const BENCH: &[&str] = &["run", "--release", "--locked", "--manifest-path", "bench/Cargo.toml", "--"];
const PEERS: &[&str] = &["build", "--release", "--locked", "--manifest-path", "bench/peers/Cargo.toml"];

/// What the arguments of the benchmarks say about PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Postgres {
    /// It is not measured.
    Unwanted,
    /// It is measured where there is one.
    Wanted,
    /// Nothing else was asked for.
    Needed,
}

/// Runs the benchmarks, which live outside of the workspace so that what they are measured against never
/// slows the main build; with a private PostgreSQL, unless the environment names one.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Result<bool, String> {
    let own = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    if own.iter().any(|argument| argument == "--peers") && !succeeds(&mut cargo(root, PEERS))? {
        return Err("the peers could not be built".to_owned());
    }
    let server = match postgres_of(own) {
        Postgres::Unwanted => None,
        wanted => match environment::server() {
            Ok(server) => server,
            Err(message) if wanted == Postgres::Needed => return Err(message),
            Err(message) => {
                eprintln!("bench: NOTHING IS MEASURED ON POSTGRESQL, it cannot be started: {message}");
                None
            }
        },
    };
    let mut command = cargo(root, BENCH);
    if let Some(server) = &server {
        command.env(environment::URL, server.url());
    }
    if let Some(fines) = environment::fines(root) {
        command.env(environment::FINES, fines);
    }
    succeeds(command.args(own))
}

fn postgres_of(arguments: &[String]) -> Postgres {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let store = arguments.iter().skip_while(|argument| *argument != "--store").nth(1);
    match store.map(String::as_str) {
        _ if has("--help") || has("-h") || has("help") => Postgres::Unwanted,
        Some("sqlite") => Postgres::Unwanted,
        Some(_) => Postgres::Needed,
        None => Postgres::Wanted,
    }
}

fn crash_plan(arguments: &[String]) -> Result<CrashPlan, String> {
    let mut plan = CrashPlan { kills: KILLS_DEFAULT, seed: None };
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("`{option}` needs a value"));
        match option.as_str() {
            "--kills" => plan.kills = number(option, value()?)?,
            "--seed" => plan.seed = Some(number(option, value()?)?),
            other => {
                return Err(format!("unexpected argument `{other}`: crash takes --kills N and --seed S"));
            }
        }
    }
    if plan.kills == 0 {
        return Err("`--kills 0` would prove nothing: give at least 1".to_owned());
    }
    Ok(plan)
}

fn number<N: std::str::FromStr>(option: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("`{option} {value}` is not a whole number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<CrashPlan, String> {
        crash_plan(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn fifty_kills_and_no_seed_unless_told() {
        assert_eq!(plan(""), Ok(CrashPlan { kills: 50, seed: None }));
        assert_eq!(plan("--seed 7 --kills 3"), Ok(CrashPlan { kills: 3, seed: Some(7) }));
    }

    #[test]
    fn postgres_is_started_for_whoever_measures_on_it() {
        for (line, expected) in [
            ("", Postgres::Wanted),
            ("--runs 3 --peers", Postgres::Wanted),
            ("--store postgres --runs 3", Postgres::Needed),
            ("--runs 3 --store sqlite", Postgres::Unwanted),
            ("--help", Postgres::Unwanted),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(postgres_of(&arguments), expected, "{line}");
        }
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (line, named) in [
            ("--kills", "`--kills` needs a value"),
            ("--kills many", "`--kills many`"),
            ("--kills 0", "`--kills 0`"),
            ("--seed -1", "`--seed -1`"),
            ("--loop", "`--loop`"),
        ] {
            let message = plan(line).expect_err(line);
            assert!(message.contains(named), "{message}");
        }
    }
}
