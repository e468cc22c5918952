//! Everything a change must pass, in one run that tells all: a failing step does not stop the others. Adds
//! no check of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{cargo, succeeds};
use crate::testing::{self, Occasion};
use crate::tidy;

const FMT: &[&str] = &["fmt", "--all", "--check"];
const CLIPPY: &[&str] = &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
const BENCH: &[&str] = &["check", "--manifest-path", "bench/Cargo.toml", "--locked"];

/// One finished step.
struct Step {
    name: &'static str,
    passed: bool,
    took: Duration,
}

/// Runs every step, the cheap ones first, and ends with one line that sums up.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let mut steps = vec![
        step("fmt", || succeeds(&mut cargo(root, FMT))),
        step("tidy", || tidy::run(root)),
        step("clippy", || succeeds(&mut cargo(root, CLIPPY))),
    ];
    if root.join("bench/Cargo.toml").is_file() {
        steps.push(step("bench", || succeeds(&mut cargo(root, BENCH))));
    }
    steps.push(step("test", || testing::run(root, Occasion::Ci)));
    println!("{}", summary(&steps));
    Ok(steps.iter().all(|step| step.passed))
}

fn step(name: &'static str, action: impl FnOnce() -> Result<bool, String>) -> Step {
    println!("ci: {name} ...");
    let start = Instant::now();
    let passed = action().unwrap_or_else(|message| {
        eprintln!("ci: {name}: {message}");
        false
    });
    let took = start.elapsed();
    println!("ci: {name} {} in {:.1} s", if passed { "passed" } else { "FAILED" }, took.as_secs_f64());
    Step { name, passed, took }
}

fn summary(steps: &[Step]) -> String {
    let seconds = steps.iter().map(|step| step.took).sum::<Duration>().as_secs_f64();
    let failed: Vec<&str> = steps.iter().filter(|step| !step.passed).map(|step| step.name).collect();
    if failed.is_empty() {
        format!("ci: all {} steps passed in {seconds:.1} s", steps.len())
    } else {
        format!(
            "ci: FAILED: {} ({} of {} steps) in {seconds:.1} s",
            failed.join(", "),
            failed.len(),
            steps.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(name: &'static str, passed: bool) -> Step {
        Step { name, passed, took: Duration::from_millis(1_500) }
    }

    #[test]
    fn the_summary_names_what_failed() {
        assert_eq!(summary(&[done("fmt", true), done("test", true)]), "ci: all 2 steps passed in 3.0 s");
        let summary = summary(&[done("fmt", false), done("tidy", true), done("test", false)]);
        assert_eq!(summary, "ci: FAILED: fmt, test (2 of 3 steps) in 4.5 s");
    }

    #[test]
    fn a_step_that_cannot_run_has_failed() {
        assert!(!step("fmt", || Err("no cargo".to_owned())).passed);
        assert!(step("fmt", || Ok(true)).passed);
    }
}
