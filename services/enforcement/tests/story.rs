//! The story of a decision, over HTTP, as those who decide live through it: the same in both persistences.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::core::Clock;
use diptych::prelude::*;
use serde_json::{Value, json};
use support::folder::Folder;
use support::http::{Client, Reply};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const QUEUE: &str = "/decision-work-queue?teamId=TEAM-7&status=READY_FOR_APPROVAL&sort=dueAt&pageSize=50";

/// Two days before the scenario's decision is due.
const NOW: &str = "2026-07-05T12:00:00Z";

/// Somebody who may do and see everything that is told here; what others may is told in `client/`.
const EVERYTHING: &str =
    "main/user-117;teams=TEAM-3,TEAM-7;roles=approver,auditor,caseworker,registrar;clearance=2";

struct StoppedClock(Timestamp);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A service that holds the scenario and listens, with user-117 as its caller, who may everything.
struct Served {
    _folder: Folder,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Running>,
}

impl Served {
    async fn start(name: &str, persistence: Persistence) -> Self {
        let folder = Folder::new(name);
        let principal = Principal::from_text(EVERYTHING).unwrap();
        let persistence = [("decision".to_owned(), persistence)].into();
        let config = Config { principal, persistence, ..Config::at(folder.store()) };
        let service = enforcement::service().clock(StoppedClock(NOW.parse().unwrap()));
        let running = service.open(config).await.unwrap();
        assert_eq!(enforcement::scenario::play(&running).await.unwrap(), 33);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            running.serve_on(listener, async { drop(stopped.await) }).await.unwrap();
            running
        });
        Self { _folder: folder, client: Client::to(address), stop, serving }
    }

    async fn post(&mut self, path: &str, body: Value) -> Reply {
        self.client.post(path, &[], &body).await.unwrap()
    }

    async fn get(&mut self, path: &str) -> Value {
        self.client.get(path, &[]).await.unwrap().expect(200)
    }

    /// Asks for at least what a command answered, and waits for it.
    async fn get_at_least(&mut self, path: &str, answer: &Value) -> Value {
        let token = answer["committedPosition"].as_str().unwrap();
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}minPosition={token}");
        let page = self.client.get(&path, &[("prefer", "wait=10")]).await.unwrap().expect(200);
        assert_eq!(page["freshness"]["caughtUpToRequestedPosition"], true, "{page}");
        page
    }

    /// Drafts a decision of TEAM-7 on the scenario's case and marks it ready, due a day before that of the
    /// scenario.
    async fn ready(&mut self, decision: &str) -> Value {
        let drafted = self.post(&format!("/decisions/{decision}/draft"), draft()).await.expect(201);
        assert_eq!((&drafted["status"], &drafted["version"]), (&json!("DRAFT"), &json!(1)));
        let due = json!({ "dueAt": "2026-07-06T09:00:00Z" });
        let ready = self.post(&format!("/decisions/{decision}/mark-ready"), due).await.expect(200);
        assert_eq!((&ready["status"], &ready["version"]), (&json!("READY_FOR_APPROVAL"), &json!(2)));
        ready
    }

    async fn approve(&mut self, headers: &[(&str, &str)]) -> Reply {
        let body = json!({ "reason": "Meets statutory threshold", "policyVersion": "ENF-POLICY-2026.04" });
        self.client.post("/decisions/DEC-2026-00112/approval-requests", headers, &body).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().stop().await.unwrap();
    }
}

fn draft() -> Value {
    json!({
        "caseId": "CASE-2026-00091", "partyId": "PARTY-4711", "teamId": "TEAM-7",
        "visibilityScope": "TEAM", "sensitivityLevel": "NORMAL", "summary": "closure of the second site",
    })
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["decisionId"].as_str().unwrap()).collect()
}

