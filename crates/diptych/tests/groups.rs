//! Projection groups as a service's author writes them: several event languages, siblings, routes by column.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::ops::{Output, show_model, verify_models};
use diptych::prelude::*;
use diptych::testing::{given_facts, on};
use std::time::Duration;
use support::Folder;
use tower::ServiceExt;

#[derive(Id)]
struct CaseId(String);

#[derive(Id)]
struct DecisionId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
enum Risk {
    Low,
    High,
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "case", owner = "cases")]
enum CaseEvent {
    CaseOpened { title: String },
    CaseRiskBandChanged { risk: Risk },
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "decision", owner = "cases")]
#[allow(clippy::enum_variant_names, reason = "an event's name says whose it is")]
enum DecisionEvent {
    DecisionDrafted { case: CaseId },
    DecisionMoved { case: CaseId },
    DecisionApproved,
}

#[derive(Clone, Debug, EventSet)]
enum QueueEvent {
    Decision(DecisionEvent),
    Case(CaseEvent),
}

/// The title of a case.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "case_title", revision = 1, owner = "cases")]
struct CaseTitle {
    #[key]
    case: CaseId,
    title: String,
    risk: Risk,
}

impl Projection for CaseTitle {
    type Event = CaseEvent;

    fn route(fact: &Fact<CaseEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<CaseEvent>) -> Option<Self> {
        match (&fact.event, row) {
            (CaseEvent::CaseOpened { title }, _) => {
                Some(Self { case: fact.id(), title: title.clone(), risk: Risk::Low })
            }
            (CaseEvent::CaseRiskBandChanged { risk }, row) => row.map(|row| Self { risk: *risk, ..row }),
        }
    }
}

/// Decisions that wait.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "work_queue", revision = 1, owner = "cases", reads(CaseTitle))]
struct WorkQueue {
    #[key]
    decision: DecisionId,
    #[filter]
    case: CaseId,
    case_title: Option<String>,
    risk: Option<Risk>,
}

impl WorkQueue {
    fn in_case(decision: DecisionId, case: &CaseId, siblings: &Siblings<'_, Self>) -> Self {
        let known = siblings.get::<CaseTitle>(case);
        Self {
            decision,
            case: case.clone(),
            case_title: known.map(|case| case.title.clone()),
            risk: known.map(|case| case.risk),
        }
    }
}

impl JoinedProjection for WorkQueue {
    type Event = QueueEvent;

    fn route(fact: &Fact<QueueEvent>) -> Route<Self> {
        match &fact.event {
            QueueEvent::Decision(_) => Route::key(fact.id()),
            QueueEvent::Case(_) => Route::rows_where(Self::CASE, &fact.id()),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<QueueEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        use {CaseEvent::*, DecisionEvent::*};
        match (&fact.event, row) {
            (QueueEvent::Decision(DecisionDrafted { case } | DecisionMoved { case }), _) => {
                Some(Self::in_case(fact.id(), case, siblings))
            }
            (QueueEvent::Decision(DecisionApproved), _) => None,
            (QueueEvent::Case(CaseOpened { title }), Some(row)) => {
                Some(Self { case_title: Some(title.clone()), risk: Some(Risk::Low), ..row })
            }
            (QueueEvent::Case(CaseRiskBandChanged { risk }), Some(row)) => {
                Some(Self { risk: Some(*risk), ..row })
            }
            (QueueEvent::Case(_), None) => None,
        }
    }
}

fn opened(title: &str) -> CaseEvent {
    CaseEvent::CaseOpened { title: title.to_owned() }
}

fn drafted(case: &str) -> DecisionEvent {
    DecisionEvent::DecisionDrafted { case: CaseId::new(case) }
}

fn moved(case: &str) -> DecisionEvent {
    DecisionEvent::DecisionMoved { case: CaseId::new(case) }
}

fn high() -> CaseEvent {
    CaseEvent::CaseRiskBandChanged { risk: Risk::High }
}

fn row(decision: &str, case: &str, title: Option<&str>, risk: Option<Risk>) -> WorkQueue {
    WorkQueue {
        decision: DecisionId::new(decision),
        case: CaseId::new(case),
        case_title: title.map(str::to_owned),
        risk,
    }
}

#[test]
fn a_row_takes_its_sibling_as_it_stood_and_follows_it_by_column() {
    given_facts([
        on("c1", opened("one")),
        on("d1", drafted("c1")),
        on("c1", high()),
        on("d2", drafted("c1")),
    ])
    .then_rows([
        row("d1", "c1", Some("one"), Some(Risk::High)),
        row("d2", "c1", Some("one"), Some(Risk::High)),
    ]);
}

#[test]
fn a_row_that_moves_leaves_its_old_case_alone() {
    given_facts([
        on("c1", opened("one")),
        on("c2", opened("two")),
        on("d1", drafted("c1")),
        on("c2", high()),
        on("d1", moved("c2")),
        on("c1", high()),
        on("d2", drafted("c3")),
        on("d3", drafted("c1")),
        on("d3", DecisionEvent::DecisionApproved),
        on("c3", opened("three")),
    ])
    .then_rows([
        row("d1", "c2", Some("two"), Some(Risk::High)),
        row("d2", "c3", Some("three"), Some(Risk::Low)),
    ]);
}

#[test]
fn any_cut_of_a_long_history_leaves_the_same_rows() {
    let facts = (0..60).flat_map(|round| {
        let case = format!("c{}", round % 5);
        let decision = format!("d{}", round % 7);
        let next = format!("c{}", round % 4);
        let opened = on(&case, opened(&format!("title {round}")));
        let settled = if round % 3 == 0 { DecisionEvent::DecisionApproved } else { moved(&next) };
        [on(&decision, drafted(&case)), opened, on(&decision, settled), on(&next, high())]
    });
    given_facts(facts).then_deterministic::<WorkQueue>();
}

#[derive(Clone, Debug, Command)]
enum CaseCommand {
    Open { title: String },
    RaiseRisk,
}

#[derive(Clone, Debug, Command)]
enum DecisionCommand {
    Draft { case: CaseId },
    Approve,
}

#[derive(Debug, Rejection)]
enum NoRejection {
    #[reject("never")]
    Never,
}

#[derive(Default, Data)]
struct Case {}

impl Decider for Case {
    type Command = CaseCommand;
    type Event = CaseEvent;
    type Rejection = NoRejection;

