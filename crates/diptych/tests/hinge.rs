//! The hinge on the embedded store: following, stopping visibly, starting over, contracts and waiting.

mod support;

use diptych::core::Code;
use diptych::prelude::*;
use diptych::query::{Health, QueryError};
use diptych::testing::{given_facts, on};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::Folder;
use support::jar::{Jar, JarCommand, JarEvent, JarId};

fn level(row: Option<i64>, event: &JarEvent) -> Option<i64> {
    match event {
        JarEvent::Filled { spoons } => Some(row.unwrap_or(0) + spoons),
        JarEvent::Emptied => None,
    }
}

macro_rules! shelf {
    ($name:ident, $table:literal, $($mode:tt)*) => {
        #[derive(Clone, Debug, PartialEq, ReadModel)]
        #[read_model(name = $table, revision = 1, owner = "kitchen" $($mode)*)]
        struct $name {
            #[key]
            jar: JarId,
            #[sort]
            spoons: i64,
        }

        impl Projection for $name {
            type Event = JarEvent;

            fn route(fact: &Fact<JarEvent>) -> Route<Self> {
                Route::key(fact.id())
            }

            fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
                level(row.map(|row| row.spoons), &fact.event).map(|spoons| Self { jar: fact.id(), spoons })
            }
        }
    };
}

shelf!(Shelf, "shelf",);
shelf!(InlineShelf, "inline_shelf", , inline, contract = "strong");
shelf!(LazyShelf, "lazy_shelf", , on_demand, contract = "strong");

/// Whether the fragile model can take thirteen.
static SUPERSTITIOUS: AtomicBool = AtomicBool::new(true);

#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "fragile_shelf", revision = 1, owner = "kitchen")]
struct FragileShelf {
    #[key]
    jar: JarId,
    spoons: i64,
}

impl Projection for FragileShelf {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        let thirteen = fact.event == JarEvent::Filled { spoons: 13 };
        assert!(!(thirteen && SUPERSTITIOUS.load(Ordering::Relaxed)), "thirteen spoons");
        level(row.map(|row| row.spoons), &fact.event).map(|spoons| Self { jar: fact.id(), spoons })
    }
}

/// A model with two mistakes: it cannot take thirteen spoons, and routes a hundred to more rows than it may.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "greedy_shelf", revision = 1, owner = "kitchen", on_demand)]
struct GreedyShelf {
    #[key]
    jar: JarId,
    spoons: i64,
}

impl Projection for GreedyShelf {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        match fact.event {
            JarEvent::Filled { spoons: 100 } => {
                Route::keys((0..20_000).map(|jar| JarId::new(jar.to_string())))
            }
            _ => Route::key(fact.id()),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        assert!(fact.event != JarEvent::Filled { spoons: 13 }, "thirteen spoons");
        level(row.map(|row| row.spoons), &fact.event).map(|spoons| Self { jar: fact.id(), spoons })
    }
}

/// How often each jar was filled, and all of them: one fact makes two rows.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "fill_count", revision = 1, owner = "kitchen")]
#[computed(doubled: i64 = Self::doubled)]
struct FillCount {
    #[key]
    of: String,
    fills: i64,
}

impl FillCount {
    fn doubled(&self, _: Timestamp) -> i64 {
        2 * self.fills
    }
}

impl Projection for FillCount {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        match &fact.event {
            JarEvent::Filled { .. } => {
                let jar = fact.id::<JarId>().to_string();
                Route::starting(["all jars".to_owned(), jar].map(|of| Self { of, fills: 0 }))
            }
            JarEvent::Emptied => Route::none(),
        }
    }

    fn project(row: Option<Self>, _: &Fact<JarEvent>) -> Option<Self> {
        row.map(|row| Self { fills: row.fills + 1, ..row })
    }
}

fn service() -> Service {
    Service::new("kitchen")
        .decider::<Jar>()
        .read_model::<Shelf>()
        .read_model::<InlineShelf>()
        .read_model::<LazyShelf>()
        .read_model::<FragileShelf>()
        .read_model::<GreedyShelf>()
        .read_model::<FillCount>()
}

