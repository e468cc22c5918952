//! What each kind of job does when it is due: once, with counts that can be held against what it did, and a
//! reason where it fails.

use crate::on_both_stores;
use crate::support::jar::{Jar, JarEvent, JarId};
use crate::world::{World, by_day, fill, run_due_of};
use diptych::ops::RowsFormat;
use diptych::prelude::*;
use serde_json::Value;

on_both_stores!(
    a_patrol_that_is_due_compares_every_row_once,
    a_verification_that_is_due_folds_every_row_once,
    a_rebuild_that_is_due_puts_a_new_build_in_place_once_each_night,
    a_rebuild_whose_process_died_after_the_switch_is_not_done_again,
    rows_that_are_due_are_written_once_and_told_beside,
    only_the_last_files_of_rows_stay,
    a_job_that_finds_rows_that_the_log_does_not_say_fails_and_tells_which,
    rows_that_cannot_be_written_are_a_failed_run,
);

const THREE: &str = "2026-11-29T03:00:00Z";

/// Three jars on the shelf.
async fn three_jars(running: &Running) -> Token {
    fill(running, "tea", 2).await;
    fill(running, "salt", 3).await;
    let token = fill(running, "rice", 4).await;
    by_day(running, token).await;
    token
}

async fn a_patrol_that_is_due_compares_every_row_once(world: World) {
    let running = world.open_with([Job::patrol("patrolled").of("shelf").daily_at("03:00")]).await;
    let token = three_jars(&running).await;
    assert!(run_due_of(&running, "patrolled").await.is_empty(), "it is not due");
    world.set(THREE);
    let runs = run_due_of(&running, "patrolled").await;
    let done = runs[0].done.clone().unwrap();
    assert_eq!((runs.len(), done.rows, done.position), (1, 3, Some(token.position)), "{done:?}");
    assert!(run_due_of(&running, "patrolled").await.is_empty(), "it is done");
    running.stop().await.unwrap();
}

async fn a_verification_that_is_due_folds_every_row_once(world: World) {
    let running = world.open_with([Job::verify("verified").of("shelf").daily_at("03:00")]).await;
    let token = three_jars(&running).await;
    world.set(THREE);
    let runs = run_due_of(&running, "verified").await;
    let done = runs[0].done.clone().unwrap();
    assert_eq!((runs.len(), done.rows, done.position), (1, 3, Some(token.position)), "{done:?}");
    assert!(run_due_of(&running, "verified").await.is_empty(), "it is done");
    running.stop().await.unwrap();
}

async fn a_rebuild_that_is_due_puts_a_new_build_in_place_once_each_night(world: World) {
    let running = world.open_with([Job::rebuild("anew", "shelf").daily_at("03:00")]).await;
    let token = three_jars(&running).await;
    running.projector().steward().settle().await.unwrap();
    for (night, build) in [("2026-11-29", "r1g2"), ("2026-11-30", "r1g3")] {
        world.set(&format!("{night}T03:00:00Z"));
        let runs = run_due_of(&running, "anew").await;
        let done = runs[0].done.clone().unwrap_or_else(|| panic!("{:?}", runs[0].failure));
        assert_eq!((runs.len(), done.rows, done.position), (1, 3, Some(token.position)), "{done:?}");
        assert!(done.outcome.contains(build), "{}", done.outcome);
        let rebuild = running.projector().rebuild_of("shelf").await.unwrap().unwrap();
        assert_eq!(done.checksum, Some(rebuild.measured.digest.join(",")), "that of the new build");
        assert!(done.bytes > 0, "{done:?}");
        assert!(rebuild.order.reason.contains("job `anew` was due"), "{}", rebuild.order.reason);
        assert!(run_due_of(&running, "anew").await.is_empty(), "it is done");
        assert_eq!(by_day(&running, token).await.len(), 3);
    }
    running.stop().await.unwrap();
}

async fn a_rebuild_whose_process_died_after_the_switch_is_not_done_again(world: World) {
    let running = world.open_with([Job::rebuild("anew", "shelf").daily_at("03:00")]).await;
    three_jars(&running).await;
    running.projector().steward().settle().await.unwrap();
    run_due_of(&running, "anew").await;
    let kept = async || running.store().record("job", "anew").await.unwrap().unwrap();
    let mut left: Value = serde_json::from_str(&kept().await.body).unwrap();
    world.set(THREE);
    assert!(run_due_of(&running, "anew").await.remove(0).done.unwrap().outcome.contains("r1g2"));
    let ended = kept().await;
    // What a process leaves that is killed before it could say that it has done it.
    left["runs"] = serde_json::from_str::<Value>(&ended.body).unwrap()["runs"].take();
    (left["runs"][0]["ended"], left["runs"][0]["done"]) = (Value::Null, Value::Null);
    left["claim"] = serde_json::json!({ "process": "killed:1", "until": world.now() });
    left["runsEver"] = 1.into();
    let written = running.store().write_record("job", "anew", ended.version, &left.to_string()).await;
    assert!(written.unwrap().is_some());
    world.set("2026-11-29T03:00:01Z");
    let done = run_due_of(&running, "anew").await.remove(0).done.unwrap();
    assert!(done.outcome.contains("r1g2") && done.rows == 3, "{done:?}");
    running.stop().await.unwrap();
}

