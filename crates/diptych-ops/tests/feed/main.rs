//! The feed over the files of an export keeps what every feed promises: all suites run over logs that are
//! exported after each append and read from nothing but the files. No case is left out: an export holds every
//! one, as soon as a night has come.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../diptych-memory/tests/harness/mod.rs"]
mod harness;
mod nights;

use diptych_conformance::half_written::fill;
use diptych_conformance::{Harness, Named, Outcome, cases, passed, run};
use diptych_core::{Code, Position};
use diptych_query::Categories;
use nights::Nights;
use tokio::task::JoinSet;

/// How many cases run at the same time.
const CASES_MAX: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_over_a_file_for_each_night() {
    hold(|| Nights::new(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_over_files_that_are_joined() {
    hold(|| Nights::new(Some(1))).await;
}

/// Runs every case, each with a place of its own, and tells all that fail.
async fn hold(make: impl Fn() -> Nights) {
    let (mut running, mut wrong) = (JoinSet::<(Named, Outcome)>::new(), Vec::new());
    let mut note = |(Named { suite, name, .. }, outcome): (Named, Outcome)| {
        wrong.extend(outcome.err().map(|failure| format!("{suite}::{name}: {failure}")));
    };
    for case in cases() {
        if running.len() == CASES_MAX {
            note(running.join_next().await.unwrap().unwrap());
        }
        let nights = make();
        running.spawn(async move {
            let outcome = run(case.suite, case.name, &nights).await;
            (case, outcome)
        });
    }
    while let Some(ended) = running.join_next().await {
        note(ended.unwrap());
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_a_damaged_file_is_read() {
    let nights = Nights::new(None);
    let stores = nights.open(Vec::new()).await.unwrap();
    passed(fill(&stores).await);
    let whole = stores.feed.read(Position::START, &Categories::All, 100_000).await.unwrap();
    assert!(whole.facts.len() > 100 && nights.files().len() > 50, "{:?}", nights.files());

    let damaged = &nights.files()[30];
    let text = std::fs::read_to_string(damaged).unwrap();
    std::fs::write(damaged, text.replace("\"payload\":\"{", "\"payload\":\"{ ")).unwrap();
    let before = stores.feed.read(Position::START, &Categories::All, 100_000).await.unwrap();
    let reached = before.through.position();
    assert_eq!(before.facts, whole.facts[..before.facts.len()]);
    assert_eq!(before.facts.last().unwrap().position, reached);
    assert!(damaged.to_string_lossy().contains(&format!("events-{:012}-", reached.next().0)), "{reached}");

    let fault = stores.feed.read(reached, &Categories::All, 100_000).await.unwrap_err();
    assert_eq!(fault.code(), Code::ExportDamaged, "{fault}");
    assert!(fault.to_string().contains("checksum"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_read_more_of_the_log_waits_for_the_export() {
    let nights = Nights::new(None);
    let stores = nights.open(Vec::new()).await.unwrap();
    passed(fill(&stores).await);
    let exported = stores.feed.head().await.unwrap();
    nights.stay_day();
    passed(fill(&stores).await);
    assert_eq!(stores.feed.head().await.unwrap(), exported, "what was recorded by day is in no file");
    for ahead in [0, 1, 7] {
        let after = Position(exported.position().0 + ahead);
        let block = stores.feed.read(after, &Categories::All, 10).await.unwrap();
        assert_eq!((block.facts.len(), block.through.position(), block.head), (0, after, after));
    }
    let fault = stores.feed.read(Position(1_000_000), &Categories::All, 10).await.unwrap_err();
    assert_eq!(fault.code(), Code::LogDiffers, "{fault}");
}
