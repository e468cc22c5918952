//! Read models that are built anew from an export instead of the log.

use crate::on_both_stores;
use crate::support::transfer::random_story;
use crate::world::{World, fill, night_reaches, run_due};
use diptych::prelude::*;
use diptych::projector::{Rebuild, RebuildOrder, RebuildStep};
use diptych::query::Order;
use std::path::Path;

on_both_stores!(
    a_build_from_files_has_the_digest_of_one_from_the_log,
    a_build_from_a_damaged_file_fails_and_changes_nothing,
    a_model_that_is_folded_from_the_export_is_built_anew_from_it,
);

/// Builds a model anew, from where it is told, and answers how that went.
pub(crate) async fn rebuilt(running: &Running, model: &str, filled_from: Option<&Path>) -> Rebuild {
    let order = Order { actor: running.principal().actor.clone(), reason: "to be sure".to_owned() };
    let filled_from = filled_from.map(|path| path.display().to_string());
    let projector = running.projector();
    projector.rebuild(model, RebuildOrder { filled_from, ..RebuildOrder::by(order.clone()) }).await.unwrap();
    loop {
        projector.steward().settle().await.unwrap();
        let rebuild = projector.rebuild_of(model).await.unwrap().unwrap();
        match rebuild.step {
            RebuildStep::Switched => {
                projector.retire(model, rebuild.from.unwrap(), order).await.unwrap();
                return rebuild;
            }
            RebuildStep::Failed | RebuildStep::Blocked => return rebuild,
            _ => tokio::task::yield_now().await,
        }
    }
}

async fn a_build_from_files_has_the_digest_of_one_from_the_log(world: World) {
    let running = world.open().await;
    for (night, seed) in [("2026-11-29", 1), ("2026-11-30", 2), ("2026-12-01", 3)] {
        random_story(&running, seed).await;
        fill(&running, "tea", 1).await;
        world.set(&format!("{night}T02:00:00Z"));
        run_due(&running).await;
    }
    // What is in no file comes from the log.
    fill(&running, "after", 7).await;
    running.projector().drain("shelf").await.unwrap();
    running.projector().steward().settle().await.unwrap();
    let from_log = rebuilt(&running, "shelf", None).await;
    for _ in 0..2 {
        let from_files = rebuilt(&running, "shelf", Some(&world.files())).await;
        assert_eq!(from_files.step, RebuildStep::Switched, "{:?}", from_files.reason);
        assert_eq!(from_files.measured.digest, from_log.measured.digest, "again and again");
        assert_eq!(from_files.measured.rows, from_log.measured.rows);
        assert_eq!(from_files.filled_from.as_deref(), world.files().to_str());
    }
    for report in running.projector().verify("shelf", 10).await.unwrap() {
        assert!(report.is_clean(), "{report:#?}");
    }
    running.stop().await.unwrap();
}

async fn a_build_from_a_damaged_file_fails_and_changes_nothing(world: World) {
    let running = world.open().await;
    let token = fill(&running, "tea", 2).await;
    world.set("2026-11-29T02:00:00Z");
    run_due(&running).await;
    running.projector().drain("shelf").await.unwrap();
    running.projector().steward().settle().await.unwrap();
    let file = world.files().join("events-000000000001-000000000001.ndjson");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("spoons\\\":2", "spoons\\\":3")).unwrap();
    let failed = rebuilt(&running, "shelf", Some(&file)).await;
    let reason = failed.reason.clone().unwrap_or_else(|| panic!("{failed:?}"));
    assert!(failed.step == RebuildStep::Failed && reason.contains("checksum"), "{reason}");
    assert_eq!(crate::world::by_day(&running, token).await, [("tea".to_owned(), 2)]);
    running.stop().await.unwrap();
}

async fn a_model_that_is_folded_from_the_export_is_built_anew_from_it(world: World) {
    let running = world.open().await;
    let token = fill(&running, "tea", 2).await;
    world.set("2026-11-29T02:00:00Z");
    run_due(&running).await;
    night_reaches(&running, token).await;
    fill(&running, "tea", 5).await;
    running.projector().steward().settle().await.unwrap();
    let rebuild = rebuilt(&running, "night_shelf", None).await;
    assert_eq!(rebuild.step, RebuildStep::Switched, "{:?}", rebuild.reason);
    let (rows, freshness) = crate::world::by_night(&running).await;
    assert_eq!((rows, freshness.projection_position), (vec![("tea".to_owned(), 2)], Position(1)));
    running.stop().await.unwrap();
}
