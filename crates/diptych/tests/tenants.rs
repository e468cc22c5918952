//! Two tenants on one service, each by its own token, on both stores: whatever one asks for, on any path, it
//! gets nothing of the other's and changes nothing of it. Every path is tried by its owner, too, who must get
//! it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::enum_variant_names, reason = "events are called what they are stored as")]

mod support;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{HeaderMap, Request as HttpRequest};
use diptych::core::{Action, Authorize, Clock, Forbidden, Permit};
use diptych::ops;
use diptych::prelude::*;
use diptych::{Place, SystemClock};
use serde_json::{Value, json};
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use support::Folder;
use support::jar::{Jar, JarEvent, JarId};
use support::kitchen::fresh;
use tower::ServiceExt;

/// What is in each jar that is not empty.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "shelf", revision = 1, owner = "kitchen", corrections = "kept")]
struct Shelf {
    #[key]
    jar: JarId,
    #[filter]
    #[sort]
    spoons: i64,
    #[full_text]
    label: String,
}

impl Projection for Shelf {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        match &fact.event {
            JarEvent::Filled { spoons } => {
                let held = row.map_or(0, |row| row.spoons);
                let label = format!("{} by the spoon", fact.stream().key);
                Some(Self { jar: fact.id(), spoons: held + spoons, label })
            }
            JarEvent::Emptied => None,
        }
    }
}

/// How many spoons there are in the jars of each name, whoever has them.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "stock", revision = 1, owner = "kitchen", tenants = all)]
struct Stock {
    #[key]
    jar: JarId,
    #[sort]
    spoons: i64,
    tenants: i64,
    /// Who filled one last.
    #[filter]
    last: String,
}

impl Projection for Stock {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        let last = fact.tenant().as_str().to_owned();
        let before = row.unwrap_or(Self { jar: fact.id(), spoons: 0, tenants: 0, last: String::new() });
        let filled = if let JarEvent::Filled { spoons } = &fact.event { *spoons } else { 0 };
        let tenants = before.tenants + i64::from(before.last != last);
        Some(Self { spoons: before.spoons + filled, tenants, last, ..before })
    }
}

/// Lets only accountants look over all tenants, and empty jars.
struct Accountants;

impl Authorize for Accountants {
    fn authorize(&self, principal: &Principal, action: Action<'_>) -> Result<Permit, Forbidden> {
        match action {
            _ if principal.claims.roles.contains("accountant") => Ok(Permit::default()),
            Action::QueryAllTenants { .. } => {
                Err(Forbidden { reason: "only accountants look over all tenants".to_owned() })
            }
            Action::Command { name: "Empty", .. } => {
                Err(Forbidden { reason: "only accountants empty jars".to_owned() })
            }
            _ => Ok(Permit::default()),
        }
    }
}

/// What only the north knows: how much is in its jar, who filled it, and what it is called.
const SECRETS: [&str; 5] = ["770077", "ann-of-the-north", "honey", "given-by-ann", "later-by-ann"];

/// What an answer was, read to its end.
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A caller with a token of its own.
#[derive(Clone)]
struct Caller {
    router: axum::Router,
    bearer: String,
}

impl Caller {
    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], &Value::Null).await
    }

    /// The first that a stream of events tells, or the answer that there is none.
    async fn first_event(&self, path: &str) -> String {
        let request = HttpRequest::get(path).header("authorization", &self.bearer);
        let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
        let mut body = self.router.clone().oneshot(request).await.unwrap().into_body();
        let mut told = String::new();
        while !told.contains("data: ") {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            let Some(frame) = frame else { break };
            if let Ok(bytes) = frame.unwrap().into_data() {
                told.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
        told
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.send("POST", path, headers, body).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let mut request = HttpRequest::builder().method(method).uri(path);
        request = request.header("authorization", &self.bearer).header("prefer", "wait=30");
        for (name, text) in headers {
            request = request.header(*name, *text);
        }
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        };
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text }
    }
}

/// A service with two tenants.
struct World {
    running: Running,
    north: Caller,
    south: Caller,
    /// Of the south, and trusted with what is of all tenants.
    accountant: Caller,
    /// How far the log was when the north had said everything.
    token: String,
    secret: PathBuf,
}

