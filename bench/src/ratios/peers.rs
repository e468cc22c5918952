//! Ratios 13 and 14: commands and the rebuild of one model beside other event stores, on the same databases
//! in one run. Each peer is a program of `bench/peers`, as its own documentation says it is to be used.

use super::{MODEL, build, say};
use crate::Outcome;
use crate::callers::Caller;
use crate::database::{self, within};
use crate::loader::Loader;
use crate::measure::{Line, Report, Sample, Store, Target, median};
use crate::options::Options;
use crate::probe::fdatasync_per_second;
use crate::stores::{Place, open, open_on};
use diptych::Running;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The programs, with the stores that they run on.
const PEERS: &[(&str, &[Store])] = &[
    ("cqrs-es", &[Store::Sqlite, Store::Postgres]),
    ("disintegrate", &[Store::Postgres]),
    ("evento", &[Store::Sqlite, Store::Postgres]),
];

/// How long one program may take for one run.
const PEER_TIME_MAX: Duration = Duration::from_secs(120);

/// The callers of ratio 13.
const CALLERS: usize = 32;

/// What one side reached in one run.
#[derive(Clone, Deserialize)]
struct Reached {
    about: String,
    /// Events per second of the rebuild.
    rebuild: f64,
    /// Commands per second of one caller, and of many.
    one: f64,
    many: f64,
    /// How many commands were given again, because they lost a race.
    again: u64,
}

/// One side over all runs.
struct Side {
    name: &'static str,
    runs: Vec<Reached>,
}

/// Measures the product and every peer, store by store.
pub(crate) async fn run(options: &Options) -> Outcome<Report> {
    let mut report = Report::default();
    for store in [Store::Sqlite, Store::Postgres].into_iter().filter(|store| options.on(*store)) {
        let server = match (store, database::server()) {
            (Store::Postgres, None) => {
                report
                    .notes
                    .push(format!("nothing was measured on PostgreSQL: {} names no server", database::URL));
                continue;
            }
            (Store::Postgres, Some(server)) => {
                report.notes.push(database::describe(&server).await?);
                Some(server)
            }
            (Store::Sqlite, _) => None,
        };
        let on = On { options, store, server };
        on.measure(&mut report).await?;
    }
    report.lines.retain(|line| options.wants(super::number(line.number)));
    Ok(report)
}

/// A store to measure on.
struct On<'a> {
    options: &'a Options,
    store: Store,
    server: Option<String>,
}

