//! A log that takes many blocks and transactions: what is read and planned ahead ends in the same rows.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use diptych::query::Health;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use support::Folder;

#[derive(Id)]
struct MeterId(String);

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "meter", owner = "works")]
enum MeterEvent {
    Read { units: i64 },
    Removed,
}

#[derive(Clone, Debug, PartialEq, Command)]
enum MeterCommand {
    Read { units: i64 },
    Remove,
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum MeterRejection {
    #[reject("the units are negative")]
    Negative,
}

#[derive(Default, Data)]
struct Meter {}

impl Decider for Meter {
    type Command = MeterCommand;
    type Event = MeterEvent;
    type Rejection = MeterRejection;

    fn decide(&self, command: MeterCommand, _: &Context) -> Result<Vec<MeterEvent>, MeterRejection> {
        match command {
            MeterCommand::Read { units } if units < 0 => Err(MeterRejection::Negative),
            MeterCommand::Read { units } => Ok(vec![MeterEvent::Read { units }]),
            MeterCommand::Remove => Ok(vec![MeterEvent::Removed]),
        }
    }

    fn evolve(self, _: &MeterEvent) -> Self {
        self
    }
}

fn units(held: Option<i64>, event: &MeterEvent) -> Option<i64> {
    match event {
        MeterEvent::Read { units } => Some(held.unwrap_or(0) + units),
        MeterEvent::Removed => None,
    }
}

/// The sum of what was read, until the meter is removed.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "total", revision = 1, owner = "works")]
struct Total {
    #[key]
    meter: MeterId,
    #[sort]
    units: i64,
}

impl Projection for Total {
    type Event = MeterEvent;

    fn route(fact: &Fact<MeterEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<MeterEvent>) -> Option<Self> {
        units(row.map(|row| row.units), &fact.event).map(|units| Self { meter: fact.id(), units })
    }
}

/// The same, by code that cannot take one reading.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "fragile_total", revision = 1, owner = "works")]
struct FragileTotal {
    #[key]
    meter: MeterId,
    units: i64,
}

const TOO_MUCH: i64 = 1_000;

impl Projection for FragileTotal {
    type Event = MeterEvent;

    fn route(fact: &Fact<MeterEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<MeterEvent>) -> Option<Self> {
        assert!(fact.event != MeterEvent::Read { units: TOO_MUCH }, "too much was read");
        units(row.map(|row| row.units), &fact.event).map(|units| Self { meter: fact.id(), units })
    }
}

/// The same, by code that tells where it is, and waits where it is told to.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "watched_total", revision = 1, owner = "works")]
struct WatchedTotal {
    #[key]
    meter: MeterId,
    units: i64,
}

impl Projection for WatchedTotal {
    type Event = MeterEvent;

    fn route(fact: &Fact<MeterEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<MeterEvent>) -> Option<Self> {
        WATCH.pass(fact.position());
        units(row.map(|row| row.units), &fact.event).map(|units| Self { meter: fact.id(), units })
    }
}

static WATCH: Watch = Watch { state: Mutex::new((Vec::new(), None)), changed: Condvar::new() };

/// The positions that were folded, and the one that is not folded for now.
struct Watch {
    state: Mutex<(Vec<Position>, Option<Position>)>,
    changed: Condvar,
}

/// Longer than any fold takes.
const PATIENCE: Duration = Duration::from_secs(60);

impl Watch {
    fn pass(&self, position: Position) {
        let state = self.state.lock().unwrap();
        let closed = |state: &mut (_, Option<Position>)| state.1 == Some(position);
        let mut state = self.changed.wait_timeout_while(state, PATIENCE, closed).unwrap().0;
        state.0.push(position);
        self.changed.notify_all();
    }

    /// Forgets what was folded, and lets another position wait, or none.
    fn hold(&self, position: Option<u64>) {
        *self.state.lock().unwrap() = (Vec::new(), position.map(Position));
        self.changed.notify_all();
    }