impl World {
    async fn open(place: Place) -> Self {
        let secret = std::env::temp_dir().join(format!("diptych-secret-{}", uuid_like()));
        diptych::policy::write_secret(&secret).unwrap();
        let jwt = Jwt::secret(&secret).unwrap();
        let bearer = |who: &str| {
            let who = Principal::from_text(who).unwrap();
            format!("Bearer {}", jwt.issue(&who, SystemClock.now(), Duration::from_secs(600)).unwrap())
        };
        let (ann, bob) = (bearer("north/ann-of-the-north"), bearer("south/bob"));
        let eve = bearer("south/eve;roles=accountant");
        let service = Service::new("kitchen").decider::<Jar>().read_model::<Shelf>().read_model::<Stock>();
        let service = service.authorize(Accountants).authenticate(jwt);
        let running = service.open(Config::at(place)).await.unwrap();
        let router = running.router().unwrap();
        let caller = |bearer| Caller { router: router.clone(), bearer };
        let (north, south, accountant) = (caller(ann), caller(bob), caller(eve));
        let mut world = Self { north, south, accountant, running, token: String::new(), secret };
        world.furnish().await;
        world
    }

    /// The north fills a jar that only it has, and one that the south has as well.
    async fn furnish(&mut self) {
        let spoons = |spoons: i64| json!({ "spoons": spoons });
        let key = [("idempotency-key", "given-by-ann")];
        filled(&self.north.post("/jars/honey/fill", &key, &spoons(770_077)).await);
        filled(&self.north.post("/jars/shared/fill", &[], &spoons(770_077)).await);
        filled(&self.south.post("/jars/shared/fill", &[], &spoons(1)).await);
        let later = [("idempotency-key", "later-by-ann"), ("prefer", "respond-async")];
        let accepted = self.north.post("/jars/honey/fill", &later, &spoons(1)).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text);
        let ended = self.north.get("/commands/later-by-ann").await;
        assert_eq!(ended.json()["status"], "succeeded", "{}", ended.text);
        ended.json()["committedPosition"].as_str().unwrap().clone_into(&mut self.token);
        let caught_up = self.north.get(&format!("/shelf?minPosition={}", self.token)).await;
        let caught_up = &caught_up.json()["freshness"]["caughtUpToRequestedPosition"];
        assert_eq!(caught_up, &json!(true));
    }

    async fn close(self) {
        self.running.stop().await.unwrap();
        std::fs::remove_file(&self.secret).unwrap();
    }
}

fn uuid_like() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
fn filled(reply: &Reply) {
    assert!(matches!(reply.status, 200 | 201), "{}", reply.text);
}

/// Nothing of the north stands in an answer, but for what the question itself has named.
#[track_caller]
fn tells_nothing(reply: &Reply, asked: &str) {
    let headers = format!("{:?}", reply.headers);
    for secret in SECRETS.iter().filter(|secret| !asked.contains(**secret)) {
        assert!(!reply.text.contains(secret) && !headers.contains(secret), "{asked}: {}", reply.text);
    }
}

/// A question: its address, what its owner gets, and what the other tenant gets.
type Question = (String, u16, u16);

/// Everything that can be read. A new path is one more line.
async fn questions(world: &World) -> Vec<Question> {
    let page = world.north.get("/shelf?pageSize=1&sort=spoons").await;
    let page = page.json()["page"]["nextPageToken"].as_str().unwrap().to_owned();
    let audited = world.north.get("/audit?pageSize=1").await;
    let audited = audited.json()["page"]["nextPageToken"].as_str().unwrap().to_owned();
    let token = &world.token;
    let question = |path: &str, owner, other| (path.to_owned(), owner, other);
    vec![
        question("/jars/honey", 200, 404),
        question("/jars/honey?version=1", 200, 404),
        question(&format!("/jars/honey?at={}", SystemClock.now()), 200, 404),
        question("/jars/shared", 200, 200),
        question("/shelf/honey", 200, 404),
        question("/shelf/shared", 200, 200),
        question(&format!("/shelf/honey?minPosition={token}"), 200, 404),
        question("/shelf", 200, 200),
        question("/shelf?spoons=770078", 200, 200),
        question("/shelf?jar=honey", 200, 200),
        question("/shelf?q=honey", 200, 200),
        question("/exports/shelf", 200, 200),
        question("/exports/shelf?format=csv", 200, 200),
        question("/exports/shelf?spoons.gte=770000", 200, 200),
        question("/shelf?spoons.gte=770000", 200, 200),
        question("/shelf?sort=-spoons", 200, 200),
        question(&format!("/shelf?minPosition={token}"), 200, 200),
        question(&format!("/shelf?pageSize=1&sort=spoons&pageToken={page}"), 200, 400),
        question("/commands/given-by-ann", 200, 404),
        question("/commands/later-by-ann", 200, 404),
        question("/commands/later-by-ann/events", 200, 404),
        question("/commands/given-by-ann/tree", 200, 404),
        question("/audit", 200, 200),
        question("/audit?actor=ann-of-the-north", 200, 200),
        question("/audit?stream=jar-honey", 200, 200),
        question(&format!("/audit?pageSize=1&pageToken={audited}"), 200, 200),
    ]
}

