//! Runs every test of the workspace and refuses silence: an ignored test, or a run that tested nothing, is
//! a failure. Chooses no subset and knows no single test.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use crate::environment::{Environment, FINES, FINES_FOLDER};
use crate::programs;

/// What tests need beside the code, with what cannot run without it.
const NEEDS: &[(&str, &str)] =
    &[("data/online_retail_ii_2009_2010.csv.gz", "the tests that import the retail log")];

/// The tests over data that may not be copied into the project.
const FINES_TESTS: [&str; 3] = [
    "the_real_log_of_fines_is_taken_and_read_back_whole",
    "the_whole_log_of_fines_comes_in_by_commands_on_postgresql",
    "the_whole_log_of_fines_comes_in_by_commands_on_sqlite",
];

/// Why the tests are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occasion {
    /// Somebody works on the code.
    Test,
    /// A change is to be merged: where data is at hand, it must have been used.
    Ci,
}

/// Prepares the environment, runs every test, and says what could not run.
pub(crate) fn run(root: &Path, occasion: Occasion) -> Result<bool, String> {
    let mut missing = prepare(root);
    // Everything is stopped when this function ends, whatever the tests did.
    let environment = Environment::start(root);
    missing.extend_from_slice(environment.missing());
    let (failed, report) = run_tests(root, &environment)?;
    let mut complaints = judge(&missing, &report);
    complaints.extend(failed);
    for not_run in fines_not_run(environment.has_fines(), &report) {
        if occasion == Occasion::Ci && root.join(FINES_FOLDER).is_dir() {
            complaints.push(not_run);
        } else {
            println!("test: not run: {not_run}");
        }
    }
    for complaint in &complaints {
        eprintln!("test: {complaint}");
    }
    println!("test: {} passed and {} failed in {} runs", report.passed, report.failed, report.runs);
    Ok(complaints.is_empty())
}

/// Names the tests over the log of fines that did not use it.
fn fines_not_run(at_hand: bool, report: &Report) -> Vec<String> {
    let why = if at_hand {
        "it did not pass".to_owned()
    } else {
        format!("{FINES} names no file, and there is none in `{FINES_FOLDER}`")
    };
    let used = |test: &&str| at_hand && report.fines_passed.contains(test);
    let not_run = FINES_TESTS.iter().copied().filter(|test| !used(test));
    not_run.map(|test| format!("the real log of fines (`{test}`): {why}")).collect()
}

/// Looks for everything in `NEEDS` and answers what is missing, in words.
fn prepare(root: &Path) -> Vec<String> {
    let missing = NEEDS.iter().filter(|(path, _)| !root.join(path).is_file());
    missing.map(|(path, what)| format!("{what} could not run: `{path}` is absent")).collect()
}

/// Runs all that could be built, and answers what it said and what it ended with.
fn run_tests(root: &Path, environment: &Environment) -> Result<(Vec<String>, Report), String> {
    let Some(programs) = programs::build(root, environment)? else {
        return Ok((vec!["the tests could not be built".to_owned()], Report::default()));
    };
    let mut report = Report::default();
    let failed = programs::run(programs, |said| report.listen(said, &mut std::io::stdout()))?;
    Ok((failed, report))
}

fn judge(missing: &[String], report: &Report) -> Vec<String> {
    let mut complaints = missing.to_vec();
    for test in &report.ignored {
        complaints.push(format!("`{test}` was ignored: run it in this command, or remove it"));
    }
    if report.runs == 0 {
        complaints.push("no test result was seen: nothing has been proved".to_owned());
    }
    complaints
}

/// What the test programs said about themselves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    heading: String,
    named_in_run: usize,
    ignored: Vec<String>,
    passed: usize,
    failed: usize,
    runs: usize,
    fines_passed: Vec<&'static str>,
}

