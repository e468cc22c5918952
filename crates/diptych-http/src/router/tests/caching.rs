//! What a client may keep of an answer, and what it is told when it asks with what it has.

use super::{Client, Reply, client};
use crate::tests::NOW;
use axum::http::StatusCode;
use diptych_core::Principal;
use diptych_query::{FieldRule, Sight};
use serde_json::json;
use std::sync::Arc;

/// Two notes shown, and a third that is not.
async fn three_notes() -> Client {
    let client = client();
    for id in ["a", "b", "c"] {
        client.write(id, "text").await;
    }
    client
}

async fn again(client: &Client, path: &str, tag: &str) -> Reply {
    client.get(path, &[("if-none-match", tag)]).await
}

#[tokio::test]
async fn what_is_held_is_not_sent_again_until_it_changes() {
    let client = three_notes().await;
    for path in ["/note-text", "/note-text/a", "/note-text?pageSize=1&sort=-text"] {
        let first = client.get(path, &[]).await;
        let tag = first.header("etag");
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{path}: {tag}");
        assert_eq!(first.header("vary"), "Authorization, Accept");
        let same = again(&client, path, &format!("\"other\", {tag}")).await;
        assert_eq!((same.status, same.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
        let told = ["etag", "vary", "projection-position", "projection-lag-events", "projection-token"];
        for name in told {
            assert_eq!(same.header(name), first.header(name), "{path}: {name}");
        }
    }
    let tag = client.get("/note-text", &[]).await.header("etag").to_owned();
    client.write("d", "text").await;
    let changed = again(&client, "/note-text", &tag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_tag_is_good_for_one_question_only() {
    let client = three_notes().await;
    let tag = client.get("/note-text", &[]).await.header("etag").to_owned();
    for other in ["/note-text?sort=text", "/note-text?pageSize=1", "/note-text?text=a", "/note-text/a"] {
        assert_eq!(again(&client, other, &tag).await.status, StatusCode::OK, "{other}");
    }
    assert_eq!(again(&client, "/note-text?pageSize=50", &tag).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_tag_is_good_for_one_person_only() {
    let client = three_notes().await;
    let tag = client.get("/note-text", &[]).await.header("etag").to_owned();
    let (mut wire, _) = crate::tests::wire();
    wire.authenticate = Arc::new(diptych_core::Everybody(Principal::new("main", "bob").unwrap()));
    wire.queries = Arc::new(crate::tests::queries_within(&client.store, wire.queries.limits().clone()));
    let other = Client { router: crate::router(wire).unwrap(), store: Arc::clone(&client.store) };
    let theirs = again(&other, "/note-text", &tag).await;
    assert_eq!(theirs.status, StatusCode::OK);
    assert_ne!(theirs.header("etag"), tag);
    assert_eq!(again(&other, "/note-text", theirs.header("etag")).await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_tag_is_good_as_long_as_the_same_may_be_seen() {
    let client = three_notes().await;
    for path in ["/note-text", "/note-text/a"] {
        let tag = client.get(path, &[]).await.header("etag").to_owned();
        let fields = vec![FieldRule::Visible, FieldRule::Withheld];
        *client.store.sight.lock().unwrap() = Ok(Sight { stamp: 7, fields, ..Sight::everything() });
        let narrowed = again(&client, path, &tag).await;
        assert_eq!(narrowed.status, StatusCode::OK, "{path}");
        assert_eq!(narrowed.json()["withheld"], json!(["text"]), "{path}");
        let by_time = Sight { stamp: 7, reads_time: true, ..Sight::everything() };
        *client.store.sight.lock().unwrap() = Ok(by_time);
        assert_eq!(client.get(path, &[]).await.header("etag"), "", "what may be seen changes with the time");
        *client.store.sight.lock().unwrap() = Ok(Sight::everything());
        assert_eq!(again(&client, path, &tag).await.status, StatusCode::NOT_MODIFIED, "{path}");
    }
}

#[tokio::test]
async fn an_answer_that_the_time_changes_has_no_tag() {
    let client = three_notes().await;
    let page = client.get("/note-list", &[]).await;
    assert_eq!((page.header("etag"), page.header("cache-control")), ("", "private, no-cache"));
    let row = client.get("/note-list/a", &[]).await;
    assert_eq!(row.header("etag"), "");
}

#[tokio::test]
async fn a_bound_says_for_how_long_an_answer_is_used_without_asking() {
    let client = three_notes().await;
    let page = client.get("/note-text", &[]).await;
    assert_eq!(page.json()["freshness"]["asOf"], NOW);
    assert_eq!(page.header("cache-control"), "private, max-age=5");
    let tighter = client.get("/note-text?maxStale=2", &[]).await;
    assert_eq!(tighter.header("cache-control"), "private, max-age=2");
    let missed = client.get("/note-text?minPosition=1.3.00c0ffee", &[]).await;
    assert_eq!(missed.header("cache-control"), "private, no-cache");
}

#[tokio::test]
async fn what_may_not_be_answered_may_not_be_used_either() {
    let client = three_notes().await;
    let tag = client.get("/note-text", &[]).await.header("etag").to_owned();
    let entry = client.store.progress.entry("note_text");
    entry.change_troubles(|troubles| troubles.incidents = 1);
    assert_eq!(again(&client, "/note-text", &tag).await.status, StatusCode::OK, "its health is another one");
    entry.change_troubles(|troubles| troubles.suspended = Some("a repair".to_owned()));
    again(&client, "/note-text", &tag).await.is_problem(503, "DP0055");
}
