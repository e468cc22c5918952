//! Contracts as a client meets them: what is under way, one token over several models, tightening a question.

use crate::client::Client;
use crate::decisions::NOW;
use diptych::prelude::{Role, Roles};
use serde_json::{Value, json};

const AT_ONCE: &[(&str, &str)] = &[("prefer", "wait=0")];

async fn pending(client: &Client, path: &str) -> Value {
    client.get(path, AT_ONCE).await.json()["pending"].clone()
}

#[tokio::test]
async fn what_waits_to_be_done_is_told_beside_its_row() {
    let client = Client::configured(|config| config.queue.queue_workers_max = 0).await;
    let drafted = client.draft("D1", 6).await;
    let seen = format!("/decision-work-queue?minPosition={}", drafted.token());
    client.get(&seen, &[("prefer", "wait=10")]).await;
    let later = [("prefer", "respond-async"), ("idempotency-key", "k1")];
    assert_eq!(client.post("/decisions/D1/mark-ready", &later, &json!({})).await.status, 202);
    let golden = json!([{
        "decisionId": "D1", "commandId": "k1", "command": "MarkReady", "status": "accepted", "position": null,
        "since": pending(&client, "/decision-work-queue").await[0]["since"],
        "message": "accepted, and not begun yet",
    }]);
    assert_eq!(pending(&client, "/decision-work-queue").await, golden);
    assert_eq!(pending(&client, "/decision-work-queue/D1").await, golden);
    assert_eq!(pending(&client, "/decision-work-queue?teamId=TEAM-9").await, json!([]));
    let later = [("prefer", "respond-async"), ("idempotency-key", "k2")];
    client.post("/decisions/D2/mark-ready", &later, &json!({})).await;
    let missing = client.get("/decision-work-queue/D2", &[]).await.problem(404, "DP0009");
    assert_eq!(missing["pending"][0]["commandId"], "k2");
}

#[tokio::test]
async fn what_is_done_and_not_shown_yet_is_told_beside_its_row() {
    let client = Client::configured(|config| config.roles = Roles::ALL.without(Role::Projector)).await;
    client.draft("D1", 6).await;
    client.running.projector().drain("decision_work_queue").await.unwrap();
    let ready = client.post("/decisions/D1/mark-ready", &[("idempotency-key", "k1")], &json!({})).await;
    let golden = json!([{
        "decisionId": "D1", "commandId": "k1", "command": "MarkReady", "status": "committed", "position": 2,
        "since": NOW, "message": "done, and not in this row yet",
    }]);
    assert_eq!(pending(&client, "/decision-work-queue").await, golden);
    client.running.projector().drain("decision_work_queue").await.unwrap();
    let seen = format!("/decision-work-queue?minPosition={}", ready.token());
    assert_eq!(pending(&client, &seen).await, json!([]));
}

#[tokio::test]
async fn one_token_is_awaited_over_several_models() {
    let client = Client::open().await;
    let token = client.draft("D1", 6).await.token();
    client.get(&format!("/decision-work-queue?minPosition={token}"), &[("prefer", "wait=10")]).await;
    let all = format!("/freshness?minPosition={token}");
    let told = client.get(&all, AT_ONCE).await.json();
    assert_eq!(told["caughtUpToRequestedPosition"], false);
    let outcome = |told: &Value, model: &str| {
        let models = told["models"].as_array().unwrap();
        models.iter().find(|held| held["model"] == model).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome(&told, "decision_work_queue"), "reached");
    assert_eq!(outcome(&told, "team_load"), "timed_out");
    client.running.projector().drain("team_load").await.unwrap();
    let told = client.get(&all, AT_ONCE).await.json();
    assert_eq!(
        (&told["caughtUpToRequestedPosition"], outcome(&told, "team_load")),
        (&json!(true), json!("reached"))
    );
}

#[tokio::test]
async fn a_request_tightens_a_contract_and_never_loosens_it() {
    let client = Client::configured(|config| config.roles = Roles::ALL.without(Role::Projector)).await;
    client.draft("D1", 6).await;
    assert_eq!(client.get("/decision-work-queue", AT_ONCE).await.status, 200);
    let strong = client.get("/decision-work-queue?consistency=strong", AT_ONCE).await;
    strong.problem(503, "DP0025");
    let loose = client.get("/team-load?consistency=eventual", AT_ONCE).await;
    loose.problem(503, "DP0025");
    client.running.projector().drain("decision_work_queue").await.unwrap();
    let strong = client.get("/decision-work-queue?consistency=strong", AT_ONCE).await.json();
    assert_eq!(strong["freshness"]["caughtUpToRequestedPosition"], true);
    client.get("/decision-work-queue?consistency=total", &[]).await.problem(400, "DP0020");
}
