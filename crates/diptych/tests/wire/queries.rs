//! Queries: rows under their public names, freshness in every answer, pages, waits, refusals.

use crate::client::Client;
use crate::decisions::NOW;
use diptych::prelude::{Role, Roles};
use serde_json::json;

/// The queue with everything in it that has been written so far.
fn seen(token: &str) -> String {
    format!("/decision-work-queue?minPosition={token}")
}

const WAIT: &[(&str, &str)] = &[("prefer", "wait=10")];

#[tokio::test]
async fn a_page_has_these_members_and_these_names() {
    let client = Client::open().await;
    let drafted = client.draft("DEC-2026-00112", 6).await;
    let page = client.get(&seen(&drafted.token()), WAIT).await;
    let golden = json!({
        "items": [{
            "decisionId": "DEC-2026-00112", "caseId": "CASE-1", "teamId": "TEAM-7", "status": "DRAFT",
            "fine": {"amount": "150.00", "currency": "GBP"}, "dueAt": "2026-07-07T09:00:00Z", "version": 1,
            "daysUntilDue": 6,
        }],
        "pending": [],
        "page": {"nextPageToken": null},
        "freshness": {
            "projectionPosition": 1, "lagSeconds": 0.0, "lagEvents": 0, "asOf": NOW,
            "caughtUpToRequestedPosition": true, "token": drafted.token(), "stale": false,
            "words": "up to date",
        },
        "health": {"state": "live"},
    });
    assert_eq!((page.status, page.json()), (200, golden));
    assert_eq!(page.members(), ["items", "pending", "page", "freshness", "health"]);
    let start = "{\"items\":[{\"decisionId\":\"DEC-2026-00112\",\"caseId\":\"CASE-1\",\"teamId\":\"TEAM-7\",";
    assert!(page.text.starts_with(start), "{}", page.text);
    assert_eq!(page.header("projection-position"), "1");
    assert_eq!(page.header("projection-lag-events"), "0");
    assert_eq!(page.header("projection-lag-seconds"), "0.000");
    assert_eq!(page.header("projection-token"), drafted.token());
    assert_eq!(page.header("preference-applied"), "wait=10");
}

