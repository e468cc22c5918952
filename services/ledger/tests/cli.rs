//! The real binary on the command line: the scenario, what verifying says, what a query prints.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use serde_json::{Value, json};
use support::folder::Folder;
use support::server::{run, run_json, said};

const COMMANDS: u64 = 14;

#[tokio::test]
async fn the_scenario_is_given_once_and_every_table_is_what_the_log_says() {
    let folder = Folder::new("scenario");
    let store = folder.store();
    let first = run(&store, &["scenario"]).await;
    assert!(said(&first).contains("gave 14 commands of the made-up scenario"), "{}", said(&first));
    let status = run_json(&store, &["status"]).await;
    assert_eq!((&status["events"], &status["commands"]), (&json!(COMMANDS), &json!(COMMANDS)));
    let second = run(&store, &["scenario"]).await;
    assert!(said(&second).contains("the scenario is there already"), "{}", said(&second));
    let reports = run_json(&store, &["models", "verify"]).await;
    let clean = |report: &Value| report["differingRows"] == 0 && report["digestMatches"] == true;
    assert_eq!(reports.as_array().unwrap().len(), 6, "{reports:#}");
    assert!(reports.as_array().unwrap().iter().all(clean), "{reports:#}");
}

#[tokio::test]
async fn a_question_on_the_command_line_is_answered_as_a_table() {
    let folder = Folder::new("query");
    let store = folder.store();
    run(&store, &["scenario"]).await;
    let asked = run(&store, &["query", "trial-balance", "kind=LIABILITY"]).await;
    assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
    let table = String::from_utf8(asked.stdout).unwrap();
    for part in ["ann", "Deposit of Ann Ashby", "-645.50 EUR", "bob", "-50.00 EUR"] {
        assert!(table.contains(part), "`{part}` is missing of\n{table}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_nothing_is_posted() {
    let folder = Folder::new("missing");
    let store = folder.store();
    let refused = run(&store, &["import", "nowhere.csv"]).await;
    assert_ne!(refused.status.code(), Some(0));
    assert!(said(&refused).contains("nowhere.csv"), "{}", said(&refused));
    assert_eq!(run_json(&store, &["status"]).await["events"], 0);
}

/// What the binary says, the place of its store left out.
async fn told(folder: &Folder, arguments: &[&str]) -> String {
    let store = folder.store();
    let output = run(&store, arguments).await;
    let text = said(&output).replace(&store.display().to_string(), "STORE");
    format!("exit {}\n{text}", output.status.code().unwrap())
}

#[tokio::test]
async fn the_verbs_say_what_they_do() {
    let folder = Folder::new("help");
    insta::assert_snapshot!("help", told(&folder, &["--help"]).await);
    insta::assert_snapshot!("help_import", told(&folder, &["import", "--help"]).await);
    insta::assert_snapshot!("help_scenario", told(&folder, &["scenario", "--help"]).await);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_in_words() {
    let folder = Folder::new("refusals");
    insta::assert_snapshot!("no_such_file", told(&folder, &["import", "nowhere.csv"]).await);
    insta::assert_snapshot!("one_file_too_many", told(&folder, &["import", "one.csv", "two.csv"]).await);
    insta::assert_snapshot!("no_such_model", told(&folder, &["query", "balances"]).await);
    insta::assert_snapshot!("no_such_filter", told(&folder, &["query", "trial-balance", "colour=red"]).await);
    insta::assert_snapshot!("no_such_verb", told(&folder, &["exprot"]).await);
}
