//! Callers that give orders' commands from many sides, to one server or to several over the same store, until
//! a test has seen enough. Judges no answer but whether it is final.

use super::http::{Client, Reply};
use super::server::HANG;
use fastrand::Rng;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Callers at once, each with a connection of its own.
const CALLERS: usize = 16;

/// Orders that are new in each round.
pub(crate) const NEW_ORDERS: usize = 30;

/// How long a caller that was turned away leaves the server alone.
const TURNED_AWAY: Duration = Duration::from_millis(20);

/// The way of an order that goes well.
const WAY: [&str; 5] = ["place", "confirm", "authorize-payment", "capture-payment", "fulfil"];

/// Everything that can be asked.
const ANYTHING: [&str; 8] = [
    "place",
    "confirm",
    "authorize-payment",
    "capture-payment",
    "fulfil",
    "change-shipping-address",
    "cancel",
    "refund",
];

/// A command that was sent, and what came of it.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) order: String,
    pub(crate) step: &'static str,
    body: Value,
    /// The answer; none when the connection broke before it came.
    pub(crate) reply: Option<Reply>,
    /// Whether the ledger was seen to hold its final outcome.
    pub(crate) landed: bool,
}

impl Attempt {
    pub(crate) async fn send(&self, client: &mut Client) -> std::io::Result<Reply> {
        let path = format!("/orders/{}/{}", self.order, self.step);
        let headers = [("idempotency-key", self.id.as_str()), ("prefer", "return=representation")];
        client.post(&path, &headers, &self.body).await
    }

    /// The answer, if it said that the command has its final outcome.
    pub(crate) fn acknowledged(&self) -> Option<&Reply> {
        self.reply.as_ref().filter(|reply| is_final(reply))
    }
}

/// Accepted, or rejected by the domain. A lost race and an overload leave the key free.
#[track_caller]
pub(crate) fn is_final(reply: &Reply) -> bool {
    match reply.status {
        200 | 201 => true,
        404 | 422 => reply.json().get("rejection").is_some_and(Value::is_object),
        409 | 503 => false,
        _ => panic!("an answer that nobody expects: {reply:?}"),
    }
}

/// An order, and how far on its way its last accepted command took it.
pub(crate) struct KnownOrder {
    pub(crate) id: String,
    pub(crate) done: AtomicUsize,
}

/// What callers share until they have ended.
struct Shared {
    prefix: String,
    orders: Vec<Arc<KnownOrder>>,
    attempts: Mutex<Vec<Attempt>>,
    /// For each server: final answers, and those who were turned away.
    answered: Vec<(watch::Sender<usize>, watch::Sender<usize>)>,
    over: watch::Sender<bool>,
}

/// Callers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

impl Load {
    /// Calls the servers from as many sides each.
    pub(crate) fn start(
        prefix: String,
        orders: Vec<Arc<KnownOrder>>,
        servers: &[SocketAddr],
        rng: &mut Rng,
    ) -> Self {
        let counter = || watch::Sender::new(0);
        let answered = servers.iter().map(|_| (counter(), counter())).collect();
        let (attempts, over) = (Mutex::default(), watch::Sender::new(false));
        let shared = Arc::new(Shared { prefix, orders, attempts, answered, over });
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let server = caller % servers.len();
            let (shared, client, rng) = (Arc::clone(&shared), Client::to(servers[server]), rng.fork());
            callers.spawn(async move { shared.call(client, server, caller, rng).await });
        }
        Self { shared, callers }
    }

    /// Waits until a server has given so many final answers more.
    pub(crate) async fn acknowledged(&self, server: usize, more: usize) {
        wait_for(&self.shared.answered[server].0, more).await;
    }

    /// Waits until a server has turned so many callers away more.
    pub(crate) async fn turned_away(&self, server: usize, more: usize) {
        wait_for(&self.shared.answered[server].1, more).await;
    }

    /// How many callers a server has turned away.
    pub(crate) fn turned_away_by(&self, server: usize) -> usize {
        *self.shared.answered[server].1.borrow()
    }

    /// Lets the callers hear their last answers, and tells what they have tried.
    pub(crate) async fn end(mut self) -> Vec<Attempt> {
        self.shared.over.send_replace(true);
        while let Some(caller) = self.callers.join_next().await {
            caller.unwrap();
        }
        std::mem::take(&mut self.shared.attempts.lock().unwrap())
    }
}

