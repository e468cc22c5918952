//! The real binary on PostgreSQL: `orders serve --store postgres://…`, two processes over one database, and a
//! kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use support::http::{Client, Reply};
use support::server::{Server, run, run_json, said};

/// A schema of its own in the private server of the test run, as `--store` names it.
fn fresh() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("DIPTYCH_POSTGRES_URL")
        .unwrap_or_else(|_| panic!("there is no PostgreSQL to test on: run `cargo xtask test`"));
    let schema = format!("orders_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let joint = if url.contains('?') { '&' } else { '?' };
    PathBuf::from(format!("{url}{joint}schema={schema}"))
}

fn placed(customer: &str) -> Value {
    let price = json!({"amount": "19.99", "currency": "GBP"});
    let line = json!({"productId": "lamp", "name": "Lamp", "quantity": 2, "unitPrice": price});
    let address = json!({
        "street": "1 High St", "city": "Leeds", "state": "", "zip": "LS1", "country": "United Kingdom",
    });
    json!({"customerId": customer, "lines": [line], "shippingAddress": address})
}

async fn place(server: &Server, order: &str) -> Reply {
    let mut client = Client::to(server.address);
    let key = format!("place-{order}");
    let headers = [("idempotency-key", key.as_str())];
    client.post(&format!("/orders/{order}/place"), &headers, &placed("ann")).await.unwrap()
}

/// The list, at least as fresh as a command's answer.
async fn listed(server: &Server, answer: &Reply) -> Vec<Value> {
    let mut client = Client::to(server.address);
    let position = answer.json()["committedPosition"].as_str().unwrap().to_owned();
    let path = format!("/order-summary?customerId=ann&minPosition={position}");
    let reply = client.get(&path, &[("prefer", "wait=20")]).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    let json = reply.json();
    assert_eq!(json["freshness"]["caughtUpToRequestedPosition"], true, "{json}");
    json["items"].as_array().unwrap().clone()
}

async fn verify(store: &Path) {
    let verified = run(store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

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
