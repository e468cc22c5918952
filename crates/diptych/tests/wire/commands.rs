//! Commands, aggregates and what became of a command.

use crate::client::Client;
use crate::decisions::NOW;
use axum::http::Method;
use diptych::core::{Fingerprint, StreamId, StreamRef, Tenant, Timestamp, Token, Version};
use serde_json::{Value, json};

fn approval() -> Value {
    json!({"reason": "Meets statutory threshold", "policyVersion": "ENF-POLICY-2026.04"})
}

/// The token that an entry of the log must have.
fn token(position: u64, version: u64, event: &str, payload: &str) -> String {
    let stream = StreamRef {
        tenant: Tenant::new("main").unwrap(),
        stream: StreamId::new("decision", "DEC-1").unwrap(),
    };
    let now: Timestamp = NOW.parse().unwrap();
    let print = Fingerprint::of_entry(&stream, Version(version), event, now.as_micros(), payload);
    format!("1.{position}.{print}")
}

#[tokio::test]
async fn a_command_answers_these_members_in_this_order() {
    let client = Client::open().await;
    let drafted = client.draft("DEC-1", 6).await;
    assert_eq!(drafted.status, 201);
    assert_eq!(drafted.members(), ["decisionId", "status", "version", "committedPosition"]);
    assert_eq!(drafted.header("location"), "/decisions/DEC-1");
    let ready = client.post("/decisions/DEC-1/mark-ready", &[], &json!({})).await;
    let token = token(2, 2, "DecisionMarkedReady", "{}");
    let golden = json!({
        "decisionId": "DEC-1", "status": "READY_FOR_APPROVAL", "version": 2, "committedPosition": token,
    });
    assert_eq!((ready.status, ready.json()), (200, golden));
    assert!(ready.token().parse::<Token>().is_ok());
    assert_eq!((ready.header("etag"), ready.header("location")), ("\"2\"", ""));
    let id = ready.header("command-id");
    assert_eq!(ready.header("link"), format!("</commands/{id}>; rel=\"status\""));
}

#[tokio::test]
async fn one_reads_ones_own_writes_from_the_answer() {
    let client = Client::open().await;
    client.draft("DEC-1", 6).await;
    client.post("/decisions/DEC-1/mark-ready", &[], &json!({})).await;
    let wish = [("prefer", "return=representation")];
    let approved = client.post("/decisions/DEC-1/approve", &wish, &approval()).await;
    let golden = json!([{
        "type": "DecisionApproved", "schemaVersion": 1, "version": 3, "position": 3,
        "occurredAt": NOW, "data": approval(),
    }]);
    assert_eq!(approved.json()["events"], golden);
    assert_eq!(approved.header("preference-applied"), "return=representation");
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_even_after_a_restart() {
    let client = Client::open().await;
    client.draft("DEC-1", 6).await;
    client.post("/decisions/DEC-1/mark-ready", &[], &json!({})).await;
    let path = "/decisions/DEC-1/approval-requests";
    let keyed =
        [("idempotency-key", "\"8e03-1\""), ("if-match", "\"2\""), ("prefer", "return=representation")];
    let first = client.post(path, &keyed, &approval()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, ""), "{}", first.text);
    let client = client.reopen().await;
    let bare =
        [("idempotency-key", "8e03-1"), ("if-match", "\"version-2\""), ("prefer", "return=representation")];
    let again = client.post(path, &bare, &approval()).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = json!({"reason": "another", "policyVersion": "ENF-POLICY-2026.04"});
    let reused = client.post(path, &bare, &other).await.problem(422, "DP0006");
    assert_eq!(reused["commandId"], "8e03-1");
    client.post(path, &[], &approval()).await.problem(400, "DP0005");
    assert_eq!(client.get("/decisions/DEC-1", &[]).await.json()["version"], 3);
}

