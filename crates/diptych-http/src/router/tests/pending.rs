//! What is under way for the rows of an answer, as it is told beside them.

use super::{Client, Reply, client};
use diptych_core::Principal;
use serde_json::{Value, json};
use std::sync::Arc;

/// A note that is shown, and rewritten beyond what is shown.
async fn rewritten() -> (Client, Reply) {
    let client = client();
    client.write("a", "one").await;
    client.write("b", "one").await;
    let rewritten = client.post("/notes/a/write", &[("idempotency-key", "w2")], r#"{"text":"two"}"#).await;
    (client, rewritten)
}

#[tokio::test]
async fn a_row_is_told_with_the_command_that_it_does_not_show_yet() {
    let (client, _) = rewritten().await;
    let pending = json!([{
        "noteId": "a", "commandId": "w2", "command": "Write", "status": "committed", "position": 3,
        "since": crate::tests::NOW, "message": "done, and not in this row yet",
    }]);
    let page = client.get("/note-work", &[]).await;
    assert_eq!(page.json()["pending"], pending);
    assert_eq!(page.header("etag"), "", "what is under way changes without the rows");
    assert_eq!(client.get("/note-work/a", &[]).await.json()["pending"], pending);
    assert_eq!(client.get("/note-work/b", &[]).await.json()["pending"], json!([]));
    assert_eq!(client.get("/note-text", &[]).await.json()["pending"], Value::Null);
    client.write("c", "one").await;
    assert_eq!(client.get("/note-work/a", &[]).await.json()["pending"], json!([]), "it is shown now");
}

#[tokio::test]
async fn what_another_tenant_does_to_a_row_of_that_name_is_not_told() {
    let (client, _) = rewritten().await;
    let (mut wire, _) = crate::tests::wire();
    let store = &client.store;
    wire.authenticate = Arc::new(diptych_core::Everybody(Principal::new("other", "eve").unwrap()));
    wire.commands = Arc::new(crate::tests::commands(store));
    wire.queries = Arc::new(crate::tests::queries_within(store, wire.queries.limits().clone()));
    let other = Client { router: crate::router(wire).unwrap(), store: Arc::clone(store) };
    other.post("/notes/b/write", &[("idempotency-key", "theirs")], r#"{"text":"theirs"}"#).await;
    assert_eq!(store.facts.lock().unwrap().len(), 4);
    assert_eq!(client.get("/note-work/b", &[]).await.json()["pending"], json!([]));
    let missing = other.get("/note-work/b", &[]).await.json();
    assert!(!missing.to_string().contains("w2"), "{missing}");
}

#[tokio::test]
async fn of_a_row_that_is_not_there_one_is_told_what_one_has_given() {
    let client = client();
    client.write("a", "one").await;
    let missing = client.get("/note-work/a", &[]).await.is_problem(404, "DP0009");
    assert_eq!(missing["pending"][0]["status"], "committed");
    let (mut wire, _) = crate::tests::wire();
    let bob = Principal::new("main", "bob").unwrap();
    wire.authenticate = Arc::new(diptych_core::Everybody(bob));
    wire.commands = Arc::clone(&wire.commands);
    wire.queries = Arc::new(crate::tests::queries_within(&client.store, wire.queries.limits().clone()));
    let other = Client { router: crate::router(wire).unwrap(), store: Arc::clone(&client.store) };
    let missing = other.get("/note-work/a", &[]).await.is_problem(404, "DP0009");
    assert_eq!(missing["pending"], json!([]), "whether it exists is not told");
}
