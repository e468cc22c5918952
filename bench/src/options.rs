//! The command line of the benchmarks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [options]

  --only 3,4,5      only these ratios, by their numbers in docs/performance.md
  --runs N          how often each is measured; the median counts (default 3)
  --quick           smaller sizes and shorter slices, to see that everything works
  --events N        events of the log that is rebuilt (default 1000000)
  --rows N          accounts of that log, which are the rows of the read model (default 100000)
  --seconds S       length of one slice of a timed measure (default 2)
  --directory DIR   where the stores are made; choose a real disk (default target/bench-stores)
  --json            one JSON document instead of the table
";

/// The numbers of the ratios that are measured here.
pub(crate) const NUMBERS: &[u32] = &[1, 3, 4, 5, 7, 8, 9, 10, 11, 12];

/// What to measure, and how large.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) only: BTreeSet<u32>,
    pub(crate) runs: usize,
    pub(crate) quick: bool,
    pub(crate) events: usize,
    pub(crate) rows: usize,
    pub(crate) slice: Duration,
    pub(crate) directory: PathBuf,
    pub(crate) json: bool,
}

impl Options {
    /// Whether a ratio is asked for.
    pub(crate) fn wants(&self, number: u32) -> bool {
        self.only.contains(&number)
    }
}

/// Reads the arguments; none when help is asked for.
pub(crate) fn parse(arguments: &[String]) -> Result<Option<Options>, String> {
    let (mut events, mut rows, mut seconds, mut runs) = (None, None, None, None);
    let mut options = Options {
        only: NUMBERS.iter().copied().collect(),
        runs: 3,
        quick: false,
        events: 0,
        rows: 0,
        slice: Duration::ZERO,
        directory: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-stores"),
        json: false,
    };
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("`{option}` needs a value"));
        match option.as_str() {
            "--only" => options.only = numbers(value()?)?,
            "--runs" => runs = Some(positive(option, value()?)?),
            "--events" => events = Some(positive(option, value()?)?),
            "--rows" => rows = Some(positive(option, value()?)?),
            "--seconds" => seconds = Some(slice(option, value()?)?),
            "--directory" => options.directory = PathBuf::from(value()?),
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            "-h" | "--help" | "help" => return Ok(None),
            other => return Err(format!("unexpected argument `{other}`: `--help` lists them")),
        }
    }
    let quick = options.quick;
    options.events = events.unwrap_or(if quick { 100_000 } else { 1_000_000 });
    options.rows = rows.unwrap_or(if quick { 10_000 } else { 100_000 });
    options.slice = seconds.unwrap_or(Duration::from_millis(if quick { 500 } else { 2_000 }));
    options.runs = runs.unwrap_or(if quick { 1 } else { 3 });
    if options.events < 2 * options.rows {
        return Err("`--events` must be at least twice `--rows`: every account is opened first".to_owned());
    }
    Ok(Some(options))
}

fn numbers(text: &str) -> Result<BTreeSet<u32>, String> {
    let number = |part: &str| {
        let known = part.trim().parse().ok().filter(|number| NUMBERS.contains(number));
        known.ok_or_else(|| format!("`--only` knows {NUMBERS:?}, not `{part}`"))
    };
    text.split(',').map(number).collect()
}

fn positive(option: &str, text: &str) -> Result<usize, String> {
    let number = text.replace('_', "").parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{option} {text}` is not a positive whole number"))
}

fn slice(option: &str, text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.05..=600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("`{option} {text}` is not 0.05 to 600 seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn everything_is_measured_at_full_size_unless_told() {
        let options = parsed("").expect("no argument is wrong").expect("help was not asked for");
        assert_eq!((options.events, options.rows, options.runs), (1_000_000, 100_000, 3));
        assert!(NUMBERS.iter().all(|number| options.wants(*number)));
    }

    #[test]
    fn a_size_that_is_given_stands_also_when_quick() {
        let options = parsed("--quick --events 50_000 --only 3,5").expect("all known").expect("no help");
        assert_eq!((options.events, options.rows, options.runs), (50_000, 10_000, 1));
        assert!(options.wants(3) && !options.wants(4));
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (line, named) in [
            ("--only 2", "`2`"),
            ("--runs 0", "`--runs 0`"),
            ("--events", "`--events` needs"),
            ("--seconds x", "`--seconds x`"),
            ("--slow", "`--slow`"),
            ("--events 10", "twice"),
        ] {
            let message = parsed(line).expect_err(line);
            assert!(message.contains(named), "{message}");
        }
    }
}
