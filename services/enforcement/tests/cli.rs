//! The real binary on the command line: the scenario, what verifying says, what a query prints.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use enforcement::command::{Party, PartyCommand};
use enforcement::facts::PartyId;
use enforcement::people::person;
use serde_json::{Value, json};
use std::path::Path;
use support::folder::Folder;
use support::server::{run, run_json, said};

const MODELS: [&str; 10] = [
    "case_search",
    "case_timeline",
    "case_title",
    "decision_approval",
    "decision_case",
    "decision_detail",
    "decision_work_queue_view",
    "fine_balance",
    "fines_by_status",
    "party_name",
];

async fn scenario(store: &Path) -> String {
    let output = run(store, &["scenario"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    said(&output)
}

#[tokio::test]
async fn the_scenario_is_given_once_and_every_table_is_what_the_log_says() {
    let folder = Folder::new("scenario");
    let store = folder.store();
    let first = scenario(&store).await;
    assert!(first.contains("gave 33 commands of the made-up scenario"), "{first}");
    let status = run_json(&store, &["status"]).await;
    assert_eq!(
        (&status["events"], &status["commands"], &status["streams"]),
        (&json!(33), &json!(33), &json!(15))
    );
    let second = scenario(&store).await;
    assert!(second.contains("the scenario is there already"), "{second}");
    assert_eq!(run_json(&store, &["status"]).await["commands"], 33, "the second run gave a command");
    verified(&store).await;
}

/// Every table against a fresh fold of the log.
async fn verified(store: &Path) {
    let reports = run_json(store, &["models", "verify"]).await;
    let reports = reports.as_array().unwrap();
    let mut models: Vec<_> = reports.iter().map(|report| report["model"].as_str().unwrap()).collect();
    models.sort_unstable();
    assert_eq!(models, MODELS);
    let clean = |report: &Value| report["differingRows"] == 0 && report["digestMatches"] == true;
    assert!(reports.iter().all(clean), "{reports:#?}");
}

#[tokio::test]
async fn an_interrupted_scenario_goes_on_where_it_was() {
    let folder = Folder::new("interrupted");
    let store = folder.store();
    let running = enforcement::service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(&store) })
        .await
        .unwrap();
    let register = PartyCommand::Register { display_name: "Acme Trading Ltd".to_owned() };
    let registrar = person(&running.principal().tenant, "user-301").unwrap();
    let request = Request::by(&registrar).to(&PartyId::new("PARTY-4711"), register);
    running.commands().handle::<Party>(request).await.unwrap();
    assert_eq!(enforcement::scenario::play(&running).await.unwrap(), 32, "all but the one that is there");
    running.stop().await.unwrap();
    verified(&store).await;
    assert!(scenario(&store).await.contains("the scenario is there already"));
}

#[tokio::test]
async fn the_group_moves_as_one_and_shows_what_it_declares() {
    let folder = Folder::new("group");
    let store = folder.store();
    scenario(&store).await;
    let list = run_json(&store, &["models", "list"]).await;
    let rows: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            (
                model["model"].as_str().unwrap(),
                model["rows"].as_u64().unwrap(),
                &model["freshness"]["lagEvents"],
            )
        })
        .collect();
    let none = &json!(0);
    let mut sorted = rows.clone();
    sorted.sort_by_key(|(model, ..)| *model);
    let expected = [11, 28, 4, 1, 7, 7, 5, 0, 0, 4];
    let expected: Vec<_> = MODELS.iter().zip(expected).map(|(model, rows)| (*model, rows, none)).collect();
    assert_eq!(sorted, expected);
    let shown = run_json(&store, &["models", "show", "decision-work-queue"]).await;
    assert_eq!(
        (&shown["model"], &shown["owner"]),
        (&json!("decision_work_queue_view"), &json!("enforcement"))
    );
    let mut categories: Vec<_> =
        shown["categories"].as_array().unwrap().iter().map(|name| name.as_str()).collect();
    categories.sort_unstable();
    assert_eq!(categories, [Some("case"), Some("decision"), Some("party")]);
}

