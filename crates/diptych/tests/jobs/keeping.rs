//! Older files of an export that are joined into one: nothing of the log is lost, whoever reads meanwhile,
//! and wherever it is cut short.

use crate::chain::replaced;
use crate::on_both_stores;
use crate::rebuilds::rebuilt;
use crate::world::{World, by_day, by_night, fill, listed, night_reaches, run_due, shown};
use diptych::prelude::*;
use diptych::projector::RebuildStep;
use diptych::query::{Categories, Feed};
use std::path::PathBuf;

on_both_stores!(
    older_files_are_joined_and_everything_is_read_on,
    a_join_that_was_cut_short_is_finished_by_the_next_run,
    a_damaged_file_is_never_joined,
    what_was_joined_goes_only_for_a_file_that_is_whole,
);

/// One event more, and the night of a day of December in which it is exported.
async fn night(world: &World, running: &Running, day: u64) -> Token {
    let token = fill(running, if day.is_multiple_of(2) { "tea" } else { "salt" }, 1).await;
    world.set(&format!("2026-12-{day:02}T02:00:00Z"));
    let runs = run_due(running).await;
    assert!(runs.len() == 1 && runs[0].failure.is_none(), "{runs:?}");
    night_reaches(running, token).await;
    token
}

/// As many files as are not too many where two stay as they are.
async fn four_nights(world: &World, running: &Running) {
    for day in 1..=4 {
        night(world, running, day).await;
    }
}

/// Files as they were before some of them were joined.
struct Older(Vec<(PathBuf, Vec<u8>)>);

impl Older {
    fn of(world: &World) -> Self {
        let files = world.file_names().into_iter().map(|name| world.files().join(name));
        Self(files.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect())
    }

    fn put_back(&self) {
        self.0.iter().for_each(|(file, bytes)| std::fs::write(file, bytes).unwrap());
    }

    fn are_there(&self) -> bool {
        self.0.iter().all(|(file, _)| file.exists())
    }
}

/// Everything that a feed holds, read from its beginning.
async fn whole(feed: &dyn Feed) -> Vec<std::sync::Arc<diptych::core::RawFact>> {
    let (head, mut after, mut facts) = (feed.head().await.unwrap().position(), Position::START, Vec::new());
    while after < head {
        let block = feed.read(after, &Categories::All, 2).await.unwrap();
        assert!(block.through.position() > after);
        after = block.through.position();
        facts.extend(block.facts);
    }
    facts
}

async fn older_files_are_joined_and_everything_is_read_on(world: World) {
    let world = world.keeping_last(2);
    let running = world.open().await;
    four_nights(&world, &running).await;
    assert_eq!(world.file_names().len(), 4, "twice as many as stay are not too many");
    let folder = world.files().display().to_string();
    let opened_before = running.sources().opened(&folder).await.unwrap();
    assert_eq!(opened_before.read(Position::START, &Categories::All, 1).await.unwrap().facts.len(), 1);
    let token = night(&world, &running, 5).await;
    assert_eq!(
        world.file_names(),
        [
            "events-000000000001-000000000003.ndjson",
            "events-000000000004-000000000004.ndjson",
            "events-000000000005-000000000005.ndjson",
        ]
    );
    // It had read from a file that is gone.
    let second = opened_before.read(Position(1), &Categories::All, 1).await.unwrap();
    assert_eq!((second.facts.len(), second.through.position()), (1, Position(2)));
    for feed in [opened_before, running.sources().opened(&folder).await.unwrap()] {
        assert_eq!(whole(&*feed).await, whole(running.feed()).await);
    }
    assert_eq!(by_day(&running, token).await, by_night(&running).await.0);
    running.projector().reset("night_shelf").await.unwrap();
    running.projector().drain("night_shelf").await.unwrap();
    assert_eq!(by_day(&running, token).await, by_night(&running).await.0, "folded from the beginning");
    running.projector().drain("shelf").await.unwrap();
    running.projector().steward().settle().await.unwrap();
    let from_log = rebuilt(&running, "shelf", None).await;
    let from_files = rebuilt(&running, "shelf", Some(&world.files())).await;
    assert_eq!(from_files.step, RebuildStep::Switched, "{:?}", from_files.reason);
    assert_eq!(from_files.measured.digest, from_log.measured.digest);
    // The joined one is joined again, with those that have become old.
    for day in 6..=7 {
        night(&world, &running, day).await;
    }
    assert_eq!(world.file_names()[0], "events-000000000001-000000000005.ndjson");
    assert_eq!(world.file_names().len(), 3);
    running.stop().await.unwrap();
}