impl On<'_> {
    async fn measure(&self, report: &mut Report) -> Outcome<()> {
        let peers = PEERS.iter().filter(|(_, stores)| stores.contains(&self.store));
        let mut sides: Vec<Side> = peers.map(|(name, _)| Side { name, runs: Vec::new() }).collect();
        let mut product = Side { name: "product", runs: Vec::new() };
        let mut probes = Vec::new();
        for run in 0..self.options.runs {
            let place = Place::new(&self.options.directory, "probe")?;
            let before = fdatasync_per_second(place.path())?;
            for side in std::iter::once(&mut product).chain(&mut sides) {
                let (name, store, of) = (side.name, self.store.name(), self.options.runs);
                say(format!("13, 14: {name} on {store}, run {} of {of}", run + 1));
                let reached = if name == "product" { self.product().await } else { self.peer(name).await };
                match reached {
                    Ok(reached) => side.runs.push(reached),
                    // What a peer cannot do is told, and the others are measured all the same.
                    Err(error) if name != "product" => {
                        report.notes.push(format!("{name} on {store}, run {}: {error}", run + 1));
                    }
                    Err(error) => return Err(error),
                }
            }
            probes.push((before, fdatasync_per_second(place.path())?));
        }
        report.notes.extend(sides.iter().filter_map(|side| note(side, self.store)));
        report.lines.extend(lines(&product, &sides, &probes, self.store));
        Ok(())
    }

    /// The product: the same log, rebuild, one caller, many callers.
    async fn product(&self) -> Outcome<Reached> {
        match &self.server {
            None => {
                let place = Place::new(&self.options.directory, "peers-product")?;
                self.product_on(open(&place, false).await?).await
            }
            Some(server) => {
                within(server, "product", async |database| {
                    self.product_on(open_on(database, false).await?).await
                })
                .await
            }
        }
    }

    async fn product_on(&self, running: Running) -> Outcome<Reached> {
        let Options { events, rows, slice, .. } = *self.options;
        let mut loader = Loader::new(rows);
        loader.load(&**running.store(), events).await?;
        let rebuild = build(&running, MODEL, events).await?;
        let caller = Caller::of(&running);
        let one = caller.rate_over(rows, 1, slice, 1).await?;
        let many = caller.rate_over(rows, CALLERS, slice, 2).await?;
        running.stop().await?;
        Ok(Reached { about: String::new(), rebuild, one, many, again: 0 })
    }

    async fn peer(&self, name: &'static str) -> Outcome<Reached> {
        match &self.server {
            None => {
                let place = Place::new(&self.options.directory, "peer")?;
                self.start(name, &format!("sqlite://{}", place.path().join("peer.db").display())).await
            }
            Some(server) => {
                within(server, "peer", async |database| self.start(name, database.url()).await).await
            }
        }
    }

    async fn start(&self, name: &str, url: &str) -> Outcome<Reached> {
        let Options { events, rows, slice, .. } = self.options;
        let program = programs().join(format!("peer-{name}"));
        let mut command = Command::new(&program);
        command.arg(url).args([events.to_string(), rows.to_string(), slice.as_secs_f64().to_string()]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PEER_TIME_MAX, command.output()).await;
        let output = ended.map_err(|_| format!("it took longer than {} s", PEER_TIME_MAX.as_secs()))?;
        let output = output.map_err(|error| {
            format!(
                "`{}` cannot be started: {error}: `cargo xtask bench --peers` builds it",
                program.display()
            )
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(said.lines().last().unwrap_or("it failed and said nothing").to_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Where `cargo build --release` in `bench/peers` leaves the programs.
fn programs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/target/release")
}

/// A line against each peer, and first one against the best of them, by its median.
fn lines(product: &Side, peers: &[Side], probes: &[(f64, f64)], store: Store) -> Vec<Line> {
    type Rate = fn(&Reached) -> f64;
    let measures: [(&str, &str, &str, Target, Rate); 3] = [
        ("13", "commands, 32 callers", "commands/s", Target::AtLeast(5.0), |reached| reached.many),
        ("13 (1)", "commands, 1 caller", "commands/s", Target::None, |reached| reached.one),
        ("14", "rebuild of one model", "events/s", Target::AtLeast(100.0), |reached| reached.rebuild),
    ];
    let mut lines = Vec::new();
    for (number, what, unit, target, rate) in measures {
        let middle = |side: &Side| median(&side.runs.iter().map(rate).collect::<Vec<_>>());
        let measured = peers.iter().filter(|peer| peer.runs.len() == product.runs.len());
        let mut measured: Vec<&Side> = measured.collect();
        measured.sort_by(|a, b| middle(b).total_cmp(&middle(a)));
        for (place, peer) in measured.into_iter().enumerate() {
            let target = if place == 0 { target } else { Target::None };
            let mut line = Line::new(number, format!("{what} / {}", peer.name), unit, target).on(store);
            for ((ours, theirs), (before, after)) in product.runs.iter().zip(&peer.runs).zip(probes) {
                line.samples.push(Sample::of(rate(ours), rate(theirs)).probe(*before, *after));
            }
            lines.push(line);
        }
    }
    lines
}

fn note(side: &Side, store: Store) -> Option<String> {
    let first = side.runs.first()?;
    let again: u64 = side.runs.iter().map(|reached| reached.again).sum();
    Some(format!("{}, on {}: {again} commands lost a race and were given again", first.about, store.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &'static str, many: f64) -> Side {
        let reached = Reached { about: String::new(), rebuild: many, one: many, many, again: 0 };
        Side { name, runs: vec![reached] }
    }

    #[test]
    fn the_target_stands_beside_the_best_peer_and_the_others_follow() {
        let unmeasured = Side { name: "failed", runs: Vec::new() };
        let peers = [side("slow", 10.0), side("fast", 50.0), unmeasured];
        let lines = lines(&side("product", 100.0), &peers, &[(1.0, 1.0)], Store::Postgres);
        let first = &lines[0];
        assert_eq!((first.what.as_str(), first.ratio()), ("commands, 32 callers / fast", 2.0));
        assert_eq!((lines[0].met(), lines[1].met(), lines.len()), (Some(false), None, 6));
    }
}
