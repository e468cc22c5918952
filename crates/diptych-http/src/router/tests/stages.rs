//! Read models that are deprecated, gone, or not there for a while, as clients see them.

use super::client;
use diptych_query::{Notice, Stage};
use serde_json::json;

fn deprecated() -> Notice {
    Notice {
        deprecated_at: Some("2026-07-01T00:00:00Z".parse().unwrap()),
        sunset: Some("2026-09-30T00:00:00Z".parse().unwrap()),
        successor: Some("note-board".to_owned()),
        segments: vec!["note-list".to_owned(), "note_list".to_owned()],
        ..Notice::default()
    }
}

fn retired() -> Notice {
    Notice { retired_at: Some("2026-10-01T00:00:00Z".parse().unwrap()), ..deprecated() }
}

#[tokio::test]
async fn every_answer_of_a_deprecated_model_says_so() {
    let client = client();
    client.write("n1", "one").await;
    client.write("n2", "two").await;
    client.store.announce("note_list", &deprecated());
    client.store.stand(Stage::Deprecated);
    for path in ["/note-list", "/note-list/n1", "/note-list/none", "/note-list?sort=nothing", "/note_list"] {
        let reply = client.get(path, &[]).await;
        assert_eq!(reply.header("deprecation"), "@1782864000", "{path}");
        assert_eq!(reply.header("sunset"), "Wed, 30 Sep 2026 00:00:00 GMT", "{path}");
        assert_eq!(reply.header("link"), "</note-board>; rel=\"successor-version\"", "{path}");
    }
    assert_eq!(client.get("/note-list/n1", &[]).await.status, 200);
    assert_eq!(client.get("/notes/n1", &[]).await.header("deprecation"), "", "an aggregate is not meant");
}

#[tokio::test]
async fn nothing_is_announced_of_a_model_that_serves() {
    let client = client();
    let reply = client.get("/note-list", &[]).await;
    assert_eq!(reply.status, 200);
    for header in ["deprecation", "sunset", "link"] {
        assert_eq!(reply.header(header), "");
    }
}

#[tokio::test]
async fn a_retired_model_is_gone_and_names_its_successor() {
    let client = client();
    client.store.announce("note_list", &retired());
    client.store.stand(Stage::Retired);
    for path in ["/note-list", "/note-list/n1"] {
        let reply = client.get(path, &[]).await;
        let problem = reply.is_problem(410, "DP0054");
        assert_eq!(problem["successor"], "/note-board");
        assert_eq!(problem["detail"], "the read model is retired; ask `/note-board` instead");
        assert_eq!(problem["retiredAt"], "2026-10-01T00:00:00Z");
        assert_eq!(reply.header("link"), "</note-board>; rel=\"successor-version\"");
    }
}

#[tokio::test]
async fn a_model_that_no_code_declares_any_more_is_gone_too() {
    let client = client();
    let notice = Notice { segments: vec!["note-tags".to_owned()], ..retired() };
    client.store.announce("note_tags", &notice);
    for path in ["/note-tags", "/note-tags/n1/x"] {
        assert_eq!(client.get(path, &[]).await.is_problem(410, "DP0054")["successor"], "/note-board");
    }
    client.get("/note-tags-2", &[]).await.is_problem(404, "DP0009");
}

#[tokio::test]
async fn the_first_page_and_the_description_tell_the_stage() {
    let client = client();
    client.store.announce("note_list", &deprecated());
    client.store.stand(Stage::Deprecated);
    let first = client.get("/", &[]).await.json();
    assert_eq!(first["readModels"][0]["stage"], "deprecated");
    assert_eq!(first["readModels"][0]["sunset"], "2026-09-30T00:00:00Z");
    let page = client.get("/", &[("accept", "text/html")]).await.text;
    assert!(page.contains("<td>deprecated until 2026-09-30</td>"), "{page}");
    let document = client.get("/openapi.json", &[]).await.json();
    for path in ["/note-list", "/note-list/{noteId}"] {
        let operation = &document["paths"][path]["get"];
        assert_eq!((&operation["x-stage"], &operation["deprecated"]), (&json!("deprecated"), &json!(true)));
    }
    assert_eq!(document["paths"]["/notes/{id}"]["get"]["x-stage"], json!(null));
}
