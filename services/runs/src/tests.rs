//! The promises of the smallest service, on a real store.

use super::*;
use diptych::testing::{catalog, given, given_facts, golden, on};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A store of its own for one test, removed afterwards.
struct Store(PathBuf);

impl Store {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("diptych-runs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    async fn open(&self, tenant: &str) -> Running {
        let principal = Principal::new(tenant, "tester").unwrap();
        service().open(Config { principal, ..Config::at(&self.0) }).await.unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn record(running: &Running, run: &str, status: &str) -> Receipt<RunEvent> {
    let command = RunCommand::Record { status: status.to_owned() };
    let request = Request::by(running.principal()).to(&RunId::new(run), command);
    running.commands().handle::<Run>(request).await.unwrap()
}

/// Exactly the statuses seen, for the tenant that asks.
async fn summary(running: &Running) -> BTreeMap<String, i64> {
    let answer = running.queries().find(running.principal(), StatusCount::find()).await.unwrap();
    answer.value.items.into_iter().map(|row| (row.status, row.runs)).collect()
}

async fn all(running: &Running, token: Token) -> Vec<KeptRun> {
    let find = KeptRun::find().at_least(token).wait(std::time::Duration::from_secs(20));
    running.queries().find(running.principal(), find).await.unwrap().value.items
}

fn counted(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|(status, runs)| ((*status).to_owned(), *runs)).collect()
}

#[tokio::test]
async fn a_summary_counts_exactly_the_statuses_seen_and_keeps_every_run() {
    let store = Store::new();
    let running = store.open("t1").await;
    record(&running, "1", "ok").await;
    record(&running, "2", "ok").await;
    let last = record(&running, "3", "fail").await;
    running.projector().drain("run_summary").await.unwrap();
    assert_eq!(summary(&running).await, counted(&[("ok", 2), ("fail", 1)]));
    assert_eq!(all(&running, last.token).await.len(), 3);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_unknown_tenant_has_an_empty_summary() {
    let store = Store::new();
    let running = store.open("t1").await;
    record(&running, "1", "ok").await;
    running.projector().drain("run_summary").await.unwrap();
    running.stop().await.unwrap();
    let foreign = store.open("nobody").await;
    assert_eq!(summary(&foreign).await, counted(&[]));
    foreign.stop().await.unwrap();
}

#[tokio::test]
async fn before_drain_the_summary_lags_and_after_it_is_current() {
    let store = Store::new();
    let running = store.open("t1").await;
    record(&running, "1", "ok").await;
    assert_eq!(summary(&running).await, counted(&[]));
    let (before, _) = running.queries().freshness("run_summary").await.unwrap();
    assert_eq!(before.lag_events, 1);
    let drained = running.projector().drain("run_summary").await.unwrap();
    assert_eq!((drained.from, drained.through), (Position(0), Position(1)));
    let (after, _) = running.queries().freshness("run_summary").await.unwrap();
    assert_eq!((after.lag_events, after.lag_seconds), (0, 0.0));
    assert_eq!(summary(&running).await, counted(&[("ok", 1)]));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn rebuilding_once_or_twice_gives_the_same_result() {
    let store = Store::new();
    let running = store.open("t1").await;
    record(&running, "1", "ok").await;
    record(&running, "2", "ok").await;
    let last = record(&running, "3", "fail").await;
    for _ in 0..2 {
        for model in ["run_summary", "runs_kept"] {
            running.projector().reset(model).await.unwrap();
            running.projector().drain(model).await.unwrap();
            let reports = running.projector().verify(model, 10).await.unwrap();
            assert!(reports.iter().all(|report| report.is_clean()), "{reports:?}");
        }
        assert_eq!(summary(&running).await.get("ok"), Some(&2));
        assert_eq!(all(&running, last.token).await.len(), 3);
    }
    running.stop().await.unwrap();
}

#[test]
fn a_run_is_recorded_once() {
    let record = |status: &str| RunCommand::Record { status: status.to_owned() };
    let recorded = |status: &str| RunEvent::RunRecorded { status: status.to_owned() };
    given::<Run>([]).when(record("ok")).then([recorded("ok")]);
    let rejection = RunRejection::RunAlreadyRecorded { status: "ok".to_owned() };
    given::<Run>([recorded("ok")]).when(record("fail")).then_rejected(rejection);
}

#[test]
fn statuses_are_counted_once_however_facts_arrive() {
    let recorded = |status: &str| RunEvent::RunRecorded { status: status.to_owned() };
    given_facts([on("1", recorded("ok")), on("2", recorded("fail")), on("3", recorded("ok"))]).then_rows([
        StatusCount { status: "ok".to_owned(), runs: 2 },
        StatusCount { status: "fail".to_owned(), runs: 1 },
    ]);
}

#[test]
fn rows_depend_on_the_facts_alone() {
    let recorded = |run: u32| {
        let status = ["ok", "fail", "late"][run as usize % 3].to_owned();
        on(&run.to_string(), RunEvent::RunRecorded { status })
    };
    given_facts((0..300).map(recorded)).then_deterministic::<StatusCount>();
    given_facts((0..300).map(recorded)).then_deterministic::<KeptRun>();
}

#[test]
fn a_run_is_read_and_written_as_it_always_was() {
    golden::<RunEvent>("tests/golden/run");
}

#[test]
fn the_committed_catalog_says_what_the_code_says() {
    catalog(&service(), "catalog.json");
}