    fn decide(&self, command: CaseCommand, _: &Context) -> Result<Vec<CaseEvent>, NoRejection> {
        Ok(vec![match command {
            CaseCommand::Open { title } if title == "never" => return Err(NoRejection::Never),
            CaseCommand::Open { title } => CaseEvent::CaseOpened { title },
            CaseCommand::RaiseRisk => high(),
        }])
    }

    fn evolve(self, _: &CaseEvent) -> Self {
        self
    }
}

#[derive(Default, Data)]
struct Decision {}

impl Decider for Decision {
    type Command = DecisionCommand;
    type Event = DecisionEvent;
    type Rejection = NoRejection;

    fn decide(&self, command: DecisionCommand, _: &Context) -> Result<Vec<DecisionEvent>, NoRejection> {
        Ok(vec![match command {
            DecisionCommand::Draft { case } => DecisionEvent::DecisionDrafted { case },
            DecisionCommand::Approve => DecisionEvent::DecisionApproved,
        }])
    }

    fn evolve(self, _: &DecisionEvent) -> Self {
        self
    }
}

fn bare() -> Service {
    Service::new("enforcement").decider::<Case>().decider::<Decision>()
}

/// The queue is named alone: what it looks rows up in comes with it.
fn service() -> Service {
    bare().read_model::<WorkQueue>()
}

const LONG: Duration = Duration::from_secs(20);

async fn case(running: &Running, case: &str, command: CaseCommand) {
    let request = Request::by(running.principal()).to(&CaseId::new(case), command);
    running.commands().handle::<Case>(request).await.expect("a case takes every command");
}

async fn decision(running: &Running, decision: &str, command: DecisionCommand) -> Receipt<DecisionEvent> {
    let request = Request::by(running.principal()).to(&DecisionId::new(decision), command);
    running.commands().handle::<Decision>(request).await.expect("a decision takes every command")
}

/// A case with a risk, a decision in it, and three facts that meet no row.
async fn story(running: &Running) {
    case(running, "c2", CaseCommand::RaiseRisk).await;
    case(running, "c1", CaseCommand::Open { title: "one".to_owned() }).await;
    decision(running, "d1", DecisionCommand::Draft { case: CaseId::new("c1") }).await;
    case(running, "c1", CaseCommand::RaiseRisk).await;
    decision(running, "d2", DecisionCommand::Approve).await;
    let last = decision(running, "d3", DecisionCommand::Approve).await;
    let find = WorkQueue::find().at_least(last.token).wait(LONG);
    let waiting = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!(waiting.value.items, [row("d1", "c1", Some("one"), Some(Risk::High))]);
}

#[tokio::test]
async fn a_model_brings_its_siblings_under_one_checkpoint() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    story(&running).await;
    let titles = running.queries().find(running.principal(), CaseTitle::find()).await.unwrap();
    let known = CaseTitle { case: CaseId::new("c1"), title: "one".to_owned(), risk: Risk::High };
    assert_eq!(titles.value.items, [known]);
    assert_eq!(titles.freshness.projection_position, Position(6));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn facts_that_meet_no_row_are_counted_where_operators_look() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    story(&running).await;
    let operator = running.operator().await.unwrap();
    for (model, reads, no_ops) in [("work_queue", "looks rows up in: case_title", 2), ("case_title", "", 1)] {
        let report = show_model(&operator, model).await.unwrap();
        let text = report.render(Output::Human);
        assert!(text.contains(&format!("facts that met no row: {no_ops}")), "{text}");
        assert!(text.contains(reads), "{text}");
        assert_eq!(text.contains("moves with group: work_queue"), model == "case_title", "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.render(Output::Json)).unwrap();
        let said = [&json["group"], &json["noOps"]];
        assert_eq!(said, [&serde_json::json!("work_queue"), &serde_json::json!(no_ops)]);
    }
    let request =
        axum::http::Request::get("/metrics").header("host", "localhost").body(axum::body::Body::empty());
    let reply = running.router().unwrap().oneshot(request.unwrap()).await.unwrap();
    let body = axum::body::to_bytes(reply.into_body(), usize::MAX).await.unwrap();
    let metrics = String::from_utf8(body.to_vec()).unwrap();
    for (model, no_ops) in [("work_queue", 2), ("case_title", 1)] {
        let line = format!("projection_no_op_total{{projection=\"{model}\"}} {no_ops}");
        assert!(metrics.contains(&line), "`{line}` is not in {metrics}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn verification_covers_every_table_and_names_an_edited_sibling() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    story(&running).await;
    running.stop().await.unwrap();

    let looking = service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(folder.path()) })
        .await
        .unwrap();
    let report = verify_models(&looking.operator().await.unwrap(), None).await.unwrap();
    assert!(report.is_clean(), "{}", report.render(Output::Human));
    let text = report.render(Output::Human);
    for clean in ["case_title: clean at position 6: 1 rows", "work_queue: clean at position 6: 1 rows"] {
        assert!(text.contains(clean), "{text}");
    }
    edit(&folder, "case_title", "UPDATE {table} SET title = 'edited'");
    let report = verify_models(&looking.operator().await.unwrap(), Some("work_queue")).await.unwrap();
    let text = report.render(Output::Human);
    assert!(!report.is_clean(), "{text}");
    assert!(text.contains("case_title: DIFFERS"), "{text}");
    assert!(text.contains("main c1: title is \"edited\", expected \"one\""), "{text}");
    assert!(text.contains("work_queue: clean"), "{text}");
    looking.stop().await.unwrap();
}

#[tokio::test]
async fn an_edited_sibling_is_not_taken_into_other_rows() {
    let folder = Folder::new();
    let running = service().open(Config::at(folder.path())).await.unwrap();
    story(&running).await;
    running.stop().await.unwrap();
    edit(&folder, "case_title", "UPDATE {table} SET title = 'edited'");
    let mut config = Config::at(folder.path());
    config.projector.retry_pause_min = Duration::from_millis(1);
    let running = service().open(config).await.unwrap();
    let last = decision(&running, "d4", DecisionCommand::Draft { case: CaseId::new("c1") }).await;
    let find = WorkQueue::find().at_least(last.token).wait(LONG);
    let stopped = running.queries().find(running.principal(), find).await.unwrap_err();
    assert_eq!(stopped.code(), diptych::core::Code::ModelStopped);
    assert!(stopped.to_string().contains("it was edited outside the projection"), "{stopped}");
    running.stop().await.unwrap();
}

/// Changes a table of the group's file by hand.
fn edit(folder: &Folder, model: &str, sql: &str) {
    let edited = rusqlite::Connection::open(folder.model_file("work_queue")).unwrap();
    let names =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ?1 || '%' ORDER BY length(name)";
    let table: String = edited.query_row(names, [model], |row| row.get(0)).unwrap();
    assert_eq!(edited.execute(&sql.replace("{table}", &table), []).unwrap(), 1);
}

/// The case titles once more, but inline: it cannot move with a queue that a worker folds.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "inline_title", revision = 1, owner = "cases", inline)]
struct InlineTitle {
    #[key]
    case: CaseId,
}

impl Projection for InlineTitle {
    type Event = CaseEvent;

