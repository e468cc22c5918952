//! When jobs run, where, how often, and what is seen of a run that did not happen.

use crate::on_both_stores;
use crate::world::{NIGHTLY, World, fill, night_reaches, run_due, shown, state, time, words};
use diptych::ops::jobs::{Claim, ExportRange};
use diptych::ops::order_job;
use diptych::prelude::*;
use diptych::query::{Order, WaitOutcome};
use std::time::Duration;

on_both_stores!(
    a_job_is_not_due_before_its_time_and_runs_once_at_it,
    of_two_processes_one_runs_what_is_due,
    nights_that_were_missed_are_lag_and_are_made_up_for_once,
    a_run_that_is_cut_short_is_taken_over_and_writes_what_it_was_to_write,
    a_run_that_fails_is_kept_and_tried_again_after_a_rest,
    an_operator_runs_a_job_out_of_turn,
    whoever_waits_for_a_model_that_is_folded_from_the_export_is_told_for_which_one,
);

async fn a_job_is_not_due_before_its_time_and_runs_once_at_it(world: World) {
    let running = world.open().await;
    fill(&running, "tea", 2).await;
    assert!(run_due(&running).await.is_empty(), "a job that was not known before has missed nothing");
    world.set("2026-11-29T01:59:59Z");
    assert!(run_due(&running).await.is_empty());
    world.set("2026-11-29T02:00:00Z");
    let runs = run_due(&running).await;
    let done = runs[0].done.clone().unwrap();
    assert_eq!((runs.len(), runs[0].number, runs[0].missed, done.rows), (1, 1, 0, 1));
    assert_eq!(world.file_names(), ["events-000000000001-000000000001.ndjson"]);
    assert!(run_due(&running).await.is_empty(), "it is done");
    world.set("2026-11-30T02:00:01Z");
    let nothing = run_due(&running).await.remove(0).done.unwrap();
    assert_eq!((nothing.rows, nothing.file.as_deref()), (0, None), "nothing is new");
    assert_eq!(world.file_names().len(), 1);
    running.stop().await.unwrap();
}

async fn of_two_processes_one_runs_what_is_due(world: World) {
    let one = world.open().await;
    // The embedded store has one writer: there, one process is two of whom each comes once.
    let two = world.second().await;
    fill(&one, "tea", 2).await;
    world.set("2026-11-29T02:00:00Z");
    let other = two.as_ref().unwrap_or(&one);
    let (first, second) = tokio::join!(run_due(&one), run_due(other));
    assert_eq!(first.len() + second.len(), 1, "{first:?} {second:?}");
    assert_eq!(world.file_names().len(), 1);
    assert_eq!(state(&one).await.runs_ever, 1);
    if let Some(two) = two {
        two.stop().await.unwrap();
    }
    one.stop().await.unwrap();
}

async fn nights_that_were_missed_are_lag_and_are_made_up_for_once(world: World) {
    let running = world.open().await;
    let token = fill(&running, "tea", 2).await;
    world.set("2026-11-29T02:00:00Z");
    run_due(&running).await;
    night_reaches(&running, token).await;
    fill(&running, "salt", 1).await;
    running.stop().await.unwrap();

    // Three nights in which no process is up.
    world.set("2026-12-02T08:00:00Z");
    let mut config = world.config();
    config.roles = Roles::ALL.without(Role::Projector);
    let looking = world.service().open(config).await.unwrap();
    let (_, text) = shown(&looking).await;
    assert!(text.contains("OVERDUE"), "{text}");
    let standing = looking.queries().jobs().of(NIGHTLY).unwrap();
    assert_eq!(standing.overdue_since, Some(time("2026-11-30T02:00:00Z")));
    assert_eq!(standing.lag_seconds(world.now()), 54.0 * 3_600.0);
    let told = words(&looking, "night_shelf").await;
    assert!(
        told.ends_with("last export 2026-11-29 02:00, the export due 2026-11-30 02:00 is missing"),
        "{told}"
    );
    looking.stop().await.unwrap();

    let running = world.open().await;
    run_due(&running).await;
    let state = state(&running).await;
    assert_eq!(state.runs_ever, 2, "three nights are made up for by one run: {:?}", state.runs);
    assert_eq!((state.runs[0].missed, state.runs[0].due), (2, time("2026-11-30T02:00:00Z")));
    assert!(!shown(&running).await.1.contains("OVERDUE"));
    running.stop().await.unwrap();
}

