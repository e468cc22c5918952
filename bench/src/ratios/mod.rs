//! The ratios of docs/performance.md, each in a file of its own. Those that need the same large log share it.

mod codec;
mod commands;
mod documents;
mod foreground;
mod large;
mod length;
mod peers;
mod policies;
mod postgres;
mod read;
mod visible;

use crate::Outcome;
use crate::database;
use crate::measure::{Line, Report, Store};
use crate::options::Options;
use crate::reference::bare::scan;
use crate::stores::{Place, open};
use diptych::Running;
use std::time::Instant;

const MODEL: &str = "account_summary";

/// The same model as a group of three tables.
const GROUP: &str = "account_group";

/// The product's batches at most, and so the bare transactions.
const BATCH_EVENTS_MAX: usize = 10_000;

/// How often a run is done again because the disk changed its speed in the middle.
const REPEATS_MAX: usize = 3;

/// Measures what is asked for, in the order of the numbers, store by store.
pub(crate) async fn run(options: &Options) -> Outcome<Report> {
    std::fs::create_dir_all(&options.directory)?;
    if options.peers() {
        return peers::run(options).await;
    }
    let mut report = Report::default();
    if options.on(Store::Sqlite) {
        report.lines.extend(on_sqlite(options).await?);
    }
    if options.on(Store::Postgres) {
        match database::server() {
            Some(server) => {
                report.notes.push(database::describe(&server).await?);
                report.lines.extend(postgres::run(options, &server).await?);
            }
            None => report
                .notes
                .push(format!("nothing was measured on PostgreSQL: {} names no server", database::URL)),
        }
    }
    report.lines.sort_by_key(|line| (line.store, number(line.number)));
    Ok(report)
}

async fn on_sqlite(options: &Options) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    if [3, 4, 5].iter().any(|number| options.wants(*number)) {
        lines.extend(commands::measure(options).await?);
    }
    if [1, 7, 8, 10].iter().any(|number| options.wants(*number)) {
        lines.extend(large::measure(options).await?);
    }
    if options.wants(9) {
        lines.push(codec::measure(options)?);
    }
    if options.wants(11) {
        lines.extend(length::measure(options).await?);
    }
    if options.wants(12) {
        lines.extend(visible::on_sqlite(options).await?);
    }
    if options.wants(15) {
        let place = Place::new(&options.directory, "foreground")?;
        let scan = async || scan(&place.log());
        lines.extend(foreground::measure(options, open(&place, true).await?, scan).await?);
    }
    if options.wants(17) {
        lines.extend(policies::on_sqlite(options).await?);
    }
    if options.wants(18) {
        lines.extend(documents::on_sqlite(options).await?);
    }
    Ok(lines)
}

/// Builds a group from the start of the log. Answers the events in a second.
async fn build(running: &Running, name: &str, events: usize) -> Outcome<f64> {
    running.projector().reset(name).await?;
    let started = Instant::now();
    let drained = running.projector().drain(name).await?;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    if drained.through.0 != events as u64 {
        return Err(format!("the build of `{name}` ended at {} of {events}", drained.through).into());
    }
    Ok(rate)
}

async fn catch_up(running: &Running, name: &str, events: usize) -> Outcome<f64> {
    let started = Instant::now();
    running.projector().drain(name).await?;
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

/// Tells whoever waits what is being done.
fn say(what: impl AsRef<str>) {
    eprintln!("bench: {}", what.as_ref());
}

/// The number before a line's variant.
fn number(text: &str) -> u32 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}
