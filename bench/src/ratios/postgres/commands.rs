//! Ratios 3, 4, 5 and 6 on PostgreSQL: commands of one and of many callers, against each other and against
//! bare inserts over one connection and over 32.

use crate::Outcome;
use crate::callers::{ACCOUNTS, Caller};
use crate::database::{Database, probe};
use crate::measure::{Line, Sample, Target, is_steady};
use crate::options::Options;
use crate::ratios::{REPEATS_MAX, say};
use crate::reference::postgres::bare::Inserts;
use crate::reference::postgres::commands::Reference;
use crate::stores::open_on;
use crate::workload::Workload;
use diptych::Running;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLERS: [usize; 3] = [1, 32, 256];

/// What stays open over all runs.
struct Bench {
    running: Running,
    caller: Caller,
    reference: Arc<Reference>,
    bare: Inserts,
    slice: Duration,
    slices: u64,
}

/// The rates of one run.
struct Run {
    probes: Vec<f64>,
    bare_one: f64,
    bare_hundred: f64,
    bare_many: f64,
    product: [f64; 3],
    reference: [f64; 3],
}

/// Measures all four, which share their slices.
pub(super) async fn measure(options: &Options, database: &Database) -> Outcome<Vec<Line>> {
    say("3, 4, 5, 6 on PostgreSQL: opening accounts");
    let mut bench = Bench::open(options, database).await?;
    let mut lines = lines();
    for number in 0..options.runs {
        say(format!("3, 4, 5, 6 on PostgreSQL: commands, run {} of {}", number + 1, options.runs));
        let mut run = bench.run().await?;
        for _ in 0..REPEATS_MAX {
            if is_steady(&run.probes) {
                break;
            }
            say("the disk changed its speed in the middle; once more");
            run = bench.run().await?;
        }
        run.into(&mut lines);
    }
    bench.close().await?;
    Ok(lines.into_iter().filter(|line| options.wants(crate::ratios::number(line.number))).collect())
}

fn lines() -> Vec<Line> {
    let unit = "commands/s";
    vec![
        Line::new("3", "32 callers / 1 caller", unit, Target::None),
        Line::new("3 (256)", "256 callers / 1 caller", unit, Target::None),
        Line::new("4", "1 caller / bare insert, 1 per commit", unit, Target::None),
        Line::new("5", "32 callers / bare insert, 100 per commit", unit, Target::None),
        Line::new("5 (256)", "256 callers / bare insert, 100 per commit", unit, Target::None),
        Line::new("6", "32 callers / 32 bare connections, 1 insert per commit", unit, Target::AtLeast(1.5)),
        Line::new("6 (256)", "256 callers / the same 32 connections", unit, Target::AtLeast(3.0)),
    ]
}

impl Bench {
    async fn open(options: &Options, database: &Database) -> Outcome<Self> {
        let running = open_on(database, false).await?;
        let caller = Caller::of(&running);
        caller.open_accounts(256).await?;
        let reference = Reference::open(database, ACCOUNTS).await?;
        reference.open_accounts(256).await?;
        let bare = Inserts::open(database, ACCOUNTS, CALLERS[1]).await?;
        Ok(Self { running, caller, reference, bare, slice: options.slice, slices: 0 })
    }

    /// One slice of everything, neighbours being what is compared, probes in between.
    async fn run(&mut self) -> Outcome<Run> {
        let mut probes = vec![probe()?];
        let bare_one = self.bare.run(1, 1, self.slice).await?;
        let one = self.product(1).await?;
        let reference_one = self.reference(1).await?;
        let bare_hundred = self.bare.run(1, 100, self.slice).await?;
        probes.push(probe()?);
        let few = self.product(CALLERS[1]).await?;
        let bare_many = self.bare.run(CALLERS[1], 1, self.slice).await?;
        let reference_few = self.reference(CALLERS[1]).await?;
        probes.push(probe()?);
        let many = self.product(CALLERS[2]).await?;
        let reference_many = self.reference(CALLERS[2]).await?;
        probes.push(probe()?);
        Ok(Run {
            probes,
            bare_one,
            bare_hundred,
            bare_many,
            product: [one, few, many],
            reference: [reference_one, reference_few, reference_many],
        })
    }

    async fn product(&mut self, callers: usize) -> Outcome<f64> {
        self.slices += 1;
        self.caller.rate(callers, self.slice, self.slices).await
    }

    async fn reference(&mut self, callers: usize) -> Outcome<f64> {
        self.slices += 1;
        let (slices, time) = (self.slices, self.slice);
        let started = Instant::now();
        let mut tasks = Vec::new();
        for lane in 0..callers {
            let reference = Arc::clone(&self.reference);
            tasks.push(tokio::spawn(async move {
                let mut workload = Workload::new(ACCOUNTS, slices * 10_000 + lane as u64);
                let mut given = 0_u64;
                while started.elapsed() < time {
                    reference.handle(workload.account(), workload.next()).await?;
                    given += 1;
                }
                Outcome::Ok(given)
            }));
        }
        let mut given = 0;
        for task in tasks {
            given += task.await??;
        }
        Ok(given as f64 / started.elapsed().as_secs_f64())
    }

    async fn close(self) -> Outcome<()> {
        self.running.stop().await?;
        self.reference.close().await
    }
}

impl Run {
    fn into(self, lines: &mut [Line]) {
        let [one, few, many] = self.product;
        let [reference_one, reference_few, reference_many] = self.reference;
        let pairs = [
            (few, one, reference_few / reference_one),
            (many, one, reference_many / reference_one),
            (one, self.bare_one, reference_one / self.bare_one),
            (few, self.bare_hundred, reference_few / self.bare_hundred),
            (many, self.bare_hundred, reference_many / self.bare_hundred),
            (few, self.bare_many, reference_few / self.bare_many),
            (many, self.bare_many, reference_many / self.bare_many),
        ];
        let (first, last) = (self.probes[0], self.probes[self.probes.len() - 1]);
        for (line, (product, baseline, reference)) in lines.iter_mut().zip(pairs) {
            line.samples.push(Sample::of(product, baseline).reference(reference).probe(first, last));
        }
    }
}
