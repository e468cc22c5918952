//! The long programs: crash test and benchmarks, built in release. Not part of `ci`, which runs a few kills
//! among the tests and only checks that the benchmarks compile.

use std::path::Path;

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

/// Runs the benchmarks, which live outside of the workspace so that their peers never slow the main build.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Result<bool, String> {
    let mut command = cargo(root, &["run", "--release", "--manifest-path", "bench/Cargo.toml", "--"]);
    let own = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    succeeds(command.args(own))
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
