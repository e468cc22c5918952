//! Commands that are accepted now and done later, their status and its stream, and commands in envelopes.

use crate::client::{Client, Reply};
use serde_json::{Value, json};
use std::time::Duration;

const LATER: (&str, &str) = ("prefer", "respond-async");

fn draft_body() -> Value {
    let fine = json!({"amount": "150.00", "currency": "GBP"});
    json!({"caseId": "CASE-1", "team": "TEAM-7", "fine": fine, "dueAt": "2026-07-07T09:00:00Z"})
}

fn reasons() -> Value {
    json!({"reason": "Meets statutory threshold", "policyVersion": "ENF-POLICY-2026.04"})
}

/// A body with further members.
fn with(body: Value, members: Value) -> Value {
    let (Value::Object(mut body), Value::Object(members)) = (body, members) else { panic!("two objects") };
    body.extend(members);
    Value::Object(body)
}

async fn draft_later(client: &Client, id: &str, key: &str) -> Reply {
    let path = format!("/decisions/{id}/draft");
    client.post(&path, &[LATER, ("idempotency-key", key)], &draft_body()).await
}

/// The final status of a command.
async fn ended(client: &Client, id: &str) -> Value {
    let reply = client.get(&format!("/commands/{id}"), &[("prefer", "wait=30")]).await;
    assert_eq!((reply.status, reply.header("preference-applied")), (200, "wait=30"), "{}", reply.text);
    reply.json()
}

#[tokio::test]
async fn a_command_is_accepted_and_then_done() {
    let client = Client::open().await;
    let accepted = draft_later(&client, "DEC-1", "k/1").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert_eq!(accepted.text, r#"{"commandId":"k/1","statusUrl":"/commands/k%2F1"}"#);
    assert_eq!(accepted.header("location"), "/commands/k%2F1");
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    assert_eq!((accepted.header("command-id"), accepted.header("idempotency-replayed")), ("k/1", ""));
    let status = ended(&client, "k%2F1").await;
    assert_eq!(status["status"], "succeeded", "{status}");
    assert_eq!((&status["version"], &status["attempts"]), (&json!(1), &json!(1)));
    assert_eq!(status["expectedReadModelPosition"], status["committedPosition"]);
    assert_eq!(status["events"][0]["type"], "DecisionDrafted");
    assert!(status["readModels"].is_array() && status["acceptedAt"].is_string());
    assert_eq!(client.get("/decisions/DEC-1", &[]).await.json()["status"], "DRAFT");
    // The same again is the same answer, which knows more by now.
    let again = draft_later(&client, "DEC-1", "k/1").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"));
    assert_eq!(again.members(), ["commandId", "statusUrl", "expectedReadModelPosition"]);
    assert_eq!(again.json()["expectedReadModelPosition"], status["committedPosition"]);
    let other = draft_later(&client, "DEC-2", "k/1").await;
    other.problem(422, "DP0006");
    // And a caller who waits is answered by the ledger.
    let waited = client.post("/decisions/DEC-1/draft", &[("idempotency-key", "k/1")], &draft_body()).await;
    assert_eq!((waited.status, waited.header("idempotency-replayed")), (201, "true"));
}

#[tokio::test]
async fn an_unkeyed_command_gets_an_id_to_ask_by() {
    let client = Client::open().await;
    let accepted = client.post("/decisions/DEC-1/draft", &[LATER], &draft_body()).await;
    assert_eq!(accepted.status, 202);
    let id = accepted.json()["commandId"].as_str().unwrap().to_owned();
    assert_eq!(ended(&client, &id).await["status"], "succeeded");
    client.get("/commands/unheard-of", &[("prefer", "wait=30")]).await.problem(404, "DP0009");
}

#[tokio::test]
async fn what_needs_no_state_is_refused_at_once() {
    let client = Client::open().await;
    let path = "/decisions/DEC-1/draft";
    let problem =
        client.post(path, &[LATER], &json!({"team": 7, "colour": "red"})).await.problem(422, "DP0002");
    assert!(problem["errors"].as_array().unwrap().len() > 2, "{problem}");
    let keyless = client.post("/decisions/DEC-1/request-approval", &[LATER], &reasons()).await;
    assert_eq!(keyless.status, 404);
    client.post("/decisions/DEC-1/approval-requests", &[LATER], &reasons()).await.problem(400, "DP0005");
    let weak = [LATER, ("if-match", "W/\"1\"")];
    client.post(path, &weak, &draft_body()).await.problem(400, "DP0017");
    let held = client.running.store().list(&client.running.principal().tenant, None, 10).await.unwrap();
    assert!(held.is_empty(), "{held:?}");
}

#[tokio::test]
async fn a_rejection_and_a_stale_version_end_a_command() {
    let client = Client::open().await;
    client.draft("DEC-1", 6).await;
    let approve = "/decisions/DEC-1/approve";
    client.post(approve, &[LATER, ("idempotency-key", "r1")], &reasons()).await;
    let rejected = ended(&client, "r1").await;
    assert_eq!(rejected["status"], "rejected", "{rejected}");
    assert_eq!(rejected["rejection"], json!({"name": "decision_not_ready", "data": {"status": "DRAFT"}}));
    let stale = [LATER, ("idempotency-key", "s1"), ("if-match", "\"7\"")];
    assert_eq!(client.post("/decisions/DEC-1/mark-ready", &stale, &json!({})).await.status, 202);
    let failed = ended(&client, "s1").await;
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(1)));
    let problem = &failed["problem"];
    assert_eq!((&problem["code"], &problem["help"]), (&json!("DP0003"), &json!("/problems/DP0003")));
    assert_eq!(problem["detail"], "stream `decision-DEC-1` is at version 1, expected 7");
}

