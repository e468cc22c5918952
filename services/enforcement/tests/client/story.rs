//! The story of an approval as clients live through it, and what others are told of it.

use crate::served::{NOW, Served};
use crate::{QUEUE, ids};
use diptych::prelude::*;
use serde_json::{Value, json};

const REQUESTS: &str = "/decisions/DEC-2026-00112/approval-requests";

fn approval() -> Value {
    json!({ "reason": "Meets statutory threshold", "policyVersion": "ENF-POLICY-2026.04" })
}

/// The queue as its team opens it, member for member.
fn the_decision() -> Value {
    json!({
        "decisionId": "DEC-2026-00112", "caseId": "CASE-2026-00091",
        "caseTitle": "Regional enforcement review", "partyId": "PARTY-4711",
        "partyDisplayName": "Acme Trading Ltd", "status": "READY_FOR_APPROVAL", "riskBand": "HIGH",
        "teamId": "TEAM-7", "dueAt": "2026-07-07T09:00:00Z", "lastActivityAt": "2026-06-23T16:10:00Z",
        "visibilityScope": "TEAM", "sensitivityLevel": "CONFIDENTIAL", "updatedAt": NOW, "version": 8,
        "daysUntilDue": 2,
    })
}

async fn an_approver_works_through_the_queue(on_postgres: bool) {
    let mut served = Served::start("approver", on_postgres).await;
    let approver = served.token_of("user-117");
    let page = served.get(&approver, QUEUE).await.expect(200);
    assert_eq!(ids(&page), ["DEC-2026-00112", "DEC-2026-00117"]);
    assert_eq!(page["items"][0], the_decision());
    assert_eq!(page["page"], json!({ "nextPageToken": null }));
    assert!(page.get("withheld").is_none(), "{page}");
    let members =
        ["projectionPosition", "lagSeconds", "lagEvents", "asOf", "caughtUpToRequestedPosition", "token"];
    assert!(members.iter().all(|member| page["freshness"].get(*member).is_some()), "{page}");

    // As the caller may do it later, it is accepted and done by the queue of commands.
    let headers = [("prefer", "respond-async"), ("idempotency-key", "approve-00112"), ("if-match", "\"8\"")];
    let accepted = served.post(&approver, REQUESTS, &headers, approval()).await.expect(202);
    assert_eq!(accepted["commandId"], "approve-00112");
    let told = served.ended(&approver, accepted["statusUrl"].as_str().unwrap()).await;
    assert_eq!((&told["status"], &told["version"]), (&json!("succeeded"), &json!(9)), "{told}");
    let position = told["expectedReadModelPosition"].as_str().unwrap().to_owned();

    // Nothing has moved the queue: the decision still stands there, and the answer says what is under way.
    let page = served.get(&approver, QUEUE).await.expect(200);
    assert_eq!(ids(&page), ["DEC-2026-00112", "DEC-2026-00117"]);
    let pending = page["pending"].as_array().unwrap();
    assert_eq!(pending.len(), 1, "{page}");
    assert_eq!(pending[0]["decisionId"], "DEC-2026-00112");
    assert_eq!((&pending[0]["commandId"], &pending[0]["since"]), (&json!("approve-00112"), &json!(NOW)));
    assert!(pending[0]["position"].is_u64() && pending[0]["message"].is_string(), "{page}");

    // Whoever waits for that position is answered when the queue has come so far.
    let path = format!("{QUEUE}&minPosition={position}");
    let headers = [("authorization", approver.as_str()), ("prefer", "wait=10")];
    let (waited, drained) =
        tokio::join!(served.client.get(&path, &headers), served.running.projector().drain("decision_work"));
    drained.unwrap();
    let page = waited.unwrap().expect(200);
    assert_eq!(page["freshness"]["caughtUpToRequestedPosition"], true, "{page}");
    assert_eq!(ids(&page), ["DEC-2026-00117"]);
    assert_eq!(page["pending"], json!([]), "{page}");

    let detail = served.get(&approver, "/decision-detail/DEC-2026-00112").await.expect(200)["item"].clone();
    assert_eq!((&detail["status"], &detail["version"]), (&json!("APPROVED"), &json!(9)));
    let decided = (&detail["decidedBy"], &detail["decisionReason"], &detail["policyVersion"]);
    let expected = (&json!("user-117"), &json!("Meets statutory threshold"), &json!("ENF-POLICY-2026.04"));
    assert_eq!(decided, expected);

    // Who may do what was decided by policies, whose version stands in the audit.
    let auditor = served.token_of("user-405");
    let audit =
        served.get(&auditor, "/audit?stream=decision-DEC-2026-00112&command=Approve").await.expect(200);
    let entry = &audit["items"][0];
    assert_eq!(
        (&entry["commandId"], &entry["actor"]),
        (&json!("approve-00112"), &json!("user-117")),
        "{audit}"
    );
    assert!(entry["policyVersion"].as_str().is_some_and(|version| !version.is_empty()), "{audit}");
    assert_eq!(served.get(&approver, "/audit").await.status, 403);
    served.stop().await;
}

