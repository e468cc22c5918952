//! What was, who did it, what caused what, and a log taken from one store to another: on a real service.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, header};
use diptych::core::{CausationId, CorrelationId};
use diptych::ops::export::ExportFilter;
use diptych::ops::{Output, audit_tree, list_audit, show_stream, stream_events};
use diptych::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use support::Folder;
use support::jar::{Jar, JarCommand, JarEvent, JarId};
use support::kitchen::shelf;
use support::transfer::{self, exported};
use tower::ServiceExt;

shelf!(Shelf, "shelf");

fn service() -> Service {
    Service::new("kitchen").decider::<Jar>().read_model::<Shelf>()
}

async fn open(folder: &Folder) -> Running {
    service().open(Config::at(folder.path())).await.unwrap()
}

/// Gives a command under an id, which something may have caused.
async fn give(running: &Running, id: &str, key: &str, command: JarCommand, cause: Option<&str>) {
    let mut request = Request::by(running.principal()).to(&JarId::new(key), command).command_id(id);
    request = request.correlation(CorrelationId::new("breakfast").unwrap());
    if let Some(cause) = cause {
        request = request.causation(CausationId::new(cause).unwrap());
    }
    // Whether it is accepted is the test's own to know.
    let _ = running.commands().handle::<Jar>(request).await;
}

/// A jar that is filled twice and emptied; what that caused; a rejection; and a conflict.
async fn story(running: &Running) {
    give(running, "one", "tea", JarCommand::Fill { spoons: 2 }, None).await;
    give(running, "two", "tea", JarCommand::Fill { spoons: 3 }, Some("one")).await;
    give(running, "three", "salt", JarCommand::Fill { spoons: 1 }, Some("jar-tea@2")).await;
    give(running, "four", "rice", JarCommand::Empty, Some("three")).await;
    let late = Request::by(running.principal()).to(&JarId::new("tea"), JarCommand::Empty);
    let late = late.command_id("five").if_version(Version(7));
    running.commands().handle::<Jar>(late).await.unwrap_err();
    give(running, "six", "tea", JarCommand::Empty, None).await;
}

struct Reply {
    status: u16,
    etag: String,
    json: Value,
}

