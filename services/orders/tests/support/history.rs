//! Everything that was ever sent to a store, and the proof that the store holds it: every acknowledged
//! command exactly once, no other one half, and every read model as the log says.

use super::http::{Client, Reply};
use super::load::{Attempt, KnownOrder, Load, NEW_ORDERS, is_final};
use super::server::Server;
use diptych::command::Outcome;
use diptych::core::{CommandId, Metadata, RawFact};
use diptych::prelude::*;
use diptych::query::Categories;
use fastrand::Rng;
use orders::query::FulfilmentQueue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// How many answered commands of each round are sent again after the restart.
const RETRIES: usize = 40;

const MODELS: [&str; 4] =
    ["order_summary", "fulfilment_queue", "sales_by_country_and_day", "customer_account"];

/// Everything that was ever sent to the store.
#[derive(Default)]
pub(crate) struct History {
    attempts: Vec<Attempt>,
    orders: Vec<Arc<KnownOrder>>,
    /// Where the attempts of the last round begin.
    round: usize,
    rounds: u64,
    unanswered: usize,
    unanswered_landed: usize,
    pub(crate) events: u64,
}

impl History {
    pub(crate) fn acknowledged(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.acknowledged().is_some()).count()
    }

    pub(crate) fn told(&self) -> String {
        format!(
            "{} commands sent, {} acknowledged; {} without an answer, of which {} were committed; {} events",
            self.attempts.len(),
            self.acknowledged(),
            self.unanswered,
            self.unanswered_landed,
            self.events
        )
    }

    /// Opens a round with new orders, and calls the servers from many sides.
    pub(crate) fn load(&mut self, servers: &[&Server], rng: &mut Rng) -> Load {
        self.rounds += 1;
        for number in 0..NEW_ORDERS {
            let id = format!("o-{}-{number}", self.rounds);
            self.orders.push(Arc::new(KnownOrder { id, done: AtomicUsize::new(0) }));
        }
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        Load::start(format!("c-{}", self.rounds), self.orders.clone(), &addresses, rng)
    }

    /// Takes over what the callers of a round have tried.
    pub(crate) async fn end(&mut self, load: Load) {
        self.round = self.attempts.len();
        self.attempts.append(&mut load.end().await);
        let round = &self.attempts[self.round..];
        self.unanswered += round.iter().filter(|attempt| attempt.reply.is_none()).count();
    }

    /// Sends again what got no final answer in the last round, and some of what got one.
    pub(crate) async fn ask_again(&mut self, server: &Server, rng: &mut Rng) {
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
    pub(crate) async fn check(&mut self, store: &Path, drain: bool, rng: &mut Rng) {
        let earlier = (0..self.round).filter(|_| rng.u8(..10) == 0).collect();
        self.check_store(store, earlier, drain).await;
    }

    /// The same for everything that was ever sent.
    pub(crate) async fn check_all(&mut self, store: &Path) {
        self.check_store(store, (0..self.round).collect(), true).await;
    }

    /// Checks the log, the attempts of the last round and some earlier ones, and the read models.
    async fn check_store(&mut self, store: &Path, earlier: Vec<usize>, drain: bool) {
        let store = store.to_str().expect("the tests name stores by text");
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
