//! Ratios 1, 7, 8 and 10, which share one large log: size on disk, rebuild, live projection, and reading
//! one row.

use super::{BATCH_EVENTS_MAX, GROUP, MODEL, catch_up, read, say};
use crate::Outcome;
use crate::loader::Loader;
use crate::measure::{Line, Sample, Target};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::reference::bare::{Updates, scan};
use crate::reference::rebuild::{Shape, rebuild};
use crate::reference::{live, log};
use crate::stores::{Place, open, sync};
use diptych::Running;
use rusqlite::Connection;
use std::path::Path;
use std::time::Instant;

const SUM_BYTES: &str = "SELECT sum(length(metadata) + length(payload)) FROM event";

/// Loads both logs and measures what is asked for.
pub(crate) async fn measure(options: &Options) -> Outcome<Vec<Line>> {
    let place = Place::new(&options.directory, "large")?;
    let needs_all = [1, 7, 10].iter().any(|number| options.wants(*number));
    let events = if needs_all { options.events } else { 2 * options.rows };
    let mut loader = Loader::new(options.rows);
    let running = open(&place, false).await?;
    say(format!("loading {events} events through the product's store"));
    let started = Instant::now();
    loader.load(&**running.store(), events).await?;
    say(format!("loaded at {:.0} commands/s", events as f64 / started.elapsed().as_secs_f64()));
    running.stop().await?;
    say("loading the reference's log");
    let mut reference = log::open_log(place.path(), options.rows)?;
    log::load(&mut reference, options.rows, events)?;
    let mut lines = vec![size(&place, &reference, events)?];
    drop(reference);
    let running = open(&place, false).await?;
    lines.extend(builds(options, &place, &running, events).await?);
    if options.wants(7) {
        lines.extend(follow(options, &place, &running, &mut loader).await?);
    }
    if options.wants(8) {
        lines.extend(read::measure(options, &place, &running).await?);
    }
    running.stop().await?;
    let wanted = |line: &Line| options.wants(super::number(line.number));
    Ok(lines.into_iter().filter(wanted).collect())
}

/// Ratio 10: bytes of the log's file for each event, ledger included, against the bytes that were asked to
/// be kept.
fn size(place: &Place, reference: &Connection, events: usize) -> Outcome<Line> {
    let mut line = Line::new("10", "log.db / payload + metadata", "bytes/event", Target::AtMost(1.6));
    let product = Connection::open(place.log())?;
    let (stored, asked) = bytes(&product, &place.log())?;
    let (reference_stored, reference_asked) = bytes(reference, &log::path(place.path()))?;
    let each = events as f64;
    line.samples.push(Sample::of(stored / each, asked / each).reference(reference_stored / reference_asked));
    Ok(line)
}

/// The bytes of a log's file once its WAL is written back, and of its payloads and metadata.
fn bytes(connection: &Connection, path: &Path) -> Outcome<(f64, f64)> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        return Err("the log is in use and could not be measured".into());
    }
    let asked: i64 = connection.query_row(SUM_BYTES, [], |row| row.get(0))?;
    Ok((std::fs::metadata(path)?.len() as f64, asked as f64))
}

/// Ratio 1: the first build of the read model, durable at its end, against the raw scan of the same table.
async fn builds(options: &Options, place: &Place, running: &Running, events: usize) -> Outcome<[Line; 2]> {
    let target = Target::AtLeast(0.3);
    let mut line = Line::new("1", "first build of the model / raw scan of the log", "events/s", target);
    let mut group = Line::new("1 (group)", "the same, as a group of three tables", "events/s", target);
    if !options.wants(1) {
        running.projector().drain(MODEL).await?;
        running.projector().drain(GROUP).await?;
        rebuild(place.path(), Shape::One)?;
        rebuild(place.path(), Shape::Group)?;
        return Ok([line, group]);
    }
    // The first scan brings the files into memory, for both sides alike.
    scan(&place.log())?;
    scan(&log::path(place.path()))?;
    for number in 0..options.runs {
        say(format!("1: rebuild, run {} of {}", number + 1, options.runs));
        let before = fdatasync_per_second(place.path())?;
        let baseline = scan(&place.log())?;
        let product = build(place, running, MODEL, events).await?;
        let group_baseline = scan(&place.log())?;
        let group_product = build(place, running, GROUP, events).await?;
        let reference_scan = scan(&log::path(place.path()))?;
        let reference = rebuild(place.path(), Shape::One)? / reference_scan;
        let group_reference = rebuild(place.path(), Shape::Group)? / reference_scan;
        let after = fdatasync_per_second(place.path())?;
        line.samples.push(Sample::of(product, baseline).reference(reference).probe(before, after));
        group
            .samples
            .push(Sample::of(group_product, group_baseline).reference(group_reference).probe(before, after));
    }
    Ok([line, group])
}

/// Builds a group from the start of the log until it is on the disk. Answers the events in a second.
async fn build(place: &Place, running: &Running, name: &str, events: usize) -> Outcome<f64> {
    running.projector().reset(name).await?;
    let started = Instant::now();
    let drained = running.projector().drain(name).await?;
    sync(&place.product().join("models"))?;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    if drained.through.0 != events as u64 {
        return Err(format!("the build of `{name}` ended at {} of {events}", drained.through).into());
    }
    Ok(rate)
}

/// Ratio 7: the model follows new events in batches, against relative updates of an equal table in such
/// batches.
async fn follow(
    options: &Options,
    place: &Place,
    running: &Running,
    loader: &mut Loader,
) -> Outcome<[Line; 2]> {
    let what = "live model, batches of 10,000 / bare relative UPDATEs";
    let mut line = Line::new("7", what, "events/s", Target::AtLeast(0.7));
    let what = "the same, as a group of three tables";
    let mut group = Line::new("7 (group)", what, "events/s", Target::AtLeast(0.7));
    let events = (options.events / 5).max(BATCH_EVENTS_MAX);
    let mut bare = Updates::open(place.path(), options.rows)?;
    for number in 0..options.runs {
        say(format!("7: live, {events} events, run {} of {}", number + 1, options.runs));
        loader.load(&**running.store(), events).await?;
        for shape in [Shape::One, Shape::Group] {
            live::set_back(place.path(), shape, events)?;
        }
        let before = fdatasync_per_second(place.path())?;
        let baseline = bare.run(events, BATCH_EVENTS_MAX)?;
        let product = catch_up(running, MODEL, events).await?;
        let group_product = catch_up(running, GROUP, events).await?;
        let reference = live::follow(place.path(), Shape::One, BATCH_EVENTS_MAX)? / baseline;
        let group_reference = live::follow(place.path(), Shape::Group, BATCH_EVENTS_MAX)? / baseline;
        let after = fdatasync_per_second(place.path())?;
        line.samples.push(Sample::of(product, baseline).reference(reference).probe(before, after));
        group
            .samples
            .push(Sample::of(group_product, baseline).reference(group_reference).probe(before, after));
    }
    Ok([line, group])
}
