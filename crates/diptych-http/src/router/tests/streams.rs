//! Streams of events: what is there first, what changes, where one goes on, and how one ends.

use super::{Client, client};
use crate::tests as testing;
use axum::body::Body;
use axum::http::Request;
use diptych_core::Forbidden;
use diptych_query::{FieldRule, Sight};
use http_body::Body as _;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tower::ServiceExt;

/// A stream as its client sees it.
struct Events {
    body: Body,
    text: String,
}

/// One event.
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Client {
    async fn follow(&self, path: &str, last: Option<&str>) -> Events {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body(), text: String::new() }
    }
}

impl Events {
    /// The next event; none when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let part = |name: &str| {
                    let found = event.lines().find_map(|line| line.strip_prefix(name));
                    found.unwrap_or_default().to_owned()
                };
                if event.contains("data: ") {
                    let data = serde_json::from_str(&part("data: ")).unwrap();
                    return Some(Event { id: part("id: "), name: part("event: "), data });
                }
                continue;
            }
            let body = &mut self.body;
            let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
            let data = frame.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    async fn named(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap();
        assert_eq!(event.name, name, "{}", event.data);
        event
    }
}

async fn two_shown() -> Client {
    let client = client();
    for id in ["a", "b", "z"] {
        client.write(id, "one").await;
    }
    client
}

