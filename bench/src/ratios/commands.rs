//! Ratios 3, 4 and 5: durable commands of one and of many callers, against each other and against bare
//! inserts.
//!
//! The read model stands still here; one more line shows the rate of 32 callers while it follows.

use super::{REPEATS_MAX, say};
use crate::Outcome;
use crate::callers::{ACCOUNTS, Caller};
use crate::measure::{Line, Sample, Target, is_steady};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::reference::bare::{Inserts, Keys};
use crate::reference::commands::Reference;
use crate::stores::{Place, open};
use crate::workload::Workload;
use diptych::Running;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What stays open over all runs.
struct Bench {
    place: Place,
    running: Running,
    caller: Caller,
    reference: Arc<Reference>,
    ordered: Inserts,
    random: Inserts,
    slice: Duration,
    slices: u64,
}

/// The rates of one run.
struct Run {
    probes: Vec<f64>,
    bare_one: f64,
    bare_one_random: f64,
    bare_hundred: f64,
    bare_hundred_random: f64,
    product: [f64; 3],
    reference: [f64; 3],
}

const CALLERS: [usize; 3] = [1, 32, 256];

/// Measures all three, which share their slices.
pub(crate) async fn measure(options: &Options) -> Outcome<Vec<Line>> {
    let mut bench = Bench::open(options).await?;
    let mut lines = lines();
    for number in 0..options.runs {
        say(format!("3, 4, 5: commands, run {} of {}", number + 1, options.runs));
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
    let following = bench.following(options).await?;
    lines.push(following);
    let wanted = |line: &Line| options.wants(super::number(line.number));
    Ok(lines.into_iter().filter(wanted).collect())
}

fn lines() -> Vec<Line> {
    let unit = "commands/s";
    vec![
        Line::new("3", "32 callers / 1 caller", unit, Target::AtLeast(6.0)),
        Line::new("3 (256)", "256 callers / 1 caller", unit, Target::AtLeast(8.0)),
        Line::new("4", "1 caller / bare insert, 1 per commit, v7 keys", unit, Target::AtLeast(0.85)),
        Line::new("4 (rnd)", "1 caller / bare insert, 1 per commit, random keys", unit, Target::None),
        Line::new("5", "32 callers / bare insert, 100 per commit, v7 keys", unit, Target::AtLeast(0.75)),
        Line::new("5 (256)", "256 callers / bare insert, 100 per commit, v7 keys", unit, Target::None),
        Line::new("5 (rnd)", "32 callers / bare insert, 100 per commit, random keys", unit, Target::None),
    ]
}

impl Bench {
    async fn open(options: &Options) -> Outcome<Self> {
        let place = Place::new(&options.directory, "commands")?;
        let running = open(&place, false).await?;
        let caller = Caller::of(&running);
        caller.open_accounts(256).await?;
        let reference = Reference::open(place.path(), ACCOUNTS)?;
        reference.open_accounts(256).await?;
        let ordered = Inserts::open(place.path(), ACCOUNTS, Keys::Ordered)?;
        let random = Inserts::open(place.path(), ACCOUNTS, Keys::Random)?;
        Ok(Self { place, running, caller, reference, ordered, random, slice: options.slice, slices: 0 })
    }

    /// One slice of everything, neighbours being what is compared, probes in between.
    async fn run(&mut self) -> Outcome<Run> {
        let mut probes = vec![self.probe()?];
        let bare_one = self.ordered.run(1, self.slice)?;
        let one = self.product(1).await?;
        let reference_one = self.reference(1).await?;
        let bare_one_random = self.random.run(1, self.slice)?;
        probes.push(self.probe()?);
        let bare_hundred = self.ordered.run(100, self.slice)?;
        let few = self.product(CALLERS[1]).await?;
        let reference_few = self.reference(CALLERS[1]).await?;
        let bare_hundred_random = self.random.run(100, self.slice)?;
        probes.push(self.probe()?);
        let many = self.product(CALLERS[2]).await?;
        let reference_many = self.reference(CALLERS[2]).await?;
        probes.push(self.probe()?);
        Ok(Run {
            probes,
            bare_one,
            bare_one_random,
            bare_hundred,
            bare_hundred_random,
            product: [one, few, many],
            reference: [reference_one, reference_few, reference_many],
        })
    }

    fn probe(&self) -> Outcome<f64> {
        fdatasync_per_second(self.place.path())
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

    /// Commands of 32 callers while the read model follows, against the same while it does not.
    async fn following(mut self, options: &Options) -> Outcome<Line> {
        let mut line =
            Line::new("3 (live)", "32 callers, model following / standing still", "commands/s", Target::None);
        self.running.projector().drain("account_summary").await?;
        for _ in 0..options.runs {
            let before = self.probe()?;
            let still = self.product(CALLERS[1]).await?;
            self.running.stop().await?;
            self.running = open(&self.place, true).await?;
            self.caller = Caller::of(&self.running);
            self.caller.warm(CALLERS[2]).await?;
            let live = self.product(CALLERS[1]).await?;
            line.samples.push(Sample::of(live, still).probe(before, self.probe()?));
            self.running.projector().drain("account_summary").await?;
            self.running.stop().await?;
            self.running = open(&self.place, false).await?;
            self.caller = Caller::of(&self.running);
            self.caller.warm(CALLERS[2]).await?;
        }
        self.running.stop().await?;
        self.reference.close()?;
        Ok(line)
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
            (one, self.bare_one_random, reference_one / self.bare_one_random),
            (few, self.bare_hundred, reference_few / self.bare_hundred),
            (many, self.bare_hundred, reference_many / self.bare_hundred),
            (few, self.bare_hundred_random, reference_few / self.bare_hundred_random),
        ];
        let (first, last) = (self.probes[0], self.probes[self.probes.len() - 1]);
        for (line, (product, baseline, reference)) in lines.iter_mut().zip(pairs) {
            line.samples.push(Sample::of(product, baseline).reference(reference).probe(first, last));
        }
    }
}
