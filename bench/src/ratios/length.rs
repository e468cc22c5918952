//! Ratio 11: a command on a long stream against one on a short stream, with the state at hand and without it.

use super::say;
use crate::Outcome;
use crate::callers::Caller;
use crate::loader::Loader;
use crate::measure::{Line, Sample, Target, percentile};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::stores::{Place, open_with_snapshots};
use crate::workload::Workload;
use std::time::Instant;

const LONG_EVENTS: usize = 10_000;
const SHORT_EVENTS: usize = 10;
const EVENTS_PER_COMMAND: usize = 1_000;
const COMMANDS: usize = 400;

const LONG: usize = 0;
const SHORT: usize = 1;
/// Takes the very first command after a start, whose costs are the process's and no stream's.
const OTHER: usize = 2;
const ACCOUNTS: usize = 3;

/// The median latency of one caller's commands, long and short in turns; and of the first after opening the
/// store.
pub(crate) async fn measure(options: &Options) -> Outcome<Vec<Line>> {
    say("11: long and short streams");
    let place = Place::new(&options.directory, "length")?;
    let running = open_with_snapshots(&place).await?;
    let mut loader = Loader::new(ACCOUNTS);
    for _ in 0..LONG_EVENTS / EVENTS_PER_COMMAND {
        loader.lengthen(&**running.store(), LONG, EVENTS_PER_COMMAND).await?;
    }
    loader.lengthen(&**running.store(), SHORT, SHORT_EVENTS).await?;
    loader.lengthen(&**running.store(), OTHER, SHORT_EVENTS).await?;
    // What comes past deciders leaves no snapshots: one command brings the one that is due.
    let mut workload = Workload::new(ACCOUNTS, 11);
    Caller::of(&running).give(LONG, workload.next()).await?;
    running.stop().await?;
    let mut warm =
        Line::new("11", "command on 10,000 events / on 10, state at hand", "us, median", Target::AtMost(1.3));
    let what = "the same from a snapshot, first command after a start";
    let mut cold = Line::new("11 (cold)", what, "us", Target::AtMost(1.3));
    for run in 0..options.runs {
        let before = fdatasync_per_second(place.path())?;
        let running = open_with_snapshots(&place).await?;
        let caller = Caller::of(&running);
        caller.give(OTHER, workload.next()).await?;
        let turns = if run % 2 == 0 { [SHORT, LONG] } else { [LONG, SHORT] };
        let mut first = [0.0, 0.0];
        let mut times = [Vec::new(), Vec::new()];
        for number in 0..COMMANDS {
            for account in turns {
                let started = Instant::now();
                caller.give(account, workload.next()).await?;
                let took = started.elapsed();
                if number == 0 {
                    first[account] = took.as_secs_f64() * 1e6;
                } else {
                    times[account].push(took);
                }
            }
        }
        running.stop().await?;
        let after = fdatasync_per_second(place.path())?;
        let [long, short] = times.map(|mut times| percentile(&mut times, 0.5));
        warm.samples.push(Sample::of(long, short).probe(before, after));
        cold.samples.push(Sample::of(first[LONG], first[SHORT]).probe(before, after));
    }
    Ok(vec![warm, cold])
}