async fn a_run_that_is_cut_short_is_taken_over_and_writes_what_it_was_to_write(world: World) {
    let running = world.open().await;
    fill(&running, "tea", 2).await;
    run_due(&running).await;
    world.set("2026-11-29T02:00:00Z");
    // What a process leaves that is killed in the middle of writing: a claim, a range, a part of a file.
    let through = running.feed().head().await.unwrap().token;
    let mut left = state(&running).await;
    let by = Claim { process: "killed:1".to_owned(), until: world.now().plus(Duration::from_secs(15)) };
    let run = serde_json::json!({
        "number": 1, "due": world.now(), "missed": 0, "began": world.now(), "ended": null,
        "process": by.process, "range": ExportRange { from: Position::START, through, at: world.now() },
        "done": null,
    });
    left.runs.insert(0, serde_json::from_value(run).unwrap());
    (left.claim, left.runs_ever) = (Some(by), 1);
    let seen = running.store().record("job", NIGHTLY).await.unwrap().unwrap().version;
    let body = serde_json::to_string(&left).unwrap();
    assert!(running.store().write_record("job", NIGHTLY, seen, &body).await.unwrap().is_some());
    std::fs::create_dir_all(world.files()).unwrap();
    let torn = world.files().join("events-000000000001-000000000001.ndjson.killed-1.partial");
    std::fs::write(&torn, "{\"diptychExport\":1,").unwrap();

    fill(&running, "salt", 1).await;
    assert!(run_due(&running).await.is_empty(), "the process may be alive");
    world.set("2026-11-29T02:00:14Z");
    assert!(run_due(&running).await.is_empty(), "it may be alive still");
    world.set("2026-11-29T02:00:16Z");
    let runs = run_due(&running).await;
    let done = runs[0].done.clone().unwrap();
    assert_eq!((runs[0].number, done.rows), (2, 1), "it writes what the first was to write, no more");
    assert_eq!(world.file_names(), ["events-000000000001-000000000001.ndjson"], "and nothing is left behind");
    let after = state(&running).await;
    assert!(after.runs[1].failure.as_deref().unwrap().contains("killed:1"), "{:?}", after.runs[1]);
    world.set("2026-11-30T02:00:00Z");
    let night = run_due(&running).await.remove(0).done.unwrap();
    assert_eq!(night.rows, 1, "what came meanwhile is in the next");
    let path = world.files().display().to_string();
    let whole = running.sources().opened(&path).await.unwrap();
    assert_eq!(whole.head().await.unwrap().position(), Position(2));
    running.stop().await.unwrap();
}

async fn a_run_that_fails_is_kept_and_tried_again_after_a_rest(world: World) {
    let running = world.open().await;
    fill(&running, "tea", 2).await;
    world.set("2026-11-29T02:00:00Z");
    // Where the folder should be is a file.
    std::fs::create_dir_all(world.files().parent().unwrap()).unwrap();
    std::fs::write(world.files(), "in the way").unwrap();
    let runs = run_due(&running).await;
    let reason = runs[0].failure.clone().unwrap();
    assert!(reason.contains(NIGHTLY), "{reason}");
    assert!(run_due(&running).await.is_empty(), "it rests");
    let (_, text) = shown(&running).await;
    assert!(text.contains("OVERDUE") && text.contains("FAILED"), "{text}");
    world.set("2026-11-29T02:01:00Z");
    assert!(run_due(&running).await[0].failure.is_some(), "the file is in the way still");
    std::fs::remove_file(world.files()).unwrap();
    world.set("2026-11-29T02:02:59Z");
    assert!(run_due(&running).await.is_empty(), "it rests twice as long");
    world.set("2026-11-29T02:03:00Z");
    let runs = run_due(&running).await;
    assert_eq!((runs[0].number, runs[0].done.as_ref().unwrap().rows), (3, 1));
    assert_eq!(state(&running).await.failures, 0);
    running.stop().await.unwrap();
}

async fn an_operator_runs_a_job_out_of_turn(world: World) {
    let running = world.open().await;
    fill(&running, "tea", 2).await;
    let operator = running.operator().await.unwrap();
    let order = || Order { actor: running.principal().actor.clone(), reason: "before the move".to_owned() };
    let run = order_job(&operator, NIGHTLY, order()).await.unwrap();
    assert_eq!(run.order.unwrap().reason, "before the move");
    assert_eq!(world.file_names().len(), 1);
    let checked = order_job(&operator, "checked", order()).await.unwrap().done.unwrap();
    assert!(checked.outcome.contains("what the log says"), "{checked:?}");
    let unknown = order_job(&operator, "nightly-evnts", order()).await.unwrap_err().to_string();
    assert!(unknown.contains("DP0070"), "{unknown}");
    running.stop().await.unwrap();
}

async fn whoever_waits_for_a_model_that_is_folded_from_the_export_is_told_for_which_one(world: World) {
    let running = world.open().await;
    run_due(&running).await;
    let token = fill(&running, "tea", 2).await;
    world.set("2026-11-28T12:30:00Z");
    let at_most = Duration::from_millis(10);
    let models = ["night_shelf", "shelf"];
    let awaited =
        running.queries().wait_all(running.principal(), &models, Some(token), at_most).await.unwrap();
    let outcome = awaited[0].outcome.clone().unwrap();
    assert_eq!(
        (outcome.as_str(), outcome.reason()),
        ("timed_out", Some("waits for the next export at 2026-11-29 02:00"),)
    );
    assert_eq!(
        awaited[0].freshness.words,
        "30 minutes behind, never exported, first export due 2026-11-29 02:00"
    );
    world.set("2026-11-29T02:00:00Z");
    run_due(&running).await;
    night_reaches(&running, token).await;
    assert_eq!(words(&running, "night_shelf").await, "up to date, last export 02:00");
    let both = running.queries().wait_all(running.principal(), &models, Some(token), at_most).await.unwrap();
    assert!(both.iter().all(|awaited| awaited.outcome == Some(WaitOutcome::Reached)));
    fill(&running, "tea", 2).await;
    world.set("2026-11-29T02:30:00Z");
    assert_eq!(words(&running, "night_shelf").await, "30 minutes behind, last export 02:00");
    running.stop().await.unwrap();
}