#[tokio::test]
async fn filters_sorts_and_pages_go_together() {
    let client = Client::open().await;
    for (id, days) in [("D1", 9), ("D2", 3), ("D3", 6), ("D4", 1)] {
        client.draft(id, days).await;
    }
    let ready = client.post("/decisions/D2/mark-ready", &[], &json!({})).await;
    client.get(&seen(&ready.token()), WAIT).await;
    let ids = |reply: &crate::client::Reply| {
        let reply = reply.json();
        let items = reply["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["decisionId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = client.get("/decision-work-queue?teamId=TEAM-7&sort=dueAt&pageSize=3", &[]).await;
    assert_eq!(ids(&first), ["D4", "D2", "D3"]);
    let token = first.json()["page"]["nextPageToken"].as_str().unwrap().to_owned();
    let next = format!("/decision_work_queue?teamId=TEAM-7&sort=dueAt&pageSize=3&pageToken={token}");
    let last = client.get(&next, &[]).await;
    assert_eq!(ids(&last), ["D1"]);
    assert_eq!(last.json()["page"], json!({"nextPageToken": null}));
    let other = format!("/decision-work-queue?teamId=TEAM-8&sort=dueAt&pageToken={token}");
    client.get(&other, &[]).await.problem(400, "DP0021");
    let ready = client.get("/decision-work-queue?status=READY_FOR_APPROVAL", &[]).await;
    assert_eq!(ids(&ready), ["D2"]);
    let both =
        client.get("/decision-work-queue?status=READY_FOR_APPROVAL&status=DRAFT&sort=-dueAt", &[]).await;
    assert_eq!(ids(&both), ["D1", "D3", "D2", "D4"]);
    for wrong in ["status=OPEN", "colour=red", "sort=fine", "pageSize=0", "maxStale=soon"] {
        let problem = client.get(&format!("/decision-work-queue?{wrong}"), &[]).await.problem(400, "DP0020");
        assert_eq!(problem["errors"][0]["field"], wrong.split('=').next().unwrap());
    }
    let large = client.get("/decision-work-queue?pageSize=100000", &[]).await.problem(400, "DP0065");
    assert_eq!(large["export"], "/exports/decision_work_queue");
}

#[tokio::test]
async fn a_wait_that_ends_too_early_says_so() {
    let client = Client::configured(|config| config.roles = Roles::ALL.without(Role::Projector)).await;
    let drafted = client.draft("D1", 6).await;
    let behind = client.get(&seen(&drafted.token()), &[("prefer", "wait=0")]).await;
    assert_eq!(behind.status, 200);
    let freshness = &behind.json()["freshness"];
    assert_eq!(freshness["caughtUpToRequestedPosition"], false);
    assert_eq!((&freshness["projectionPosition"], &freshness["lagEvents"]), (&json!(0), &json!(1)));
    assert_eq!(freshness["asOf"], json!(null));
    let missing = client.get("/decision-work-queue/D1", &[]).await;
    assert_eq!(missing.problem(404, "DP0009")["freshness"]["lagEvents"], 1);
    client.running.projector().drain("decision_work_queue").await.unwrap();
    let reached = client.get(&seen(&drafted.token()), WAIT).await;
    assert_eq!(reached.json()["freshness"]["caughtUpToRequestedPosition"], true);
    let row = client.get("/decision-work-queue/D1", &[]).await.json();
    assert_eq!((&row["item"]["decisionId"], &row["item"]["version"]), (&json!("D1"), &json!(1)));
}

#[tokio::test]
async fn a_strong_model_answers_whole_or_not_at_all() {
    let client = Client::open().await;
    assert_eq!(client.get("/team-load", &[]).await.json()["items"], json!([]));
    client.draft("D1", 6).await;
    let refused = client.get("/team-load", &[("prefer", "wait=0")]).await;
    let problem = refused.problem(503, "DP0025");
    assert_eq!((&problem["retryAfter"], refused.header("retry-after")), (&json!(1), "1"));
    client.running.projector().drain("team_load").await.unwrap();
    let whole = client.get("/team-load/TEAM-7", &[]).await.json();
    assert_eq!(whole["item"], json!({"team": "TEAM-7", "decisions": 1}));
}

#[tokio::test]
async fn a_position_must_be_a_token_of_this_log() {
    let client = Client::open().await;
    client.draft("D1", 6).await;
    client.get(&seen("1"), &[]).await.problem(400, "DP0023");
    client.get(&seen("1.1.00000000"), &[]).await.problem(409, "DP0024");
    client.get(&seen("2.1.00000000"), &[]).await.problem(409, "DP0024");
    client.get(&seen("1.9.00000000"), &[]).await.problem(409, "DP0024");
}

#[tokio::test]
async fn the_front_page_and_the_descriptions_know_the_service() {
    let client = Client::open().await;
    let told = client.get("/", &[]).await.json();
    assert_eq!(told["service"], "enforcement");
    assert_eq!(told["readModels"][0]["lag"], "up to date");
    assert_eq!(told["try"][0], "/decision-work-queue?status=READY_FOR_APPROVAL&sort=dueAt");
    let page = client.get("/", &[("accept", "text/html")]).await;
    assert!(page.text.contains("<code>/decision-work-queue</code>"), "{}", page.text);
    let described = client.get("/openapi.json", &[]).await.json();
    let paths: Vec<_> = described["paths"].as_object().unwrap().keys().cloned().collect();
    for path in
        ["/decisions/{id}/approval-requests", "/decisions/{id}", "/decision-work-queue", "/commands/{id}"]
    {
        assert!(paths.iter().any(|held| held == path), "{path} is missing of {paths:?}");
    }
    let row = &described["components"]["schemas"]["decision_work_queue.Row"]["properties"];
    assert_eq!(row["status"]["enum"], json!(["DRAFT", "READY_FOR_APPROVAL", "APPROVED"]));
    assert_eq!(row["fine"]["$ref"], "#/components/schemas/diptych.Money");
    let ready = client.get("/health/ready", &[]).await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")));
    client.get("/decision-work-queue", &[]).await;
    let metrics = client.get("/metrics", &[]).await.text;
    assert!(metrics.contains("query_latency_seconds_count{endpoint=\"decision_work_queue\"} 1"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(client.get("/problems/DP0003", &[]).await.text.starts_with("# DP0003"));
}
