//! Waiting for a position: what it comes to, for one model and for several, and what it costs.

use super::{Client, client};
use axum::http::StatusCode;
use diptych_core::Position;
use diptych_query::Stopped;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

const BEHIND: &str = "minPosition=1.2.00c0ffee";

/// Two notes, of which the list shows one.
async fn one_behind() -> Client {
    let client = client();
    client.write("a", "one").await;
    client.write("b", "two").await;
    client
}

/// What waiting for the second note comes to, for the one model there is.
async fn outcome(client: &Client, query: &str) -> Value {
    let told = client.get(&format!("/freshness?{query}"), &[("prefer", "wait=0")]).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    told.json()["models"][0].clone()
}

#[tokio::test]
async fn a_hundred_who_wait_for_another_process_share_one_look() {
    let client = Arc::new(one_behind().await);
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let client = Arc::clone(&client);
        waiting.spawn(async move {
            let path = format!("/note-list?{BEHIND}");
            client.get(&path, &[("prefer", "wait=1")]).await.json()["freshness"].clone()
        });
    }
    while let Some(freshness) = waiting.join_next().await {
        assert_eq!(freshness.unwrap()["caughtUpToRequestedPosition"], false);
    }
    let looks = client.store.looks.load(Ordering::Relaxed);
    assert!((1..100).contains(&looks), "{looks} looks");
    // The last who waits takes the look along; the next begins another.
    client.get(&format!("/note-list?{BEHIND}"), &[("prefer", "wait=1")]).await;
    assert!(client.store.looks.load(Ordering::Relaxed) > looks);
}

#[tokio::test]
async fn a_wait_ends_with_the_position() {
    let client = Arc::new(one_behind().await);
    let waiting = Arc::clone(&client);
    let path = format!("/note-list?{BEHIND}");
    let waiting = tokio::spawn(async move { waiting.get(&path, &[("prefer", "wait=20")]).await.json() });
    client.write("c", "three").await;
    assert_eq!(waiting.await.unwrap()["freshness"]["caughtUpToRequestedPosition"], true);
}

#[tokio::test]
async fn every_outcome_of_waiting_has_a_word_of_its_own() {
    let client = one_behind().await;
    assert_eq!(outcome(&client, BEHIND).await["outcome"], "timed_out");
    assert_eq!(outcome(&client, "minPosition=1.1.00c0ffee").await["outcome"], "reached");
    assert_eq!(outcome(&client, "minPosition=2.1.00c0ffee").await["outcome"], "epoch_changed");
    let reason = "it cannot be read (DP0050)".to_owned();
    *client.store.stopped.lock().unwrap() = Some(Stopped { position: Position(2), reason: reason.clone() });
    let stalled = outcome(&client, BEHIND).await;
    assert_eq!((&stalled["outcome"], &stalled["reason"]), (&json!("stalled"), &json!(reason)));
    client.get(&format!("/note-list?{BEHIND}"), &[]).await.is_problem(503, "DP0026");
    let entry = client.store.progress.entry("note_list");
    entry.change_troubles(|troubles| troubles.suspended = Some("a repair".to_owned()));
    let suspended = outcome(&client, BEHIND).await;
    assert_eq!((&suspended["outcome"], &suspended["reason"]), (&json!("suspended"), &json!("a repair")));
    client.get(&format!("/note-list?{BEHIND}"), &[]).await.is_problem(503, "DP0055");
}

#[tokio::test]
async fn nobody_waits_for_a_model_that_is_suspended_meanwhile() {
    let client = Arc::new(one_behind().await);
    let waiting = Arc::clone(&client);
    let path = format!("/freshness?model=note_list&{BEHIND}");
    let waiting = tokio::spawn(async move { waiting.get(&path, &[("prefer", "wait=20")]).await.json() });
    while client.store.looks.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let entry = client.store.progress.entry("note_list");
    entry.change_troubles(|troubles| troubles.suspended = Some("a repair".to_owned()));
    assert_eq!(waiting.await.unwrap()["models"][0]["outcome"], "suspended");
}

#[tokio::test]
async fn how_models_stand_is_told_without_their_rows() {
    let client = one_behind().await;
    let told = client.get("/freshness?model=note-list", &[]).await.json();
    let freshness = client.get("/note-list", &[]).await.json()["freshness"].clone();
    let golden = json!({
        "caughtUpToRequestedPosition": null,
        "models": [{
            "model": "note_list", "address": "/note-list", "contract": {"kind": "eventual"},
            "freshness": freshness, "health": {"state": "live"},
        }],
    });
    assert_eq!(told, golden);
    for (query, expected) in
        [("?model=note-list&model=note_list", 1), ("?model=note_list&model=note-text", 2), ("", 3)]
    {
        let told = client.get(&format!("/freshness{query}"), &[]).await.json();
        assert_eq!(told["models"].as_array().unwrap().len(), expected, "{query}");
    }
    client.get("/freshness?model=nothing", &[]).await.is_problem(404, "DP0009");
    client.get("/freshness?colour=red", &[]).await.is_problem(400, "DP0020");
    client.get("/freshness?minPosition=7", &[]).await.is_problem(400, "DP0023");
}

#[tokio::test]
async fn a_bound_must_be_named_where_none_is_declared() {
    let client = one_behind().await;
    client.get("/note-list?consistency=bounded", &[]).await.is_problem(400, "DP0020");
    let bounded = client.get("/note-list?consistency=bounded&maxStale=5", &[]).await;
    assert_eq!(bounded.status, StatusCode::OK, "{}", bounded.text);
    let strong = client.get("/note-list?consistency=strong", &[("prefer", "wait=0")]).await;
    strong.is_problem(503, "DP0025");
}