async fn fill(running: &Running, jar: &str, spoons: i64) -> Receipt<JarEvent> {
    let request = Request::by(running.principal()).to(&JarId::new(jar), JarCommand::Fill { spoons });
    running.commands().handle::<Jar>(request).await.expect("a jar takes spoons")
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_asynchronous_row_is_there_when_its_token_is_waited_for() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    for spoons in 1..20 {
        let receipt = fill(&running, "tea", spoons).await;
        let find = Shelf::find().at_least(receipt.token).wait(LONG);
        let answer = running.queries().find(running.principal(), find).await.unwrap();
        assert_eq!(answer.freshness.caught_up_to_requested_position, Some(true));
        assert_eq!(answer.value.items[0].spoons, (1..=spoons).sum::<i64>());
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_inline_row_is_there_with_the_answer() {
    let folder = Folder::new();
    let running = service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(folder.path()) })
        .await
        .unwrap();
    for spoons in 1..20 {
        let receipt = fill(&running, "tea", spoons).await;
        let row = running
            .queries()
            .get::<InlineShelf>(running.principal(), &"tea".into(), Some(receipt.token))
            .await;
        let row = row.unwrap();
        assert_eq!(row.freshness.lag_events, 0);
        assert_eq!(row.value.unwrap().spoons, (1..=spoons).sum::<i64>());
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_strong_model_that_lags_gives_no_answer() {
    let folder = Folder::new();
    let mut config = Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(folder.path()) };
    config.queries.query_max = Duration::from_millis(10);
    let running = service().open(config).await.unwrap();
    fill(&running, "tea", 1).await;
    let refused = running.queries().find(running.principal(), LazyShelf::find()).await.unwrap_err();
    assert!(matches!(refused, QueryError::NotFreshEnough { within: None, .. }), "{refused}");
    running.projector().drain("lazy_shelf").await.unwrap();
    let answer = running.queries().find(running.principal(), LazyShelf::find()).await.unwrap();
    assert_eq!((answer.value.items.len(), answer.freshness.lag_events), (1, 0));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_older_answer_says_how_far_behind_it_is() {
    let folder = Folder::new();
    let running = service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(folder.path()) })
        .await
        .unwrap();
    let receipt = fill(&running, "tea", 1).await;
    let find = Shelf::find().at_least(receipt.token);
    let answer = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!(answer.value.items, []);
    let freshness = answer.freshness;
    assert_eq!((freshness.lag_events, freshness.caught_up_to_requested_position), (1, Some(false)));
    assert_eq!((freshness.projection_position, freshness.as_of), (Position(0), None));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_fact_that_cannot_be_folded_stops_its_model_alone_and_visibly() {
    let folder = Folder::new();
    let mut config = Config::at(folder.path());
    config.projector.retry_pause_min = Duration::from_millis(1);
    let running = service().open(config.clone()).await.unwrap();
    fill(&running, "tea", 1).await;
    let bad = fill(&running, "tea", 13).await;
    let find = FragileShelf::find().at_least(bad.token).wait(LONG);
    let stalled = running.queries().find(running.principal(), find).await.unwrap_err();
    assert_eq!(stalled.code(), Code::ModelStopped);
    assert!(stalled.to_string().contains("thirteen spoons"), "{stalled}");
    let (freshness, health) = running.queries().freshness("fragile_shelf").await.unwrap();
    assert_eq!((freshness.projection_position, freshness.lag_events), (Position(1), 1));
    assert!(matches!(health, Health::Stopped { position: Position(2), .. }), "{health:?}");

    let find = Shelf::find().at_least(bad.token).wait(LONG);
    assert_eq!(running.queries().find(running.principal(), find).await.unwrap().value.items[0].spoons, 14);
    running.stop().await.unwrap();

    // A process that follows nothing still sees why.
    let looking = service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..config.clone() })
        .await
        .unwrap();
    let (_, health) = looking.queries().freshness("fragile_shelf").await.unwrap();
    assert!(matches!(health, Health::Stopped { position: Position(2), .. }), "{health:?}");
    looking.stop().await.unwrap();

    // Mended code takes the fact and goes on.
    SUPERSTITIOUS.store(false, Ordering::Relaxed);
    let running = service().open(config).await.unwrap();
    let find = FragileShelf::find().at_least(bad.token).wait(LONG);
    let answer = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!((answer.value.items[0].spoons, answer.health), (14, Health::Live));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_failure_does_not_hide_an_earlier_one() {
    let folder = Folder::new();
    let mut config = Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(folder.path()) };
    config.projector.retry_pause_min = Duration::from_millis(1);
    let running = service().open(config).await.unwrap();
    for spoons in [1, 2, 13, 3, 100] {
        fill(&running, "tea", spoons).await;
    }
    // The last fact cannot be routed, which shows before any is folded; the third stops the model all the
    // same.
    running.projector().drain("greedy_shelf").await.unwrap_err();
    let (freshness, health) = running.queries().freshness("greedy_shelf").await.unwrap();
    assert_eq!(freshness.projection_position, Position(2));
    assert!(matches!(health, Health::Stopped { position: Position(3), .. }), "{health:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn starting_over_gives_the_same_rows() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    let mut last = fill(&running, "tea", 1).await;
    for (jar, spoons) in [("salt", 2), ("tea", 3), ("rice", 4)] {
        last = fill(&running, jar, spoons).await;
    }
    let all = || Shelf::find().sort(Shelf::SPOONS.desc()).at_least(last.token).wait(LONG);
    let before = running.queries().find(running.principal(), all()).await.unwrap().value.items;
    running.projector().reset("shelf").await.unwrap();
    running.projector().drain("shelf").await.unwrap();
    let after = running.queries().find(running.principal(), all()).await.unwrap().value.items;
    assert_eq!(before, after);
    assert_eq!(before.iter().map(|row| row.spoons).collect::<Vec<_>>(), [4, 4, 2]);
    running.stop().await.unwrap();
}

