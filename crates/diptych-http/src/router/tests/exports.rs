//! Exports as they come: what stands before the rows, the rows, and the end that tells a whole one.

use super::{Client, client};
use crate::tests as testing;
use axum::body::Body;
use axum::http::Request;
use diptych_core::Position;
use diptych_query::{FieldRule, Sight};
use http_body::Body as _;
use serde_json::{Value, json};
use std::future::poll_fn;
use std::pin::Pin;
use tower::ServiceExt;

async fn three_notes() -> Client {
    let client = client();
    for (id, text) in [("b", "two, \"and\""), ("a", "one"), ("c", "unseen")] {
        client.write(id, text).await;
    }
    client
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn ndjson_says_where_it_is_from_and_what_it_came_to() {
    let client = three_notes().await;
    let export = client.get("/exports/note-text", &[]).await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    let told = lines(&export.text);
    let lineage = &told[0]["lineage"];
    assert_eq!((&lineage["model"], &lineage["position"]), (&json!("note_text"), &json!(2)));
    assert_eq!(
        lineage["columns"],
        json!([{"name": "noteId", "type": "text"}, {"name": "text", "type": "text"}])
    );
    assert_eq!(
        told[1..3],
        [json!({"noteId": "a", "text": "one"}), json!({"noteId": "b", "text": "two, \"and\""})]
    );
    let end = &told[3]["end"];
    assert_eq!(end["rows"], 2);
    assert!(end["checksum"].as_str().unwrap().starts_with("blake3:"), "{end}");
    assert_eq!(export.header("projection-position"), "2");
    let again = lines(&client.get("/exports/note_text?format=ndjson", &[]).await.text);
    assert_eq!(again[3], told[3], "the same rows have the same checksum");
}

#[tokio::test]
async fn csv_has_its_lineage_in_headers_and_its_end_in_trailers() {
    let client = three_notes().await;
    let request =
        Request::get("/exports/note-text").header("accept", "text/csv").body(Body::empty()).unwrap();
    let response = client.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(response.headers()["trailer"], "Export-Rows, Export-Checksum");
    assert_eq!(response.headers()["export-model"], "note_text");
    let (mut text, mut rows) = (String::new(), None);
    let mut body = response.into_body();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.unwrap().into_data() {
            Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
            Err(frame) => rows = frame.into_trailers().ok().map(|trailers| trailers["export-rows"].clone()),
        }
    }
    assert_eq!(text, "noteId,text\r\na,one\r\nb,\"two, \"\"and\"\"\"\r\n");
    assert_eq!(rows.unwrap(), "2");
}

#[tokio::test]
async fn an_export_that_fails_has_no_end() {
    let client = three_notes().await;
    *client.store.cuts_exports.lock().unwrap() = true;
    for form in ["ndjson", "csv"] {
        let path = format!("/exports/note-text?format={form}");
        let request = Request::get(path).body(Body::empty()).unwrap();
        let mut body = client.router.clone().oneshot(request).await.unwrap().into_body();
        let mut last = None;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            last = Some(frame);
        }
        let error = last.unwrap().unwrap_err();
        assert!(error.to_string().contains("DP0067"), "{form}: {error}");
    }
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_carried_away_either() {
    let client = three_notes().await;
    let fields = vec![FieldRule::Visible, FieldRule::Withheld];
    *client.store.sight.lock().unwrap() = Ok(Sight { fields, ..Sight::everything() });
    let told = lines(&client.get("/exports/note-text", &[]).await.text);
    assert_eq!(told[1], json!({"noteId": "a", "text": null}));
    assert_eq!(told[3]["end"]["withheld"], json!(["text"]));
    let page = client.get("/note-text", &[]).await.json();
    assert_eq!(page["withheld"], json!(["text"]));
    assert_eq!(client.get("/note-text/a", &[]).await.json()["withheld"], json!(["text"]));
    *client.store.sight.lock().unwrap() = Ok(Sight::everything());
    assert_eq!(client.get("/note-text", &[]).await.json()["withheld"], Value::Null);
}

#[tokio::test]
async fn an_export_knows_neither_pages_nor_an_order() {
    let client = three_notes().await;
    for path in ["?pageSize=2", "?sort=text", "?format=xml", "?colour=red"] {
        client.get(&format!("/exports/note-text{path}"), &[]).await.is_problem(400, "DP0020");
    }
    client.get("/exports/nothing", &[]).await.is_problem(404, "DP0009");
}

#[tokio::test]
async fn whoever_asks_for_too_much_is_pointed_to_the_export() {
    let client = three_notes().await;
    let problem = client.get("/note-text?pageSize=501", &[]).await.is_problem(400, "DP0065");
    assert_eq!(problem["export"], "/exports/note_text");
    let (mut wire, store) = testing::wire();
    let mut limits = wire.queries.limits().clone();
    limits.walk_rows_max = 2;
    wire.queries = std::sync::Arc::new(testing::queries_within(&store, limits));
    let client = Client { router: crate::router(wire).unwrap(), store };
    for id in ["a", "b", "c", "d"] {
        client.write(id, "text").await;
    }
    assert_eq!(client.store.facts.lock().unwrap().last().unwrap().position, Position(4));
    let first = client.get("/note-text?pageSize=2", &[]).await.json();
    let next = first["page"]["nextPageToken"].as_str().unwrap();
    let path = format!("/note-text?pageSize=2&pageToken={next}");
    let problem = client.get(&path, &[]).await.is_problem(400, "DP0065");
    assert!(problem["detail"].as_str().unwrap().contains("2 rows have been walked through"), "{problem}");
}