#[tokio::test]
async fn a_repeated_no_is_the_first_no_and_says_so() {
    let client = Client::open().await;
    client.draft("DEC-1", 6).await;
    let path = "/decisions/DEC-1/approval-requests";
    let keyed = [("idempotency-key", "too-early")];
    let first = client.post(path, &keyed, &approval()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (422, ""), "{}", first.text);
    client.post("/decisions/DEC-1/mark-ready", &[], &json!({})).await;
    let again = client.post(path, &keyed, &approval()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (422, "true"));
    assert_eq!(again.text, first.text);
    assert_eq!(client.get("/decisions/DEC-1", &[]).await.json()["version"], 2);
}

#[tokio::test]
async fn a_stale_version_is_412_in_every_form_of_the_header() {
    let client = Client::open().await;
    client.draft("DEC-1", 6).await;
    let ready = "/decisions/DEC-1/mark-ready";
    for stale in ["\"8\"", "\"version-8\""] {
        let problem = client.post(ready, &[("if-match", stale)], &json!({})).await.problem(412, "DP0003");
        assert_eq!((&problem["currentVersion"], &problem["expectedVersion"]), (&json!(1), &json!(8)));
        assert_eq!(problem["type"], "urn:diptych:problem:DP0003");
        assert_eq!(problem["instance"], ready);
    }
    client.post(ready, &[("if-match", "W/\"1\"")], &json!({})).await.problem(400, "DP0017");
    for garbage in ["*", "1", "\"one\"", "\"1\", \"2\""] {
        client.post(ready, &[("if-match", garbage)], &json!({})).await.problem(400, "DP0016");
    }
    assert_eq!(client.post(ready, &[("if-match", "\"1\"")], &json!({})).await.status, 200);
}

#[tokio::test]
async fn racing_commands_begin_a_stream_once() {
    let client = Client::configured(|config| config.commands.attempts_max = 1).await;
    let racing = (0..20).map(|_| client.draft("DEC-1", 6));
    let mut answers = Vec::new();
    for reply in join_all(racing).await {
        if reply.status == 409 {
            let problem = reply.problem(409, "DP0004");
            assert!(problem["currentVersion"].is_u64(), "{problem}");
            assert_eq!(reply.header("retry-after"), "1");
        }
        answers.push(reply.status);
    }
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [201, 409, 422].contains(status)), "{answers:?}");
}

#[tokio::test]
async fn the_domains_no_has_a_name_and_its_data() {
    let client = Client::open().await;
    let missing = client.post("/decisions/DEC-9/mark-ready", &[], &json!({})).await;
    let problem = missing.problem(404, "DP0010");
    assert_eq!(problem["type"], "urn:diptych:rejection:decision:decision_not_found");
    client.draft("DEC-1", 6).await;
    let refused = client.post("/decisions/DEC-1/approve", &[("idempotency-key", "a1")], &approval()).await;
    let golden = json!({
        "type": "urn:diptych:rejection:decision:decision_not_ready",
        "title": "Only a decision that is ready can be approved.",
        "status": 422,
        "detail": "the decision is DRAFT",
        "instance": "/decisions/DEC-1/approve",
        "code": "DP0010",
        "help": "/problems/DP0010",
        "rejection": {"name": "decision_not_ready", "data": {"status": "DRAFT"}},
        "commandId": "a1",
    });
    assert_eq!(refused.json(), golden);
    let head = ["type", "title", "status", "detail", "instance", "code", "help", "rejection", "commandId"];
    assert_eq!(refused.members(), head);
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_field_by_field() {
    let client = Client::open().await;
    let path = "/decisions/DEC-1/approve";
    let invalid = json!({"reason": 7, "colour": "red"});
    let problem = client.post(path, &[], &invalid).await.problem(422, "DP0002");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["reason", "policyVersion", "colour"]);
    client.send(Method::POST, path, &[], "{\"reason\":").await.problem(400, "DP0001");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    client.send(Method::POST, path, &form, "reason=x").await.problem(415, "DP0015");
    let large = json!({"reason": "x".repeat(2 << 20), "policyVersion": "1"});
    client.post(path, &[], &large).await.problem(413, "DP0014");
    client.post("/decisions/DEC-1/burn", &[], &json!({})).await.problem(404, "DP0009");
    let patched = client.send(Method::PATCH, "/decisions/DEC-1", &[], "").await;
    patched.problem(405, "DP0019");
    assert_eq!(patched.header("allow"), "GET,HEAD");
    let long = format!("/decisions/{}/mark-ready", "x".repeat(201));
    client.post(&long, &[], &json!({})).await.problem(400, "DP0018");
}

