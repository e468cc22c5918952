//! A service with `--documents`: read models declared `document` live in a server that speaks the CouchDB
//! protocol, all others in the store, and nobody who asks sees a difference.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../diptych-couch/tests/harness/proxy.rs"]
mod proxy;
#[path = "../../diptych-couch/tests/harness/server.rs"]
mod server;
mod support;

use diptych::core::{Code, Value};
use diptych::couch::Address;
use diptych::ops::{Output, show_model, status, verify_models};
use diptych::prelude::*;
use diptych::query::{Ask, Health};
use proxy::Proxy;
use server::{Kept, Server};
use std::time::Duration;
use support::Folder;
use support::jar::{Jar, JarCommand, JarEvent, JarId};

/// How long anything may take before the test says that it hangs.
const HANG: Duration = Duration::from_secs(20);

/// What the honey in each jar is worth, as a document.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "worth", revision = 1, owner = "kitchen", document)]
struct Worth {
    #[key]
    jar: JarId,
    #[filter]
    #[sort]
    worth: Money,
    #[filter]
    full: bool,
}

impl Projection for Worth {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        let JarEvent::Filled { spoons } = &fact.event else { return None };
        let more = Money::from_thousandths(spoons * 250, Currency::GBP).ok()?;
        let worth = row.map_or(Some(more), |row| row.worth.plus(more).ok())?;
        Some(Self { jar: fact.id(), worth, full: worth.thousandths() >= 1_000 })
    }
}

/// How many spoons are in each jar, as columns.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "spoons", revision = 1, owner = "kitchen")]
struct Spoons {
    #[key]
    jar: JarId,
    spoons: i64,
}

impl Projection for Spoons {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        let JarEvent::Filled { spoons } = &fact.event else { return None };
        Some(Self { jar: fact.id(), spoons: spoons + row.map_or(0, |row| row.spoons) })
    }
}

/// A document that would move with the command.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "at_once", revision = 1, owner = "kitchen", document, inline)]
struct AtOnce {
    #[key]
    jar: JarId,
}

impl Projection for AtOnce {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        Some(Self { jar: fact.id() })
    }
}

fn kitchen() -> Service {
    Service::new("kitchen").decider::<Jar>().read_model::<Worth>().read_model::<Spoons>()
}

fn config(folder: &Folder, address: &str) -> Config {
    let documents = Some(Address::parse(address).unwrap());
    // Nothing moves but when it is told.
    let roles = Roles::ALL.without(Role::Projector);
    Config { documents, roles, ..Config::at(folder.path()) }
}

async fn fill(running: &Running, jar: &str, spoons: i64) {
    let request = Request::by(running.principal()).to(&JarId::new(jar), JarCommand::Fill { spoons });
    running.commands().handle::<Jar>(request).await.unwrap();
}

async fn rows(running: &Running, model: &str, words: &[(&str, &str)]) -> Vec<Vec<Value>> {
    let models = running.queries().models();
    let schema = models.map(|(model, _)| model.schema()).find(|schema| schema.name == model).unwrap();
    let ask = Ask::from_text(schema, words.iter().copied()).unwrap();
    let page = running.queries().ask(running.principal(), model, &ask).await.unwrap().value;
    page.rows.into_iter().map(|row| row.values).collect()
}

