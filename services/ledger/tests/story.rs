//! The story that the service tells about itself, over HTTP, as a client lives through it, on both stores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::core::Clock;
use diptych::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use support::folder::Folder;
use support::http::{Client, Reply};
use support::postgres::fresh;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A clock that shows what it was set to.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.0.load(Ordering::SeqCst))
    }
}

impl Hands {
    fn set(&self, now: &str) {
        self.0.store(now.parse::<Timestamp>().unwrap().as_micros(), Ordering::SeqCst);
    }
}

/// A service that listens, with one caller. Nothing moves its models but the test: what is behind stays so.
struct Served {
    running: Arc<Running>,
    hands: Hands,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start(config: Config, exports: &Folder) -> Self {
        let hands = Hands(Arc::default());
        hands.set("2026-11-28T22:00:00Z");
        let (roles, exports) = (Roles::ALL.without(Role::Projector), Some(exports.path().join("exports")));
        let mut config = Config { roles, exports, ..config };
        // Only what the test says happens: the first look is made before anything is due.
        config.jobs.beat = Duration::from_secs(3_600);
        let running = Arc::new(ledger::service().clock(hands.clone()).open(config).await.unwrap());
        assert!(running.run_due_jobs().await.unwrap().is_empty());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&running);
        let serving = tokio::spawn(async move {
            served.serve_on(listener, async { drop(stopped.await) }).await.unwrap();
        });
        Self { running, hands, client: Client::to(address), stop, serving }
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.client.get(path, &[]).await.unwrap()
    }

    async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        self.client.post(path, headers, &body).await.unwrap()
    }

    async fn open(&mut self, account: &str, name: &str, kind: &str, overdraft: &str) {
        let body = json!({ "name": name, "kind": kind, "currency": "EUR", "overdraft": overdraft });
        self.post(&format!("/books/{account}/open-account"), &[], body).await.expect(201);
    }

    async fn transfer(&mut self, id: &str, from: &str, to: &str, amount: &str) -> Reply {
        let entries = json!([
            { "account": to, "amount": euros(amount) },
            { "account": from, "amount": euros(&format!("-{amount}")) },
        ]);
        let body = json!({ "entries": entries, "description": "<b>rent</b>", "customer": "C-1" });
        let path = format!("/books/{id}/post-transaction");
        self.post(&path, &[("idempotency-key", &format!("key {id}"))], body).await
    }

    async fn drain(&self, group: &str) {
        self.running.projector().drain(group).await.unwrap();
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        Arc::into_inner(self.running).unwrap().stop().await.unwrap();
    }
}

fn euros(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "EUR" })
}

#[track_caller]
fn rejected(reply: &Reply, name: &str, data: Value) {
    let problem = reply.expect(422);
    assert_eq!(problem["rejection"], json!({ "name": name, "data": data }), "{problem}");
    assert_eq!(problem["type"], format!("urn:diptych:rejection:book:{name}"));
}

async fn the_whole_story(config: Config, folder: &Folder) {
    let mut served = Served::start(config, folder).await;
    served.open("cash", "Cash", "ASSET", "ALLOWED").await;
    served.open("ann", "Ann <Ashby>", "LIABILITY", "REFUSED").await;

    posting(&mut served).await;
    refusing(&mut served).await;
    balancing(&mut served).await;
    reading(&mut served).await;
    reversing(&mut served).await;
    looking(&mut served).await;
    exporting(&mut served).await;
    served.stop().await;
}

/// A transaction needs a key, and happens once under it.
async fn posting(served: &mut Served) {
    let entries =
        json!([{ "account": "cash", "amount": euros("1") }, { "account": "ann", "amount": euros("-1") }]);
    let body = json!({ "entries": entries, "description": "no key" });
    served.post("/books/T-1/post-transaction", &[], body).await.expect(400);
    let first = served.transfer("T-1", "ann", "cash", "100.00").await;
    assert_eq!((first.expect(201)["version"].clone(), first.header("etag")), (json!(1), Some("\"1\"")));
    assert_eq!(first.json().get("status"), None, "the books have no status to tell");
    let again = served.transfer("T-1", "ann", "cash", "100.00").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
    assert_eq!(again.json()["committedPosition"], first.json()["committedPosition"]);
}

