//! The command line of the benchmarks.

use crate::measure::Store;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [options]

  --only 3,4,5      only these ratios, by their numbers in docs/performance.md
  --store NAME      only on `sqlite` or only on `postgres` (default both, as far as there is a server)
  --peers           instead, the product beside other event stores: ratios 13 and 14
  --runs N          how often each is measured; the median counts (default 3)
  --quick           smaller sizes and shorter slices, to see that everything works
  --events N        events of the log that is rebuilt (default 1000000; with --peers 20000)
  --rows N          accounts of that log, which are the rows of the read model (default 100000; 2000)
  --seconds S       length of one slice of a timed measure (default 2)
  --directory DIR   where the stores are made; choose a real disk (default target/bench-stores)
  --markdown        the table as Markdown
  --json            one JSON document instead of the table
";

/// The numbers of the ratios that are measured here.
pub(crate) const NUMBERS: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 17, 18];

/// The numbers of the ratios to peers.
pub(crate) const PEER_NUMBERS: &[u32] = &[13, 14];

/// The log that peers build a model from: they take a transaction for each event, so it is a small one.
const PEER_EVENTS: usize = 20_000;
const PEER_ROWS: usize = 2_000;

/// How the report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Table,
    Markdown,
    Json,
}

/// What to measure, and how large.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) only: BTreeSet<u32>,
    pub(crate) stores: BTreeSet<Store>,
    pub(crate) runs: usize,
    pub(crate) quick: bool,
    pub(crate) events: usize,
    pub(crate) rows: usize,
    pub(crate) slice: Duration,
    pub(crate) directory: PathBuf,
    pub(crate) form: Form,
}

impl Options {
    /// Whether a ratio is asked for.
    pub(crate) fn wants(&self, number: u32) -> bool {
        self.only.contains(&number)
    }

    /// Whether anything is to be measured on a store.
    pub(crate) fn on(&self, store: Store) -> bool {
        self.stores.contains(&store)
    }

    /// Whether peers are asked for, which are measured in a run of their own.
    pub(crate) fn peers(&self) -> bool {
        PEER_NUMBERS.iter().any(|number| self.wants(*number))
    }
}

/// Reads the arguments; none when help is asked for.
pub(crate) fn parse(arguments: &[String]) -> Result<Option<Options>, String> {
    let (mut events, mut rows, mut seconds, mut runs, mut only) = (None, None, None, None, None);
    let mut peers = false;
    let mut options = Options {
        only: BTreeSet::new(),
        stores: BTreeSet::from([Store::Sqlite, Store::Postgres]),
        runs: 3,
        quick: false,
        events: 0,
        rows: 0,
        slice: Duration::ZERO,
        directory: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-stores"),
        form: Form::Table,
    };
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("`{option}` needs a value"));
        match option.as_str() {
            "--only" => only = Some(numbers(value()?)?),
            "--store" => options.stores = BTreeSet::from([store(value()?)?]),
            "--peers" => peers = true,
            "--runs" => runs = Some(positive(option, value()?)?),
            "--events" => events = Some(positive(option, value()?)?),
            "--rows" => rows = Some(positive(option, value()?)?),
            "--seconds" => seconds = Some(slice(option, value()?)?),
            "--directory" => options.directory = PathBuf::from(value()?),
            "--quick" => options.quick = true,
            "--markdown" => options.form = Form::Markdown,
            "--json" => options.form = Form::Json,
            "-h" | "--help" | "help" => return Ok(None),
            other => return Err(format!("unexpected argument `{other}`: `--help` lists them")),
        }
    }
    options.only = chosen(only, peers)?;
    let quick = options.quick;
    let (events_default, rows_default) = match (options.peers(), quick) {
        (true, true) => (3_000, 300),
        (true, false) => (PEER_EVENTS, PEER_ROWS),
        (false, true) => (100_000, 10_000),
        (false, false) => (1_000_000, 100_000),
    };
    options.events = events.unwrap_or(events_default);
    options.rows = rows.unwrap_or(rows_default);
    options.slice = seconds.unwrap_or(Duration::from_millis(if quick { 500 } else { 2_000 }));
    options.runs = runs.unwrap_or(if quick { 1 } else { 3 });
    if options.events < 2 * options.rows {
        return Err("`--events` must be at least twice `--rows`: every account is opened first".to_owned());
    }
    Ok(Some(options))
}

fn numbers(text: &str) -> Result<BTreeSet<u32>, String> {
    let number = |part: &str| {
        let known = |number: &u32| NUMBERS.contains(number) || PEER_NUMBERS.contains(number);
        let number = part.trim().parse().ok().filter(known);
        number.ok_or_else(|| format!("`--only` knows {NUMBERS:?} and {PEER_NUMBERS:?}, not `{part}`"))
    };
    text.split(',').map(number).collect()
}

/// The numbers that are measured: those asked for, or all of one kind. Peers are never mixed with the others.
fn chosen(only: Option<BTreeSet<u32>>, peers: bool) -> Result<BTreeSet<u32>, String> {
    let Some(only) = only else {
        return Ok(if peers { PEER_NUMBERS } else { NUMBERS }.iter().copied().collect());
    };
    let of_peers = only.iter().filter(|number| PEER_NUMBERS.contains(number)).count();
    if of_peers != if peers { only.len() } else { 0 } {
        return Err(format!("{PEER_NUMBERS:?} are measured with `--peers`, the others without"));
    }
    Ok(only)
}

fn store(text: &str) -> Result<Store, String> {
    match text {
        "sqlite" => Ok(Store::Sqlite),
        "postgres" => Ok(Store::Postgres),
        other => Err(format!("`--store` knows `sqlite` and `postgres`, not `{other}`")),
    }
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
    fn peers_are_measured_by_themselves() {
        let options = parsed("--peers").expect("known").expect("no help");
        assert!(options.peers() && options.wants(13) && options.wants(14) && !options.wants(3));
        let options = parsed("--store postgres").expect("known").expect("no help");
        assert!(options.on(Store::Postgres) && !options.on(Store::Sqlite) && !options.peers());
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (line, named) in [
            ("--only 16", "`16`"),
            ("--only 13", "`--peers`"),
            ("--peers --only 3,13", "`--peers`"),
            ("--store mysql", "`mysql`"),
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
