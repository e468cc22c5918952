//! The real binary in several processes over one PostgreSQL: they share the read models by leases, play
//! roles, and one that is frozen past its lease, or killed, is taken over.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;
use support::http::{Client, Reply};
use support::postgres::{fresh, listed, place, verify};
use support::server::{HANG, Server, run_json};

/// The processes that move partitions of the order summary, as the operator is told.
async fn movers(store: &Path) -> BTreeSet<String> {
    let shown = run_json(store, &["models", "show", "order_summary"]).await;
    let partitions = shown["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2, "{shown}");
    let worker = |one: &Value| one["worker"].as_str().unwrap_or("nobody").to_owned();
    partitions.iter().map(worker).collect()
}

/// Looks until the work is shared as wanted.
async fn until(store: &Path, what: &str, shared: impl Fn(&BTreeSet<String>) -> bool) {
    let since = Instant::now();
    loop {
        let movers = movers(store).await;
        if shared(&movers) {
            return;
        }
        assert!(since.elapsed() < HANG, "it never comes to {what}: {movers:?}");
    }
}

/// Whether a process is among those, by the number that its name holds.
fn has(movers: &BTreeSet<String>, server: &Server) -> bool {
    let number = format!(":{}:", server.process());
    movers.iter().any(|mover| mover.contains(&number))
}

async fn get(server: &Server, path: &str) -> Reply {
    Client::to(server.address).get(path, &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_frozen_past_its_lease_is_taken_over_and_writes_nothing_when_it_wakes() {
    let store = fresh();
    let (one, other) = (Server::start(&store).await, Server::start(&store).await);
    until(&store, "two that share", |movers| has(movers, &one) && has(movers, &other)).await;
    let mut placed = Vec::new();
    for number in 0..8 {
        placed.push(place(if number % 2 == 0 { &one } else { &other }, &format!("before-{number}")).await);
    }
    assert_eq!(listed(&one, placed.last().unwrap()).await.len(), 8);
    one.freeze().await;
    let last = place(&other, "while-one-is-frozen").await;
    // The rows of the frozen process's partition come too: the other has taken it over.
    assert_eq!(listed(&other, &last).await.len(), 9);
    until(&store, "one that moves all", |movers| movers.len() == 1 && has(movers, &other)).await;
    one.thaw();
    let next = place(&one, "awake-again").await;
    for server in [&one, &other] {
        assert_eq!(listed(server, &next).await.len(), 10);
    }
    until(&store, "two that share again", |movers| has(movers, &one) && has(movers, &other)).await;
    other.kill().await;
    let last = place(&one, "after-a-kill").await;
    assert_eq!(listed(&one, &last).await.len(), 11);
    until(&store, "one that moves all", |movers| movers.len() == 1 && has(movers, &one)).await;
    one.terminate().await;
    assert!(one.ended().await.0.success());
    until(&store, "nobody that moves anything", |movers| movers.len() == 1 && movers.contains("nobody"))
        .await;
    verify(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_played_by_different_processes() {
    let store = fresh();
    let role = |role: &'static str| {
        let store: PathBuf = store.clone();
        async move { Server::start_with(&store, &["--roles", role]).await }
    };
    let (left, right) = (role("command").await, role("query").await);
    let first = place(&left, "1").await;
    assert_eq!(first.status, 201, "{}", first.text);
    // Nobody moves the list yet, and the answer says so.
    let behind = get(&right, "/order-summary").await.json();
    assert_eq!(
        (behind["items"].as_array().unwrap().len(), &behind["freshness"]["lagEvents"]),
        (0, &1.into())
    );
    let hinge = role("projector").await;
    assert_eq!(listed(&right, &first).await.len(), 1);
    until(&store, "the projector that moves all", |movers| movers.len() == 1 && has(movers, &hinge)).await;
    // Each process says where it is not at home, and lists what it serves.
    for (server, path) in [(&left, "/order-summary"), (&right, "/orders/1"), (&hinge, "/orders/1")] {
        let elsewhere = get(server, path).await;
        assert_eq!((elsewhere.status, &elsewhere.json()["code"]), (421, &"DP0028".into()), "{path}");
    }
    assert_eq!(place(&right, "2").await.status, 421);
    assert_eq!(get(&left, "/orders/1").await.status, 200);
    assert_eq!(get(&left, "/nowhere").await.status, 404);
    let served = |home: &Value| {
        (!home["commands"].as_array().unwrap().is_empty(), !home["readModels"].as_array().unwrap().is_empty())
    };
    assert_eq!(served(&get(&left, "/").await.json()), (true, false));
    assert_eq!(served(&get(&right, "/").await.json()), (false, true));
    assert_eq!(served(&get(&hinge, "/").await.json()), (false, false));
    for server in [&left, &right, &hinge] {
        assert_eq!(get(server, "/health/ready").await.status, 200);
        assert!(get(server, "/metrics").await.text.contains("projection_lag_events"));
    }
    let unknown = support::server::run(&store, &["serve", "--roles", "reader"]).await;
    let said = support::server::said(&unknown);
    assert!(!unknown.status.success() && said.contains("known are command, query, projector"), "{said}");
    for server in [left, right, hinge] {
        server.terminate().await;
        assert!(server.ended().await.0.success());
    }
    verify(&store).await;
}
