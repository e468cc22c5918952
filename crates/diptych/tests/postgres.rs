//! A service on the production store: the same code, the same promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::Place;
use diptych::prelude::*;
use std::time::Duration;
use support::jar::{Jar, JarCommand, JarEvent, JarId, JarRejection};
use support::kitchen::{fresh, give, rows, shelf};

shelf!(Shelf, "shelf");
shelf!(InlineShelf, "inline_shelf", inline, contract = "strong");
shelf!(LazyShelf, "lazy_shelf", on_demand);

/// Spoons that were ever put into a jar.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "ever", revision = 1, owner = "kitchen")]
struct Ever {
    #[key]
    jar: JarId,
    spoons: i64,
}

impl SqlProjection for Ever {
    type Event = JarEvent;

    fn statements(dialect: Dialect) -> &'static [&'static str] {
        match dialect {
            Dialect::Postgres => &["INSERT INTO {table} (tenant_id, jar, spoons) \
                SELECT tenant_id, key, sum((payload::json ->> 'spoons')::bigint) FROM facts \
                WHERE type = 'Filled' GROUP BY tenant_id, key \
                ON CONFLICT (tenant_id, jar) DO UPDATE SET spoons = {table}.spoons + excluded.spoons"],
            _ => &[],
        }
    }
}

fn service() -> Service {
    Service::new("kitchen")
        .decider::<Jar>()
        .read_model::<Shelf>()
        .read_model::<InlineShelf>()
        .read_model::<LazyShelf>()
        .sql_read_model::<Ever>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_follows_over_restarts_and_rebuilds() {
    let place = fresh();
    let running = service().open(Config::at(place.clone())).await.unwrap();
    give(&running, "tea", JarCommand::Fill { spoons: 2 }).await;
    let token = give(&running, "salt", JarCommand::Fill { spoons: 1 }).await;
    assert_eq!(rows::<InlineShelf>(&running, token).await.len(), 2);
    assert_eq!(rows::<Shelf>(&running, token).await.len(), 2);
    running.projector().drain("lazy_shelf").await.unwrap();
    assert_eq!(rows::<LazyShelf>(&running, token).await.len(), 2);
    let request = Request::by(running.principal()).to(&JarId::new("rice"), JarCommand::Empty);
    let refused = running.commands().handle::<Jar>(request).await.unwrap_err();
    assert!(matches!(refused, HandleError::Rejected(JarRejection::JarEmpty)), "{refused}");
    running.stop().await.unwrap();

    let running = service().open(Config::at(place)).await.unwrap();
    give(&running, "salt", JarCommand::Empty).await;
    let token = give(&running, "tea", JarCommand::Fill { spoons: 3 }).await;
    running.projector().drain("lazy_shelf").await.unwrap();
    let five = JarId::new("tea");
    assert_eq!(rows::<InlineShelf>(&running, token).await, [InlineShelf { jar: five.clone(), spoons: 5 }]);
    assert_eq!(rows::<Shelf>(&running, token).await, [Shelf { jar: five.clone(), spoons: 5 }]);
    assert_eq!(rows::<LazyShelf>(&running, token).await, [LazyShelf { jar: five, spoons: 5 }]);
    assert_eq!(rows::<Ever>(&running, token).await.len(), 2);
    for model in ["shelf", "inline_shelf", "lazy_shelf"] {
        running.projector().reset(model).await.unwrap();
        running.projector().drain(model).await.unwrap();
        for report in running.projector().verify(model, 10).await.unwrap() {
            assert!(report.is_clean() && report.rows_actual == 1, "{report:#?}");
        }
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_process_is_honoured_by_another() {
    let place = fresh();
    let one = service().open(Config::at(place.clone())).await.unwrap();
    let other = service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(place) })
        .await
        .unwrap();
    for spoons in 1..=10 {
        let token = give(&other, "tea", JarCommand::Fill { spoons }).await;
        assert_eq!(rows::<Shelf>(&one, token).await[0].spoons, (1..=spoons).sum::<i64>());
        assert_eq!(rows::<Shelf>(&other, token).await[0].spoons, (1..=spoons).sum::<i64>());
    }
    other.stop().await.unwrap();
    one.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_without_its_password() {
    let place = Place::from_text("postgres://me:secret@127.0.0.1:1/nowhere");
    let mut config = Config::at(place);
    config.postgres.connect_timeout = Duration::from_millis(500);
    let fault = service().open(config).await.err().expect("nobody listens there");
    assert!(!format!("{fault:?} {fault}").contains("secret"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_logs_go_to_and_fro_between_the_stores() {
    // Without the model whose SQL only one of the stores speaks.
    let service = Service::new("kitchen").decider::<Jar>().read_model::<Shelf>();
    for _ in 0..2 {
        let seed = fastrand::u64(..);
        let (folder, files) = (support::Folder::new(), support::Folder::new());
        let places = [fresh(), folder.path().into(), fresh()];
        support::transfer::goes_round(&service, places, files.path(), seed).await;
        let (first, last) = (support::Folder::new(), support::Folder::new());
        let places = [first.path().into(), fresh(), last.path().into()];
        support::transfer::goes_round(&service, places, files.path(), seed).await;
    }
}