/// Nobody runs queued commands here: what was accepted stays under way.
async fn what_is_under_way_is_told_to_whoever_sees_the_row(on_postgres: bool) {
    let without_workers = |config: &mut Config| config.queue.queue_workers_max = 0;
    let mut served = Served::configured("under_way", on_postgres, without_workers).await;
    let approver = served.token_of("user-117");
    let later = [("prefer", "respond-async"), ("idempotency-key", "approve-00112")];
    served.post(&approver, REQUESTS, &later, approval()).await.expect(202);
    let path = "/decision-work-queue/DEC-2026-00112";
    let colleague = served.token_of("user-042");
    for who in [&approver, &colleague] {
        let row = served.get(who, path).await.expect(200);
        assert_eq!(row["pending"][0]["commandId"], "approve-00112", "{row}");
        assert_eq!(row["pending"][0]["status"], "accepted", "{row}");
    }
    // Of a row that is out of sight, nobody but who gave the command is told of it.
    let elsewhere = served.token_for("user-031;teams=TEAM-3;roles=approver;clearance=2");
    let missing = served.get(&elsewhere, path).await.expect(404);
    assert_eq!(missing["pending"], json!([]), "{missing}");
    let moved_away = served.token_for("user-117;teams=TEAM-3;roles=approver;clearance=2");
    let missing = served.get(&moved_away, path).await.expect(404);
    assert_eq!(missing["pending"][0]["commandId"], "approve-00112", "{missing}");
    served.stop().await;
}

async fn others_are_told_no_more_than_they_may_know(on_postgres: bool) {
    let mut served = Served::start("others", on_postgres).await;
    let approver = served.token_of("user-117");
    // By name, another team's queue is refused; without a name its rows are simply not there.
    let refused = served.get(&approver, &QUEUE.replace("TEAM-7", "TEAM-3")).await.expect(403);
    assert_eq!(refused["code"], "DP0008", "{refused}");
    let page = served.get(&approver, "/decision-work-queue?sort=dueAt").await.expect(200);
    assert_eq!(ids(&page), ["DEC-2026-00112", "DEC-2026-00117", "DEC-2026-00109"], "TEAM-3 has two more");
    assert_eq!(served.get(&approver, "/decision-work-queue/DEC-2026-00105").await.status, 404);

    // What every team may see needs clearance, and does not name persons to other teams.
    let cleared = Principal::from_text("main/user-118;teams=TEAM-7;roles=approver;clearance=2").unwrap();
    let cleared = served.token(&cleared);
    let page = served.get(&cleared, "/decision-work-queue?visibilityScope=ORGANISATION").await.expect(200);
    assert_eq!(ids(&page), ["DEC-2026-00121"]);
    let row = &page["items"][0];
    assert_eq!((&row["partyDisplayName"], &row["caseId"]), (&Value::Null, &json!("CASE-2026-00091")));
    assert_eq!(page["withheld"], json!(["partyDisplayName"]), "{page}");
    for by in ["sort=partyDisplayName", "partyDisplayName=Acme%20Trading%20Ltd"] {
        assert_eq!(served.get(&cleared, &format!("/decision-work-queue?{by}")).await.status, 403, "{by}");
    }

    // Another tenant has no such decision, whoever asks there.
    let foreign = |text: &str| Principal::from_text(&format!("other/{text}")).unwrap();
    let auditor = served.token(&foreign("user-405;roles=auditor;clearance=2"));
    let stranger = served.token(&foreign("user-117;teams=TEAM-7;roles=approver;clearance=2"));
    assert_eq!(served.get(&auditor, "/decisions/DEC-2026-00112").await.status, 404);
    assert_eq!(served.get(&stranger, "/decision-detail/DEC-2026-00112").await.status, 404);
    assert_eq!(served.get(&stranger, "/decision-work-queue/DEC-2026-00112").await.status, 404);
    assert!(ids(&served.get(&stranger, QUEUE).await.expect(200)).is_empty());
    assert_eq!(served.post(&stranger, REQUESTS, &[], approval()).await.status, 404);

    // Whoever proves nothing is asked to; whoever may not approve is refused before anything is looked at.
    assert_eq!(served.client.get(QUEUE, &[]).await.unwrap().status, 401);
    let caseworker = served.token_of("user-042");
    assert_eq!(served.post(&caseworker, REQUESTS, &[], approval()).await.status, 403);
    let other_team =
        served.token(&Principal::from_text("main/user-119;teams=TEAM-3;roles=approver;clearance=2").unwrap());
    assert_eq!(served.post(&other_team, REQUESTS, &[("if-match", "\"8\"")], approval()).await.status, 403);
    let stale = served.post(&approver, REQUESTS, &[("if-match", "\"7\"")], approval()).await.expect(412);
    assert_eq!((&stale["currentVersion"], &stale["expectedVersion"]), (&json!(8), &json!(7)));
    served.stop().await;
}

chapters! {
    an_approver_works_through_the_queue,
    what_is_under_way_is_told_to_whoever_sees_the_row,
    others_are_told_no_more_than_they_may_know,
}
