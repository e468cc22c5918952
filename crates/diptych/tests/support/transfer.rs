//! Logs that go from one store to another: random ones, their export, and a store filled from it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use super::jar::{Jar, JarCommand, JarId};
use diptych::Place;
use diptych::core::CommandId;
use diptych::ops::Output;
use diptych::ops::export::{ExportFilter, export, import_log};
use diptych::prelude::*;
use serde_json::Value;
use std::path::Path;

/// Commands of several tenants on few jars, some of them rejected, some of them in the past.
pub(crate) async fn random_story(running: &Running, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..random.usize(1..60) {
        let tenant = ["main", "other", "ünder/score"][random.usize(..3)];
        let principal = Principal::new(tenant, format!("actor {}", random.u8(..4))).unwrap();
        let key = ["tea", "s-a-l-t", "rice 1/2", "日本"][random.usize(..4)];
        let command = match random.u8(..4) {
            0 => JarCommand::Empty,
            _ => JarCommand::Fill { spoons: random.i64(-5..1_000_000_000_000) },
        };
        let id = CommandId::new(format!("{seed} {number}")).unwrap();
        let mut request = Request::by(&principal).to(&JarId::new(key), command).command_id(id.as_str());
        if random.bool() {
            request =
                request.at(Timestamp::from_micros(random.i64(-1_000_000..1_700_000_000_000_000)).unwrap());
        }
        // A rejection leaves no event, which is as good.
        let _ = running.commands().handle::<Jar>(request).await;
    }
}

/// What the command line says of an export.
pub(crate) async fn exported(running: &Running, filter: ExportFilter, file: &Path) -> Value {
    let operator = running.operator().await.unwrap();
    let report = export(&operator, filter, file, running.commands().now()).await.unwrap();
    serde_json::from_str(&report.render(Output::Json)).unwrap()
}

/// Fills a place from a file.
pub(crate) async fn imported(service: &Service, place: &Place, file: &Path) -> Result<(), String> {
    let store = service.open_store(&Config::at(place.clone())).await.unwrap();
    let report = import_log(&*store, service.languages(), file).await.map_err(|error| error.to_string());
    store.close().await;
    report.map(drop)
}

/// A random log at the first place, taken to the second and from there to the third: always the same lines.
pub(crate) async fn goes_round(service: &Service, places: [Place; 3], files: &Path, seed: u64) {
    let mut told = Vec::new();
    std::fs::create_dir_all(files).unwrap();
    for (number, place) in places.iter().enumerate() {
        let (file, before) = (files.join(format!("{number}")), files.join(format!("{}", number.max(1) - 1)));
        if number > 0 {
            imported(service, place, &before).await.unwrap();
        }
        let running = service.open(Config::at(place.clone())).await.unwrap();
        if number == 0 {
            random_story(&running, seed).await;
        }
        let report = exported(&running, ExportFilter::default(), &file).await;
        running.stop().await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().skip(1).map(str::to_owned).collect();
        told.push((report["end"].clone(), lines));
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "the log of seed {seed} changed on its way");
}