impl Report {
    /// Passes what a program said through, line by line, and reads the results out of it.
    fn listen(&mut self, said: impl Read, echo: &mut dyn Write) -> std::io::Result<()> {
        let mut said = BufReader::new(said);
        let mut line = Vec::new();
        while said.read_until(b'\n', &mut line)? > 0 {
            echo.write_all(&line)?;
            self.read(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(())
    }

    fn read(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if let Some(program) = trimmed.strip_prefix("Running ").or_else(|| trimmed.strip_prefix("Doc-tests "))
        {
            self.heading = program.to_owned();
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.finish_run(result);
        } else if let Some(test) = line.strip_prefix("test ") {
            let passed = |name: &&str| test.strip_prefix(*name) == Some(" ... ok");
            self.fines_passed.extend(FINES_TESTS.into_iter().find(passed));
            if let Some(name) = ignored_name(test) {
                self.named_in_run += 1;
                self.ignored.push(format!("{name} ({})", self.heading));
            }
        }
    }

    fn finish_run(&mut self, result: &str) {
        self.runs += 1;
        self.passed += count(result, "passed");
        self.failed += count(result, "failed");
        let unnamed = count(result, "ignored").saturating_sub(self.named_in_run);
        if unnamed > 0 {
            self.ignored.push(format!("{unnamed} unnamed ({})", self.heading));
        }
        self.named_in_run = 0;
    }
}

/// The name in `name ... ignored` or `name ... ignored, reason`.
fn ignored_name(test: &str) -> Option<&str> {
    let (name, outcome) = test.rsplit_once(" ... ")?;
    let ignored = outcome == "ignored" || outcome.starts_with("ignored,");
    ignored.then_some(name)
}

/// The number before a word in `ok. 5 passed; 0 failed; 2 ignored; …`.
fn count(result: &str, word: &str) -> usize {
    let words: Vec<&str> = result.split([' ', ';', '.']).filter(|part| !part.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "     Running unittests src/lib.rs (target/debug/deps/core-1)\n\
        test money::adds ... ok\n\
        test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    const IGNORING: &str = "   Doc-tests diptych_core\n\
        test src/money.rs - Money (line 7) ... ignored\n\
        test slow ... ignored, takes minutes\n\
        test result: ok. 2 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    fn report(output: &str) -> Report {
        let mut report = Report::default();
        output.lines().for_each(|line| report.read(line));
        report
    }

    #[test]
    fn a_clean_run_has_no_complaints() {
        let report = report(CLEAN);
        assert_eq!((report.passed, report.failed, report.runs), (1, 0, 1));
        assert_eq!(judge(&[], &report), Vec::<String>::new());
    }

    #[test]
    fn ignored_tests_are_named_with_their_program_and_the_rest_is_counted() {
        let report = report(&format!("{CLEAN}{IGNORING}"));
        assert_eq!((report.passed, report.failed, report.runs), (3, 1, 2));
        let expected = [
            "src/money.rs - Money (line 7) (diptych_core)",
            "slow (diptych_core)",
            "1 unnamed (diptych_core)",
        ];
        assert_eq!(report.ignored, expected);
        assert_eq!(judge(&[], &report).len(), 3);
    }

    #[test]
    fn silence_and_missing_needs_are_complaints() {
        let missing = prepare(Path::new("no/such/checkout"));
        assert!(missing[0].contains("could not run: `data/online_retail"), "{missing:?}");
        let complaints = judge(&missing, &Report::default());
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn data_that_is_not_the_projects_is_used_where_it_is_or_its_absence_told() {
        let lines = |ending: &str| FINES_TESTS.map(|test| format!("test {test} ... {ending}\n"));
        let used = report(&lines("ok").concat());
        assert!(fines_not_run(true, &used).is_empty());
        let [_, second, third] = lines("ok");
        let failed = fines_not_run(true, &report(&format!("{second}{third}")));
        assert!(failed.len() == 1 && failed[0].contains(FINES_TESTS[0]), "{failed:?}");
        assert!(failed[0].contains("did not pass"), "{failed:?}");
        assert_eq!(fines_not_run(true, &report(&lines("FAILED").concat())).len(), FINES_TESTS.len());
        // Where there is no file the tests pass without it, which proves nothing.
        let absent = fines_not_run(false, &used);
        assert!(absent.len() == FINES_TESTS.len() && absent[0].contains(FINES), "{absent:?}");
    }

    #[test]
    fn output_that_is_not_utf8_does_not_end_the_reading() {
        let mut output = b"\xff\xfe\n".to_vec();
        output.extend_from_slice(CLEAN.as_bytes());
        let mut echo = Vec::new();
        let mut report = Report::default();
        report.listen(output.as_slice(), &mut echo).expect("a slice can always be read");
        assert_eq!(echo, output);
        assert_eq!(report.runs, 1);
    }
}