async fn nothing_is_read_across(place: Place) {
    let world = World::open(place).await;
    for (path, owner, other) in questions(&world).await {
        let reply = world.north.get(&path).await;
        assert_eq!(reply.status, owner, "the owner at {path}: {}", reply.text);
        let known = SECRETS.iter().any(|secret| reply.text.contains(secret));
        assert!(known, "what the owner gets at {path} is no secret: {}", reply.text);
        let reply = world.south.get(&path).await;
        assert_eq!(reply.status, other, "the other at {path}: {}", reply.text);
        tells_nothing(&reply, &path);
    }
    for (path, secret) in [("/shelf", "honey"), ("/shelf/honey", "770078"), ("/shelf?sort=-spoons", "honey")]
    {
        let told = world.north.first_event(path).await;
        assert!(told.contains(secret), "the owner hears nothing at {path}: {told}");
        let told = world.south.first_event(path).await;
        let about = SECRETS.iter().filter(|secret| !path.contains(**secret));
        about.for_each(|secret| assert!(!told.contains(secret), "{path}: {told}"));
    }
    // What describes the service, or how far it is, names nobody's data.
    for path in ["/", "/freshness", "/metrics", "/openapi.json", "/health/ready"] {
        let reply = world.south.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        tells_nothing(&reply, path);
    }
    world.close().await;
}

async fn a_tag_of_another_tenant_is_no_tag(place: Place) {
    let world = World::open(place).await;
    for path in ["/shelf", "/shelf/shared", "/jars/shared"] {
        let tag = world.north.get(path).await.header("etag").to_owned();
        assert!(!tag.is_empty(), "{path} has no tag");
        let asked = [("if-none-match", tag.as_str())];
        assert_eq!(world.north.send("GET", path, &asked, &Value::Null).await.status, 304, "{path}");
        if path.starts_with("/shelf") {
            let reply = world.south.send("GET", path, &asked, &Value::Null).await;
            assert_eq!(reply.status, 200, "the other tenant holds nothing of {path} that could be the same");
        }
    }
    world.close().await;
}

async fn nothing_is_written_across(place: Place) {
    let world = World::open(place).await;
    let paths = [
        "/jars/honey",
        "/jars/shared",
        "/shelf",
        "/commands/given-by-ann",
        "/commands/later-by-ann",
        "/audit",
    ];
    let before = seen(&world.north, &paths).await;
    let spoons = json!({ "spoons": 5 });
    // A command finds the stream of its own tenant, though another has one of the same name.
    let reply = world.south.post("/jars/honey/fill", &[], &spoons).await;
    assert_eq!((reply.status, &reply.json()["version"]), (201, &json!(1)), "{}", reply.text);
    // A key that another tenant has used is free.
    let key = [("idempotency-key", "given-by-ann")];
    let reply = world.south.post("/jars/honey/fill", &key, &json!({ "spoons": 770_077 })).await;
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (200, ""), "{}", reply.text);
    let later = [("idempotency-key", "later-by-ann"), ("prefer", "respond-async")];
    let reply = world.south.post("/jars/honey/fill", &later, &spoons).await;
    assert_eq!((reply.status, reply.header("idempotency-replayed")), (202, ""), "{}", reply.text);
    let ended = world.south.get("/commands/later-by-ann").await.json();
    assert_eq!((&ended["status"], &ended["version"]), (&json!("succeeded"), &json!(3)));
    // An envelope cannot name another tenant.
    let envelope = json!({ "type": "Fill", "jarId": "enveloped", "spoons": 5 });
    let reply = world.south.post("/commands", &[], &envelope).await;
    assert_eq!((reply.status, &reply.json()["version"]), (201, &json!(1)), "{}", reply.text);
    for (member, text) in [("tenant", "north"), ("tenantId", "north"), ("actor", "ann-of-the-north")] {
        let mut envelope = envelope.clone();
        envelope[member] = json!(text);
        let reply = world.south.post("/commands", &[], &envelope).await;
        assert!((400..500).contains(&reply.status), "{member}: {}", reply.text);
    }
    // A correction finds rows of its own tenant.
    let correction = json!({ "model": "shelf", "key": ["honey"], "set": { "spoons": 0 }, "reason": "a try" });
    let reply = world.south.post("/row-corrections/c-1/correct", &[], &correction).await;
    filled(&reply);
    let token = reply.json()["committedPosition"].as_str().unwrap().to_owned();
    let corrected = world.south.get(&format!("/shelf/honey?minPosition={token}")).await;
    assert_eq!(corrected.json()["item"]["spoons"], json!(0), "{}", corrected.text);
    let waited = world.north.get(&format!("/shelf?minPosition={token}")).await;
    assert_eq!(waited.status, 200);
    assert_eq!(seen(&world.north, &paths).await, before, "the north's data has changed");
    world.close().await;
}