#[tokio::test]
async fn a_key_that_the_ledger_knows_is_answered_by_it() {
    let client = Client::open().await;
    let key = ("idempotency-key", "k1");
    client.post("/decisions/DEC-1/draft", &[key], &draft_body()).await;
    let known = client.post("/decisions/DEC-1/draft", &[LATER, key], &draft_body()).await;
    assert_eq!((known.status, known.header("idempotency-replayed")), (201, "true"));
    assert_eq!(known.header("preference-applied"), "");
    let other = client.post("/decisions/DEC-2/draft", &[LATER, key], &draft_body()).await;
    other.problem(422, "DP0006");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let client = Client::configured(|config| config.queue.queue_commands_max = 0).await;
    let refused = draft_later(&client, "DEC-1", "k1").await;
    refused.problem(429, "DP0047");
    assert_eq!(refused.header("retry-after"), "5");
}

#[tokio::test]
async fn what_was_accepted_survives_a_restart() {
    let client = Client::configured(|config| config.queue.queue_workers_max = 0).await;
    assert_eq!(draft_later(&client, "DEC-1", "k1").await.status, 202);
    let waiting = client.get("/commands/k1", &[("prefer", "wait=0")]).await.json();
    assert_eq!((&waiting["status"], &waiting["attempts"]), (&json!("accepted"), &json!(0)));
    assert_eq!(waiting["target"]["address"], "/decisions/DEC-1");
    let client = client.reopen().await;
    assert_eq!(ended(&client, "k1").await["status"], "succeeded");
}

#[tokio::test]
async fn events_follow_a_command_to_its_end() {
    let client = Client::open().await;
    draft_later(&client, "DEC-1", "k1").await;
    let stream = client.get("/commands/k1/events", &[]).await;
    assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream"));
    let last = stream.text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("id: 3\nevent: succeeded\ndata: {"), "{}", stream.text);
    let data: Value = serde_json::from_str(last.split_once("data: ").unwrap().1).unwrap();
    assert_eq!((&data["commandId"], &data["version"]), (&json!("k1"), &json!(1)));
    // Whoever has seen the end need not come again; whoever has not goes on where they were.
    assert_eq!(client.get("/commands/k1/events", &[("last-event-id", "3")]).await.status, 204);
    let resumed = client.get("/commands/k1/events", &[("last-event-id", "2")]).await.text;
    assert_eq!(resumed.matches("event: ").count(), 1, "{resumed}");
    client.get("/commands/unheard-of/events", &[]).await.problem(404, "DP0009");
    // A command that was waited for has its final state only.
    client.post("/decisions/DEC-2/draft", &[("idempotency-key", "k2")], &draft_body()).await;
    let other = client.get("/commands/k2/events", &[]).await.text;
    assert!(other.contains("id: final\nevent: succeeded\n"), "{other}");
    assert_eq!(client.get("/commands/k2/events", &[("last-event-id", "final")]).await.status, 204);
}

