//! Commands that are accepted now and done later, by a server that is killed again and again, and the proof
//! that each accepted one was done exactly once, in the order of its stream.
#![allow(clippy::print_stderr, reason = "a test that draws lots says which")]

use super::http::{Client, Reply};
use super::postgres::placed;
use super::server::{HANG, Server, run, run_json, said};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Callers at once, each of which waits for one acceptance before it asks for the next.
const CALLERS: usize = 8;

/// Orders of a round, few enough that commands line up behind each other.
const ORDERS: usize = 6;

/// A kill comes after fewer accepted commands than this, counted from the start of the server.
const KILL_AFTER_MAX: usize = 120;

/// What may be asked, some of it wrongly.
const STEPS: [&str; 5] = ["place", "confirm", "authorize-payment", "change-shipping-address", "cancel"];

/// A command that was sent.
#[derive(Clone)]
struct Sent {
    id: String,
    /// Whose it is, and in which order.
    caller: usize,
    order: String,
    step: &'static str,
    accepted: bool,
}

/// What callers share until they have ended.
struct Shared {
    round: u64,
    sent: Mutex<Vec<Sent>>,
    accepted: watch::Sender<usize>,
}

impl Sent {
    async fn send(&self, client: &mut Client) -> std::io::Result<Reply> {
        let body = match self.step {
            "place" => placed(&format!("customer-{}", self.caller)),
            "change-shipping-address" => json!({ "shippingAddress": placed("x")["shippingAddress"] }),
            "cancel" => json!({ "reason": "changed my mind" }),
            _ => Value::Null,
        };
        let headers = [("idempotency-key", self.id.as_str()), ("prefer", "respond-async")];
        client.post(&format!("/orders/{}/{}", self.order, self.step), &headers, &body).await
    }
}

impl Shared {
    /// One caller: asks until the connection breaks.
    async fn call(&self, address: SocketAddr, caller: usize, mut rng: Rng) {
        let mut client = Client::to(address);
        for number in 0.. {
            let mut sent = Sent {
                id: format!("q-{}-{caller}-{number}", self.round),
                caller,
                order: format!("o-{}-{}", self.round, rng.usize(..ORDERS)),
                step: STEPS[rng.usize(..STEPS.len())],
                accepted: false,
            };
            let reply = sent.send(&mut client).await;
            sent.accepted = reply.as_ref().is_ok_and(|reply| is_accepted(reply));
            if sent.accepted {
                self.accepted.send_modify(|count| *count += 1);
            }
            self.sent.lock().unwrap().push(sent);
            if reply.is_err() {
                return;
            }
        }
    }
}

/// Whether the server took the command; nothing but a failing store may have kept it from that.
#[track_caller]
fn is_accepted(reply: &Reply) -> bool {
    assert!(matches!(reply.status, 202 | 503), "{reply:?}");
    reply.status == 202
}

/// Kills servers under a load of accepted commands, then lets one end them all, and looks at what came of
/// each.
pub(crate) async fn kill_and_prove(store: &Path) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("DIPTYCH_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = number("DIPTYCH_CRASH_KILLS").unwrap_or(4);
    eprintln!(
        "seed {seed}, {kills} kills; the same again: DIPTYCH_CRASH_SEED={seed} DIPTYCH_CRASH_KILLS={kills}"
    );
    let mut rng = Rng::with_seed(seed);
    let mut sent = Vec::new();
    for round in 0..kills {
        sent.extend(round_of(store, round, &mut rng).await);
    }
    let server = Server::start(store).await;
    let mut client = Client::to(server.address);
    // Who had no answer asks again under the same key, as clients do.
    for sent in sent.iter_mut().filter(|sent| !sent.accepted) {
        sent.accepted = is_accepted(&sent.send(&mut client).await.unwrap());
    }
    let ended = outcomes(&mut client, &sent).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
    prove(store, &sent, &ended).await;
}

async fn round_of(store: &Path, round: u64, rng: &mut Rng) -> Vec<Sent> {
    let server = Server::start(store).await;
    let shared = Arc::new(Shared { round, sent: Mutex::default(), accepted: watch::Sender::new(0) });
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (shared, address, rng) = (Arc::clone(&shared), server.address, rng.fork());
        callers.spawn(async move { shared.call(address, caller, rng).await });
    }
    let enough = rng.usize(1..KILL_AFTER_MAX);
    let mut accepted = shared.accepted.subscribe();
    let reached = accepted.wait_for(|count| *count >= enough);
    tokio::time::timeout(HANG, reached).await.expect("the server accepts nothing").unwrap();
    server.kill().await;
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    std::mem::take(&mut *shared.sent.lock().unwrap())
}

/// The final status of every accepted command.
async fn outcomes(client: &mut Client, sent: &[Sent]) -> BTreeMap<String, Value> {
    let mut ended = BTreeMap::new();
    for sent in sent.iter().filter(|sent| sent.accepted) {
        let waited = async {
            loop {
                let path = format!("/commands/{}", sent.id);
                let status = client.get(&path, &[("prefer", "wait=10")]).await.unwrap().expect(200);
                if !matches!(status["status"].as_str(), Some("accepted" | "running")) {
                    return status;
                }
            }
        };
        let status = tokio::time::timeout(HANG, waited).await;
        ended.insert(sent.id.clone(), status.unwrap_or_else(|_| panic!("{} never ends", sent.id)));
    }
    ended
}

async fn prove(store: &Path, sent: &[Sent], ended: &BTreeMap<String, Value>) {
    let (mut positions, mut count, mut succeeded, mut again) = (BTreeSet::new(), 0, 0, 0);
    let mut last: BTreeMap<(usize, &str), u64> = BTreeMap::new();
    for sent in sent.iter().filter(|sent| sent.accepted) {
        let status = &ended[&sent.id];
        match status["status"].as_str() {
            Some("succeeded") => succeeded += 1,
            Some("rejected") => assert_eq!(status["events"], json!([]), "{status}"),
            _ => panic!("{} was accepted and not done: {status}", sent.id),
        }
        again += usize::from(status["attempts"].as_u64() > Some(1));
        for event in status["events"].as_array().unwrap() {
            positions.insert(event["position"].as_u64().unwrap());
            count += 1;
        }
        // A caller's commands for one order were accepted one after the other, and so were they done.
        let version = status["version"].as_u64().unwrap();
        let before = last.insert((sent.caller, &sent.order), version);
        assert!(before.is_none_or(|before| before <= version), "{} was done before its time", sent.id);
    }
    let accepted = sent.iter().filter(|sent| sent.accepted).count();
    eprintln!("{accepted} accepted, {succeeded} succeeded, {again} begun again, {count} events");
    assert!(accepted > 0, "no command was accepted, nothing was proved");
    // Every event of the log was caused by one command, and each by one only.
    let status = run_json(store, &["status"]).await;
    assert_eq!((count, positions.len() as u64), (positions.len(), status["events"].as_u64().unwrap()));
    let left = run_json(store, &["commands", "list", "--status", "accepted"]).await;
    assert_eq!(left, json!([]));
    let verified = run(store, &["models", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}
