//! Requests through the whole router, over stores in memory: statuses, headers and bytes as clients see them.

use crate::tests::{self as testing, Store};
use crate::{Hosts, Readiness};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

mod caching;
mod callers;
mod exports;
mod pending;
mod stages;
mod streams;
mod waits;

struct Client {
    router: Router,
    store: Arc<Store>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
        assert_eq!(problem["help"], format!("/problems/{code}"));
        problem
    }
}

fn client() -> Client {
    let (wire, store) = testing::wire();
    let router = crate::router(wire).unwrap();
    Client { router, store }
}

impl Client {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, text) in headers {
            request = request.header(*name, *text);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers, "").await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(Method::POST, path, headers, body).await
    }

    async fn write(&self, id: &str, text: &str) -> Reply {
        let body = json!({ "text": text }).to_string();
        self.post(&format!("/notes/{id}/write"), &[], &body).await
    }
}

#[tokio::test]
async fn a_command_answers_id_status_version_and_position_in_this_order() {
    let client = client();
    let headers = [("idempotency-key", "k1"), ("prefer", "return=representation")];
    let first = client.post("/notes/a%2Fb/write", &headers, r#"{"text":"hello"}"#).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let golden = concat!(
        r#"{"noteId":"a/b","status":"OPEN","version":1,"committedPosition":"1.1.00c0ffee","events":[{"#,
        r#""type":"NoteWritten","schemaVersion":1,"version":1,"position":1,"#,
        r#""occurredAt":"2026-07-07T09:00:00Z","data":{"text":"hello"}}]}"#,
    );
    assert_eq!(first.text, golden);
    assert_eq!(first.header("etag"), "\"1\"");
    assert_eq!(first.header("location"), "/notes/a%2Fb");
    assert_eq!(first.header("command-id"), "k1");
    assert_eq!(first.header("link"), "</commands/k1>; rel=\"status\"");
    assert_eq!(first.header("preference-applied"), "return=representation");
    assert_eq!(first.header("idempotency-replayed"), "");

    let again = client.post("/notes/a%2Fb/write", &headers, r#"{"text":"hello"}"#).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(client.store.facts.lock().unwrap().len(), 1);

    let other = client.post("/notes/a%2Fb/write", &headers, r#"{"text":"other"}"#).await;
    assert_eq!(other.is_problem(422, "DP0006")["commandId"], "k1");
}

#[tokio::test]
async fn an_unkeyed_command_gets_an_id_that_its_outcome_is_found_by() {
    let client = client();
    let first = client.write("n1", "hello").await;
    assert_eq!(
        first.text,
        r#"{"noteId":"n1","status":"OPEN","version":1,"committedPosition":"1.1.00c0ffee"}"#
    );
    let second = client.write("n1", "again").await;
    assert_eq!((second.status, second.header("location")), (StatusCode::OK, ""));
    let outcome = client.get(&format!("/commands/{}", first.header("command-id")), &[]).await.json();
    assert_eq!(outcome["status"], "succeeded");
    assert_eq!(outcome["target"], json!({"category": "note", "noteId": "n1", "address": "/notes/n1"}));
    assert_eq!(
        outcome["events"],
        json!([{"type": "NoteWritten", "schemaVersion": 1, "version": 1, "position": 1}])
    );
    let visible = json!({"model": "note_list", "position": 1, "visible": true, "since": testing::NOW});
    assert_eq!(outcome["readModels"][0], visible);
    let second = client.get(&format!("/commands/{}", second.header("command-id")), &[]).await.json();
    assert_eq!(second["readModels"][0]["visible"], false);
    assert_eq!(second["readModels"][0]["reason"], "lag");
    assert_eq!(second["readModels"][0]["lagEvents"], 1);
    client.get("/commands/unknown", &[]).await.is_problem(404, "DP0009");
    client.get(&format!("/commands/{}", "x".repeat(201)), &[]).await.is_problem(400, "DP0018");
}

#[tokio::test]
async fn a_version_is_honoured_and_a_stale_one_told() {
    let client = client();
    client.write("n1", "one").await;
    let body = r#"{"text":"two"}"#;
    let stale = client.post("/notes/n1/write", &[("if-match", "\"7\"")], body).await;
    let problem = stale.is_problem(412, "DP0003");
    assert_eq!((&problem["currentVersion"], &problem["expectedVersion"]), (&json!(1), &json!(7)));
    assert_eq!(problem["instance"], "/notes/n1/write");
    assert_eq!(problem["commandId"], stale.header("command-id"));
    for held in ["\"1\"", "\"version-2\""] {
        let done = client.post("/notes/n1/write", &[("if-match", held)], body).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    }
    client.post("/notes/n1/write", &[("if-match", "W/\"3\"")], body).await.is_problem(400, "DP0017");
    client.post("/notes/n1/write", &[("if-match", "*")], body).await.is_problem(400, "DP0016");
    client.post("/notes/n1/write", &[("if-match", "3")], body).await.is_problem(400, "DP0016");
}

#[tokio::test]
async fn what_the_domain_refuses_has_a_name_and_its_data() {
    let client = client();
    client.write("n1", "one").await;
    client.post("/notes/n1/close", &[], "").await.is_problem(400, "DP0005");
    let closed = client.post("/notes/n1/close", &[("idempotency-key", "\"c1\"")], "").await;
    assert_eq!(closed.json()["status"], "CLOSED");
    let refused = client.post("/notes/n1/write", &[("idempotency-key", "w2")], r#"{"text":"x"}"#).await;
    let golden = concat!(
        r#"{"type":"urn:diptych:rejection:note:note_closed","title":"A closed note takes no more commands","#,
        r#""status":422,"detail":"the note is closed","instance":"/notes/n1/write","code":"DP0010","#,
        r#""help":"/problems/DP0010","rejection":{"name":"note_closed","data":{"closed":true}},"#,
        r#""commandId":"w2"}"#,
    );
    assert_eq!(refused.text, golden);
    let outcome = client.get("/commands/w2", &[]).await.json();
    assert_eq!(outcome["status"], "rejected");
    assert_eq!(outcome["rejection"], json!({"name": "note_closed", "data": {"closed": true}}));
}

#[tokio::test]
async fn a_body_must_be_json_of_the_right_shape_and_size() {
    let client = client();
    let write = "/notes/n1/write";
    client.post(write, &[], "{").await.is_problem(400, "DP0001");
    client.post(write, &[], "[]").await.is_problem(400, "DP0001");
    let invalid = client.post(write, &[], r#"{"txt":1}"#).await.is_problem(422, "DP0002");
    let errors = json!([
        {"field": "text", "reason": "is missing"}, {"field": "txt", "reason": "is not a known property"},
    ]);
    assert_eq!(invalid["errors"], errors);
    client.post(write, &[("content-type", "text/plain")], "{}").await.is_problem(415, "DP0015");
    let large = json!({ "text": "x".repeat(100) }).to_string();
    assert_eq!(client.post(write, &[], &large).await.is_problem(413, "DP0014")["bytesMax"], 100);
    let long = format!("/notes/{}/write", "x".repeat(201));
    client.post(&long, &[], r#"{"text":"x"}"#).await.is_problem(400, "DP0018");
    client.post("/notes/%FF/write", &[], r#"{"text":"x"}"#).await.is_problem(400, "DP0018");
    assert!(client.store.facts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems_too() {
    let client = client();
    for path in ["/nothing", "/notes", "/notes/n1/", "/note-list/", "/note-list/a/b", "/problems/DPnone"] {
        client.get(path, &[]).await.is_problem(404, "DP0009");
    }
    client.post("/notes/n1/burn", &[], "").await.is_problem(404, "DP0009");
    let patch = client.send(Method::PATCH, "/notes/n1", &[], "").await;
    patch.is_problem(405, "DP0019");
    assert_eq!(patch.header("allow"), "GET,HEAD");
    let read = client.get("/notes/n1/write", &[]).await;
    read.is_problem(405, "DP0019");
    assert_eq!(read.header("allow"), "POST");
}

#[tokio::test]
async fn overload_and_a_panic_are_told() {
    let client = client();
    *client.store.overloaded.lock().unwrap() = Some(3);
    let busy = client.write("n1", "x").await;
    assert_eq!(busy.is_problem(503, "DP0007")["retryAfter"], 3);
    assert_eq!(busy.header("retry-after"), "3");
    let fell = client.write("n1", "panic").await.is_problem(500, "DP0011");
    assert!(!fell.to_string().contains("fell over"), "{fell}");
}

#[tokio::test]
async fn a_command_that_loses_every_race_is_a_conflict() {
    let client = client();
    *client.store.contended.lock().unwrap() = true;
    let lost = client.post("/notes/n1/write", &[("idempotency-key", "k1")], r#"{"text":"x"}"#).await;
    let problem = lost.is_problem(409, "DP0004");
    assert_eq!((&problem["currentVersion"], lost.header("retry-after")), (&json!(2), "1"));
    assert!(problem["detail"].as_str().unwrap().contains("decided 8 times"), "{problem}");
    let told = client.get("/commands/k1", &[]).await.json();
    assert_eq!((&told["status"], &told["refusal"]["reason"]), (&json!("refused"), &json!("conflict")));
}

#[tokio::test]
async fn a_command_that_is_cut_off_has_an_unknown_outcome() {
    let (mut wire, store) = testing::wire();
    wire.limits.request_duration_max = std::time::Duration::from_millis(20);
    *store.hangs.lock().unwrap() = true;
    let router = crate::router(wire).unwrap();
    let client = Client { router, store };
    let cut = client.post("/notes/n1/write", &[("idempotency-key", "k1")], r#"{"text":"x"}"#).await;
    let problem = cut.is_problem(503, "DP0012");
    assert_eq!((&problem["commandId"], cut.header("retry-after")), (&json!("k1"), "1"));
}

#[tokio::test]
async fn an_aggregate_is_read_with_its_version_as_a_tag() {
    let client = client();
    client.get("/notes/n1", &[]).await.is_problem(404, "DP0009");
    client.write("n1", "one").await;
    let note = client.get("/notes/n1", &[]).await;
    assert_eq!(note.text, r#"{"noteId":"n1","version":1,"status":"OPEN","text":"one"}"#);
    assert_eq!((note.header("etag"), note.header("cache-control")), ("\"1\"", "private, no-cache"));
    let held = client.get("/notes/n1", &[("if-none-match", "\"1\"")]).await;
    assert_eq!(
        (held.status, held.text.as_str(), held.header("etag")),
        (StatusCode::NOT_MODIFIED, "", "\"1\"")
    );
    let head = client.send(Method::HEAD, "/notes/n1", &[], "").await;
    assert_eq!((head.status, head.text.as_str(), head.header("etag")), (StatusCode::OK, "", "\"1\""));
}

#[tokio::test]
async fn a_page_says_how_fresh_it_is_and_where_the_next_begins() {
    let client = client();
    for (id, text) in [("a", "one"), ("b", "two"), ("c", "three"), ("z", "unseen")] {
        client.write(id, text).await;
    }
    let page = client.get("/note-list?pageSize=2", &[]).await;
    let next = page.json()["page"]["nextPageToken"].as_str().unwrap().to_owned();
    let freshness = concat!(
        r#""freshness":{"projectionPosition":3,"lagSeconds":0.0,"lagEvents":1,"#,
        r#""asOf":"2026-07-07T09:00:00Z","caughtUpToRequestedPosition":null,"token":"1.3.00c0ffee","#,
        r#""stale":false,"words":"less than a second behind"},"#,
        r#""health":{"state":"live"}}"#,
    );
    let rows =
        r#"{"items":[{"noteId":"a","text":"one","textBytes":3},{"noteId":"b","text":"two","textBytes":3}],"#;
    assert_eq!(page.text, format!(r#"{rows}"page":{{"nextPageToken":"{next}"}},{freshness}"#));
    assert_eq!(page.header("projection-position"), "3");
    assert_eq!(page.header("projection-lag-seconds"), "0.000");
    assert_eq!(page.header("projection-lag-events"), "1");
    assert_eq!(page.header("projection-token"), "1.3.00c0ffee");
    assert!(page.header("cache-control").starts_with("private"));

    let last = client.get(&format!("/note_list?pageSize=2&pageToken={next}"), &[]).await.json();
    assert_eq!(last["items"], json!([{"noteId": "c", "text": "three", "textBytes": 5}]));
    assert_eq!(last["page"], json!({"nextPageToken": null}));
    let other = format!("/note-list?text=one&pageToken={next}");
    client.get(&other, &[]).await.is_problem(400, "DP0021");
    client.get("/note-list?pageToken=nonsense", &[]).await.is_problem(400, "DP0021");
}

#[tokio::test]
async fn a_position_is_waited_for_and_missed_honestly() {
    let client = client();
    client.write("a", "one").await;
    client.write("b", "two").await;
    let behind = "/note-list?minPosition=1.2.00c0ffee";
    let missed = client.get(behind, &[("prefer", "wait=0")]).await;
    assert_eq!(missed.status, StatusCode::OK);
    assert_eq!(missed.json()["freshness"]["caughtUpToRequestedPosition"], false);
    assert_eq!(missed.header("preference-applied"), "wait=0");
    let reached = client.get("/note-list?minPosition=1.1.00c0ffee", &[]).await.json();
    assert_eq!(reached["freshness"]["caughtUpToRequestedPosition"], true);
    client.get("/note-list?minPosition=2", &[]).await.is_problem(400, "DP0023");
    client.get("/note-list?minPosition=2.1.00c0ffee", &[]).await.is_problem(409, "DP0024");
    client.get("/note-list?minPosition=1.9.00c0ffee", &[]).await.is_problem(409, "DP0024");
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_named() {
    let client = client();
    let problem = client.get("/note-list?colour=red", &[]).await.is_problem(400, "DP0020");
    assert_eq!(problem["errors"][0]["field"], "colour");
    client.get("/note-list?sort=noteId", &[]).await.is_problem(400, "DP0020");
    client.get("/note-list?pageSize=0", &[]).await.is_problem(400, "DP0020");
    client.get("/note-list/a?sort=text", &[]).await.is_problem(400, "DP0020");
}

#[tokio::test]
async fn a_row_is_read_by_its_key_and_a_missing_one_still_tells_freshness() {
    let client = client();
    client.write("a%2Fb", "zero").await;
    client.write("c", "two").await;
    client.post("/notes/a%2Fb/write", &[], r#"{"text":"one"}"#).await;
    client.write("d", "unseen").await;
    let row = client.get("/note-list/a%2Fb", &[]).await.json();
    assert_eq!(row["item"], json!({"noteId": "a/b", "text": "one", "textBytes": 3}));
    assert_eq!(row["freshness"]["projectionPosition"], 3);
    let missing = client.get("/note-list/d", &[]).await;
    let problem = missing.is_problem(404, "DP0009");
    assert_eq!(problem["freshness"]["lagEvents"], 1);
    assert_eq!(problem["health"], json!({"state": "live"}));
    assert_eq!(missing.header("projection-token"), "1.3.00c0ffee");
}

#[tokio::test]
async fn the_front_page_speaks_to_people_and_to_programs() {
    let client = client();
    client.write("a", "one").await;
    let told = client.get("/", &[]).await;
    assert_eq!(told.header("content-type"), "application/json");
    let told = told.json();
    assert_eq!(told["service"], "notes <&>");
    assert_eq!(told["commands"][1]["address"], "/notes/{id}/close");
    assert_eq!(told["readModels"][0]["lag"], "less than a second behind");
    assert_eq!(told["try"], json!(["/note-list?sort=-text"]));
    let page = client.get("/", &[("accept", "text/html")]).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for part in
        ["<h1>notes &lt;&amp;&gt;</h1>", "Every open note &lt;b&gt;", "less than a second behind", "<main>"]
    {
        assert!(page.text.contains(part), "{part} is missing of {}", page.text);
    }
    assert!(!page.text.contains("example.org") && !page.text.contains("note <b>"));
}

#[tokio::test]
async fn the_pages_that_ship_inside_are_served() {
    let client = client();
    let page = client.get("/problems/dp0003", &[]).await;
    assert_eq!(page.header("content-type"), "text/markdown; charset=utf-8");
    assert!(page.text.starts_with("# DP0003: "));
    let html = client.get("/problems/DP0003", &[("accept", "text/html")]).await;
    assert!(html.text.contains("<h1>DP0003: "));
    for (path, kind) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/docs.js", "text/javascript; charset=utf-8"),
        ("/docs/docs.css", "text/css; charset=utf-8"),
        ("/openapi.json", "application/json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("/health/live", "application/json"),
    ] {
        let served = client.get(path, &[]).await;
        assert_eq!((served.status, served.header("content-type")), (StatusCode::OK, kind), "{path}");
        assert_eq!(served.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn readiness_is_told_with_its_reasons() {
    let (mut wire, _) = testing::wire();
    wire.ready = Arc::new(|| Readiness { reasons: vec!["the store is closed".to_owned()] });
    let (router, store) = (crate::router(wire).unwrap(), Arc::default());
    let reply = Client { router, store }.get("/health/ready", &[]).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["reasons"], json!(["the store is closed"]));
    let ready = client().get("/health/ready", &[]).await;
    assert_eq!((ready.status, ready.json()["status"].clone()), (StatusCode::OK, json!("ready")));
    assert_eq!(ready.json()["models"][0]["health"], json!({"state": "live"}));
}

#[tokio::test]
async fn pages_of_other_origins_cannot_use_the_service() {
    let client = client();
    let rebound = client.get("/", &[("host", "evil.example:8080")]).await;
    rebound.is_problem(403, "DP0008");
    let host = ("host", "localhost:8080");
    assert_eq!(client.get("/", &[host]).await.status, StatusCode::OK);
    let write = |headers: Vec<(&'static str, &'static str)>| {
        let client = &client;
        async move { client.post("/notes/n1/write", &headers, r#"{"text":"x"}"#).await }
    };
    write(vec![host, ("origin", "http://evil.example")]).await.is_problem(403, "DP0008");
    write(vec![host, ("sec-fetch-site", "cross-site")]).await.is_problem(403, "DP0008");
    assert_eq!(write(vec![host, ("origin", "http://localhost:8080")]).await.status, StatusCode::CREATED);
    let (mut wire, _) = testing::wire();
    wire.hosts = Hosts::Any;
    let (router, store) = (crate::router(wire).unwrap(), Arc::default());
    let open = Client { router, store };
    assert_eq!(open.get("/", &[("host", "example.org")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_nested_router_knows_where_it_lives() {
    let (wire, store) = testing::wire();
    let router = Router::new().nest("/api", crate::router(wire).unwrap());
    let client = Client { router, store };
    let made = client.post("/api/notes/n1/write", &[], r#"{"text":"x"}"#).await;
    assert_eq!(made.header("location"), "/api/notes/n1");
    let lost = client.get("/api/nothing", &[]).await.json();
    assert_eq!(lost["instance"], "/api/nothing");
    assert_eq!(lost["help"], "/api/problems/DP0009");
}

#[test]
fn clashing_names_refuse_to_start() {
    let (mut wire, _) = testing::wire();
    wire.collections.insert("note".to_owned(), "health".to_owned());
    let fault = crate::router(wire).err().unwrap();
    assert_eq!(fault.code(), diptych_core::Code::ServiceInvalid);
    assert_eq!(
        fault.message(),
        "category `note` has the address `health`, which belongs to the toolkit itself"
    );
}

#[tokio::test]
async fn without_a_queue_the_preference_for_later_is_ignored() {
    let client = client();
    let done = client.post("/notes/n1/write", &[("prefer", "respond-async")], r#"{"text":"hello"}"#).await;
    assert_eq!((done.status, done.header("preference-applied")), (StatusCode::CREATED, ""));
    let events = client.get(&format!("/commands/{}/events", done.header("command-id")), &[]).await;
    assert!(events.text.contains("id: final\nevent: succeeded\ndata: {"), "{}", events.text);
}

#[tokio::test]
async fn an_envelope_is_the_same_as_the_commands_own_address() {
    let client = client();
    let written = client.post("/commands", &[], r#"{"type":"Write","noteId":"n1","text":"hello"}"#).await;
    assert_eq!(written.status, StatusCode::CREATED);
    assert_eq!((written.header("location"), written.header("etag")), ("/notes/n1", "\"1\""));
    let keyless = client.post("/commands", &[], r#"{"type":"Close","noteId":"n1"}"#).await;
    keyless.is_problem(400, "DP0005");
    let other = r#"{"type":"Close","noteId":"n1","commandId":"k1","closedBy":"bob"}"#;
    assert_eq!(client.post("/commands", &[], other).await.is_problem(403, "DP0048")["commandId"], "k1");
    let own = r#"{"type":"Close","noteId":"n1","commandId":"k1","closedBy":"ann","expectedVersion":1}"#;
    let closed = client.post("/commands", &[], own).await;
    assert_eq!((closed.status, closed.header("command-id")), (StatusCode::OK, "k1"));
}
