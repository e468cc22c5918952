//! An approval is three things or none: the decision's row, the audit row, and the fact that everybody else
//! hears of. In both persistences, over a fold that fails and over a process that is killed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use enforcement::command::{Decision, DecisionCommand};
use enforcement::facts::{CURRENT_POLICY, DecisionEvent, DecisionId, SensitivityLevel, VisibilityScope};
use enforcement::people::person;
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;
use support::folder::Folder;
use support::http::Client;
use support::server::{Server, run_json};

/// Breaks at an approval for this reason.
const BREAKS: &str = "no such thing";

/// An inline table that cannot take every approval, after those that can.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "strict_approval", revision = 1, owner = "tests", inline, contract = "strong")]
struct StrictApproval {
    #[key]
    decision_id: DecisionId,
}

impl Projection for StrictApproval {
    type Event = DecisionEvent;

    fn route(fact: &Fact<DecisionEvent>) -> Route<Self> {
        match &fact.event {
            DecisionEvent::DecisionApproved { .. } => Route::key(fact.id()),
            _ => Route::none(),
        }
    }

    fn project(_: Option<Self>, fact: &Fact<DecisionEvent>) -> Option<Self> {
        if let DecisionEvent::DecisionApproved { reason, .. } = &fact.event {
            assert_ne!(reason, BREAKS);
        }
        Some(Self { decision_id: fact.id() })
    }
}

fn draft() -> DecisionCommand {
    DecisionCommand::Draft {
        case_id: "CASE-1".into(),
        party_id: "PARTY-1".into(),
        team_id: "TEAM-7".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Normal,
        summary: "a fine".to_owned(),
    }
}

fn approve(reason: &str) -> DecisionCommand {
    DecisionCommand::Approve { reason: reason.to_owned(), policy_version: CURRENT_POLICY.into() }
}

/// Gives a command on behalf of whoever may: nobody approves what they drafted.
async fn give(running: &Running, decision: &str, command: DecisionCommand) -> Result<(), String> {
    let actor = if matches!(command, DecisionCommand::Approve { .. }) { "user-117" } else { "user-042" };
    let principal = person(&running.principal().tenant, actor).unwrap();
    let request = Request::by(&principal).to(&DecisionId::new(decision), command);
    let done = running.commands().handle::<Decision>(request).await;
    done.map(drop).map_err(|error| format!("{error:?}"))
}

