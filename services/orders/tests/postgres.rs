//! The real binary on PostgreSQL: `orders serve --store postgres://…`, two processes over one database, and a
//! kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use support::moving::there_and_back;
use support::postgres::{fresh, listed, place, verify};
use support::server::{Server, run, run_json, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_database_and_one_may_die() {
    let store = fresh();
    let (one, other) = (Server::start(&store).await, Server::start(&store).await);
    let first = place(&one, "1").await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(listed(&other, &first).await.len(), 1);
    let second = place(&other, "2").await;
    assert_eq!(listed(&one, &second).await.len(), 2);
    // The first answer again, from the other process.
    let again = place(&other, "1").await;
    assert_eq!((again.header("idempotency-replayed"), &again.text), (Some("true"), &first.text));
    one.kill().await;
    let third = place(&other, "3").await;
    assert_eq!(third.status, 201, "{}", third.text);
    assert_eq!(listed(&other, &third).await.len(), 3);
    let back = Server::start(&store).await;
    assert_eq!(listed(&back, &third).await.len(), 3);
    for server in [back, other] {
        server.terminate().await;
        assert!(server.ended().await.0.success());
    }
    verify(&store).await;
    let status = run_json(&store, &["status"]).await;
    assert_eq!(status["events"], 3);
    let told = run(&store, &["status"]).await;
    assert!(said(&told).contains("schema orders_"), "{}", said(&told));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_move_there_and_back_while_commands_go_on() {
    there_and_back(&fresh()).await;
}