    /// Waits until a position is folded.
    fn reaches(&self, position: u64) {
        let missing = |state: &mut (Vec<_>, _)| !state.0.contains(&Position(position));
        let state = self.state.lock().unwrap();
        let (state, waited) = self.changed.wait_timeout_while(state, PATIENCE, missing).unwrap();
        assert!(!waited.timed_out(), "{position} is not folded, but {state:?} are");
    }
}

/// Keeps everybody from writing a model's file, until it is dropped.
fn locked(folder: &Folder, model: &str) -> Connection {
    let connection = Connection::open(folder.model_file(model)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// Limits so small that a hundred facts take many blocks and many transactions.
async fn open(folder: &Folder, build_rows_max: usize) -> Running {
    let mut config = Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(folder.path()) };
    config.projector.batch_positions_max = 7;
    config.projector.build_block_positions_max = 5;
    config.projector.build_rows_max = build_rows_max;
    config.projector.retry_pause_min = Duration::from_millis(1);
    Service::new("works")
        .decider::<Meter>()
        .read_model::<Total>()
        .read_model::<FragileTotal>()
        .read_model::<WatchedTotal>()
        .open(config)
        .await
        .unwrap()
}

async fn give(running: &Running, meter: usize, command: MeterCommand) {
    let request = Request::by(running.principal()).to(&MeterId::new(format!("m-{meter}")), command);
    running.commands().handle::<Meter>(request).await.unwrap();
}

/// Readings of eleven meters, of which one is removed now and then.
async fn work(running: &Running, numbers: std::ops::Range<usize>, expected: &mut BTreeMap<String, i64>) {
    for number in numbers {
        let (meter, units) = (number * 7 % 11, number as i64);
        if number % 13 == 12 {
            give(running, meter, MeterCommand::Remove).await;
            expected.remove(&format!("m-{meter}"));
        } else {
            give(running, meter, MeterCommand::Read { units }).await;
            *expected.entry(format!("m-{meter}")).or_default() += units;
        }
    }
}

async fn check(running: &Running, expected: &BTreeMap<String, i64>) {
    let found = running.queries().find(running.principal(), Total::find().page(100)).await.unwrap();
    let rows = found.value.items.into_iter().map(|row| (row.meter.to_string(), row.units));
    assert_eq!(&rows.collect::<BTreeMap<_, _>>(), expected);
    for report in running.projector().verify("total", 10).await.unwrap() {
        assert!(report.is_clean() && report.digest_matches == Some(true), "{report:#?}");
    }
}

#[tokio::test]
async fn a_first_build_takes_block_after_block() {
    let (folder, mut expected) = (Folder::new(), BTreeMap::new());
    let running = open(&folder, 1_000).await;
    work(&running, 0..60, &mut expected).await;
    assert_eq!(running.projector().drain("total").await.unwrap().through, Position(60));
    check(&running, &expected).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_build_with_too_many_rows_goes_on_in_transactions() {
    let (folder, mut expected) = (Folder::new(), BTreeMap::new());
    let running = open(&folder, 3).await;
    work(&running, 0..60, &mut expected).await;
    assert_eq!(running.projector().drain("total").await.unwrap().through, Position(60));
    check(&running, &expected).await;
    work(&running, 60..100, &mut expected).await;
    running.projector().drain("total").await.unwrap();
    check(&running, &expected).await;
    // What was planned ahead of a reset must not follow it.
    running.projector().reset("total").await.unwrap();
    running.projector().drain("total").await.unwrap();
    check(&running, &expected).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_fact_that_fails_in_what_was_planned_ahead_stops_the_model_at_that_fact() {
    let (folder, mut expected) = (Folder::new(), BTreeMap::new());
    let running = open(&folder, 3).await;
    work(&running, 0..12, &mut expected).await;
    running.projector().drain("fragile_total").await.unwrap();
    work(&running, 12..30, &mut expected).await;
    give(&running, 0, MeterCommand::Read { units: TOO_MUCH }).await;
    work(&running, 30..50, &mut expected).await;
    running.projector().drain("fragile_total").await.unwrap_err();
    let (freshness, health) = running.queries().freshness("fragile_total").await.unwrap();
    assert_eq!(freshness.projection_position, Position(30));
    assert!(matches!(health, Health::Stopped { position: Position(31), .. }), "{health:?}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_folded_while_one_is_written_also_after_somebody_else_has_written() {
    let (folder, mut expected) = (Folder::new(), BTreeMap::new());
    let running = open(&folder, 1_000).await;
    work(&running, 0..3, &mut expected).await;
    running.projector().drain("watched_total").await.unwrap();
    work(&running, 3..60, &mut expected).await;
    // Batches end at 10, 17, 24, 31 and so on.
    WATCH.hold(Some(6));
    let projector = Arc::clone(running.projector());
    let draining = tokio::spawn(async move { projector.drain("watched_total").await });
    WATCH.reaches(5);
    let other = locked(&folder, "watched_total");
    WATCH.hold(Some(12));
    WATCH.reaches(11);
    let (freshness, _) = running.queries().freshness("watched_total").await.unwrap();
    assert_eq!(freshness.projection_position, Position(3), "it is folded, but not written");
    // What is on its way is of no use any more; what comes instead is folded ahead as well.
    WATCH.hold(Some(26));
    other.execute_batch("CREATE TABLE beside (x); COMMIT").unwrap();
    WATCH.reaches(25);
    drop(other);
    let other = locked(&folder, "watched_total");
    WATCH.hold(None);
    WATCH.reaches(33);
    let (freshness, _) = running.queries().freshness("watched_total").await.unwrap();
    let written = freshness.projection_position;
    assert!(written >= Position(10) && written <= Position(24), "{written} is written");
    drop(other);
    draining.await.unwrap().unwrap();
    let found = running.queries().find(running.principal(), WatchedTotal::find().page(100)).await.unwrap();
    let rows = found.value.items.into_iter().map(|row| (row.meter.to_string(), row.units));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected);
    running.stop().await.unwrap();
}