fn texts(store: &Path, sql: &str) -> Vec<String> {
    let log = Connection::open(store.join("log.db")).unwrap();
    let mut statement = log.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

const IN_FACTS: &str = "SELECT substr(stream, 10) FROM fact WHERE type = 'DecisionApproved' ORDER BY 1";
const IN_ROWS: &str = "SELECT key FROM state_decision WHERE status = 'APPROVED' ORDER BY 1";
const IN_AUDIT: &str = "SELECT decision_id FROM decision_approval_r4_g1 ORDER BY 1";

#[tokio::test]
async fn an_approval_that_cannot_be_taken_leaves_none_of_the_three() {
    for persistence in Persistence::ALL {
        let folder = Folder::new("approval");
        let store = folder.store();
        let config =
            || Config { persistence: [("decision".to_owned(), persistence)].into(), ..Config::at(&store) };
        let service = enforcement::service().read_model::<StrictApproval>();
        let running = service.open(config()).await.unwrap();
        for decision in ["DEC-1", "DEC-2"] {
            give(&running, decision, draft()).await.unwrap();
            let due_at = "2026-07-07T09:00:00Z".parse().unwrap();
            give(&running, decision, DecisionCommand::MarkReady { due_at }).await.unwrap();
        }
        let failed = give(&running, "DEC-1", approve(BREAKS)).await.unwrap_err();
        assert!(failed.contains("InlineFailed"), "{failed}");
        give(&running, "DEC-2", approve("Meets statutory threshold")).await.unwrap();
        running.stop().await.unwrap();
        assert_eq!(texts(&store, IN_FACTS), ["DEC-2"], "{persistence}");
        assert_eq!(texts(&store, IN_AUDIT), ["DEC-2"], "{persistence}");
        if persistence == Persistence::StateStored {
            let rows = "SELECT concat_ws(' ', key, version, status) FROM state_decision ORDER BY key";
            assert_eq!(texts(&store, rows), ["DEC-1 2 READY_FOR_APPROVAL", "DEC-2 3 APPROVED"]);
        }
        let audit = "SELECT concat_ws(' ', decision_id, case_id, approved_by, expected_version, \
            policy_version, reason, version) FROM decision_approval_r4_g1";
        let expected = format!("DEC-2 CASE-1 user-117 2 {CURRENT_POLICY} Meets statutory threshold 3");
        assert_eq!(texts(&store, audit), [expected]);
        // With the defect gone, the same decision is approved after all.
        let running = enforcement::service().open(config()).await.unwrap();
        give(&running, "DEC-1", approve(BREAKS)).await.unwrap();
        running.stop().await.unwrap();
        assert_eq!(texts(&store, IN_AUDIT), texts(&store, IN_FACTS));
    }
}

#[tokio::test]
async fn another_policy_comes_into_force_by_a_file_at_the_start() {
    let folder = Folder::new("policy-file");
    let store = folder.store();
    let file = store.with_extension("json");
    let with = |references: &[&str]| Config {
        references: references.iter().map(|name| ((*name).to_owned(), file.clone())).collect(),
        ..Config::at(&store)
    };
    std::fs::write(&file, r#"[{"version":"ENF-POLICY-2026.04","value":{"reasonWordsMin":2}},"#).unwrap();
    let broken = enforcement::service().open(with(&["decision-policy"])).await.map(drop).unwrap_err();
    assert!(broken.to_string().contains("decision-policy"), "{broken}");
    let unknown = enforcement::service().open(with(&["tariff"])).await.map(drop).unwrap_err();
    assert!(unknown.to_string().contains("no reference data of that name"), "{unknown}");

    let editions = r#"[{"version":"ENF-POLICY-2026.04","value":{"reasonWordsMin":2}},
        {"version":"ENF-POLICY-2027.01","value":{"reasonWordsMin":4}}]"#;
    std::fs::write(&file, editions).unwrap();
    let running = enforcement::service().open(with(&["decision-policy"])).await.unwrap();
    give(&running, "DEC-1", draft()).await.unwrap();
    let due_at = "2026-07-07T09:00:00Z".parse().unwrap();
    give(&running, "DEC-1", DecisionCommand::MarkReady { due_at }).await.unwrap();
    let superseded = give(&running, "DEC-1", approve("Meets statutory threshold")).await.unwrap_err();
    assert!(superseded.contains("PolicyVersionSuperseded"), "{superseded}");
    let policy_version = "ENF-POLICY-2027.01".into();
    let reason = "Meets statutory threshold".to_owned();
    let short =
        give(&running, "DEC-1", DecisionCommand::Approve { reason, policy_version }).await.unwrap_err();
    assert!(short.contains("DecisionReasonShort"), "{short}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_all_of_the_three_or_none() {
    let folder = Folder::new("killed");
    let store = folder.store();
    for life in 0..3 {
        let server = Server::start_with(&store, &["--any-principal"]).await;
        let address = server.address;
        let giving = tokio::spawn(async move {
            let mut client = Client::to(address);
            for number in 0.. {
                let path = format!("/decisions/DEC-{life}-{number}");
                let draft = json!({
                    "caseId": "CASE-1", "partyId": "PARTY-1", "teamId": "TEAM-7", "visibilityScope": "TEAM",
                    "sensitivityLevel": "NORMAL", "summary": "a fine",
                });
                let due = json!({ "dueAt": "2026-07-06T09:00:00Z" });
                let approval =
                    json!({ "reason": "Meets statutory threshold", "policyVersion": CURRENT_POLICY });
                let [caseworker, approver] = ["caseworker", "approver"]
                    .map(|role| format!("main/{role};teams=TEAM-7;roles={role};clearance=1"));
                for (by, segment, body) in [
                    (&caseworker, "draft", draft),
                    (&caseworker, "mark-ready", due),
                    (&approver, "approval-requests", approval),
                ] {
                    let headers = [("development-principal", by.as_str())];
                    if client.post(&format!("{path}/{segment}"), &headers, &body).await.is_err() {
                        return;
                    }
                }
            }
        });
        while run_json(&store, &["status"]).await["streams"].as_u64().unwrap() < 10 * (life + 1) {}
        server.kill().await;
        giving.await.unwrap();
    }
    let approved = texts(&store, IN_FACTS);
    assert!(approved.len() > 20, "{approved:?}");
    assert_eq!(texts(&store, IN_ROWS), approved);
    assert_eq!(texts(&store, IN_AUDIT), approved);
    let verified = run_json(&store, &["states", "verify", "decision"]).await;
    assert_eq!(verified["differences"], json!([]));
}