async fn get(running: &Running, path: &str, headers: &[(header::HeaderName, &str)]) -> Reply {
    let mut request = HttpRequest::get(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = running.router().unwrap().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let etag = response.headers().get(header::ETAG).map(|tag| tag.to_str().unwrap().to_owned());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Reply { status, etag: etag.unwrap_or_default(), json }
}

#[tokio::test]
async fn an_aggregate_is_shown_as_it_was() {
    let folder = Folder::new();
    let running = open(&folder).await;
    let before = diptych::SystemClock;
    let before = diptych::core::Clock::now(&before);
    story(&running).await;
    for (version, spoons) in [(1, 2), (2, 5), (3, 0)] {
        let reply = get(&running, &format!("/jars/tea?version={version}"), &[]).await;
        assert_eq!((reply.status, &reply.json["spoons"]), (200, &json!(spoons)), "{}", reply.json);
        assert_eq!(reply.json["asOf"]["version"], version);
        assert_eq!(reply.etag, format!("\"as-of-{version}\""));
        let again = [(header::IF_NONE_MATCH, reply.etag.as_str())];
        assert_eq!(get(&running, &format!("/jars/tea?version={version}"), &again).await.status, 304);
    }
    let second = get(&running, "/jars/tea?version=2", &[]).await.json["asOf"].clone();
    for name in ["at", "occurredAt"] {
        let time =
            second[if name == "at" { "recordedAt" } else { "occurredAt" }].as_str().unwrap().to_owned();
        let then = get(&running, &format!("/jars/tea?{name}={time}"), &[]).await;
        assert_eq!((then.status, &then.json["version"]), (200, &json!(2)), "{}", then.json);
        let counted = if name == "at" { "recordedAt" } else { "occurredAt" };
        assert_eq!(
            (&then.json["asOf"]["at"], &then.json["asOf"]["counted"]),
            (&json!(time), &json!(counted))
        );
        let early = get(&running, &format!("/jars/tea?{name}={before}"), &[]).await;
        assert_eq!(early.status, 404);
        assert!(early.json["detail"].as_str().unwrap().contains("had not begun"), "{}", early.json);
    }
    let present = get(&running, "/jars/tea", &[]).await;
    assert_eq!((&present.json["version"], &present.json["asOf"]), (&json!(3), &Value::Null));
    assert_eq!(present.etag, "\"3\"");
    for (path, status) in [
        ("/jars/tea?version=9", 404),
        ("/jars/none?version=1", 404),
        ("/jars/tea?version=0", 400),
        ("/jars/tea?at=2999-01-01T00:00:00Z", 400),
        ("/jars/tea?version=1&at=2020-01-01T00:00:00Z", 400),
        ("/jars/tea?verion=1", 400),
    ] {
        assert_eq!(get(&running, path, &[]).await.status, status, "{path}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_past_tag_is_no_permission_to_change_the_present() {
    let folder = Folder::new();
    let running = open(&folder).await;
    story(&running).await;
    let past = get(&running, "/jars/tea?version=3", &[]).await;
    let request = HttpRequest::post("/jars/tea/fill")
        .header("host", "localhost")
        .header(header::IF_MATCH, past.etag)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(r#"{"spoons":1}"#));
    let response = running.router().unwrap().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_tree_tells_what_a_command_caused_and_what_caused_it() {
    let folder = Folder::new();
    let running = open(&folder).await;
    story(&running).await;
    let tree = get(&running, "/commands/one/tree", &[]).await;
    assert_eq!((tree.status, &tree.json["causes"]), (200, &json!([])));
    let root = &tree.json["tree"];
    assert_eq!(root["commandId"], "one");
    let first = &root["events"][0];
    assert_eq!((&first["eventId"], &first["type"]), (&json!("jar-tea@1"), &json!("Filled")));
    assert_eq!(first["touches"], json!([{ "model": "shelf", "rows": [{ "jar": "tea" }] }]));
    let two = &root["caused"][0];
    assert_eq!(two["commandId"], "two");
    let three = &two["caused"][0];
    assert_eq!((&three["commandId"], &three["target"]["category"]), (&json!("three"), &json!("jar")));
    let four = &three["caused"][0];
    assert_eq!((&four["status"], &four["events"]), (&json!("rejected"), &json!([])));
    assert_eq!(tree.json["cutShort"], false);
    for id in ["three", "jar-salt@1"] {
        let upwards = get(&running, &format!("/commands/{id}/tree"), &[]).await;
        let causes: Vec<_> = upwards.json["causes"].as_array().unwrap().iter().collect();
        let causes: Vec<_> = causes.iter().map(|cause| cause["commandId"].as_str().unwrap()).collect();
        assert_eq!(causes, ["two", "one"], "{id}");
    }
    assert_eq!(get(&running, "/commands/nothing/tree", &[]).await.status, 404);
    let operator = running.operator().await.unwrap();
    let text = audit_tree(&operator, "two").await.unwrap().render(Output::Human);
    for part in ["caused by Fill on jar-tea", "shelf: row jar tea", "rejected (four)"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_audit_tells_everything_newest_first_in_pages() {
    let folder = Folder::new();
    let running = open(&folder).await;
    story(&running).await;
    let mut told = Vec::new();
    let mut path = "/audit?pageSize=2&correlationId=breakfast".to_owned();
    loop {
        let page = get(&running, &path, &[]).await;
        assert_eq!(page.status, 200, "{}", page.json);
        let ids = page.json["items"].as_array().unwrap().iter();
        told.extend(ids.map(|item| item["commandId"].as_str().unwrap().to_owned()));
        match page.json["page"]["nextPageToken"].as_str() {
            Some(token) => path = format!("/audit?pageSize=2&correlationId=breakfast&pageToken={token}"),
            None => break,
        }
    }
    assert_eq!(told, ["six", "four", "three", "two", "one"]);
    let conflicts = get(&running, "/audit?outcome=conflict", &[]).await;
    assert_eq!(conflicts.json["items"][0]["commandId"], "five");
    let rejected = get(&running, "/audit?outcome=rejected&stream=jar-rice", &[]).await;
    assert_eq!(rejected.json["items"][0]["rejection"]["name"], "jar_empty", "{}", rejected.json);
    assert_eq!(get(&running, "/audit?actor=", &[]).await.status, 400);
    let operator = running.operator().await.unwrap();
    let list = list_audit(&operator, Default::default(), 4).await.unwrap();
    let text = list.render(Output::Human);
    assert!(text.contains("4 commands; there are more") && text.contains("conflict"), "{text}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_is_shown_with_who_and_when() {
    let folder = Folder::new();
    let running = open(&folder).await;
    story(&running).await;
    let operator = running.operator().await.unwrap();
    let events = stream_events(&operator, "jar-tea", Version(0), 100).await.unwrap();
    let json: Value = serde_json::from_str(&events.render(Output::Json)).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!((&json[1]["metadata"]["command"], &json[1]["data"]["spoons"]), (&json!("two"), &json!(3)));
    assert!(events.render(Output::Human).contains("3 events"));
    let shown = show_stream(&operator, "jar-tea", Some(diptych::command::AsOf::Version(Version(2)))).await;
    let text = shown.unwrap().render(Output::Human);
    assert!(text.contains("jar-tea at version 2") && text.contains("\"spoons\": 5"), "{text}");
    let missing = show_stream(&operator, "jar-none", None).await.unwrap_err().to_string();
    assert!(missing.contains("has no event"), "{missing}");
    running.stop().await.unwrap();
}

async fn imported(folder: &Folder, file: &Path) -> Result<(), String> {
    transfer::imported(&service(), &folder.path().into(), file).await
}

#[tokio::test]
async fn random_logs_come_back_as_they_went() {
    for _ in 0..4 {
        let seed = fastrand::u64(..);
        let (folders, files) = ([Folder::new(), Folder::new(), Folder::new()], Folder::new());
        let places = folders.each_ref().map(|folder| folder.path().into());
        transfer::goes_round(&service(), places, files.path(), seed).await;
    }
}

#[tokio::test]
async fn a_log_goes_from_one_store_to_another_as_it_is() {
    let (first, second, files) = (Folder::new(), Folder::new(), Folder::new());
    std::fs::create_dir_all(files.path()).unwrap();
    let (one, two) = (files.path().join("one.ndjson"), files.path().join("two.ndjson"));
    let running = open(&first).await;
    story(&running).await;
    let from = exported(&running, ExportFilter::default(), &one).await;
    assert_eq!(from["end"]["events"], 4);
    let refused = imported(&first, &one).await.unwrap_err();
    assert!(refused.contains("DP0051") && refused.contains("4 events"), "{refused}");
    running.stop().await.unwrap();
    imported(&second, &one).await.unwrap();
    let running = open(&second).await;
    let to = exported(&running, ExportFilter::default(), &two).await;
    assert_eq!(to["end"], from["end"], "the same events, whatever store they are in");
    assert_eq!((&from["lineage"]["epoch"], &to["lineage"]["epoch"]), (&json!(1), &json!(2)));
    let lines = |file: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(lines(&one), lines(&two), "positions, times and bytes");
    running.projector().drain("shelf").await.ok();
    let reports = running.projector().verify("shelf", 10).await.unwrap();
    assert!(reports.iter().all(|report| report.is_clean()), "{reports:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_part_of_a_log_is_a_log_of_its_own() {
    let (first, second, files) = (Folder::new(), Folder::new(), Folder::new());
    std::fs::create_dir_all(files.path()).unwrap();
    let file = files.path().join("part.ndjson");
    let running = open(&first).await;
    story(&running).await;
    let filter = ExportFilter { stream: Some("jar-salt".to_owned()), ..ExportFilter::default() };
    let part = exported(&running, filter, &file).await;
    assert_eq!(part["end"]["events"], 1);
    running.stop().await.unwrap();
    imported(&second, &file).await.unwrap();
    let running = open(&second).await;
    assert_eq!(running.feed().head().await.unwrap().position(), Position(1), "positions have no gap");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_damaged_export_leaves_the_store_empty() {
    let (first, second, files) = (Folder::new(), Folder::new(), Folder::new());
    std::fs::create_dir_all(files.path()).unwrap();
    let (whole, cut) = (files.path().join("whole.ndjson"), files.path().join("cut.ndjson"));
    let running = open(&first).await;
    story(&running).await;
    exported(&running, ExportFilter::default(), &whole).await;
    running.stop().await.unwrap();
    let text = std::fs::read_to_string(&whole).unwrap();
    let lines: Vec<_> = text.lines().collect();
    std::fs::write(&cut, lines[..lines.len() - 1].join("\n")).unwrap();
    let refused = imported(&second, &cut).await.unwrap_err();
    assert!(refused.contains("cut off") && refused.contains("DP0050"), "{refused}");
    imported(&second, &whole).await.unwrap();
}