#[test]
fn one_fact_can_make_several_rows() {
    let filled = |jar| on(jar, JarEvent::Filled { spoons: 1 });
    let count = |of: &str, fills| FillCount { of: of.to_owned(), fills };
    given_facts([filled("tea"), filled("salt"), filled("tea")]).then_rows([
        count("all jars", 3),
        count("tea", 2),
        count("salt", 1),
    ]);
}

#[tokio::test]
async fn a_computed_column_is_not_stored_and_still_answered() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    let last = fill(&running, "tea", 1).await;
    let ask = diptych::query::Ask { at_least: Some(last.token), wait: Some(LONG), ..Default::default() };
    let answer = running.queries().ask(running.principal(), "fill_count", &ask).await.unwrap();
    let columns: Vec<_> = answer.value.schema.columns.iter().map(|column| column.name).collect();
    assert_eq!(columns, ["of", "fills"]);
    let doubled: Vec<_> = answer.value.rows.iter().map(|row| row.values[2].clone()).collect();
    assert_eq!(doubled, [diptych::core::Value::Integer(2), diptych::core::Value::Integer(2)]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_of_another_log_is_refused() {
    let (here, there) = (Folder::new(), Folder::new());
    let other = service().open(Config::at(there.path())).await.unwrap();
    let foreign = fill(&other, "tea", 1).await.token;
    other.stop().await.unwrap();
    let running = service().open(Config::at(here.path())).await.unwrap();
    fill(&running, "salt", 2).await;
    let find = Shelf::find().at_least(foreign).wait(LONG);
    let refused = running.queries().find(running.principal(), find).await.unwrap_err();
    assert!(matches!(refused, QueryError::EpochChanged { .. }), "{refused}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_put_together_wrongly_names_every_problem() {
    let folder = Folder::new();
    let wrong =
        Service::new("Kitchen").decider::<Jar>().decider::<Jar>().read_model::<Shelf>().read_model::<Shelf>();
    let fault = wrong.open(Config::at(folder.path())).await.err().expect("it must not open");
    assert_eq!(fault.code(), Code::ServiceInvalid);
    for part in ["lower-case", "category `jar`", "called `shelf`"] {
        assert!(fault.to_string().contains(part), "{fault}");
    }
    let orphan = Service::new("kitchen").read_model::<Shelf>();
    assert!(orphan.problems()[0].contains("no decider writes"));
}
