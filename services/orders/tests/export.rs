//! The real data set in an export file: read models that are built from it have the digest of those that are
//! built from the log.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use diptych::ops::export::{ExportFilter, export};
use diptych::prelude::*;
use diptych::projector::{Rebuild, RebuildOrder, RebuildStep};
use diptych::query::Order;
use diptych::sqlite::Durability;
use indicatif::ProgressBar;
use orders::import::import;
use support::data_set;
use support::folder::Folder;

const MODELS: [&str; 3] = ["order_summary", "sales_by_country_and_day", "customer_account"];

#[tokio::test(flavor = "multi_thread")]
async fn models_built_from_a_file_have_the_digests_of_those_built_from_the_log() {
    let folder = Folder::new("export");
    let roles = Roles::ALL.without(Role::Projector);
    let config = Config { durability: Durability::Normal, roles, ..Config::at(folder.store()) };
    let running = orders::service().open(config).await.unwrap();
    import(&running, &data_set(), &ProgressBar::hidden()).await.unwrap().unwrap();
    for model in MODELS {
        running.projector().drain(model).await.unwrap();
    }
    running.projector().steward().settle().await.unwrap();
    let file = folder.store().join("all.ndjson");
    let now = running.queries().now();
    export(&running.operator().await.unwrap(), ExportFilter::default(), &file, now).await.unwrap();
    let file = file.display().to_string();
    for model in MODELS {
        let from_log = rebuilt(&running, model, None).await;
        let from_file = rebuilt(&running, model, Some(file.clone())).await;
        for (source, rebuild) in [("log", &from_log), ("file", &from_file)] {
            let (rows, rate) = (rebuild.measured.rows, rebuild.measured.events_per_second);
            eprintln!("{model} from the {source}: {rows} rows, {rate:.0} events/s");
        }
        assert_eq!(from_file.measured.digest, from_log.measured.digest, "{model}");
        assert_eq!(from_file.measured.rows, from_log.measured.rows, "{model}");
        assert!(from_file.measured.rows > 0, "{model} has no rows, so that nothing is shown");
    }
    running.stop().await.unwrap();
}

/// Builds a model anew and lets the new build answer.
async fn rebuilt(running: &Running, model: &str, filled_from: Option<String>) -> Rebuild {
    let order = Order { actor: running.principal().actor.clone(), reason: "to compare".to_owned() };
    let projector = running.projector();
    projector.rebuild(model, RebuildOrder { filled_from, ..RebuildOrder::by(order.clone()) }).await.unwrap();
    projector.steward().settle().await.unwrap();
    let rebuild = projector.rebuild_of(model).await.unwrap().unwrap();
    assert_eq!(rebuild.step, RebuildStep::Switched, "{model}: {:?}", rebuild.reason);
    projector.retire(model, rebuild.from.unwrap(), order).await.unwrap();
    rebuild
}