    fn route(fact: &Fact<CaseEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<CaseEvent>) -> Option<Self> {
        Some(Self { case: fact.id() })
    }
}

#[track_caller]
fn wrong(service: Service, problem: &str) {
    let problems = service.problems();
    assert!(problems.iter().any(|told| told == problem), "`{problem}` is not among {problems:#?}");
}

#[test]
fn a_group_put_together_wrongly_is_named_at_start() {
    assert_eq!(service().problems(), Vec::<String>::new());
    let named = bare().group("queues", |group| group.read_model::<CaseTitle>().read_model::<WorkQueue>());
    assert_eq!(named.problems(), Vec::<String>::new());
    wrong(bare().group("nothing", |group| group), "group `nothing` has no read model");
    wrong(
        service().read_model::<InlineTitle>().group("again", |group| group.read_model::<CaseTitle>()),
        "two read models are called `case_title`, in `work_queue` and `again`",
    );
    wrong(
        bare().group("mixed", |group| group.read_model::<WorkQueue>().read_model::<InlineTitle>()),
        "read model `inline_title` is inline, but group `mixed` moves as one and its first is asynchronous",
    );
    wrong(
        service().group("work_queue", |group| group.read_model::<InlineTitle>()),
        "two groups of read models are called `work_queue`",
    );
    wrong(
        service().group("case_title", |group| group.read_model::<InlineTitle>()),
        "group `case_title` has the name of a read model of another group",
    );
    wrong(
        bare().group("Work Queue", |group| group.read_model::<WorkQueue>()),
        "the name of group `Work Queue` is snake_case ASCII",
    );
}
