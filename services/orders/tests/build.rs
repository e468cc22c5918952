//! Kills a process in the middle of a first build, again and again: the next one begins again, and the rows
//! are those of one clean pass.
//!
//! `DIPTYCH_CRASH_SEED` says when the kills come.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use fastrand::Rng;
use orders::command::{Order, OrderCommand};
use orders::facts::{Address, LineItem, OrderId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::folder::Folder;
use support::server::{run, said, start};
use tokio::task::JoinSet;

/// More than one transaction of a model that follows, so that it is built in memory first.
const ORDERS: usize = 12_000;

/// Commands at once.
const CALLERS: usize = 64;

const KILLS: usize = 8;

/// A build is killed before it has run this long; on most machines it needs about that.
const KILL_AFTER_MAX: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_build_that_is_killed_begins_again() {
    let seed = std::env::var("DIPTYCH_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let folder = Folder::new("build");
    let store = folder.store();
    place_orders(&store).await;
    let mut rng = Rng::with_seed(seed);
    let mut unfinished = 0;
    for _ in 0..KILLS {
        let mut building = start(&store, &["models", "drain", "order_summary"]);
        let life = Duration::from_micros(rng.u64(..KILL_AFTER_MAX.as_micros() as u64));
        if tokio::time::timeout(life, building.wait()).await.is_err() {
            building.kill().await.unwrap();
        }
        let at = standing(&store).await;
        assert!(at == 0 || at == ORDERS as u64, "half a build stands at {at}");
        unfinished += usize::from(at == 0);
    }
    eprintln!("seed {seed}: {unfinished} of {KILLS} builds were killed before they were done");
    let drained = run(&store, &["models", "drain", "order_summary"]).await;
    assert!(drained.status.success(), "{}", said(&drained));
    let verified = run(&store, &["models", "verify", "order_summary"]).await;
    assert!(verified.status.success(), "{}", said(&verified));
    assert_eq!(standing(&store).await, ORDERS as u64);
}

/// A log to build from, with models that have not begun.
async fn place_orders(store: &Path) {
    let running = Arc::new(open(store).await);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let running = Arc::clone(&running);
        callers.spawn(async move {
            for number in (caller..ORDERS).step_by(CALLERS) {
                let request = Request::by(running.principal());
                let request = request.to(&OrderId::new(number.to_string()), place(number));
                running.commands().handle::<Order>(request).await.unwrap();
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    Arc::into_inner(running).expect("every caller has ended").stop().await.unwrap();
}

fn place(number: usize) -> OrderCommand {
    let unit_price = Money::parse("19.99", Currency::GBP).unwrap();
    let line = LineItem { product_id: "lamp".into(), name: None, quantity: 2, unit_price };
    let text = str::to_owned;
    let country = "United Kingdom".into();
    let shipping_address = Address {
        street: text("1 High St"),
        city: text("Leeds"),
        state: text(""),
        zip: text("LS1"),
        country,
    };
    let customer_id = Some(format!("customer {}", number % 100).into());
    OrderCommand::Place { customer_id, lines: vec![line], shipping_address }
}

/// Where the model stands, as its file says.
async fn standing(store: &Path) -> u64 {
    let running = open(store).await;
    let (freshness, _) = running.queries().freshness("order_summary").await.unwrap();
    running.stop().await.unwrap();
    freshness.projection_position.0
}

async fn open(store: &Path) -> Running {
    orders::service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(store) })
        .await
        .unwrap()
}