async fn wait_for(counter: &watch::Sender<usize>, more: usize) {
    let mut counted = counter.subscribe();
    let enough = *counted.borrow_and_update() + more;
    let reached = counted.wait_for(|count| *count >= enough);
    tokio::time::timeout(HANG, reached).await.expect("the server does not answer").unwrap();
}

impl Shared {
    /// One caller: asks until the connection breaks or the load is over.
    async fn call(&self, mut client: Client, server: usize, caller: usize, mut rng: Rng) {
        for number in 0.. {
            let order = self.choose(&mut rng);
            let mut attempt = self.attempt(order, format!("{}-{caller}-{number}", self.prefix), &mut rng);
            attempt.reply = self.answer(&attempt, &mut client, server).await;
            let broken = attempt.reply.is_none();
            let accepted = attempt.reply.as_ref().is_some_and(|reply| reply.status < 300);
            if accepted && WAY.get(order.done.load(Ordering::Relaxed)) == Some(&attempt.step) {
                order.done.fetch_add(1, Ordering::Relaxed);
            }
            let is_final = attempt.acknowledged().is_some();
            self.attempts.lock().unwrap().push(attempt);
            if is_final {
                self.answered[server].0.send_modify(|count| *count += 1);
            }
            if broken || *self.over.borrow() {
                return;
            }
        }
    }

    /// The answer, asking again under the same key where the service could not give one; none when the
    /// connection broke.
    async fn answer(&self, attempt: &Attempt, client: &mut Client, server: usize) -> Option<Reply> {
        let mut over = self.over.subscribe();
        loop {
            let reply = attempt.send(client).await.ok()?;
            if reply.status != 503 {
                return Some(reply);
            }
            self.answered[server].1.send_modify(|count| *count += 1);
            // As a client does that was told to come later; the end of the load is not waited out.
            let ended = over.wait_for(|over| *over);
            if tokio::time::timeout(TURNED_AWAY, ended).await.is_ok() {
                return Some(reply);
            }
        }
    }

    /// Mostly a young order, so that callers meet.
    fn choose(&self, rng: &mut Rng) -> &Arc<KnownOrder> {
        let first = if rng.u8(..10) < 8 { self.orders.len().saturating_sub(NEW_ORDERS) } else { 0 };
        &self.orders[rng.usize(first..self.orders.len())]
    }

    fn attempt(&self, order: &KnownOrder, id: String, rng: &mut Rng) -> Attempt {
        let next = WAY.get(order.done.load(Ordering::Relaxed));
        let step = match next {
            Some(step) if rng.u8(..10) < 7 => step,
            _ => ANYTHING[rng.usize(..ANYTHING.len())],
        };
        let body = body(step, rng);
        Attempt { id, order: order.id.clone(), step, body, reply: None, landed: false }
    }
}

fn body(step: &str, rng: &mut Rng) -> Value {
    let city = ["Leeds", "York", "Hull"][rng.usize(..3)];
    let country = "United Kingdom";
    let address =
        json!({ "street": "1 High St", "city": city, "state": "", "zip": "LS1", "country": country });
    match step {
        "place" => {
            let lines: Vec<_> = (0..rng.usize(..4)).map(|_| line(rng)).collect();
            let customer = format!("customer-{}", rng.u8(..5));
            json!({ "customerId": customer, "lines": lines, "shippingAddress": address })
        }
        "change-shipping-address" => json!({ "shippingAddress": address }),
        "cancel" | "refund" => json!({ "reason": "changed my mind" }),
        _ => Value::Null,
    }
}

fn line(rng: &mut Rng) -> Value {
    let amount = format!("{}.{:02}", rng.u8(..100), rng.u8(..100));
    let price = json!({ "amount": amount, "currency": "GBP" });
    json!({ "productId": "lamp", "name": "Lamp", "quantity": rng.i64(1..9), "unitPrice": price })
}
