//! Moving a category between persistences with real processes, while commands go on.

use super::http::Client;
use super::postgres::placed;
use super::server::{HANG, Server, run, run_json, said};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const STATE_STORED: [&str; 2] = ["--persistence", "order=state-stored"];

/// How long a caller that was turned away leaves the service alone.
const TURNED_AWAY: Duration = Duration::from_millis(50);

/// The steps of an order after it is placed.
const STEPS: [&str; 3] = ["confirm", "authorize-payment", "capture-payment"];

/// Callers that give commands all the time, wherever the service is.
struct Callers {
    address: watch::Sender<std::net::SocketAddr>,
    enough: Arc<AtomicBool>,
    /// Orders that were brought to their end.
    orders: watch::Sender<u64>,
    /// How often the shared order was sent elsewhere.
    moves: Arc<AtomicU64>,
    calling: Vec<JoinHandle<()>>,
}

impl Callers {
    fn start(server: &Server) -> Self {
        let (address, at) = watch::channel(server.address);
        let (enough, orders, moves) = (Arc::default(), watch::Sender::new(0), Arc::default());
        let mut callers = Self { address, enough, orders, moves, calling: Vec::new() };
        for caller in 0..3 {
            let caller = Caller {
                name: format!("c{caller}"),
                at: at.clone(),
                enough: Arc::clone(&callers.enough),
                orders: callers.orders.clone(),
                moves: Arc::clone(&callers.moves),
            };
            callers.calling.push(tokio::spawn(caller.call()));
        }
        callers
    }

    /// Waits until some more orders have been brought to their end.
    async fn some_more(&self, orders: u64) {
        let mut done = self.orders.subscribe();
        let wanted = *done.borrow() + orders;
        let reached = done.wait_for(|done| *done >= wanted);
        tokio::time::timeout(HANG, reached).await.expect("the callers hang").unwrap();
    }

    async fn stop(self) -> (u64, u64) {
        self.enough.store(true, Ordering::SeqCst);
        for caller in self.calling {
            caller.await.unwrap();
        }
        let orders = *self.orders.borrow();
        (orders, self.moves.load(Ordering::SeqCst))
    }
}

struct Caller {
    name: String,
    at: watch::Receiver<std::net::SocketAddr>,
    enough: Arc<AtomicBool>,
    orders: watch::Sender<u64>,
    moves: Arc<AtomicU64>,
}

impl Caller {
    async fn call(mut self) {
        for number in 0.. {
            if self.enough.load(Ordering::SeqCst) {
                return;
            }
            let order = format!("{}-{number}", self.name);
            self.give(&order, "place", "place", &placed("ann")).await;
            for step in STEPS {
                self.give(&order, step, step, &Value::Null).await;
            }
            self.orders.send_modify(|orders| *orders += 1);
            let mut address = placed("ann")["shippingAddress"].clone();
            address["city"] = json!(order);
            let body = json!({ "shippingAddress": address });
            self.give("shared", "change-shipping-address", &order, &body).await;
            self.moves.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Gives a command until it is taken: while one server stops and another starts, nobody may answer. It
    /// may be asked again, because it has a key.
    async fn give(&mut self, order: &str, command: &str, key: &str, body: &Value) {
        let key = format!("{order} {key}");
        for _ in 0..600 {
            let address = *self.at.borrow_and_update();
            let mut client = Client::to(address);
            let headers = [("idempotency-key", key.as_str())];
            match client.post(&format!("/orders/{order}/{command}"), &headers, body).await {
                Ok(reply) if matches!(reply.status, 200 | 201) => return,
                // Callers of one order may lose all their races against each other.
                Ok(reply) if matches!(reply.status, 409 | 503) => {}
                Ok(reply) => panic!("{command} {order}: {reply:?}"),
                Err(_) => {}
            }
            // Until the service is somewhere else, or for a moment.
            let _ = tokio::time::timeout(TURNED_AWAY, self.at.changed()).await;
        }
        panic!("{command} {order} was never taken");
    }
}

async fn counts(store: &Path, arguments: &[&str]) -> Value {
    let listed = run_json(store, &[&["states", "list"], arguments].concat()).await;
    let mut found = listed.as_array().unwrap().iter().filter(|states| states["category"] == "order");
    found.next().unwrap().clone()
}

/// Moves the orders of a store to state-stored and back while commands go on, as the documentation says.
pub(crate) async fn there_and_back(store: &Path) {
    let first = Server::start(store).await;
    let mut client = Client::to(first.address);
    client.post("/orders/shared/place", &[], &placed("ann")).await.unwrap().expect(201);
    let callers = Callers::start(&first);
    callers.some_more(5).await;
    assert_eq!(counts(store, &[]).await["rows"], 0);
    // There: rows for what is there, processes that keep them, rows for what came in between.
    let written = run_json(store, &["states", "write", "order"]).await;
    assert!(written["written"].as_u64().unwrap() >= 5, "{written}");
    let second = Server::start_with(store, &STATE_STORED).await;
    callers.some_more(3).await;
    callers.address.send_replace(second.address);
    callers.some_more(5).await;
    first.terminate().await;
    assert!(first.ended().await.0.success());
    run_json(store, &[&["states", "write", "order"][..], &STATE_STORED].concat()).await;
    callers.some_more(3).await;
    let stored = counts(store, &STATE_STORED).await;
    assert_eq!((&stored["persistence"], &stored["behind"]), (&json!("state-stored"), &json!(0)), "{stored}");
    assert_eq!(stored["rows"], stored["streams"], "{stored}");
    let verified = run_json(store, &[&["states", "verify", "order"][..], &STATE_STORED].concat()).await;
    assert_eq!(verified["differences"], json!([]));
    let refused = run(store, &[&["states", "drop", "order"][..], &STATE_STORED].concat()).await;
    assert!(!refused.status.success() && said(&refused).contains("DP0044"), "{}", said(&refused));
    // And back: processes that need no rows, and then no rows.
    let third = Server::start(store).await;
    callers.some_more(3).await;
    callers.address.send_replace(third.address);
    second.terminate().await;
    assert!(second.ended().await.0.success());
    callers.some_more(3).await;
    let dropped = run_json(store, &["states", "drop", "order"]).await;
    assert!(dropped["rows"].as_u64().unwrap() > 0, "{dropped}");
    callers.some_more(3).await;
    let (orders, moves) = callers.stop().await;
    assert_eq!(counts(store, &[]).await["streams"], orders + 1);
    let status = run_json(store, &["status"]).await;
    assert_eq!(status["events"], orders * (1 + STEPS.len() as u64) + 1 + moves, "each command once");
    let mut client = Client::to(third.address);
    let shared = client.get("/orders/shared", &[]).await.unwrap();
    assert_eq!(shared.header("etag"), Some(format!("\"{}\"", moves + 1).as_str()));
    third.terminate().await;
    assert!(third.ended().await.0.success());
    let verified = run(store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}
