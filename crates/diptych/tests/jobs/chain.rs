//! The files of the nightly export as a chain: what a model is folded from, and what stops it by name.

use crate::on_both_stores;
use crate::support::transfer::random_story;
use crate::world::{World, by_day, by_night, fill, night_reaches, run_due};
use diptych::prelude::*;
use diptych::query::{Categories, Health};
use std::path::PathBuf;

on_both_stores!(
    an_export_reads_as_the_log_does,
    a_model_that_is_folded_from_the_export_is_what_the_log_was_then,
    what_is_wrong_with_a_file_stops_the_model_by_name,
);

async fn a_model_that_is_folded_from_the_export_is_what_the_log_was_then(world: World) {
    let running = world.open().await;
    for (night, jar) in [("2026-11-29", "tea"), ("2026-11-30", "salt"), ("2026-12-01", "rice")] {
        fill(&running, jar, 2).await;
        let token = fill(&running, "tea", 1).await;
        world.set(&format!("{night}T02:00:00Z"));
        assert_eq!(run_due(&running).await.len(), 1);
        night_reaches(&running, token).await;
        assert_eq!(by_day(&running, token).await, by_night(&running).await.0);
        for report in running.projector().verify("night_shelf", 10).await.unwrap() {
            assert!(report.is_clean() && report.position == token.position, "{report:#?}");
        }
    }
    assert_eq!(
        world.file_names(),
        [
            "events-000000000001-000000000002.ndjson",
            "events-000000000003-000000000004.ndjson",
            "events-000000000005-000000000006.ndjson",
        ]
    );
    // What has not been exported is not in it, and is in the other.
    let token = fill(&running, "tea", 100).await;
    assert!(by_day(&running, token).await.iter().any(|(_, spoons)| *spoons > 100));
    let (rows, freshness) = by_night(&running).await;
    assert!(rows.iter().all(|(_, spoons)| *spoons < 100), "{rows:?}");
    assert_eq!((freshness.lag_events, freshness.projection_position), (1, Position(6)));
    running.stop().await.unwrap();
}

async fn an_export_reads_as_the_log_does(world: World) {
    let running = world.open().await;
    for (night, seed) in [("2026-11-29", 11), ("2026-11-30", 12), ("2026-12-01", 13)] {
        random_story(&running, seed).await;
        fill(&running, "tea", 1).await;
        world.set(&format!("{night}T02:00:00Z"));
        run_due(&running).await;
    }
    let exported = running.feed().head().await.unwrap();
    fill(&running, "not exported", 1).await;
    let export = running.sources().opened(&world.files().display().to_string()).await.unwrap();
    let log = running.feed();
    assert_eq!(export.head().await.unwrap(), exported);
    let mut random = fastrand::Rng::with_seed(7);
    for categories in [Categories::All, Categories::Only(vec!["jar"]), Categories::Only(vec!["other"])] {
        let (mut after, mut read) = (Position::START, Vec::new());
        while after < exported.position() {
            let block = export.read(after, &categories, random.usize(1..30)).await.unwrap();
            assert!(
                block.after == after && block.through.position() > after && block.head >= exported.position()
            );
            assert_eq!(log.mark(block.through.position()).await.unwrap(), Some(block.through));
            after = block.through.position();
            read.extend(block.facts);
        }
        let whole = usize::try_from(exported.position().0).unwrap();
        let expected = log.read(Position::START, &categories, whole).await.unwrap();
        assert_eq!((expected.through, expected.facts), (exported, read.clone()));
        for fact in read.iter().take(5) {
            let (theirs, ours) = tokio::join!(
                export.stream(&fact.stream, Version(0), 1_000),
                log.stream(&fact.stream, Version(0), 1_000)
            );
            let ours: Vec<_> = ours.unwrap().into_iter().filter(|it| it.position <= after).collect();
            assert_eq!(theirs.unwrap(), ours);
        }
    }
    let end = export.read(exported.position(), &Categories::All, 10).await.unwrap();
    assert!(end.facts.is_empty() && end.through == exported, "it ends there");
    assert_eq!(export.mark(exported.position().next()).await.unwrap(), None);
    running.stop().await.unwrap();
}

/// A way to spoil one of three files, and what is said of it.
type Spoiled = (&'static str, fn(&[PathBuf]), &'static str);

async fn what_is_wrong_with_a_file_stops_the_model_by_name(world: World) {
    let running = world.open().await;
    for night in 29..=30 {
        fill(&running, "tea", 2).await;
        fill(&running, "salt", 3).await;
        world.set(&format!("2026-11-{night}T02:00:00Z"));
        run_due(&running).await;
    }
    fill(&running, "rice", 4).await;
    world.set("2026-12-01T02:00:00Z");
    run_due(&running).await;
    let token = running.feed().head().await.unwrap().token;
    night_reaches(&running, token).await;
    let files: Vec<_> = world.file_names().into_iter().map(|name| world.files().join(name)).collect();
    let whole: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let table: [Spoiled; 7] = [
        ("a hole", |files| std::fs::remove_file(&files[1]).unwrap(), "a file with those from 3 is missing"),
        ("no last file", |files| std::fs::remove_file(&files[2]).unwrap(), "it is missing"),
        ("another epoch", |files| replaced(&files[1], "\"epoch\":1", "\"epoch\":2"), "is of epoch 2"),
        ("an overlap", |files| replaced(&files[1], "\"from\":2", "\"from\":1"), "holds positions that"),
        (
            "a flipped byte",
            |files| replaced(&files[1], "{\\\"spoons\\\":3}", "{\\\"spoons\\\":8}"),
            "checksum",
        ),
        ("a torn tail", |files| torn(&files[2]), "was cut off"),
        ("a foreign log", |files| replaced(&files[0], "\"service\":", "\"diptych\":"), "does not begin"),
    ];
    for (what, spoil, said) in table {
        spoil(&files);
        // It is built anew, and so reads every file.
        running.projector().reset("night_shelf").await.unwrap();
        let refused = running.projector().drain("night_shelf").await.unwrap_err().to_string();
        assert!(refused.contains(said) && refused.contains("DP0050"), "{what}: {refused}");
        for (file, bytes) in files.iter().zip(&whole) {
            std::fs::write(file, bytes).unwrap();
        }
        running.projector().drain("night_shelf").await.unwrap();
        let (freshness, health) = running.queries().freshness("night_shelf").await.unwrap();
        assert_eq!((freshness.projection_position, health), (token.position, Health::Live), "{what}");
    }
    running.stop().await.unwrap();
}

pub(crate) fn replaced(file: &PathBuf, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn torn(file: &PathBuf) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() - 40]).unwrap();
}