async fn the_scenario_stands_in_the_queue_of_its_team(persistence: Persistence) {
    let mut served = Served::start("scenario", persistence).await;
    let page = served.get(QUEUE).await;
    assert_eq!(ids(&page), ["DEC-2026-00112", "DEC-2026-00117"], "what is due first comes first");
    let expected = json!({
        "decisionId": "DEC-2026-00112", "caseId": "CASE-2026-00091",
        "caseTitle": "Regional enforcement review", "partyId": "PARTY-4711",
        "partyDisplayName": "Acme Trading Ltd", "status": "READY_FOR_APPROVAL", "riskBand": "HIGH",
        "teamId": "TEAM-7", "dueAt": "2026-07-07T09:00:00Z", "lastActivityAt": "2026-06-23T16:10:00Z",
        "visibilityScope": "TEAM", "sensitivityLevel": "CONFIDENTIAL", "updatedAt": NOW, "version": 8,
        "daysUntilDue": 2,
    });
    assert_eq!(page["items"][0], expected);
    assert_eq!(page["page"], json!({ "nextPageToken": null }));
    for member in
        ["projectionPosition", "lagSeconds", "lagEvents", "asOf", "caughtUpToRequestedPosition", "token"]
    {
        assert!(page["freshness"].get(member).is_some(), "{member} is missing: {page}");
    }
    let first = served.get(&QUEUE.replace("pageSize=50", "pageSize=1")).await;
    let token = first["page"]["nextPageToken"].as_str().unwrap();
    let next = format!("{}&pageToken={token}", QUEUE.replace("pageSize=50", "pageSize=1"));
    assert_eq!(
        (ids(&first), ids(&served.get(&next).await)),
        (vec!["DEC-2026-00112"], vec!["DEC-2026-00117"])
    );
    served.stop().await;
}

async fn a_row_follows_its_decision_its_case_and_its_party(persistence: Persistence) {
    let mut served = Served::start("follow", persistence).await;
    let ready = served.ready("DEC-2026-00130").await;
    let page = served.get_at_least(QUEUE, &ready).await;
    assert_eq!(ids(&page), ["DEC-2026-00130", "DEC-2026-00112", "DEC-2026-00117"]);
    let row = &page["items"][0];
    assert_eq!((&row["riskBand"], &row["partyDisplayName"]), (&json!("HIGH"), &json!("Acme Trading Ltd")));
    assert_eq!((&row["daysUntilDue"], &row["version"]), (&json!(1), &json!(2)));

    let change = json!({ "riskBand": "LOW", "reason": "the second site is licensed after all" });
    let changed = served.post("/cases/CASE-2026-00091/change-risk-band", change).await.expect(200);
    let page = served.get_at_least(QUEUE, &changed).await;
    let bands: Vec<_> = page["items"].as_array().unwrap().iter().map(|row| &row["riskBand"]).collect();
    assert_eq!(
        bands,
        ["LOW", "LOW", "HIGH"],
        "both decisions of the case follow it, the third is of another"
    );

    let correct = json!({ "displayName": "Acme Trading (Holdings) Ltd", "reason": "as in the register" });
    let corrected = served.post("/parties/PARTY-4711/correct-name", correct).await.expect(200);
    let page = served.get_at_least(QUEUE, &corrected).await;
    let names: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|row| &row["partyDisplayName"]).collect();
    let expected =
        ["Acme Trading (Holdings) Ltd", "Acme Trading (Holdings) Ltd", "Imaginary Fisheries Cooperative"];
    assert_eq!(names, expected);
    assert_eq!(page["items"][0]["version"], 2, "the version is the decision's own");
    let detail = served.get("/decision-detail/DEC-2026-00130").await;
    assert_eq!(detail["item"]["partyDisplayName"], "Acme Trading (Holdings) Ltd");
    assert_eq!(detail["item"]["riskBand"], "LOW");
    served.stop().await;
}