async fn what_is_of_all_tenants_is_for_those_who_may(place: Place) {
    let world = World::open(place).await;
    for path in ["/stock", "/stock/honey", "/stock/unheard-of", "/exports/stock"] {
        for caller in [&world.north, &world.south] {
            let reply = caller.get(path).await;
            assert_eq!(reply.status, 403, "{path}: {}", reply.text);
            assert!(reply.text.contains("only accountants look over all tenants"), "{}", reply.text);
        }
    }
    let all = world.accountant.get(&format!("/stock?sort=-spoons&minPosition={}", world.token)).await.json();
    let spoons: Vec<_> = all["items"].as_array().unwrap().iter().map(|row| row["spoons"].clone()).collect();
    assert_eq!(spoons, [770_078, 770_078], "{all}");
    let shared = world.accountant.get("/stock/shared").await.json();
    assert_eq!(
        (&shared["item"]["spoons"], &shared["item"]["tenants"]),
        (&json!(770_078), &json!(2)),
        "{shared}"
    );
    let of_the_north = world.accountant.get("/stock?last=north").await.json();
    assert_eq!(of_the_north["items"].as_array().map(Vec::len), Some(1), "{of_the_north}");
    // What is a tenant's own stays so, whoever asks.
    tells_nothing(&world.accountant.get("/shelf").await, "/shelf");
    let verified = world.running.projector().verify("stock", 10).await.unwrap();
    assert!(verified.iter().all(|report| report.is_clean()), "{verified:?}");
    world.close().await;
}

async fn a_command_done_later_is_allowed_what_its_giver_was(place: Place) {
    let world = World::open(place).await;
    let later = |key: &'static str| [("prefer", "respond-async"), ("idempotency-key", key)];
    let reply = world.south.post("/jars/shared/empty", &later("by-bob"), &json!({})).await;
    assert_eq!(reply.status, 403, "{}", reply.text);
    let reply = world.accountant.post("/jars/shared/empty", &later("by-eve"), &json!({})).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let ended = world.accountant.get("/commands/by-eve").await.json();
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(world.south.get("/jars/shared").await.json()["spoons"], 0);
    world.close().await;
}

/// What addresses answer, without what says how fresh it is.
async fn seen(caller: &Caller, paths: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for path in paths {
        let mut answer = caller.get(path).await.json();
        for member in ["freshness", "health", "readModels"] {
            answer.as_object_mut().unwrap().remove(member);
        }
        all.push(answer);
    }
    all
}

async fn an_operator_sees_one_tenant_at_a_time(place: Place) {
    let world = World::open(place).await;
    let (north, south) = (Principal::new("north", "op").unwrap(), Principal::new("south", "op").unwrap());
    for (principal, finds) in [(&north, true), (&south, false)] {
        let mut operator = world.running.operator().await.unwrap();
        operator.principal = principal;
        let told = [
            text(ops::query(&operator, "shelf", &[]).await),
            text(ops::list_audit(&operator, diptych::command::AuditFilter::default(), 100).await),
            text(ops::list_commands(&operator, None, 100).await),
            text(ops::show_command(&operator, "later-by-ann").await),
            text(ops::show_stream(&operator, "jar-honey", None).await),
            text(ops::stream_events(&operator, "jar-honey", Version(0), 100).await),
            text(ops::audit_tree(&operator, "given-by-ann").await),
            text(ops::row_history(&operator, "shelf", "honey").await),
        ];
        for told in told {
            let told = match told {
                Ok(told) => told,
                // An error names what was asked for, and nothing else.
                Err(error) => {
                    assert!(!finds, "{error}");
                    continue;
                }
            };
            let known = ["770077", "770078", "ann-of-the-north"].iter().any(|secret| told.contains(secret));
            assert_eq!(known, finds, "{} sees {told}", principal.tenant);
        }
    }
    world.close().await;
}

fn text(report: Result<ops::Report, ops::ActionError>) -> Result<String, String> {
    report.map(|report| report.render(ops::Output::Json)).map_err(|error| error.to_string())
}

/// Each case on each store.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let folder = super::Folder::new();
                super::$case(folder.path().into()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::fresh()).await;
            })*
        }
    };
}

on_both_stores!(
    nothing_is_read_across,
    a_tag_of_another_tenant_is_no_tag,
    nothing_is_written_across,
    an_operator_sees_one_tenant_at_a_time,
    what_is_of_all_tenants_is_for_those_who_may,
    a_command_done_later_is_allowed_what_its_giver_was,
);