async fn refusing(served: &mut Served) {
    let overdrawn = served.transfer("T-2", "cash", "ann", "100.01").await;
    let data = json!({ "account": "ann", "balance": euros("100.00"), "amount": euros("100.01") });
    rejected(&overdrawn, "overdraft", data);
    let entries = json!([
        { "account": "cash", "amount": euros("5.00") },
        { "account": "ann", "amount": euros("-4.00") },
    ]);
    let body = json!({ "entries": entries, "description": "typed wrongly" });
    let unbalanced = served.post("/books/T-3/post-transaction", &[("idempotency-key", "k3")], body).await;
    rejected(&unbalanced, "unbalanced", json!({ "currency": "EUR", "by": euros("1.00") }));
    let missing = served.transfer("T-4", "cash", "eve", "1.00").await;
    rejected(&missing, "account_not_open", json!({ "account": "eve" }));
    let float = json!([{ "account": "cash", "amount": 5.0 }, { "account": "ann", "amount": euros("-5") }]);
    let body = json!({ "entries": float, "description": "a bare number" });
    served.post("/books/T-5/post-transaction", &[("idempotency-key", "k5")], body).await.expect(422);
}

/// The trial balance has a transaction the moment it is posted, without any token.
async fn balancing(served: &mut Served) {
    served.transfer("T-6", "cash", "ann", "30.00").await.expect(201);
    let page = served.get("/trial-balance").await.expect(200);
    let items = page["items"].as_array().unwrap();
    let shown: Vec<_> =
        items.iter().map(|row| [&row["account"], &row["debit"], &row["credit"], &row["balance"]]).collect();
    assert_eq!(shown[0], [&json!("ann"), &euros("30.00"), &euros("100.00"), &euros("-70.00")]);
    assert_eq!(shown[1], [&json!("cash"), &euros("100.00"), &euros("30.00"), &euros("70.00")]);
    assert_eq!(page["freshness"]["lagEvents"], 0);
}

