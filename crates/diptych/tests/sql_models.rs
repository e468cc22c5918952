//! Read models whose rows SQL keeps: exactly once with the checkpoint, honest about what that gives up.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::core::Code;
use diptych::ops::{Output, Report, show_model, verify_models};
use diptych::prelude::*;
use diptych::query::{GIVEN_UP, Health};
use std::time::Duration;
use support::Folder;
use support::jar::{Jar, JarCommand, JarEvent, JarId};

macro_rules! sums {
    ($name:ident, $table:literal, $statements:expr) => {
        /// Spoons by jar, summed batch by batch.
        #[derive(Clone, Debug, PartialEq, ReadModel)]
        #[read_model(name = $table, revision = 1, owner = "kitchen")]
        struct $name {
            #[key]
            jar: JarId,
            #[sort]
            spoons: i64,
            fills: i64,
        }

        impl SqlProjection for $name {
            type Event = JarEvent;

            fn statements(dialect: Dialect) -> &'static [&'static str] {
                match dialect {
                    Dialect::Sqlite => $statements,
                    _ => &[],
                }
            }
        }
    };
}

const SUM: &str = "INSERT INTO {table} (tenant_id, jar, spoons, fills) \
    SELECT tenant_id, key, sum(payload ->> 'spoons'), count(*) FROM facts GROUP BY tenant_id, key \
    ON CONFLICT (tenant_id, jar) DO UPDATE SET \
    spoons = spoons + excluded.spoons, fills = fills + excluded.fills";

const REFUSE_THIRTEEN: &str = "INSERT INTO {table} (tenant_id, jar, spoons, fills) \
    SELECT tenant_id, key, NULL, 0 FROM facts WHERE payload ->> 'spoons' = 13";

sums!(Sums, "sums", &[SUM]);
sums!(Brittle, "brittle", &[SUM, REFUSE_THIRTEEN]);
sums!(NotSql, "not_sql", &[SUM, "INSERT INTO {table} SELECT nothing"]);
sums!(OtherSums, "sums", &[SUM, "DELETE FROM {table} WHERE spoons < 0"]);
sums!(Speechless, "speechless", &[]);

const LONG: Duration = Duration::from_secs(20);

fn service() -> Service {
    Service::new("kitchen").decider::<Jar>().sql_read_model::<Sums>().sql_read_model::<Brittle>()
}

async fn fill(running: &Running, jar: &str, spoons: i64) -> Token {
    let request = Request::by(running.principal()).to(&JarId::new(jar), JarCommand::Fill { spoons });
    running.commands().handle::<Jar>(request).await.expect("a jar takes spoons").token
}

async fn sums(running: &Running, token: Token) -> Vec<(String, i64, i64)> {
    let find = Sums::find().sort(Sums::SPOONS.desc()).at_least(token).wait(LONG);
    let answer = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!(answer.freshness.caught_up_to_requested_position, Some(true));
    answer.value.items.into_iter().map(|row| (row.jar.to_string(), row.spoons, row.fills)).collect()
}

#[tokio::test]
async fn statements_take_every_fact_once_over_restarts_resets_and_batches() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    fill(&running, "tea", 1).await;
    let token = fill(&running, "salt", 2).await;
    assert_eq!(sums(&running, token).await, [("salt".to_owned(), 2, 1), ("tea".to_owned(), 1, 1)]);
    running.stop().await.unwrap();

    let running = service().open(Config::at(folder.path())).await.unwrap();
    let token = fill(&running, "tea", 4).await;
    let expected = [("tea".to_owned(), 5, 2), ("salt".to_owned(), 2, 1)];
    assert_eq!(sums(&running, token).await, expected);
    running.projector().reset("sums").await.unwrap();
    running.projector().drain("sums").await.unwrap();
    assert_eq!(sums(&running, token).await, expected);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn operators_are_told_what_it_gives_up() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    let token = fill(&running, "tea", 1).await;
    sums(&running, token).await;
    let operator = running.operator().await.unwrap();
    let shown = show_model(&operator, "sums").await.unwrap();
    assert!(shown.render(Output::Human).contains(GIVEN_UP), "{}", shown.render(Output::Human));
    let Report::Model(model) = &shown else { panic!("{shown:?}") };
    assert_eq!((model.given_up, model.status.rows), (Some(GIVEN_UP), 1));
    let verified = verify_models(&operator, Some("sums")).await.unwrap();
    assert!(verified.render(Output::Human).contains("NOT VERIFIED"), "{}", verified.render(Output::Human));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_fails_stops_its_model_and_leaves_nothing() {
    let folder = Folder::new();
    let mut config = Config::at(folder.path());
    config.projector.retry_pause_min = Duration::from_millis(1);
    let running = service().open(config).await.unwrap();
    fill(&running, "tea", 1).await;
    let bad = fill(&running, "tea", 13).await;
    let find = Brittle::find().at_least(bad).wait(LONG);
    let stalled = running.queries().find(running.principal(), find).await.unwrap_err();
    assert_eq!(stalled.code(), Code::ModelStopped);
    assert!(stalled.to_string().contains("statement 2 of read model `brittle`"), "{stalled}");
    let (_, health) = running.queries().freshness("brittle").await.unwrap();
    assert!(matches!(health, Health::Stopped { .. }), "{health:?}");
    let find = Brittle::find();
    let answer = running.queries().find(running.principal(), find).await.unwrap();
    let position = answer.freshness.projection_position;
    let spoons: Vec<_> = answer.value.items.iter().map(|row| row.spoons).collect();
    match position {
        Position(0) => assert!(spoons.is_empty(), "{spoons:?}"),
        Position(1) => assert_eq!(spoons, [1]),
        other => panic!("it moved to {other} over a fact that it could not take"),
    }
    assert_eq!(sums(&running, bad).await, [("tea".to_owned(), 14, 2)]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_run_is_refused_at_the_start() {
    let folder = Folder::new();
    let config = || Config::at(folder.path());
    let kitchen = || Service::new("kitchen").decider::<Jar>();
    let fault = kitchen().sql_read_model::<NotSql>().open(config()).await.err().expect("it is not SQL");
    assert_eq!(fault.code(), Code::ServiceInvalid);
    assert!(fault.to_string().contains("statement 2 of read model `not_sql`"), "{fault}");
    let fault =
        kitchen().sql_read_model::<Speechless>().open(config()).await.err().expect("it has no statements");
    assert!(fault.to_string().contains("no statements for SQLite"), "{fault}");
    kitchen().sql_read_model::<Sums>().open(config()).await.unwrap().stop().await.unwrap();
    let fault =
        kitchen().sql_read_model::<OtherSums>().open(config()).await.err().expect("its statements changed");
    assert_eq!(fault.code(), Code::ShapeChanged);
}
