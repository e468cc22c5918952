//! What the verbs of policies print, for people and for programs.

use crate::support::Folder;
use crate::world::{Home, asked, made, piece, service, somebody};
use diptych::core::Clock;
use diptych::ops::{ActionError, Output, RebuildWatcher, Report, run, verbs};
use diptych::prelude::*;
use diptych::projector::Rebuild;

const BEFORE: &str = r#"
@id("make") @version("2026-10")
permit (principal, action == Action::"piece.Make", resource);

@id("rows") permit (principal in Role::"clerk", action == Action::"viewRow", resource)
when { resource has team && resource.team == "TEAM-7" };
"#;

const AFTER: &str = r#"
@id("make") @version("2026-11")
permit (principal in Role::"clerk", action == Action::"piece.Make", resource);

@id("rows") permit (principal in Role::"clerk", action == Action::"viewRow", resource);

@id("titles") permit (principal in Role::"clerk", action == Action::"viewField", resource)
when { context.field == "title" };
"#;

const WRONG: &str = r#"
@id("rows") permit (principal, action == Action::"viewRow", resource)
when { resource.taem == "TEAM-7" };

@id("sums") permit (principal, action == Action::"piece.Close", resource)
when { resource.isClosed == 1 };
"#;

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }
}

struct Nobody;

impl RebuildWatcher for Nobody {
    fn see(&mut self, _: &Rebuild) {}
}

async fn verb(running: &Running, words: &[&str]) -> Result<Report, ActionError> {
    let line = clap::Command::new("works").subcommands(verbs());
    let matches = line.get_matches_from([&["works", "policies"], words].concat());
    let (name, own) = matches.subcommand().unwrap();
    run(&running.operator().await.unwrap(), name, own, &mut Nobody).await
}

/// Both forms of what a verb prints, the one for people first.
async fn printed(running: &Running, words: &[&str]) -> String {
    let report = verb(running, words).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&report.render(Output::Json)).unwrap();
    let json = serde_json::to_string_pretty(&json).unwrap();
    format!("{}\n\nclean: {}\n\n{json}", report.render(Output::Human), report.is_clean())
}

async fn filled(home: &Home) -> Running {
    let running = service(BEFORE).clock(StoppedClock).open(home.config()).await.unwrap();
    let clerk = somebody("ann", "TEAM-7", &["clerk"]);
    made(&running, &clerk, &piece("1", "TEAM-7")).await;
    let token = made(&running, &clerk, &piece("2", "TEAM-9")).await;
    asked(&running, &clerk, token).await;
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_of_policies_print_what_they_find() {
    let (home, folder) = (Home::embedded(), Folder::new());
    std::fs::create_dir_all(folder.path()).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, bad) = (file("good.cedar", AFTER), file("bad.cedar", WRONG));
    let people = file("people.json", r#"[{"actor": "ann", "teams": ["TEAM-7"], "roles": ["clerk"]}]"#);
    let running = filled(&home).await;
    insta::assert_snapshot!("show", printed(&running, &["show"]).await);
    insta::assert_snapshot!("check_good", printed(&running, &["check", &good]).await);
    insta::assert_snapshot!("check_bad", printed(&running, &["check", &bad]).await);
    insta::assert_snapshot!("schema", verb(&running, &["schema"]).await.unwrap().render(Output::Human));
    insta::assert_snapshot!("compare", printed(&running, &["compare", &good]).await);
    let by_people = printed(&running, &["compare", &good, "--principals", &people]).await;
    insta::assert_snapshot!("compare_by_people", by_people);
    insta::assert_snapshot!("history_of_one", printed(&running, &["history"]).await);
    running.stop().await.unwrap();

    let running = service(AFTER).clock(StoppedClock).open(home.config()).await.unwrap();
    // Rows are counted beside the start.
    let history = loop {
        let history = printed(&running, &["history"]).await;
        if !history.contains("rows are not counted yet") {
            break history;
        }
        tokio::task::yield_now().await;
    };
    insta::assert_snapshot!("history", history);
    let last = verb(&running, &["history", "--limit", "1"]).await.unwrap().render(Output::Human);
    assert!(last.starts_with("2 version 2026-11+") && !last.contains("1 version 2026-10+"), "{last}");
    let error = verb(&running, &["compare", &bad]).await.unwrap_err().to_string();
    assert!(error.contains("`rows`") && error.ends_with("(DP0063)"), "{error}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_policies_says_so() {
    let home = Home::embedded();
    let plain = Service::new("works").decider::<crate::world::Piece>();
    let running = plain.open(home.config()).await.unwrap();
    let error = verb(&running, &["show"]).await.unwrap_err().to_string();
    assert!(error.contains("the service has no policies"), "{error}");
    assert_eq!(
        verb(&running, &["history"]).await.unwrap().render(Output::Human),
        "no policies have been in force"
    );
    running.stop().await.unwrap();
}