async fn an_approved_decision_is_gone_from_the_queue_and_kept_in_detail(persistence: Persistence) {
    let mut served = Served::start("approve", persistence).await;
    let version = served.get(QUEUE).await["items"][0]["version"].to_string();
    let tag = format!("\"{version}\"");
    assert_eq!(tag, "\"8\"");
    let headers = [("if-match", tag.as_str()), ("idempotency-key", "approve-00112")];
    let reply = served.approve(&headers).await;
    let mut approved = reply.expect(200);
    assert_eq!(reply.header("etag"), Some("\"9\""));
    assert_eq!(ids(&served.get_at_least(QUEUE, &approved).await), ["DEC-2026-00117"]);
    let again = served.approve(&headers).await;
    assert_eq!((again.header("idempotency-replayed"), again.expect(200)), (Some("true"), approved.clone()));
    approved["committedPosition"] = Value::Null;
    let expected = json!({
        "decisionId": "DEC-2026-00112", "status": "APPROVED", "version": 9, "committedPosition": null,
    });
    assert_eq!(approved, expected);

    let detail = served.get("/decision-detail/DEC-2026-00112").await["item"].clone();
    assert_eq!((&detail["status"], &detail["version"]), (&json!("APPROVED"), &json!(9)));
    let decided = (&detail["decidedBy"], &detail["decidedAt"], &detail["decisionReason"]);
    assert_eq!(decided, (&json!("user-117"), &json!(NOW), &json!("Meets statutory threshold")));
    assert_eq!(detail["policyVersion"], "ENF-POLICY-2026.04");
    assert_eq!(detail["evidence"].as_array().unwrap().len(), 3);
    let aggregate = served.get("/decisions/DEC-2026-00112").await;
    assert_eq!((&aggregate["status"], &aggregate["version"]), (&json!("APPROVED"), &json!(9)));
    served.stop().await;
}

async fn the_timeline_of_a_case_tells_everything_in_order(persistence: Persistence) {
    let mut served = Served::start("timeline", persistence).await;
    let approved = served.approve(&[]).await.expect(200);
    let page = served.get_at_least("/case-timeline?caseId=CASE-2026-00091", &approved).await;
    let lines = page["items"].as_array().unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["event"].as_str().unwrap(), line["decisionId"].as_str(), line["version"].as_u64().unwrap())
        })
        .collect();
    let (first, second) = (Some("DEC-2026-00112"), Some("DEC-2026-00121"));
    let expected = [
        ("CaseOpened", None, 1),
        ("DecisionDrafted", first, 1),
        ("DecisionEvidenceAttached", first, 2),
        ("DecisionSummaryRevised", first, 3),
        ("DecisionReassigned", first, 4),
        ("CaseRiskBandChanged", None, 2),
        ("DecisionEvidenceAttached", first, 5),
        ("DecisionSummaryRevised", first, 6),
        ("DecisionEvidenceAttached", first, 7),
        ("DecisionMarkedReady", first, 8),
        ("DecisionDrafted", second, 1),
        ("DecisionApproved", first, 9),
    ];
    assert_eq!(told, expected);
    let last = &lines[11];
    assert_eq!((&last["actor"], &last["at"]), (&json!("user-117"), &json!(NOW)));
    let sentence = "user-117 approved the decision under ENF-POLICY-2026.04: Meets statutory threshold.";
    assert_eq!(last["sentence"], sentence);
    assert_eq!((&lines[0]["actor"], &lines[0]["at"]), (&json!("user-055"), &json!("2026-05-20T08:15:00Z")));
    served.stop().await;
}

