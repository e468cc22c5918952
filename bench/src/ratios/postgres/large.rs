//! Ratios 2 and 7 on PostgreSQL, which share one large log: rebuild and live projection.

use crate::Outcome;
use crate::database::{Connected, Database, probe};
use crate::loader::Loader;
use crate::measure::{Line, Sample, Target};
use crate::options::Options;
use crate::ratios::{BATCH_EVENTS_MAX, GROUP, MODEL, build, catch_up, say};
use crate::reference::postgres::bare::{Updates, scan, scan_reference};
use crate::reference::postgres::{live, log, rebuild};
use crate::stores::open_on;
use diptych::Running;
use std::time::Instant;

/// What autovacuum would have done to a log of some age.
const SETTLE: &str = "VACUUM (ANALYZE) diptych.event; VACUUM (ANALYZE) diptych.stream; \
    VACUUM (ANALYZE) diptych.command; VACUUM (ANALYZE) diptych.command_key";

/// Both logs, the product's and the reference's, in one database.
struct Logs<'a> {
    database: &'a Database,
    admin: Connected,
    running: Running,
    product: Loader,
    reference: log::Loader,
}

/// Loads both logs and measures what is asked for.
pub(super) async fn measure(options: &Options, database: &Database) -> Outcome<Vec<Line>> {
    let admin = database.connect().await?;
    let running = open_on(database, false).await?;
    log::make(&admin, options.rows).await?;
    let (product, reference) = (Loader::new(options.rows), log::Loader::new(options.rows));
    let mut logs = Logs { database, admin, running, product, reference };
    say(format!("loading {} events through the product's store on PostgreSQL", options.events));
    let started = Instant::now();
    logs.product.load(&**logs.running.store(), options.events).await?;
    say(format!("loaded at {:.0} commands/s", options.events as f64 / started.elapsed().as_secs_f64()));
    logs.reference.load(&logs.admin, options.events).await?;
    logs.settle().await?;
    let mut lines = Vec::from(logs.builds(options).await?);
    if options.wants(7) {
        lines.extend(logs.follow(options).await?);
    }
    logs.running.stop().await?;
    Ok(lines.into_iter().filter(|line| options.wants(crate::ratios::number(line.number))).collect())
}

impl Logs<'_> {
    async fn settle(&self) -> Outcome<()> {
        for statement in SETTLE.split(';') {
            self.admin.batch_execute(statement).await?;
        }
        log::Loader::settle(&self.admin).await
    }

    /// Ratio 2: the first build of the read model against the binary COPY of the same table.
    async fn builds(&self, options: &Options) -> Outcome<[Line; 2]> {
        let (database, running, events) = (self.database, &self.running, options.events);
        let what = "first build of the model / binary COPY of the log";
        let mut line = Line::new("2", what, "events/s", Target::AtLeast(0.3));
        let mut group =
            Line::new("2 (group)", "the same, as a group of three tables", "events/s", Target::None);
        if !options.wants(2) {
            running.projector().drain(MODEL).await?;
            running.projector().drain(GROUP).await?;
            rebuild::rebuild(database).await?;
            return Ok([line, group]);
        }
        // The first of each brings the tables into memory, for both sides alike.
        scan(database).await?;
        scan_reference(database).await?;
        for number in 0..options.runs {
            say(format!("2: rebuild on PostgreSQL, run {} of {}", number + 1, options.runs));
            let before = probe()?;
            let baseline = scan(database).await?;
            let product = build(running, MODEL, events).await?;
            let group_baseline = scan(database).await?;
            let group_product = build(running, GROUP, events).await?;
            let reference_scan = scan_reference(database).await?;
            let reference = rebuild::rebuild(database).await? / reference_scan;
            let after = probe()?;
            line.samples.push(Sample::of(product, baseline).reference(reference).probe(before, after));
            group.samples.push(Sample::of(group_product, group_baseline).probe(before, after));
        }
        Ok([line, group])
    }

    /// Ratio 7: the model follows new events in batches, against relative updates of an equal table.
    async fn follow(&mut self, options: &Options) -> Outcome<[Line; 2]> {
        let what = "live model, batches of 10,000 / bare relative UPDATEs";
        let mut line = Line::new("7", what, "events/s", Target::None);
        let mut group =
            Line::new("7 (group)", "the same, as a group of three tables", "events/s", Target::None);
        let events = (options.events / 5).max(BATCH_EVENTS_MAX);
        let mut bare = Updates::open(self.database, options.rows).await?;
        for number in 0..options.runs {
            say(format!("7: live on PostgreSQL, {events} events, run {} of {}", number + 1, options.runs));
            self.product.load(&**self.running.store(), events).await?;
            self.reference.load(&self.admin, events).await?;
            let before = probe()?;
            let baseline = bare.run(events, BATCH_EVENTS_MAX).await?;
            let product = catch_up(&self.running, MODEL, events).await?;
            let group_product = catch_up(&self.running, GROUP, events).await?;
            let reference = live::follow(self.database, BATCH_EVENTS_MAX).await? / baseline;
            let after = probe()?;
            line.samples.push(Sample::of(product, baseline).reference(reference).probe(before, after));
            group.samples.push(Sample::of(group_product, baseline).probe(before, after));
        }
        Ok([line, group])
    }
}
