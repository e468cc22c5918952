//! Kills the real server while it does commands that it accepted before: each accepted one is done exactly
//! once.
//!
//! `DIPTYCH_CRASH_KILLS` says how often, `DIPTYCH_CRASH_SEED` which choices are made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use serde_json::json;
use support::folder::Folder;
use support::http::Client;
use support::later::kill_and_prove;
use support::server::{Server, run, run_json, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_done_exactly_once() {
    kill_and_prove(&Folder::new("crash-later").store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_what_failed_and_runs_it_again() {
    let folder = Folder::new("later");
    let store = folder.store();
    let server = Server::start(&store).await;
    let mut client = Client::to(server.address);
    let headers = [("idempotency-key", "c1"), ("prefer", "respond-async"), ("if-match", "\"7\"")];
    let reply = client.post("/orders/o-1/cancel", &headers, &json!({"reason": "twice"})).await.unwrap();
    reply.expect(202);
    let ended = client.get("/commands/c1", &[("prefer", "wait=30")]).await.unwrap().expect(200);
    assert_eq!(ended["status"], "failed", "{ended}");
    server.terminate().await;
    assert!(server.ended().await.0.success());
    let failed = run_json(&store, &["commands", "list", "--status", "failed"]).await;
    assert_eq!((&failed[0]["commandId"], &failed[0]["code"]), (&json!("c1"), &json!("DP0003")));
    let shown = run(&store, &["commands", "show", "c1"]).await;
    let text = said(&shown);
    assert!(text.contains("for order-o-1 is failed") && text.contains("met: DP0003"), "{text}");
    let again = run_json(&store, &["commands", "retry", "c1"]).await;
    assert_eq!(again, json!({"commandId": "c1"}));
    let shown = run_json(&store, &["commands", "show", "c1"]).await;
    assert_eq!((&shown["status"], &shown["attempts"]), (&json!("accepted"), &json!(0)));
    for refused in [["commands", "retry", "c1"], ["commands", "show", "c9"]] {
        assert_eq!(run(&store, &refused).await.status.code(), Some(1), "{refused:?}");
    }
}