/// The statement answers by token, page by page, and says that it is behind where it is.
async fn reading(served: &mut Served) {
    let posted = served.transfer("T-7", "ann", "cash", "1.00").await.expect(201);
    let token = posted["committedPosition"].as_str().unwrap();
    let path = format!("/account-statement?account=ann&pageSize=2&minPosition={token}");
    let behind = served.get(&path).await.expect(200);
    assert_eq!(behind["freshness"]["caughtUpToRequestedPosition"], false);
    served.drain("statements").await;
    let newest = served.get(&path).await.expect(200);
    assert_eq!(newest["freshness"]["caughtUpToRequestedPosition"], true);
    let lines = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|line| (line["transaction"].clone(), line["balance"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(lines(&newest), [(json!("T-7"), euros("71.00")), (json!("T-6"), euros("70.00"))]);
    let next = newest["page"]["nextPageToken"].as_str().unwrap();
    let last = served.get(&format!("{path}&pageToken={next}")).await.expect(200);
    assert_eq!(lines(&last), [(json!("T-1"), euros("100.00"))]);
    let oldest = served.get("/account-statement?account=ann&sort=position&pageSize=1").await.expect(200);
    assert_eq!(lines(&oldest), [(json!("T-1"), euros("100.00"))]);
    let range = "postedAtFrom=2000-01-01T00:00:00Z&postedAtTo=2030-01-01T00:00:00Z";
    served.get(&format!("/account-statement?account=ann&{range}")).await.expect(400);
}

async fn reversing(served: &mut Served) {
    let reverse = |key: &'static str| {
        let body = json!({ "accounts": ["ann", "cash"], "reason": "it was hers" });
        ("/books/T-6/reverse-transaction", [("idempotency-key", key), ("if-match", "\"1\"")], body)
    };
    let (path, headers, body) = reverse("reverse T-6");
    let reversed = served.post(path, &headers, body).await;
    assert_eq!((reversed.expect(200)["version"].clone(), reversed.header("etag")), (json!(2), Some("\"2\"")));
    let (path, headers, body) = reverse("again");
    served.post(path, &headers, body.clone()).await.expect(412);
    let again = served.post(path, &headers[..1], body).await;
    assert_eq!(again.expect(422)["rejection"]["name"], "already_reversed");
    let transaction = served.get("/books/T-6").await.expect(200);
    assert_eq!(transaction["transactions"][0]["reversed"], true, "{transaction}");
    let balance = served.get("/trial-balance/ann").await.expect(200);
    assert_eq!(balance["item"]["balance"], euros("-101.00"));
}

/// The page says of each part how far behind it is, in words and exactly.
async fn looking(served: &mut Served) {
    served.drain("statements").await;
    let page = served.get("/statements/ann").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let due = "never exported, first export due 2026-11-29 02:00";
    let analytics = format!("<strong>analytics is less than a second behind, {due}</strong>");
    for part in [
        analytics.as_str(),
        "<html lang=\"en\">",
        "<h1>Statement of Ann &lt;Ashby&gt;</h1>",
        "It holds 101.00 EUR. Lines: 4.",
        "<strong>statement is up to date</strong>",
        "<th scope=\"row\">T-6</th>",
        "Reversed: it was hers",
        "&lt;b&gt;rent&lt;/b&gt;",
        "No year of this account is in the analytics yet.",
        "href=\"/statements/ann?order=oldest\"",
    ] {
        assert!(page.text.contains(part), "`{part}` is missing of {}", page.text);
    }
    assert!(!page.text.contains("<b>") && !page.text.contains("<script"));
    assert!(!page.text.contains("customer"), "every line is for a customer: {}", page.text);
    served.get("/statements/eve").await.expect(404);
    served.get("/statements/ann?order=sideways").await.expect(400);
    served.get("/statements/ann?page=2").await.expect(400);
    served.get("/statements/ann?pageToken=nonsense").await.expect(400);
}

/// The night's export brings the analytics; what comes after it is missing there, and that is said.
async fn exporting(served: &mut Served) {
    served.hands.set("2026-11-29T02:00:00Z");
    assert_eq!(served.running.run_due_jobs().await.unwrap().len(), 1);
    served.drain("account_years").await;
    let page = served.get("/statements/ann?order=oldest").await;
    assert!(page.text.contains("<strong>analytics is up to date, last export 02:00</strong>"), "{page:?}");
    assert!(page.text.contains("of credits. Entries: 4."), "{}", page.text);
    served.transfer("T-8", "ann", "cash", "7.00").await.expect(201);
    served.drain("statements").await;
    served.hands.set("2026-11-29T02:30:00Z");
    let page = served.get("/statements/ann").await;
    assert!(page.text.contains("<strong>statement is up to date</strong>"), "{}", page.text);
    let words = "30 minutes behind, last export 02:00";
    assert!(page.text.contains(&format!("<strong>analytics is {words}</strong>")), "{}", page.text);
    let years = served.get("/account-year?account=ann").await.expect(200);
    let freshness = &years["freshness"];
    assert_eq!((&freshness["words"], &freshness["lagSeconds"]), (&json!(words), &json!(1800.0)));
    assert_eq!((&years["items"][0]["year"], &years["items"][0]["entries"]), (&json!("2026"), &json!(4)));
    let months = &years["items"][0]["months"];
    assert_eq!((&months[0]["month"], &months[0]["credit"]), (&json!("2026-11"), &euros("131.00")));
    served.drain("customer_month").await;
    let month = served.get("/customer-month/C-1/2026-11").await.expect(200);
    assert_eq!((&month["item"]["transactions"], &month["item"]["reversals"]), (&json!(4), &json!(1)));
    for_nobody(served).await;
}

/// The page says which lines are missing where sums are by customer.
async fn for_nobody(served: &mut Served) {
    let entries =
        json!([{ "account": "cash", "amount": euros("1") }, { "account": "ann", "amount": euros("-1") }]);
    let body = json!({ "entries": entries, "description": "found in the street" });
    served.post("/books/T-9/post-transaction", &[("idempotency-key", "k9")], body).await.expect(201);
    served.drain("statements").await;
    let page = served.get("/statements/ann").await;
    let words = "One of these lines is for no customer: sums by customer and month leave them out.";
    assert!(page.text.contains(words), "{}", page.text);
    assert!(page.text.contains("<time datetime=\"2026-11-29T02:30:00Z\">"), "{}", page.text);
    served.drain("customer_month").await;
    let month = served.get("/customer-month/C-1/2026-11").await.expect(200);
    assert_eq!(month["item"]["transactions"], 4, "what is for nobody is in nobody's month");
}

#[tokio::test]
async fn the_whole_story_on_sqlite() {
    let folder = Folder::new("story");
    the_whole_story(Config::at(folder.store()), &folder).await;
}

#[tokio::test]
async fn the_whole_story_on_postgresql() {
    let folder = Folder::new("story-on-postgresql");
    the_whole_story(Config::at(fresh().to_str().unwrap()), &folder).await;
}
