//! Ratio 17: what policies cost, for each command and for each question. The same service twice on stores of
//! their own: one with policies that judge every command by its fields and its state, every row and every
//! field; one without any. The read model stands still in both.

use super::{REPEATS_MAX, say};
use crate::Outcome;
use crate::callers::{ACCOUNTS, Caller};
use crate::domain::{AccountSummary, guarded_service, service};
use crate::measure::{Line, Sample, Store, Target, is_steady};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::questions::{pages, rows};
use crate::stores::Place;
use diptych::prelude::ReadModel;
use diptych::{Role, Roles, Running};
use std::time::Duration;

/// Commands are given by so many at once; a question is asked by one after the other.
const CALLERS: [usize; 2] = [1, 32];

/// What is compared.
struct Sides {
    guarded: Side,
    open: Side,
}

/// One of the two services.
struct Side {
    running: Running,
    caller: Caller,
}

/// What one side did in a second.
struct Rates {
    commands: [f64; 2],
    rows: f64,
    pages: f64,
}

/// Measures on two places in a directory of their own.
pub(super) async fn on_sqlite(options: &Options) -> Outcome<Vec<Line>> {
    let place = Place::new(&options.directory, "policies")?;
    let places = ["guarded", "open"].map(|name| place.path().join(name).into());
    measure(options, Store::Sqlite, places, || fdatasync_per_second(place.path())).await
}

/// Measures on two places that are empty. `probe` says how many writes the disk takes in a second.
pub(super) async fn measure(
    options: &Options,
    store: Store,
    places: [diptych::Place; 2],
    probe: impl Fn() -> Outcome<f64>,
) -> Outcome<Vec<Line>> {
    let sides = Sides::open(places).await?;
    let mut lines = lines().map(|line| line.on(store));
    for number in 0..options.runs {
        say(format!("17: with policies and without, run {} of {}", number + 1, options.runs));
        let mut run = sides.run(options.slice, number as u64, &probe).await?;
        for _ in 0..REPEATS_MAX {
            if is_steady(&run.2) {
                break;
            }
            say("the disk changed its speed in the middle; once more");
            run = sides.run(options.slice, number as u64, &probe).await?;
        }
        let (guarded, open, probes) = run;
        let (first, last) = (probes[0], probes[probes.len() - 1]);
        let commands = guarded.commands.into_iter().zip(open.commands);
        let samples = commands.map(|(with, without)| Sample::of(with, without).probe(first, last));
        let questions = [(guarded.rows, open.rows), (guarded.pages, open.pages)];
        let questions = questions.into_iter().map(|(with, without)| Sample::of(with, without));
        for (line, sample) in lines.iter_mut().zip(samples.chain(questions)) {
            line.samples.push(sample);
        }
    }
    sides.close().await?;
    Ok(lines.into())
}

fn lines() -> [Line; 4] {
    [
        Line::new("17", "1 caller's commands under policies / without", "commands/s", Target::AtLeast(0.9)),
        Line::new("17 (32)", "32 callers' commands, the same", "commands/s", Target::AtLeast(0.9)),
        Line::new("17 (row)", "questions for a row, the same", "questions/s", Target::AtLeast(0.8)),
        Line::new("17 (page)", "questions for 50 rows, the same", "questions/s", Target::AtLeast(0.8)),
    ]
}

impl Sides {
    async fn open([guarded, open]: [diptych::Place; 2]) -> Outcome<Self> {
        let roles = Roles::ALL.without(Role::Projector);
        let config = |place| diptych::Config { roles, ..diptych::Config::at(place) };
        let guarded = Side::of(guarded_service().open(config(guarded)).await?).await?;
        let open = Side::of(service().open(config(open)).await?).await?;
        Ok(Self { guarded, open })
    }

    /// One slice of each side after the other, probes before and after.
    async fn run(
        &self,
        slice: Duration,
        number: u64,
        probe: &impl Fn() -> Outcome<f64>,
    ) -> Outcome<(Rates, Rates, Vec<f64>)> {
        let mut probes = vec![probe()?];
        let (mut guarded, mut open) = (Rates::default(), Rates::default());
        for (index, callers) in CALLERS.into_iter().enumerate() {
            let seed = 900 + number * 10 + index as u64;
            open.commands[index] = self.open.caller.rate(callers, slice, seed).await?;
            guarded.commands[index] = self.guarded.caller.rate(callers, slice, seed).await?;
            probes.push(probe()?);
        }
        for (side, rates) in [(&self.open, &mut open), (&self.guarded, &mut guarded)] {
            rates.rows = rows::<AccountSummary>(&side.running, ACCOUNTS, slice, number).await?;
            rates.pages = pages(&side.running, &AccountSummary::find(), slice).await?;
        }
        Ok((guarded, open, probes))
    }

    async fn close(self) -> Outcome<()> {
        self.guarded.running.stop().await?;
        self.open.running.stop().await?;
        Ok(())
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self { commands: [0.0; 2], rows: 0.0, pages: 0.0 }
    }
}

impl Side {
    /// With accounts that are open, and all of them in the read model.
    async fn of(running: Running) -> Outcome<Self> {
        let caller = Caller::of(&running);
        caller.open_accounts(256).await?;
        running.projector().drain(super::MODEL).await?;
        Ok(Self { running, caller })
    }
}