async fn a_join_that_was_cut_short_is_finished_by_the_next_run(world: World) {
    let world = world.keeping_last(2);
    let running = world.open().await;
    four_nights(&world, &running).await;
    let older = Older::of(&world);
    night(&world, &running, 5).await;
    // What a process leaves that is killed before it has removed anything, and one that has not joined yet.
    older.put_back();
    let torn = world.files().join("events-000000000001-000000000002.ndjson.killed-1.partial");
    std::fs::write(torn, "{\"diptychExport\":1,").unwrap();
    assert_eq!(world.file_names().len(), 7);
    running.projector().reset("night_shelf").await.unwrap();
    running.projector().drain("night_shelf").await.unwrap();
    let token = night(&world, &running, 6).await;
    assert_eq!(by_day(&running, token).await, by_night(&running).await.0);
    let left = world.file_names().into_iter().filter(|name| !name.ends_with(".partial"));
    assert_eq!(
        left.collect::<Vec<_>>(),
        [
            "events-000000000001-000000000003.ndjson",
            "events-000000000004-000000000004.ndjson",
            "events-000000000005-000000000005.ndjson",
            "events-000000000006-000000000006.ndjson",
        ]
    );
    night(&world, &running, 7).await;
    assert_eq!(world.file_names().len(), 3, "also what was never finished is gone: {:?}", world.file_names());
    running.stop().await.unwrap();
}

async fn a_damaged_file_is_never_joined(world: World) {
    let world = world.keeping_last(2);
    let running = world.open().await;
    four_nights(&world, &running).await;
    let second = world.files().join(&world.file_names()[1]);
    let bytes = std::fs::read(&second).unwrap();
    replaced(&second, "{\\\"spoons\\\":1}", "{\\\"spoons\\\":9}");
    fill(&running, "rice", 5).await;
    world.set("2026-12-05T02:00:00Z");
    let done = run_due(&running).await.remove(0).done.expect("the night is exported all the same");
    let untidied = done.untidied.unwrap();
    assert!(untidied.contains("DP0050") && untidied.contains("checksum"), "{untidied}");
    assert_eq!(world.file_names().len(), 5, "nothing is gone: {:?}", world.file_names());
    let (_, text) = shown(&running).await;
    assert!(text.contains("OLDER FILES STAY"), "{text}");
    assert!(!listed(&running).await.is_clean());
    std::fs::write(&second, bytes).unwrap();
    night(&world, &running, 6).await;
    assert_eq!(world.file_names().len(), 3, "{:?}", world.file_names());
    assert!(listed(&running).await.is_clean());
    running.stop().await.unwrap();
}

async fn what_was_joined_goes_only_for_a_file_that_is_whole(world: World) {
    let world = world.keeping_last(2);
    let running = world.open().await;
    four_nights(&world, &running).await;
    let older = Older::of(&world);
    night(&world, &running, 5).await;
    let joined = world.files().join("events-000000000001-000000000003.ndjson");
    replaced(&joined, "{\\\"spoons\\\":1}", "{\\\"spoons\\\":9}");
    // A process that was killed before it had removed them left the others.
    older.put_back();
    fill(&running, "rice", 5).await;
    world.set("2026-12-06T02:00:00Z");
    let done = run_due(&running).await.remove(0).done.expect("the night is exported all the same");
    assert!(done.untidied.unwrap().contains("DP0050"));
    assert!(older.are_there(), "{:?}", world.file_names());
    // The damaged one is not needed: what it was joined from is there.
    std::fs::remove_file(joined).unwrap();
    night(&world, &running, 7).await;
    assert_eq!(world.file_names().len(), 3, "{:?}", world.file_names());
    let feed = running.sources().opened(&world.files().display().to_string()).await.unwrap();
    assert_eq!(whole(&*feed).await, whole(running.feed()).await);
    running.stop().await.unwrap();
}