async fn an_approval_that_comes_late_is_refused_and_says_why(persistence: Persistence) {
    let mut served = Served::start("late", persistence).await;
    let stale = served.approve(&[("if-match", "\"7\"")]).await.expect(412);
    assert_eq!((&stale["currentVersion"], &stale["expectedVersion"]), (&json!(8), &json!(7)));
    assert_eq!(stale["code"], "DP0003");
    served.approve(&[("if-match", "\"version-8\"")]).await.expect(200);
    served.approve(&[("if-match", "\"8\"")]).await.expect(412);
    let twice = served.approve(&[]).await.expect(422);
    assert_eq!(twice["type"], "urn:diptych:rejection:decision:decision_already_decided");
    let rejection = json!({ "name": "decision_already_decided", "data": { "status": "APPROVED" } });
    assert_eq!(twice["rejection"], rejection);
    served.stop().await;
}

async fn an_approval_names_a_policy_in_force_and_never_its_approver(persistence: Persistence) {
    let mut served = Served::start("policy", persistence).await;
    let path = "/decisions/DEC-2026-00112/approval-requests";
    let old = json!({ "reason": "Meets statutory threshold", "policyVersion": "ENF-POLICY-2025.10" });
    let rejected = served.post(path, old).await.expect(422)["rejection"].clone();
    let data = json!({ "policyVersion": "ENF-POLICY-2025.10", "current": "ENF-POLICY-2026.04" });
    assert_eq!(rejected, json!({ "name": "policy_version_superseded", "data": data }));
    let other = json!({ "reason": "Meets statutory threshold", "policyVersion": "ENF-POLICY-2026.04",
        "approvedBy": "user-001" });
    let problem = served.post(path, other).await.expect(422);
    assert!(problem.to_string().contains("approvedBy"), "the field is not named: {problem}");
    let none =
        served.post("/decisions/DEC-1/reassign", json!({ "teamId": "TEAM-7", "reason": "workload" })).await;
    assert_eq!(none.expect(404)["rejection"]["name"], "decision_not_found");
    served.stop().await;
}

async fn lists_can_be_asked_by_risk_by_case_and_by_team(persistence: Persistence) {
    let mut served = Served::start("lists", persistence).await;
    let page = served.get("/decision-work-queue?riskBand.gte=HIGH&sort=dueAt").await;
    assert_eq!(ids(&page), ["DEC-2026-00112", "DEC-2026-00117", "DEC-2026-00121"], "without a due date last");
    let page = served.get("/decision-work-queue?teamId=TEAM-3").await;
    assert_eq!(ids(&page), ["DEC-2026-00105", "DEC-2026-00121"]);
    assert_eq!(page["items"][0]["daysUntilDue"], -17);
    let page = served.get("/decision-detail?caseId=CASE-2026-00102&status=REJECTED").await;
    assert_eq!(ids(&page), ["DEC-2026-00115"]);
    let page = served.get("/decision_work_queue_view?partyId=PARTY-4712").await;
    assert!(ids(&page).is_empty(), "a decided decision is not in the queue");
    let home = served.client.get("/", &[]).await.unwrap().expect(200).to_string();
    for word in ["decision_work_queue_view", "/decision-work-queue", "case_timeline"] {
        assert!(home.contains(word), "{word} is not on the first page: {home}");
    }
    served.stop().await;
}

/// Makes each chapter a test in both persistences.
macro_rules! chapters {
    ($($chapter:ident),+ $(,)?) => {
        mod event_sourced {
            $(#[tokio::test]
            async fn $chapter() {
                super::$chapter(super::Persistence::EventSourced).await;
            })+
        }

        mod state_stored {
            $(#[tokio::test]
            async fn $chapter() {
                super::$chapter(super::Persistence::StateStored).await;
            })+
        }
    };
}

chapters! {
    the_scenario_stands_in_the_queue_of_its_team,
    a_row_follows_its_decision_its_case_and_its_party,
    an_approved_decision_is_gone_from_the_queue_and_kept_in_detail,
    the_timeline_of_a_case_tells_everything_in_order,
    an_approval_that_comes_late_is_refused_and_says_why,
    an_approval_names_a_policy_in_force_and_never_its_approver,
    lists_can_be_asked_by_risk_by_case_and_by_team,
}
