//! Several processes over one production store: they share the work by leases, hand it over, and play roles.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::Place;
use diptych::prelude::*;
use diptych::query::{Group, Health, Mode, PartitionState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::jar::{Jar, JarCommand, JarEvent, JarId};
use support::kitchen::{self, fresh, rows, shelf};

/// How long anything may take before the test says that it hangs.
const HANG: Duration = Duration::from_secs(60);

shelf!(Shelf, "shelf", partitions = 4);
shelf!(Pantry, "pantry");
shelf!(Cellar, "cellar");
shelf!(Lazy, "lazy", on_demand, partitions = 3);

/// Whether this process's code cannot take thirteen spoons; "another build" can.
static OLD_BUILD: AtomicBool = AtomicBool::new(true);

/// Breaks at thirteen spoons in an old build: one process stops at it, and another goes on.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "fragile", revision = 1, owner = "kitchen")]
struct Fragile {
    #[key]
    jar: JarId,
    spoons: i64,
}

impl Projection for Fragile {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        match fact.event {
            JarEvent::Filled { spoons } => {
                assert!(!(spoons == 13 && OLD_BUILD.load(Ordering::SeqCst)), "thirteen spoons");
                Some(Self { jar: fact.id(), spoons })
            }
            JarEvent::Emptied => None,
        }
    }
}

fn service() -> Service {
    Service::new("kitchen")
        .decider::<Jar>()
        .read_model::<Shelf>()
        .read_model::<Pantry>()
        .read_model::<Cellar>()
        .read_model::<Lazy>()
}

/// A process that gives signs of life often, so that a test need not wait for long.
async fn process(service: Service, place: &Place) -> Running {
    let mut config = Config::at(place.clone());
    config.projector.lease_beat = Duration::from_millis(50);
    config.projector.lease_duration = Duration::from_secs(2);
    service.open(config).await.unwrap()
}

async fn give(running: &Running, jar: &str, spoons: i64) -> Token {
    kitchen::give(running, jar, JarCommand::Fill { spoons }).await
}

/// Every partition of every model that follows the log.
async fn partitions(running: &Running) -> Vec<PartitionState> {
    let mut all = Vec::new();
    let groups: Vec<Arc<Group>> = running.queries().models().map(|(_, group)| Arc::clone(group)).collect();
    for group in groups.iter().filter(|group| group.mode() == Mode::Asynchronous) {
        all.extend(running.projector().partitions(group).await.unwrap());
    }
    all
}

/// How many partitions each worker moves, and `nobody` those that are free.
async fn loads(running: &Running) -> BTreeMap<String, usize> {
    let mut loads = BTreeMap::new();
    for state in partitions(running).await {
        let holder = state.holder.map_or_else(|| "nobody".to_owned(), |holder| holder.to_string());
        *loads.entry(holder).or_default() += 1;
    }
    loads
}

/// Looks until the work is shared as wanted.
async fn until(running: &Running, what: &str, shared: impl Fn(&BTreeMap<String, usize>) -> bool) {
    let since = Instant::now();
    loop {
        let loads = loads(running).await;
        if shared(&loads) {
            return;
        }
        assert!(since.elapsed() < HANG, "it never comes to {what}: {loads:?}");
    }
}

fn by_workers(loads: &BTreeMap<String, usize>) -> Vec<usize> {
    let mut counts: Vec<_> = loads.values().copied().collect();
    counts.sort_unstable();
    if loads.contains_key("nobody") { Vec::new() } else { counts }
}

