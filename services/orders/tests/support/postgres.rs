//! Orders on PostgreSQL: a schema of its own for each test, and what is asked of a server there.

use super::http::{Client, Reply};
use super::server::{Server, run, said};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A schema of its own in the private server of the test run, as `--store` names it.
pub(crate) fn fresh() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("DIPTYCH_POSTGRES_URL")
        .unwrap_or_else(|_| panic!("there is no PostgreSQL to test on: run `cargo xtask test`"));
    let (service, process) = (env!("CARGO_PKG_NAME"), std::process::id());
    let schema = format!("{service}_{process}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let joint = if url.contains('?') { '&' } else { '?' };
    PathBuf::from(format!("{url}{joint}schema={schema}"))
}

pub(crate) fn placed(customer: &str) -> Value {
    let price = json!({"amount": "19.99", "currency": "GBP"});
    let line = json!({"productId": "lamp", "name": "Lamp", "quantity": 2, "unitPrice": price});
    let address = json!({
        "street": "1 High St", "city": "Leeds", "state": "", "zip": "LS1", "country": "United Kingdom",
    });
    json!({"customerId": customer, "lines": [line], "shippingAddress": address})
}

pub(crate) async fn place(server: &Server, order: &str) -> Reply {
    let mut client = Client::to(server.address);
    let key = format!("place-{order}");
    let headers = [("idempotency-key", key.as_str())];
    client.post(&format!("/orders/{order}/place"), &headers, &placed("ann")).await.unwrap()
}

/// The list, at least as fresh as a command's answer.
pub(crate) async fn listed(server: &Server, answer: &Reply) -> Vec<Value> {
    let mut client = Client::to(server.address);
    let position = answer.json()["committedPosition"].as_str().unwrap().to_owned();
    let path = format!("/order-summary?customerId=ann&minPosition={position}");
    let reply = client.get(&path, &[("prefer", "wait=20")]).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    let json = reply.json();
    assert_eq!(json["freshness"]["caughtUpToRequestedPosition"], true, "{json}");
    json["items"].as_array().unwrap().clone()
}

pub(crate) async fn verify(store: &Path) {
    let verified = run(store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}