#[tokio::test]
async fn a_page_is_followed_by_what_changes_of_it() {
    let client = two_shown().await;
    let mut events = client.follow("/note-text", None).await;
    let snapshot = events.named("snapshot").await;
    assert_eq!(snapshot.data["items"].as_array().unwrap().len(), 2);
    assert_eq!(snapshot.data["freshness"]["projectionPosition"], 2);
    client.post("/notes/a/write", &[], r#"{"text":"two"}"#).await;
    client.write("z", "three").await;
    let changed = loop {
        let changed = events.named("changed").await;
        if changed.data["items"].as_array().unwrap().iter().any(|item| item["noteId"] == "a") {
            break changed;
        }
    };
    let items = changed.data["items"].as_array().unwrap();
    assert!(items.contains(&json!({"noteId": "a", "text": "two"})), "{}", changed.data);
    assert!(!items.iter().any(|item| item["noteId"] == "b"), "unchanged rows are not sent again");
    assert_eq!(changed.data["keys"], json!([{"noteId": "a"}, {"noteId": "b"}, {"noteId": "z"}]));
    client.post("/notes/b/close", &[("idempotency-key", "c1")], "{}").await;
    client.write("y", "unseen").await;
    let gone = loop {
        let changed = events.named("changed").await;
        if changed.data["gone"] != json!([]) {
            break changed;
        }
    };
    assert_eq!(gone.data["gone"], json!([{"noteId": "b"}]));
}

#[tokio::test]
async fn whoever_comes_again_is_sent_nothing_that_he_has() {
    let client = two_shown().await;
    let snapshot = client.follow("/note-text", None).await.named("snapshot").await;
    let mut again = client.follow("/note-text", Some(&snapshot.id)).await;
    client.post("/notes/a/write", &[], r#"{"text":"two"}"#).await;
    client.write("y", "unseen").await;
    let changed = loop {
        let changed = again.named("changed").await;
        if changed.data["items"].as_array().unwrap().iter().any(|item| item["text"] == "two") {
            break changed;
        }
    };
    assert_ne!(changed.id, snapshot.id);
    let mut later = client.follow("/note-text", Some(&snapshot.id)).await;
    let whole = later.named("snapshot").await;
    assert_eq!(whole.data["items"][0]["text"], "two", "what was missed comes as a whole");
}

#[tokio::test]
async fn nobody_is_shown_what_is_older_than_what_one_has_seen() {
    let client = two_shown().await;
    // The third position is known to the client, and shown once the fourth is there.
    let seen = Some("1.3.00c0ffee-0011223344556677");
    let (mut events, _) = tokio::join!(client.follow("/note-text", seen), client.write("y", "one"));
    let snapshot = events.named("snapshot").await;
    assert_eq!(snapshot.data["freshness"]["projectionPosition"], 3, "{}", snapshot.data);
}

#[tokio::test]
async fn what_is_withheld_is_told_with_every_change() {
    let client = two_shown().await;
    let fields = vec![FieldRule::Visible, FieldRule::Withheld];
    *client.store.sight.lock().unwrap() = Ok(Sight { fields, ..Sight::everything() });
    let mut events = client.follow("/note-text", None).await;
    assert_eq!(events.named("snapshot").await.data["withheld"], json!(["text"]));
    client.write("y", "unseen").await;
    let changed = events.named("changed").await;
    assert_eq!(changed.data["items"], json!([{"noteId": "z", "text": null}]));
    assert_eq!(changed.data["withheld"], json!(["text"]));
    *client.store.sight.lock().unwrap() = Ok(Sight::everything());
}

#[tokio::test]
async fn a_position_of_another_log_begins_anew_and_says_so() {
    let client = two_shown().await;
    let mut events = client.follow("/note-text", Some("7.2.00c0ffee-0011223344556677")).await;
    assert_eq!(events.named("epoch-changed").await.data["token"], "7.2.00c0ffee");
    events.named("snapshot").await;
    let mut events = client.follow("/note-text", Some("nonsense")).await;
    events.named("snapshot").await;
}

#[tokio::test]
async fn a_row_is_followed_from_before_it_is_there_until_it_is_gone() {
    let client = two_shown().await;
    let mut events = client.follow("/note-text/z", None).await;
    assert_eq!(events.named("gone").await.data["item"], Value::Null);
    client.write("y", "unseen").await;
    let there = events.named("changed").await;
    assert_eq!(there.data["item"], json!({"noteId": "z", "text": "one"}));
    client.post("/notes/z/close", &[("idempotency-key", "c1")], "{}").await;
    client.write("x", "unseen").await;
    events.named("gone").await;
}

#[tokio::test]
async fn policies_are_asked_again_whenever_rows_are_read() {
    let client = two_shown().await;
    let mut events = client.follow("/note-text", None).await;
    events.named("snapshot").await;
    let reason = "not any more".to_owned();
    *client.store.sight.lock().unwrap() = Err(Forbidden { reason });
    client.write("y", "one").await;
    let problem = events.named("problem").await;
    assert_eq!((&problem.data["code"], &problem.data["instance"]), (&json!("DP0008"), &json!("/note-text")));
    assert!(events.next().await.is_none(), "the stream has ended");
    *client.store.sight.lock().unwrap() = Ok(Sight::everything());
}

#[tokio::test]
async fn how_models_stand_is_told_whenever_it_changes() {
    let client = two_shown().await;
    let mut events = client.follow("/freshness?model=note-text", None).await;
    let first = events.named("freshness").await;
    assert_eq!(first.id, "1.2.00c0ffee");
    client.write("y", "one").await;
    loop {
        let told = events.named("freshness").await;
        if told.data["models"][0]["freshness"]["projectionPosition"] == 3 {
            break;
        }
    }
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_service() {
    let (mut wire, store) = testing::wire();
    wire.limits.sse_streams_max = 1;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    wire.stopping = stopping;
    let client = Client { router: crate::router(wire).unwrap(), store };
    let mut open = client.follow("/note-text", None).await;
    open.named("snapshot").await;
    let accept = [("accept", "text/event-stream")];
    client.get("/note-text", &accept).await.is_problem(503, "DP0007");
    client.get("/freshness", &accept).await.is_problem(503, "DP0007");
    stop.send(true).unwrap();
    assert!(open.next().await.is_none(), "the stream has ended");
}

#[tokio::test]
async fn a_stream_ends_when_its_time_is_over() {
    let (mut wire, store) = testing::wire();
    wire.limits.sse_duration_max = Duration::from_millis(50);
    let client = Client { router: crate::router(wire).unwrap(), store };
    client.write("a", "one").await;
    let mut events = client.follow("/note-text", None).await;
    events.named("snapshot").await;
    assert!(events.next().await.is_none(), "the stream has ended");
}