async fn clean(running: &Running, models: &[&str]) {
    for model in models {
        running.projector().drain(model).await.unwrap();
        for report in running.projector().verify(model, 10).await.unwrap() {
            assert!(report.is_clean(), "{report:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_the_partitions_and_hand_them_over() {
    let place = fresh();
    let one = process(service(), &place).await;
    until(&one, "one that moves everything", |loads| by_workers(loads) == [6]).await;
    let two = process(service(), &place).await;
    until(&one, "two that move half each", |loads| by_workers(loads) == [3, 3]).await;
    let three = process(service(), &place).await;
    until(&one, "three that move a third each", |loads| by_workers(loads) == [2, 2, 2]).await;
    let mut token = None;
    for number in 0..60 {
        let process = [&one, &two, &three][number % 3];
        token = Some(give(process, &format!("jar {}", number % 20), 1).await);
    }
    for process in [&one, &two, &three] {
        assert_eq!(rows::<Shelf>(process, token.unwrap()).await.len(), 20);
        assert_eq!(rows::<Pantry>(process, token.unwrap()).await.len(), 20);
    }
    // Stopping gives everything back at once: what is left has it without waiting for any lease to run out.
    three.stop().await.unwrap();
    let left = loads(&one).await;
    assert!(left.len() <= 3, "{left:?}");
    two.stop().await.unwrap();
    until(&one, "one that moves everything again", |loads| by_workers(loads) == [6]).await;
    let token = give(&one, "jar 0", 1).await;
    assert_eq!(rows::<Cellar>(&one, token).await.len(), 20);
    clean(&one, &["shelf", "pantry", "cellar"]).await;
    one.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_says_no_more_is_taken_over_and_may_come_back() {
    let place = fresh();
    let mut silent = Config::at(place.clone());
    // It gives one sign of life and then none for longer than the test takes.
    silent.projector.lease_beat = Duration::from_secs(3_600);
    silent.projector.lease_duration = Duration::from_millis(300);
    let silent = service().open(silent).await.unwrap();
    until(&silent, "one that moves everything", |loads| by_workers(loads) == [6]).await;
    let held = partitions(&silent).await[0].holder.clone().unwrap().to_string();
    let token = give(&silent, "tea", 1).await;
    assert_eq!(rows::<Shelf>(&silent, token).await.len(), 1);
    let other = process(service(), &place).await;
    until(&other, "the other that moves everything", |loads| {
        by_workers(loads) == [6] && !loads.contains_key(&held)
    })
    .await;
    // The workers of the first still stand at the head and would fold what comes: the fence stops them.
    let mut token = token;
    for _ in 0..20 {
        token = give(&silent, "tea", 1).await;
    }
    for process in [&silent, &other] {
        assert_eq!(rows::<Shelf>(process, token).await[0].spoons, 21);
        assert_eq!(rows::<Pantry>(process, token).await[0].spoons, 21);
    }
    until(&other, "nothing that has changed hands", |loads| !loads.contains_key(&held)).await;
    clean(&other, &["shelf", "pantry", "cellar"]).await;
    silent.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_at_rest_notices_that_its_leases_were_ended() {
    let place = fresh();
    let running = process(service(), &place).await;
    give(&running, "tea", 1).await;
    until(&running, "one that moves everything", |loads| by_workers(loads) == [6]).await;
    // What a build that begins to serve does to the leases on it. No fact comes by which a worker would tell.
    let Place::Postgres(diptych::Database { url, schema, .. }) = &place else {
        panic!("it is on PostgreSQL")
    };
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let end_all = format!(
        "UPDATE {schema}.checkpoint SET fence = nextval('{schema}.lease_fence'), holder = NULL, \
         held_until = NULL"
    );
    client.batch_execute(&end_all).await.unwrap();
    until(&running, "one that moves everything again", |loads| by_workers(loads) == [6]).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_works_beside_processes_that_follow_and_on_its_own() {
    let place = fresh();
    let following = process(service(), &place).await;
    until(&following, "one that moves everything", |loads| by_workers(loads) == [6]).await;
    let looking = service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(place.clone()) })
        .await
        .unwrap();
    for number in 0..30 {
        give(&looking, &format!("jar {number}"), 1).await;
    }
    // Moved by the other process: the drain waits for it.
    for model in ["shelf", "pantry"] {
        let drained = looking.projector().drain(model).await.unwrap();
        assert_eq!(drained.through, Position(30), "{model}");
    }
    // Moved by nobody: the drain folds it, partition by partition.
    assert_eq!(looking.projector().drain("lazy").await.unwrap().through, Position(30));
    let find = Lazy::find().page(50);
    let page = following.queries().find(following.principal(), find).await.unwrap();
    assert_eq!((page.value.items.len(), page.freshness.lag_events), (30, 0));
    clean(&looking, &["lazy"]).await;
    // Started over by one process, built again by the other.
    looking.projector().reset("shelf").await.unwrap();
    assert_eq!(looking.projector().drain("shelf").await.unwrap().through, Position(30));
    clean(&looking, &["shelf"]).await;
    looking.stop().await.unwrap();
    following.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_build_cannot_take_another_does() {
    let place = fresh();
    let fragile = || Service::new("kitchen").decider::<Jar>().read_model::<Fragile>();
    let old = process(fragile(), &place).await;
    give(&old, "tea", 2).await;
    let token = give(&old, "tea", 13).await;
    let since = Instant::now();
    let health = loop {
        let (_, health) = old.queries().freshness("fragile").await.unwrap();
        if health.is_stalled() {
            break health;
        }
        assert!(since.elapsed() < HANG, "it never stops: {health:?}");
    };
    assert!(matches!(health, Health::Stopped { position: Position(2), .. }), "{health:?}");
    // The old build has given it up, and does not take it again whatever happens meanwhile.
    OLD_BUILD.store(false, Ordering::SeqCst);
    let new = process(fragile(), &place).await;
    assert_eq!(rows::<Fragile>(&new, token).await[0].spoons, 13);
    let since = Instant::now();
    loop {
        let (freshness, health) = old.queries().freshness("fragile").await.unwrap();
        if health == Health::Live {
            assert_eq!(freshness.lag_events, 0);
            break;
        }
        assert!(since.elapsed() < HANG, "the old process never hears of it: {health:?}");
    }
    new.stop().await.unwrap();
    old.stop().await.unwrap();
}

/// The same inline model in two revisions, as while a deployment rolls: each build keeps its own.
mod inline {
    use super::*;

    macro_rules! counter {
        ($name:ident, $revision:literal, $column:ident) => {
            #[derive(Clone, Debug, PartialEq, ReadModel)]
            #[read_model(
                                                                                        name = "counter",
                                                                                        revision = $revision,
                                                                                        owner = "kitchen",
                                                                                        inline,
                                                                                        contract = "strong"
                                                                                    )]
            pub(super) struct $name {
                #[key]
                jar: JarId,
                pub(super) $column: i64,
            }

            impl Projection for $name {
                type Event = JarEvent;

                fn route(fact: &Fact<JarEvent>) -> Route<Self> {
                    Route::key(fact.id())
                }

                fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
                    let held = row.map_or(0, |row| row.$column);
                    Some(Self { jar: fact.id(), $column: held + 1 })
                }
            }
        };
    }

    counter!(Old, 1, facts);
    counter!(New, 2, taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inline_models_stay_exact_while_two_builds_run_side_by_side() {
    let place = fresh();
    let old = process(Service::new("kitchen").decider::<Jar>().read_model::<inline::Old>(), &place).await;
    give(&old, "tea", 1).await;
    let new = process(Service::new("kitchen").decider::<Jar>().read_model::<inline::New>(), &place).await;
    for number in 0..40_i64 {
        let (by, token) =
            if number % 3 == 0 { (&old, give(&old, "tea", 1)) } else { (&new, give(&new, "tea", 1)) };
        let token = token.await;
        // Whoever appended has it in the same transaction; the other build catches up before it answers.
        assert_eq!(rows::<inline::Old>(&old, token).await[0].facts, number + 2, "{}", by.name());
        assert_eq!(rows::<inline::New>(&new, token).await[0].taken, number + 2, "{}", by.name());
    }
    clean(&old, &["counter"]).await;
    clean(&new, &["counter"]).await;
    old.stop().await.unwrap();
    new.stop().await.unwrap();
}
