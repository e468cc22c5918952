//! Kills the real server under load, again and again, and looks at what is left: every acknowledged command
//! is there exactly once, no other is half there, and every read model is what the log says.
//!
//! `DIPTYCH_CRASH_KILLS` says how often, `DIPTYCH_CRASH_SEED` which choices are made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use diptych::command::Outcome;
use diptych::core::{CommandId, Metadata, RawFact};
use diptych::prelude::*;
use diptych::query::Categories;
use fastrand::Rng;
use orders::query::FulfilmentQueue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::folder::Folder;
use support::http::{Client, Reply};
use support::server::{Server, run, run_json, said};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Callers at once, each with a connection of its own.
const CALLERS: usize = 16;

/// A kill comes after fewer acknowledged commands than this, counted from the start of the server.
const KILL_AFTER_MAX: usize = 300;

/// Orders that are new in each round.
const NEW_ORDERS: usize = 30;

/// How many answered commands of each round are sent again after the restart.
const RETRIES: usize = 40;

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

const MODELS: [&str; 4] =
    ["order_summary", "fulfilment_queue", "sales_by_country_and_day", "customer_account"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let seed = from_environment("DIPTYCH_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = from_environment("DIPTYCH_CRASH_KILLS").unwrap_or(3);
    eprintln!(
        "seed {seed}, {kills} kills; the same again: DIPTYCH_CRASH_SEED={seed} DIPTYCH_CRASH_KILLS={kills}"
    );
    let folder = Folder::new("crash");
    let store = folder.store();
    let mut rng = Rng::with_seed(seed);
    let mut history = History::default();
    for round in 1..=kills {
        let server = Server::start(&store).await;
        history.ask_again(&server, &mut rng).await;
        history.load(server, round, &mut rng).await;
        history.check(&store, rng.bool(), &mut rng).await;
    }
    let server = Server::start(&store).await;
    history.ask_again(&server, &mut rng).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
    history.check_all(&store).await;
    let verified = run(&store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    let status = run_json(&store, &["status"]).await;
    assert_eq!(status["events"], history.events);
    eprintln!("{}", history.told());
    assert!(history.acknowledged() > 0, "no command was acknowledged, nothing was proved");
}

/// A command that was sent, and what came of it.
#[derive(Clone)]
struct Attempt {
    id: String,
    order: String,
    step: &'static str,
    body: Value,
    /// The answer; none when the connection broke before it came.
    reply: Option<Reply>,
    /// Whether the ledger was seen to hold its final outcome.
    landed: bool,
}

impl Attempt {
    async fn send(&self, client: &mut Client) -> std::io::Result<Reply> {
        let path = format!("/orders/{}/{}", self.order, self.step);
        let headers = [("idempotency-key", self.id.as_str()), ("prefer", "return=representation")];
        client.post(&path, &headers, &self.body).await
    }

    /// The answer, if it said that the command has its final outcome.
    fn acknowledged(&self) -> Option<&Reply> {
        self.reply.as_ref().filter(|reply| is_final(reply))
    }
}

/// Accepted, or rejected by the domain. A lost race and an overload leave the key free.
#[track_caller]
fn is_final(reply: &Reply) -> bool {
    match reply.status {
        200 | 201 => true,
        404 | 422 => reply.json().get("rejection").is_some_and(Value::is_object),
        409 | 503 => false,
        _ => panic!("an answer that nobody expects: {reply:?}"),
    }
}

/// An order, and how far on its way its last accepted command took it.
struct KnownOrder {
    id: String,
    done: AtomicUsize,
}

/// What callers share until the server dies.
struct Load {
    prefix: String,
    kill_after: usize,
    orders: Vec<Arc<KnownOrder>>,
    attempts: Mutex<Vec<Attempt>>,
    acknowledged: AtomicUsize,
    enough: Notify,
}

impl Load {
    /// One caller: asks until the connection breaks.
    async fn call(&self, mut client: Client, caller: usize, mut rng: Rng) {
        for number in 0.. {
            let order = self.choose(&mut rng);
            let mut attempt = self.attempt(order, format!("{}-{caller}-{number}", self.prefix), &mut rng);
            let reply = attempt.send(&mut client).await.ok();
            attempt.reply = reply;
            let broken = attempt.reply.is_none();
            let accepted = attempt.reply.as_ref().is_some_and(|reply| reply.status < 300);
            if accepted && WAY.get(order.done.load(Ordering::Relaxed)) == Some(&attempt.step) {
                order.done.fetch_add(1, Ordering::Relaxed);
            }
            let is_final = attempt.acknowledged().is_some();
            self.attempts.lock().unwrap().push(attempt);
            if is_final && self.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == self.kill_after {
                self.enough.notify_one();
            }
            if broken {
                return;
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

/// Everything that was ever sent to the store.
#[derive(Default)]
struct History {
    attempts: Vec<Attempt>,
    orders: Vec<Arc<KnownOrder>>,
    /// Where the attempts of the last round begin.
    round: usize,
    unanswered: usize,
    unanswered_landed: usize,
    events: u64,
}

impl History {
    fn acknowledged(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.acknowledged().is_some()).count()
    }

    fn told(&self) -> String {
        format!(
            "{} commands sent, {} acknowledged; {} without an answer, of which {} were committed; {} events",
            self.attempts.len(),
            self.acknowledged(),
            self.unanswered,
            self.unanswered_landed,
            self.events
        )
    }

    /// Calls from many sides until enough is acknowledged, then kills.
    async fn load(&mut self, server: Server, round: u64, rng: &mut Rng) {
        for number in 0..NEW_ORDERS {
            let id = format!("o-{round}-{number}");
            self.orders.push(Arc::new(KnownOrder { id, done: AtomicUsize::new(0) }));
        }
        let load = Arc::new(Load {
            prefix: format!("c-{round}"),
            // Now and then the server dies while it starts to work.
            kill_after: if rng.u8(..8) == 0 { 0 } else { rng.usize(1..KILL_AFTER_MAX) },
            orders: self.orders.clone(),
            attempts: Mutex::default(),
            acknowledged: AtomicUsize::new(0),
            enough: Notify::new(),
        });
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (load, client, rng) = (Arc::clone(&load), Client::to(server.address), rng.fork());
            callers.spawn(async move { load.call(client, caller, rng).await });
        }
        if load.kill_after > 0 {
            load.enough.notified().await;
        }
        server.kill().await;
        while let Some(caller) = callers.join_next().await {
            caller.unwrap();
        }
        self.round = self.attempts.len();
        self.attempts.append(&mut load.attempts.lock().unwrap());
        self.unanswered +=
            self.attempts[self.round..].iter().filter(|attempt| attempt.reply.is_none()).count();
    }

    /// Sends again what got no final answer in the last round, and some of what got one.
    async fn ask_again(&mut self, server: &Server, rng: &mut Rng) {
        let mut client = Client::to(server.address);
        let count = self.attempts.len();
        let mut again: Vec<_> = (0..RETRIES.min(count)).map(|_| rng.usize(..count)).collect();
        again.extend((self.round..count).filter(|index| self.attempts[*index].acknowledged().is_none()));
        for index in again {
            let attempt = &mut self.attempts[index];
            let reply = attempt.send(&mut client).await.unwrap();
            assert!(is_final(&reply), "alone, nothing stands in the way: {reply:?}");
            let replayed = reply.header("idempotency-replayed") == Some("true");
            if let Some(first) = attempt.acknowledged() {
                assert_eq!(
                    (reply.status, reply.json()),
                    (first.status, first.json()),
                    "{} twice",
                    attempt.id
                );
            }
            assert_eq!(replayed, attempt.landed, "{} {reply:?}", attempt.id);
            attempt.landed = true;
            if attempt.acknowledged().is_none() {
                attempt.reply = Some(reply);
            }
        }
    }

    /// Checks what a kill left, as it lies there: no worker runs.
    async fn check(&mut self, store: &Path, drain: bool, rng: &mut Rng) {
        let earlier = (0..self.round).filter(|_| rng.u8(..10) == 0).collect();
        self.check_store(store, earlier, drain).await;
    }

    /// The same for everything that was ever sent.
    async fn check_all(&mut self, store: &Path) {
        self.check_store(store, (0..self.round).collect(), true).await;
    }

    /// Checks the log, the attempts of the last round and some earlier ones, and the read models.
    async fn check_store(&mut self, store: &Path, earlier: Vec<usize>, drain: bool) {
        let config = Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(store) };
        let running = orders::service().open(config).await.unwrap();
        let facts = whole_log(&running).await;
        self.events = facts.len() as u64;
        let mut caused: HashMap<String, Vec<Arc<RawFact>>> = HashMap::new();
        for fact in &facts {
            let metadata = Metadata::decode(&fact.metadata).unwrap();
            caused.entry(metadata.command.as_str().to_owned()).or_default().push(Arc::clone(fact));
        }
        let known: HashMap<_, _> = self.attempts.iter().map(|attempt| (attempt.id.as_str(), ())).collect();
        assert!(
            caused.keys().all(|id| known.contains_key(id.as_str())),
            "an event of a command that nobody sent"
        );
        let round = self.round..self.attempts.len();
        for index in earlier.into_iter().chain(round) {
            let attempt = &mut self.attempts[index];
            let was = attempt.landed;
            check_attempt(&running, attempt, caused.get(&attempt.id).map_or(&[], Vec::as_slice)).await;
            self.unanswered_landed += usize::from(attempt.reply.is_none() && attempt.landed && !was);
        }
        check_queue(&running, &facts).await;
        verify(&running, None).await;
        if drain {
            for model in MODELS {
                running.projector().drain(model).await.unwrap();
            }
            verify(&running, Some(Position(self.events))).await;
        }
        running.stop().await.unwrap();
    }
}

/// The whole log: positions and versions without a gap, times that never go back.
async fn whole_log(running: &Running) -> Vec<Arc<RawFact>> {
    let mut facts = Vec::new();
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut recorded_at = Timestamp::EPOCH;
    let head = running.feed().head().await.unwrap().position();
    loop {
        let after = Position(facts.len() as u64);
        let block = running.feed().read(after, &Categories::All, 1_000).await.unwrap();
        for fact in &block.facts {
            assert_eq!(fact.position, Position(facts.len() as u64 + 1), "a gap in the log");
            let version = versions.entry(fact.stream.to_string()).or_default();
            *version += 1;
            assert_eq!(fact.version, Version(*version), "a gap in {}", fact.stream);
            assert!(fact.recorded_at >= recorded_at, "time went back at {}", fact.position);
            recorded_at = fact.recorded_at;
            facts.push(Arc::clone(fact));
        }
        if block.facts.is_empty() {
            assert_eq!(Position(facts.len() as u64), head, "the head is not the last event");
            return facts;
        }
    }
}

/// A command is in the ledger with exactly its events, or nowhere; what was acknowledged is there as it was
/// told.
async fn check_attempt(running: &Running, attempt: &mut Attempt, caused: &[Arc<RawFact>]) {
    let id = CommandId::new(&attempt.id).unwrap();
    let record = running.commands().recorded(running.principal(), &id).await.unwrap();
    let outcome = record.as_ref().map(|record| (&record.outcome, record));
    match outcome {
        None | Some((Outcome::Refused(_), _)) => {
            assert!(caused.is_empty(), "{} left events and no outcome", attempt.id);
            assert!(attempt.acknowledged().is_none(), "{} was acknowledged and is lost", attempt.id);
            assert!(!attempt.landed, "{} was there and is gone", attempt.id);
        }
        Some((Outcome::Accepted { base }, record)) => {
            attempt.landed = true;
            let versions: Vec<_> = caused.iter().map(|fact| fact.version.0).collect();
            let expected: Vec<_> = (base.0 + 1..=record.version.0).collect();
            assert_eq!(versions, expected, "{} has other events than its outcome says", attempt.id);
            assert!(caused.iter().all(|fact| *fact.stream == record.header.stream), "{}", attempt.id);
            assert_eq!(record.header.stream.stream.to_string(), format!("order-{}", attempt.order));
            if let Some(last) = caused.last() {
                assert_eq!(record.token.position, last.position);
            }
            if let Some(reply) = attempt.acknowledged() {
                check_accepted(reply, record.version, record.token, caused);
            }
        }
        Some((Outcome::Rejected { name, data }, _)) => {
            attempt.landed = true;
            assert!(caused.is_empty(), "{} was rejected and left events", attempt.id);
            if let Some(reply) = attempt.acknowledged() {
                let told = reply.json();
                assert_eq!(told["rejection"]["name"], name.as_str(), "{}", attempt.id);
                assert_eq!(told["rejection"]["data"], serde_json::from_str::<Value>(data).unwrap());
            }
        }
    }
}

#[track_caller]
fn check_accepted(reply: &Reply, version: Version, token: Token, caused: &[Arc<RawFact>]) {
    let told = reply.json();
    assert!(reply.status < 300, "{reply:?}");
    assert_eq!(
        (&told["version"], &told["committedPosition"]),
        (&json!(version.0), &json!(token.to_string()))
    );
    let events: Vec<_> = caused
        .iter()
        .map(|fact| {
            json!({
                "type": &*fact.event.name,
                "schemaVersion": fact.event.schema_version,
                "version": fact.version.0,
                "position": fact.position.0,
                "occurredAt": fact.occurred_at.to_string(),
                "data": serde_json::from_str::<Value>(&fact.payload).unwrap(),
            })
        })
        .collect();
    assert_eq!(told["events"], Value::Array(events));
}

/// The inline model is at the head without any worker, and holds exactly the paid orders that were not sent.
async fn check_queue(running: &Running, facts: &[Arc<RawFact>]) {
    let mut expected = BTreeMap::new();
    for fact in facts {
        let order = fact.stream.stream.key.as_str().to_owned();
        match &*fact.event.name {
            "PaymentCaptured" => {
                let payload: Value = serde_json::from_str(&fact.payload).unwrap();
                let amount = payload["amount"]["amount"].as_str().unwrap().to_owned();
                expected.insert(order, (amount, fact.occurred_at, fact.version));
            }
            "ShippingAddressChanged" => {
                expected.entry(order).and_modify(|(_, _, version)| *version = fact.version);
            }
            "OrderFulfilled" | "OrderRefunded" => {
                expected.remove(&order);
            }
            _ => {}
        }
    }
    let mut rows = BTreeMap::new();
    let mut find = FulfilmentQueue::find().page(100);
    loop {
        let answer = running.queries().find(running.principal(), find).await.unwrap();
        assert_eq!(answer.freshness.projection_position, Position(facts.len() as u64), "{:?}", answer.health);
        for row in answer.value.items {
            rows.insert(row.order_id.as_str().to_owned(), (row.amount.amount(), row.paid_at, row.version));
        }
        match answer.value.next_page_token {
            Some(token) => find = FulfilmentQueue::find().page(100).after(token),
            None => break,
        }
    }
    assert_eq!(rows, expected);
}

/// Every read model equals a fresh fold of the log up to its own checkpoint.
async fn verify(running: &Running, position: Option<Position>) {
    for model in MODELS {
        for report in running.projector().verify(model, 10).await.unwrap() {
            assert!(report.is_clean() && report.digest_matches == Some(true), "{report:#?}");
            assert!(position.is_none_or(|position| report.position == position), "{report:?}");
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, is `{text}`")))
}