#[tokio::test]
async fn a_query_takes_the_words_of_the_interface() {
    let folder = Folder::new("query");
    let store = folder.store();
    scenario(&store).await;
    let words =
        ["query", "decision_work_queue_view", "teamId=TEAM-7", "status=READY_FOR_APPROVAL", "sort=dueAt"];
    let page = run_json(&store, &words).await;
    let columns: Vec<_> =
        page["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let place = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let row = &page["rows"][0];
    assert_eq!((&row[place("decisionId")], &row[place("version")]), (&json!("DEC-2026-00112"), &json!(8)));
    assert_eq!(page["rows"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn verbs_with_a_tenant_show_that_tenant_and_no_other() {
    let folder = Folder::new("tenants");
    let store = folder.store();
    scenario(&store).await;
    let rows = async |tenant: &str| {
        let mut rows = Vec::new();
        for model in ["decision-detail", "decision-work-queue", "case-search"] {
            let page = run_json(&store, &["query", model, "--tenant", tenant]).await;
            rows.push(page["rows"].as_array().unwrap().len());
        }
        rows
    };
    assert_eq!((rows("main").await, rows("other").await), (vec![7, 5, 11], vec![0, 0, 0]));
    // What is given in another tenant is there and not here.
    let given = run(&store, &["scenario", "--tenant", "other"]).await;
    assert_eq!(given.status.code(), Some(0), "{}", said(&given));
    assert!(said(&given).contains("gave 33 commands"), "{}", said(&given));
    assert_eq!((rows("main").await, rows("other").await), (vec![7, 5, 11], vec![7, 5, 11]));
    assert_eq!(rows("third").await, [0, 0, 0]);
    verified(&store).await;
    // Operators keep the service running and need not know what it is about, in whatever tenant.
    for tenant in ["main", "other"] {
        for words in [["streams", "show", "decision-DEC-2026-00112"], ["audit", "list", "--json"]] {
            let refused = run(&store, &[&words[..], &["--tenant", tenant]].concat()).await;
            assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
            assert!(said(&refused).contains("(DP0008)"), "{}", said(&refused));
        }
    }
}

#[tokio::test]
async fn the_verbs_of_policies_end_as_they_find() {
    let folder = Folder::new("policies");
    let store = folder.store();
    let shown = run_json(&store, &["policies", "show"]).await;
    let ids: Vec<_> = shown["policies"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
    assert!(ids.contains(&&json!("four-eyes")) && ids.contains(&&json!("exports")), "{ids:?}");
    let schema = run(&store, &["policies", "schema"]).await;
    assert!(said(&schema).contains("entity DecisionDetailView"), "{}", said(&schema));
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let own = own.to_str().unwrap();
    let checked = run_json(&store, &["policies", "check", own]).await;
    assert_eq!((&checked["version"], &checked["problems"]), (&shown["version"], &json!([])));
    assert!(!store.exists(), "no store is opened to look at policies");

    let wrong = store.with_extension("cedar");
    std::fs::create_dir_all(wrong.parent().unwrap()).unwrap();
    std::fs::write(&wrong, "permit (principal, action, resource) when { resource.colour == 1 };").unwrap();
    let refused = run(&store, &["policies", "check", wrong.to_str().unwrap()]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));

    scenario(&store).await;
    let compared = run_json(&store, &["policies", "compare", own]).await;
    assert_eq!((&compared["actions"], &compared["sights"]), (&json!([]), &json!([])), "{compared}");
    let history = run_json(&store, &["policies", "history"]).await;
    assert_eq!((&history[0]["number"], &history[0]["version"]), (&json!(1), &shown["version"]), "{history}");
    // Operators look after the rows and do not carry them away: that takes somebody with the role for it.
    let file = store.with_extension("ndjson");
    let refused = run(&store, &["models", "export", "decision-detail", "--to", file.to_str().unwrap()]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("`decision-detail` may not be exported"), "{}", said(&refused));
    assert!(!file.exists());
}