async fn rows_that_are_due_are_written_once_and_told_beside(world: World) {
    let sheet = Job::rows("sheet", "shelf", RowsFormat::Csv).daily_at("03:00");
    let running = world.open_with([sheet]).await;
    let token = three_jars(&running).await;
    world.set(THREE);
    let runs = run_due_of(&running, "sheet").await;
    let done = runs[0].done.clone().unwrap();
    assert_eq!((runs.len(), done.rows, done.position), (1, 3, Some(token.position)), "{done:?}");
    let names = ["shelf-2026-11-29T030000Z.csv", "shelf-2026-11-29T030000Z.csv.lineage.json"];
    assert_eq!(world.file_names_of("sheet"), names);
    let text = std::fs::read_to_string(world.files_of("sheet").join(names[0])).unwrap();
    assert_eq!(text.lines().count(), 4, "a header and three rows: {text}");
    assert_eq!(done.bytes, text.len() as u64);
    let lineage = std::fs::read_to_string(world.files_of("sheet").join(names[1])).unwrap();
    let lineage: Value = serde_json::from_str(&lineage).unwrap();
    assert_eq!(lineage["checksum"].as_str(), done.checksum.as_deref());
    assert!(run_due_of(&running, "sheet").await.is_empty(), "it is done");
    running.stop().await.unwrap();
}

async fn only_the_last_files_of_rows_stay(world: World) {
    let sheet = Job::rows("sheet", "shelf", RowsFormat::Ndjson).daily_at("03:00").keep_last(2);
    let running = world.open_with([sheet]).await;
    three_jars(&running).await;
    std::fs::create_dir_all(world.files_of("sheet")).unwrap();
    let foreign = "shelf-before-the-move.ndjson";
    std::fs::write(world.files_of("sheet").join(foreign), "kept by hand").unwrap();
    let mut outcomes = Vec::new();
    for night in ["2026-11-29", "2026-11-30", "2026-12-01", "2026-12-02"] {
        world.set(&format!("{night}T03:00:00Z"));
        outcomes.push(run_due_of(&running, "sheet").await.remove(0).done.unwrap().outcome);
    }
    assert_eq!(outcomes[1..3], ["3 rows exported", "3 rows exported, 1 older files removed"]);
    let last = "shelf-2026-12-02T030000Z.ndjson";
    let before = "shelf-2026-12-01T030000Z.ndjson";
    let lineage = |name: &str| format!("{name}.lineage.json");
    assert_eq!(
        world.file_names_of("sheet"),
        [before, &lineage(before), last, &lineage(last), foreign],
        "each with what says where it comes from, and nothing of anybody else is touched"
    );
    running.stop().await.unwrap();
}

/// The shelf as code folded it that counted one spoon too many.
mod miscounting {
    use super::*;

    /// What is in each jar, and one spoon more.
    #[derive(Clone, Debug, PartialEq, ReadModel)]
    #[read_model(name = "shelf", revision = 1, owner = "kitchen")]
    pub(super) struct Miscounted {
        #[key]
        jar: JarId,
        #[sort]
        spoons: i64,
    }

    impl Projection for Miscounted {
        type Event = JarEvent;

        fn route(fact: &Fact<JarEvent>) -> Route<Self> {
            Route::key(fact.id())
        }

        fn project(_: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
            match &fact.event {
                JarEvent::Filled { spoons } => Some(Self { jar: fact.id(), spoons: spoons + 1 }),
                JarEvent::Emptied => None,
            }
        }
    }
}

async fn a_job_that_finds_rows_that_the_log_does_not_say_fails_and_tells_which(world: World) {
    let miscounting = Service::new("kitchen").decider::<Jar>().read_model::<miscounting::Miscounted>();
    let running = miscounting.open(world.config()).await.unwrap();
    fill(&running, "tea", 2).await;
    running.projector().drain("shelf").await.unwrap();
    running.projector().steward().settle().await.unwrap();
    running.stop().await.unwrap();

    let jobs = [
        Job::verify("verified").of("shelf").daily_at("03:00"),
        Job::patrol("patrolled").of("shelf").daily_at("03:00"),
        Job::rebuild("anew", "shelf").daily_at("03:00"),
    ];
    let running = world.open_with(jobs).await;
    world.set(THREE);
    let runs = running.run_due_jobs().await.unwrap();
    let table = [
        ("verified", "rows of shelf are not what the log says"),
        ("patrolled", "1 incidents were found"),
        ("anew", "the rebuild of `shelf` is blocked"),
    ];
    for (job, said) in table {
        let run = &runs.iter().find(|(name, _)| name == job).unwrap().1;
        let reason = run.failure.as_deref().unwrap_or_else(|| panic!("{job} has not failed: {run:?}"));
        assert!(reason.contains(said) && run.done.is_none(), "{job}: {reason}");
        let standing = running.queries().jobs().of(job).unwrap();
        assert_eq!(standing.failure.as_deref(), Some(reason));
        assert_eq!((standing.succeeded_at, standing.lag_seconds(world.now())), (None, 0.0), "{job}");
    }
    assert!(running.run_due_jobs().await.unwrap().is_empty(), "they rest");
    running.stop().await.unwrap();
}

async fn rows_that_cannot_be_written_are_a_failed_run(world: World) {
    let running = world.open_with([Job::rows("sheet", "shelf", RowsFormat::Csv).daily_at("03:00")]).await;
    three_jars(&running).await;
    world.set(THREE);
    // Where the folder should be is a file.
    std::fs::create_dir_all(world.files_of("sheet").parent().unwrap()).unwrap();
    std::fs::write(world.files_of("sheet"), "in the way").unwrap();
    let reason = run_due_of(&running, "sheet").await.remove(0).failure.unwrap();
    assert!(reason.contains("sheet` cannot be written"), "{reason}");
    running.stop().await.unwrap();
}