#[tokio::test]
async fn an_aggregate_is_current_and_tagged_with_its_version() {
    let client = Client::open().await;
    client.get("/decisions/DEC-1", &[]).await.problem(404, "DP0009");
    client.draft("DEC-1", 6).await;
    let read = client.get("/decisions/DEC-1", &[]).await;
    assert_eq!(
        read.json(),
        json!({"decisionId": "DEC-1", "version": 1, "status": "DRAFT", "caseId": "CASE-1"})
    );
    assert_eq!(read.members()[..2], ["decisionId", "version"]);
    assert_eq!(read.header("etag"), "\"1\"");
    let held = client.get("/decisions/DEC-1", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((held.status, held.text.as_str()), (304, ""));
    let head = client.send(Method::HEAD, "/decisions/DEC-1", &[], "").await;
    assert_eq!((head.status, head.text.as_str(), head.header("etag")), (200, "", "\"1\""));
}

#[tokio::test]
async fn what_became_of_a_command_is_told_with_who_can_see_it() {
    let client = Client::open().await;
    let headers = [("idempotency-key", "k1"), ("correlation-id", "talk-1"), ("causation-id", "mail-1")];
    let body = json!({
        "caseId": "CASE-1", "team": "TEAM-7", "dueAt": "2026-07-07T09:00:00Z",
        "fine": {"amount": "1", "currency": "GBP"},
    });
    let drafted = client.post("/decisions/DEC-1/draft", &headers, &body).await;
    let seen = format!("/decision-work-queue?minPosition={}", drafted.token());
    client.get(&seen, &[("prefer", "wait=10")]).await;
    let mut told = client.get("/commands/k1", &[]).await.json();
    let models = told["readModels"].take();
    let golden = json!({
        "commandId": "k1", "status": "succeeded", "command": "Draft",
        "target": {"category": "decision", "decisionId": "DEC-1", "address": "/decisions/DEC-1"},
        "actor": "local", "correlationId": "talk-1", "causationId": "mail-1",
        "occurredAt": NOW, "recordedAt": NOW, "version": 1, "committedPosition": drafted.token(),
        "events": [{"type": "DecisionDrafted", "schemaVersion": 1, "version": 1, "position": 1}],
        "readModels": null,
    });
    assert_eq!(told, golden);
    assert_eq!(
        models[0],
        json!({
            "model": "decision_work_queue", "position": 1, "visible": true, "since": NOW,
        })
    );
    assert_eq!(
        models[1],
        json!({
            "model": "team_load", "position": 1, "visible": false, "reason": "not_drained", "lagEvents": 1,
            "health": {"state": "live"},
        })
    );
    let refused = client.post("/decisions/DEC-1/approve", &[("idempotency-key", "k2")], &approval()).await;
    refused.problem(422, "DP0010");
    let told = client.get("/commands/k2", &[]).await.json();
    assert_eq!((&told["status"], &told["readModels"]), (&json!("rejected"), &json!([])));
    assert_eq!(told["rejection"], json!({"name": "decision_not_ready", "data": {"status": "DRAFT"}}));
    client
        .post("/decisions/DEC-1/mark-ready", &[("idempotency-key", "k3"), ("if-match", "\"7\"")], &json!({}))
        .await
        .problem(412, "DP0003");
    let told = client.get("/commands/k3", &[]).await.json();
    assert_eq!(told["status"], "refused");
    assert_eq!(told["refusal"], json!({"reason": "conflict", "code": "DP0004"}));
    client.get("/commands/nobody", &[]).await.problem(404, "DP0009");
}

/// Runs futures side by side to their ends.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut running {
            if output.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