#[tokio::test]
async fn a_stream_has_its_limits() {
    let client = Client::configured(|config| {
        config.queue.queue_workers_max = 0;
        config.http.sse_duration_max = Duration::from_millis(50);
        config.http.sse_streams_max = 1;
    });
    let client = client.await;
    draft_later(&client, "DEC-1", "k1").await;
    let stream = client.get("/commands/k1/events", &[]).await.text;
    assert!(stream.starts_with("retry: 1000\n\nid: 1\nevent: accepted\ndata: {"), "{stream}");
    assert_eq!(stream.matches("event: ").count(), 1, "{stream}");
    let none = Client::configured(|config| config.http.sse_streams_max = 0).await;
    draft_later(&none, "DEC-1", "k1").await;
    none.get("/commands/k1/events", &[]).await.problem(503, "DP0007");
}

#[tokio::test]
async fn an_envelope_holds_any_command() {
    let client = Client::open().await;
    let envelope = json!({"commandId": "e1", "type": "Draft", "decisionId": "DEC-1", "expectedVersion": 0});
    let drafted = client.post("/commands", &[], &with(draft_body(), envelope.clone())).await;
    assert_eq!((drafted.status, drafted.header("command-id")), (201, "e1"), "{}", drafted.text);
    assert_eq!(drafted.json()["decisionId"], "DEC-1");
    let again = client.post("/commands", &[], &with(draft_body(), envelope)).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    let ready = json!({"type": "MarkReady", "decisionId": "DEC-1", "expectedVersion": 4});
    client.post("/commands", &[], &ready).await.problem(412, "DP0003");
    let ready = json!({"type": "MarkReady", "decisionId": "DEC-1"});
    assert_eq!(client.post("/commands", &[], &ready).await.status, 200);
    let named = |actor: &str| json!({"type": "Approve", "decisionId": "DEC-1", "approvedBy": actor});
    let other =
        client.post("/commands", &[], &with(reasons(), named("user-117"))).await.problem(403, "DP0048");
    assert_eq!(other["detail"], "`approvedBy` is `user-117`, and the request comes from `local`");
    let approved = client.post("/commands", &[LATER], &with(reasons(), named("local"))).await;
    assert_eq!(approved.status, 202, "{}", approved.text);
    let id = approved.json()["commandId"].as_str().unwrap().to_owned();
    assert_eq!(ended(&client, &id).await["status"], "succeeded");
}

#[tokio::test]
async fn an_envelope_that_is_wrong_says_what_is_wrong() {
    let client = Client::open().await;
    let post = async |headers: &[(&str, &str)], body: Value| client.post("/commands", headers, &body).await;
    post(&[], json!({})).await.problem(422, "DP0002");
    let unknown = post(&[], json!({"type": "Vanish", "decisionId": "DEC-1"})).await.problem(422, "DP0002");
    assert_eq!(unknown["errors"], json!([{"field": "type", "reason": "`Vanish` is not a command here"}]));
    let nowhere = post(&[], json!({"type": "MarkReady"})).await.problem(422, "DP0002");
    assert_eq!(nowhere["errors"], json!([{"field": "decisionId", "reason": "is missing"}]));
    let more = post(&[], json!({"type": "MarkReady", "decisionId": "DEC-1", "colour": 1})).await;
    assert_eq!(more.problem(422, "DP0002")["errors"][0]["field"], "colour");
    let twice = json!({"type": "MarkReady", "decisionId": "DEC-1", "commandId": "a", "expectedVersion": 1});
    post(&[("idempotency-key", "b")], twice.clone()).await.problem(400, "DP0016");
    post(&[("if-match", "\"2\"")], twice).await.problem(400, "DP0016");
    let keyless = with(reasons(), json!({"type": "RequestApproval", "decisionId": "DEC-1"}));
    post(&[], keyless).await.problem(400, "DP0005");
    client.send(axum::http::Method::POST, "/commands", &[], "[]").await.problem(400, "DP0001");
    let empty = post(&[], json!({"type": "MarkReady", "decisionId": ""})).await;
    empty.problem(400, "DP0018");
}