#[tokio::test]
async fn documents_are_asked_like_columns_and_live_elsewhere() {
    let (folder, server) = (Folder::new(), Server::shared());
    let running = kitchen().open(config(&folder, &server.address("kitchen_"))).await.unwrap();
    for (jar, spoons) in [("honey", 3), ("jam", 9), ("honey", 4), ("salt", 1)] {
        fill(&running, jar, spoons).await;
    }
    for model in ["worth", "spoons"] {
        running.projector().drain(model).await.unwrap();
    }
    let money = |thousandths| Value::Money(Money::from_thousandths(thousandths, Currency::GBP).unwrap());
    let by_worth: Vec<_> = rows(&running, "worth", &[("sort", "-worth")]).await;
    let worth: Vec<_> = by_worth.iter().map(|row| row[1].clone()).collect();
    assert_eq!(worth, [money(2_250), money(1_750), money(250)]);
    assert_eq!(rows(&running, "worth", &[("full", "true")]).await.len(), 2);
    assert_eq!(rows(&running, "worth", &[("worth", "0.25 GBP")]).await.len(), 1);
    assert_eq!(rows(&running, "spoons", &[]).await.len(), 3);

    let operator = running.operator().await.unwrap();
    let shown = show_model(&operator, "worth").await.unwrap().render(Output::Human);
    assert!(shown.contains("kept as: documents at http://127.0.0.1:"), "{shown}");
    let shown = show_model(&operator, "spoons").await.unwrap().render(Output::Human);
    assert!(!shown.contains("kept as"), "{shown}");
    let told = status(&operator).await.unwrap().render(Output::Human);
    assert!(told.contains("worth is kept as documents at http://127.0.0.1:"), "{told}");
    let verified = verify_models(&operator, None).await.unwrap();
    assert!(verified.is_clean(), "{}", verified.render(Output::Human));
    drop(operator);
    running.stop().await.unwrap();

    // Another process finds what the first one has written.
    let running = kitchen().open(config(&folder, &server.address("kitchen_"))).await.unwrap();
    assert_eq!(rows(&running, "worth", &[("sort", "-worth")]).await, by_worth);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_document_that_moves_with_its_command_is_refused() {
    let (folder, server) = (Folder::new(), Server::shared());
    let service = kitchen().read_model::<AtOnce>();
    let refused = service.open(config(&folder, &server.address("at_once_"))).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::ServiceInvalid);
    let told = refused.to_string();
    assert!(told.contains("`at_once`") && told.contains("asynchronous"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_holds_up_its_models_alone_until_it_is_back() {
    let (folder, mut server) = (Folder::new(), Server::start("away", Kept::InFiles));
    let mut config = config(&folder, &server.address("away_"));
    config.roles = Roles::ALL;
    config.projector.retry_pause_max = Duration::from_millis(50);
    let running = kitchen().open(config).await.unwrap();
    let ask = |token| Ask { at_least: Some(token), wait: Some(HANG), ..Ask::default() };
    fill(&running, "honey", 3).await;
    let moved = running.feed().head().await.unwrap().token;
    running.queries().ask(running.principal(), "worth", &ask(moved)).await.unwrap();
    server.kill();
    fill(&running, "honey", 4).await;
    let wanted = running.feed().head().await.unwrap().token;
    let answer = running.queries().ask(running.principal(), "spoons", &ask(wanted)).await.unwrap();
    assert_eq!(answer.value.rows[0].values[1], Value::Integer(7), "columns move on");
    let health = running.projector().progress().entry("worth");
    let retrying = || matches!(health.health(), Health::Retrying { .. });
    let retries = async {
        while !retrying() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, retries).await.expect("the worker of the documents does not try again");
    let asked = running.queries().ask(running.principal(), "worth", &Ask::default()).await;
    assert!(asked.is_err(), "an answer came from a server that is away: {asked:?}");
    server.start_again();
    let answer = running.queries().ask(running.principal(), "worth", &ask(wanted)).await.unwrap();
    let Value::Money(worth) = &answer.value.rows[0].values[1] else { panic!("{answer:?}") };
    assert_eq!(worth.to_string(), "1.75 GBP");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_begins_without_its_documents_and_goes_on_when_they_are_there() {
    let (folder, mut server) = (Folder::new(), Server::start("late", Kept::InFiles));
    let mut config = config(&folder, &server.address("late_"));
    config.roles = Roles::ALL;
    config.projector.retry_pause_max = Duration::from_millis(50);
    let ask = |token| Ask { at_least: Some(token), wait: Some(HANG), ..Ask::default() };
    let running = kitchen().open(config.clone()).await.unwrap();
    fill(&running, "honey", 3).await;
    let moved = running.feed().head().await.unwrap().token;
    running.queries().ask(running.principal(), "worth", &ask(moved)).await.unwrap();
    running.stop().await.unwrap();
    server.kill();

    let running = kitchen().open(config).await.expect("the service begins without its documents");
    fill(&running, "honey", 4).await;
    let wanted = running.feed().head().await.unwrap().token;
    let answer = running.queries().ask(running.principal(), "spoons", &ask(wanted)).await.unwrap();
    assert_eq!(answer.value.rows[0].values[1], Value::Integer(7), "columns are as ever");
    let refused = running.queries().ask(running.principal(), "worth", &Ask::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::DocumentsUnavailable, "{refused}");
    let troubles = running.projector().progress().entry("worth").troubles();
    let Some(Health::Retrying { reason }) = troubles.health() else { panic!("{troubles:?}") };
    assert!(reason.contains("DP0068"), "{reason}");
    running.projector().measure().await.expect("the other models are measured");

    server.start_again();
    let answer = running.queries().ask(running.principal(), "worth", &ask(wanted)).await.unwrap();
    let Value::Money(worth) = &answer.value.rows[0].values[1] else { panic!("{answer:?}") };
    assert_eq!(worth.to_string(), "1.75 GBP");
    running.projector().measure().await.expect("every model is measured");
    assert_eq!(running.projector().progress().entry("worth").troubles().health(), None);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_password_is_refused_does_not_begin() {
    let (folder, proxy) = (Folder::new(), Proxy::before(Server::shared().port()));
    proxy.answer(1, std::iter::repeat_n("HTTP/1.1 401 Who\r\ncontent-length: 2\r\n\r\n{}", 100));
    let refused = kitchen().open(config(&folder, &proxy.address("refused_"))).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::DocumentsUnavailable, "{refused}");
    assert!(refused.to_string().contains("mend the name and password"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_goes_on_after_every_answer_that_is_none() {
    let (folder, proxy) = (Folder::new(), Proxy::before(Server::shared().port()));
    let mut config = config(&folder, &proxy.address("none_"));
    config.roles = Roles::ALL;
    config.projector.retry_pause_max = Duration::from_millis(50);
    let running = kitchen().open(config).await.unwrap();
    let ask = |token| Ask { at_least: Some(token), wait: Some(HANG), ..Ask::default() };
    for answer in [
        "HTTP/1.1 500 Failed\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<h1>Hello",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"rows\":[",
        "HTTP/1.1 401 Who\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        // Whoever comes next meets it: the worker, who keeps leases, who measures.
        proxy.answer(1, std::iter::repeat_n(answer, 12));
        fill(&running, "honey", 1).await;
        let wanted = running.feed().head().await.unwrap().token;
        let met = async {
            while !proxy.is_done() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, met).await.expect("nobody asks again");
        let answer = running.queries().ask(running.principal(), "worth", &ask(wanted)).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    let worth = rows(&running, "worth", &[]).await;
    assert_eq!(worth[0][1], Value::Money(Money::from_thousandths(1_250, Currency::GBP).unwrap()));
    running.stop().await.unwrap();
}
