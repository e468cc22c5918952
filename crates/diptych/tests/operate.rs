//! What operators do to read models, by the verbs of the command line on the embedded store: build anew,
//! switch, take back, deprecate, retire, suspend, correct. Everything is kept with who and why.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request as HttpRequest};
use diptych::ops::{Output, RebuildWatcher, run, verbs};
use diptych::prelude::*;
use diptych::projector::Rebuild;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::Folder;
use support::jar::{Jar, JarCommand, JarEvent, JarId};
use tower::ServiceExt;

macro_rules! shelf {
    ($name:ident, $table:literal, $corrections:literal) => {
        #[derive(Clone, Debug, PartialEq, ReadModel)]
        #[read_model(name = $table, revision = 1, owner = "kitchen", corrections = $corrections)]
        struct $name {
            #[key]
            jar: JarId,
            #[sort]
            spoons: i64,
            note: Option<String>,
        }

        impl Projection for $name {
            type Event = JarEvent;

            fn route(fact: &Fact<JarEvent>) -> Route<Self> {
                Route::key(fact.id())
            }

            fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
                let JarEvent::Filled { spoons } = &fact.event else { return None };
                let row = row.unwrap_or(Self { jar: fact.id(), spoons: 0, note: None });
                Some(Self { spoons: row.spoons + spoons, ..row })
            }
        }
    };
}

shelf!(Shelf, "shelf", "kept");
shelf!(Draft, "draft_shelf", "until_rebuild");

/// Whether the picky model can take thirteen.
static SUPERSTITIOUS: AtomicBool = AtomicBool::new(true);

#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "picky_shelf", revision = 1, owner = "kitchen", on_failure = "park")]
struct PickyShelf {
    #[key]
    jar: JarId,
    spoons: i64,
}

impl Projection for PickyShelf {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        let JarEvent::Filled { spoons } = &fact.event else { return None };
        assert!(*spoons != 13 || !SUPERSTITIOUS.load(Ordering::Relaxed), "thirteen spoons");
        Some(Self { jar: fact.id(), spoons: row.map_or(0, |row| row.spoons) + spoons })
    }
}

fn service() -> Service {
    Service::new("jars").decider::<Jar>().read_model::<Shelf>().read_model::<Draft>()
}

/// What a process that serves is, and what the command line is.
enum Process {
    Serving,
    Verb,
}

async fn open(folder: &Folder, process: Process) -> Running {
    let roles = match process {
        Process::Serving => Roles::ALL,
        Process::Verb => Roles::ALL.without(Role::Projector).without(Role::Command),
    };
    service().open(Config { roles, ..Config::at(folder.path()) }).await.unwrap()
}

/// A store in which three jars were filled, and both models serve.
async fn filled(folder: &Folder) {
    let running = open(folder, Process::Serving).await;
    for (jar, spoons) in [("tea", 1), ("salt", 2), ("tea", 3), ("flour", 4)] {
        fill(&running, jar, spoons).await;
    }
    running.stop().await.unwrap();
}

const LONG: Duration = Duration::from_secs(20);

/// Fills a jar and waits until both models show it.
async fn fill(running: &Running, jar: &str, spoons: i64) {
    let request = Request::by(running.principal()).to(&JarId::new(jar), JarCommand::Fill { spoons });
    let token = running.commands().handle::<Jar>(request).await.unwrap().token;
    let (shelf, draft) = (Shelf::find().at_least(token).wait(LONG), Draft::find().at_least(token).wait(LONG));
    let shelf = running.queries().find(running.principal(), shelf).await.unwrap();
    let draft = running.queries().find(running.principal(), draft).await.unwrap();
    assert_eq!(shelf.freshness.caught_up_to_requested_position, Some(true));
    assert_eq!(draft.freshness.caught_up_to_requested_position, Some(true));
}

#[derive(Default)]
struct Steps(Vec<String>);

impl RebuildWatcher for Steps {
    fn see(&mut self, rebuild: &Rebuild) {
        self.0.push(rebuild.step.to_string());
    }
}

/// What a verb prints for programs, or the error that it ends with.
async fn verb(running: &Running, words: &[&str]) -> Result<Value, String> {
    let line = clap::Command::new("jars").subcommands(verbs());
    let matches =
        line.try_get_matches_from([&["jars"], words].concat()).map_err(|error| error.to_string())?;
    let (name, own) = matches.subcommand().unwrap();
    let operator = running.operator().await.unwrap();
    let report = run(&operator, name, own, &mut Steps::default()).await.map_err(|error| error.to_string())?;
    assert!(!report.render(Output::Human).is_empty());
    Ok(serde_json::from_str(&report.render(Output::Json)).unwrap())
}

/// Each build of a model with its stage.
async fn stages(running: &Running, model: &str) -> Vec<String> {
    let shown = verb(running, &["models", "show", model]).await.unwrap();
    let builds = shown["builds"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    builds.map(|build| format!("{} {}", text(&build["build"]), text(&build["stage"]))).collect()
}

async fn rows(running: &Running, model: &str) -> Vec<Value> {
    let answer = verb(running, &["query", model]).await.unwrap();
    answer["rows"].as_array().unwrap().clone()
}

async fn get(running: &Running, path: &str) -> (u16, HeaderMap, Value) {
    send(running, HttpRequest::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
}

async fn send(running: &Running, request: HttpRequest<Body>) -> (u16, HeaderMap, Value) {
    let response = running.router().unwrap().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn a_rebuild_is_driven_by_the_verb_where_no_process_serves() {
    let folder = Folder::new();
    filled(&folder).await;
    let running = open(&folder, Process::Verb).await;
    assert_eq!(stages(&running, "shelf").await, ["r1g1 serving"]);
    let before = rows(&running, "shelf").await;
    let order = ["models", "rebuild", "shelf", "--wait", "--reason", "a new disk"];
    let done = verb(&running, &order).await.unwrap();
    assert_eq!(done["step"], "switched", "{done}");
    assert_eq!(stages(&running, "shelf").await, ["r1g1 shadowing", "r1g2 serving"]);
    assert_eq!(rows(&running, "shelf").await, before);
    verb(&running, &["models", "rollback", "shelf", "--reason", "not sure"]).await.unwrap();
    assert_eq!(stages(&running, "shelf").await, ["r1g1 serving", "r1g2 shadowing"]);
    verb(&running, &["models", "switch", "shelf", "--reason", "sure"]).await.unwrap();
    verb(&running, &["models", "retire", "shelf", "--reason", "no way back"]).await.unwrap();
    assert_eq!(stages(&running, "shelf").await, ["r1g1 retired", "r1g2 serving"]);
    assert_eq!(rows(&running, "shelf").await, before);
    let kept = verb(&running, &["operations", "list"]).await.unwrap();
    let kept: Vec<_> = kept.as_array().unwrap().iter().map(|one| (&one["action"], &one["reason"])).collect();
    let expected = [
        (json!("retire"), json!("no way back")),
        (json!("switch"), json!("sure")),
        (json!("rollback"), json!("not sure")),
        (json!("rebuild"), json!("a new disk")),
    ];
    assert_eq!(kept, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    let moves = verb(&running, &["models", "moves", "shelf"]).await.unwrap();
    let last = &moves.as_array().unwrap()[0];
    let moved = [&last["build"], &last["from"], &last["to"], &last["actor"], &last["reason"]];
    assert_eq!(moved, ["r1g1", "shadowing", "retired", "local", "no way back"]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_may_not_be_done_now_says_what_may() {
    let folder = Folder::new();
    filled(&folder).await;
    let running = open(&folder, Process::Verb).await;
    let plan = verb(&running, &["models", "switch", "shelf", "--plan"]).await.unwrap();
    assert_eq!(
        (&plan["refused"], &plan["instead"]),
        (&json!("no rebuild is under way"), &json!(["rebuild"]))
    );
    let plan = verb(&running, &["models", "retire", "shelf", "--build", "r1g1", "--plan"]).await.unwrap();
    assert!(plan["refused"].as_str().unwrap().contains("cannot become retired"), "{plan}");
    assert_eq!(plan["instead"], json!(["rebuild", "switch", "deprecate"]));
    let refused = verb(&running, &["models", "rollback", "shelf", "--reason", "x"]).await.unwrap_err();
    assert_eq!(refused, "no rebuild is under way; what may be done: rebuild");
    let plan = verb(&running, &["models", "rebuild", "shelf", "--plan", "--intended", "note,+rows"]).await;
    let plan = plan.unwrap();
    assert_eq!(plan["refused"], json!(null), "{plan}");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps[1].as_str().unwrap().contains("fold 4 events"), "{plan}");
    assert!(steps[2].as_str().unwrap().contains("may differ in: note,+rows"), "{plan}");
    assert_eq!(plan["affects"][0], "shelf (3 rows)");
    assert_eq!(verb(&running, &["operations", "list"]).await.unwrap(), json!([]), "a plan does nothing");
    assert_eq!(stages(&running, "shelf").await, ["r1g1 serving"]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_deprecated_model_says_so_and_a_retired_one_is_gone() {
    let folder = Folder::new();
    filled(&folder).await;
    let running = open(&folder, Process::Serving).await;
    let words = ["models", "deprecate", "shelf", "--sunset", "2027-03-31", "--successor", "draft_shelf"];
    verb(&running, &[&words[..], &["--reason", "the other is better"]].concat()).await.unwrap();
    let (status, headers, first) = get(&running, "/shelf").await;
    assert_eq!(status, 200);
    assert_eq!(headers["sunset"], "Wed, 31 Mar 2027 00:00:00 GMT");
    assert!(headers["deprecation"].to_str().unwrap().starts_with('@'));
    assert_eq!(headers["link"], "</draft-shelf>; rel=\"successor-version\"");
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let (_, _, home) = get(&running, "/").await;
    let model = home["readModels"].as_array().unwrap().iter().find(|model| model["name"] == "shelf").unwrap();
    assert_eq!((&model["stage"], &model["sunset"]), (&json!("deprecated"), &json!("2027-03-31T00:00:00Z")));
    verb(&running, &["models", "retire", "shelf", "--reason", "nobody asks"]).await.unwrap();
    running.stop().await.unwrap();
    // Code that declares it, and code that does not any more.
    for service in [service(), Service::new("jars").decider::<Jar>().read_model::<Draft>()] {
        let running = service.open(Config::at(folder.path())).await.unwrap();
        for path in ["/shelf", "/shelf/tea"] {
            let (status, headers, problem) = get(&running, path).await;
            assert_eq!((status, &problem["code"]), (410, &json!("DP0054")), "{problem}");
            assert_eq!(problem["successor"], "/draft-shelf");
            assert_eq!(headers["link"], "</draft-shelf>; rel=\"successor-version\"");
        }
        assert_eq!(get(&running, "/draft-shelf").await.0, 200);
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_suspended_model_answers_nobody_until_it_is_resumed() {
    let folder = Folder::new();
    filled(&folder).await;
    let running = open(&folder, Process::Serving).await;
    verb(&running, &["models", "suspend", "shelf", "--reason", "the rows look odd"]).await.unwrap();
    let (status, headers, problem) = get(&running, "/shelf").await;
    assert_eq!((status, &problem["code"]), (503, &json!("DP0055")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("the rows look odd"));
    assert_eq!(headers["retry-after"], "30");
    let again = verb(&running, &["models", "suspend", "shelf", "--reason", "x"]).await.unwrap_err();
    assert!(again.starts_with("local has suspended it already: the rows look odd"), "{again}");
    verb(&running, &["models", "resume", "shelf", "--reason", "they are right"]).await.unwrap();
    assert_eq!(get(&running, "/shelf").await.0, 200);
    running.stop().await.unwrap();
}

fn correcting(id: &str, body: &Value) -> HttpRequest<Body> {
    let request = HttpRequest::post(format!("/row-corrections/{id}/correct")).header("host", "localhost");
    request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_row_is_corrected_by_a_command_only_and_its_history_shows_who_and_why() {
    let folder = Folder::new();
    filled(&folder).await;
    let running = open(&folder, Process::Serving).await;
    let words = ["models", "correct", "shelf", "tea", "--set", "spoons=40", "--set", "note=counted"];
    verb(&running, &[&words[..], &["--reason", "counted by hand"]].concat()).await.unwrap();
    fill(&running, "tea", 2).await;
    let tea = || json!(["tea", 42, "counted"]);
    assert!(rows(&running, "shelf").await.contains(&tea()));
    assert!(rows(&running, "draft_shelf").await.contains(&json!(["tea", 6, null])));
    let history = verb(&running, &["models", "history", "shelf", "tea"]).await.unwrap();
    let facts: Vec<_> = history["facts"].as_array().unwrap().iter().map(|fact| &fact["type"]).collect();
    assert_eq!(facts, ["Filled", "Filled", "RowCorrected", "Filled"]);
    let corrected = &history["facts"][2];
    assert_eq!(
        (&corrected["correction"]["reason"], &corrected["actor"]),
        (&json!("counted by hand"), &json!("local"))
    );
    let refused =
        verb(&running, &["models", "correct", "shelf", "tea", "--set", "jar=x", "--reason", "y"]).await;
    assert!(refused.unwrap_err().contains("is part of the key"));
    for (set, field) in [
        (json!({"spoons": "many"}), "set.spoons"),
        (json!({"lid": 1}), "set.lid"),
        (json!({"jar": "x"}), "set.jar"),
    ] {
        let body = json!({"model": "shelf", "key": ["tea"], "set": set, "reason": "why"});
        let (status, _, problem) = send(&running, correcting("c1", &body)).await;
        assert_eq!((status, &problem["code"]), (422, &json!("DP0060")), "{problem}");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let body = json!({"model": "shelf", "key": ["salt"], "set": {"note": "old"}, "reason": "stale"});
    let (status, _, receipt) = send(&running, correcting("c1", &body)).await;
    assert_eq!(status, 201, "{receipt}");
    let (status, _, again) = send(&running, correcting("c1", &body)).await;
    assert_eq!((status, &again["rejection"]["name"]), (422, &json!("already_corrected")), "{again}");
    let verified = verb(&running, &["models", "verify", "shelf"]).await.unwrap();
    assert_eq!(verified[0]["differingRows"], 0, "{verified}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_correction_is_kept_by_a_rebuild_or_ends_with_it_as_declared() {
    let folder = Folder::new();
    filled(&folder).await;
    let running = open(&folder, Process::Serving).await;
    for model in ["shelf", "draft_shelf"] {
        let words = ["models", "correct", model, "salt", "--set", "note=by hand", "--reason", "so it is"];
        verb(&running, &words).await.unwrap();
    }
    fill(&running, "tea", 1).await;
    for model in ["shelf", "draft_shelf"] {
        assert!(rows(&running, model).await.contains(&json!(["salt", 2, "by hand"])), "{model}");
    }
    let kept = ["models", "rebuild", "shelf", "--wait", "--reason", "a new disk"];
    assert_eq!(verb(&running, &kept).await.unwrap()["step"], "switched");
    assert!(rows(&running, "shelf").await.contains(&json!(["salt", 2, "by hand"])));
    let ended = ["models", "rebuild", "draft_shelf", "--wait", "--reason", "x"];
    let blocked = verb(&running, &ended).await.unwrap();
    assert_eq!(blocked["step"], "blocked", "a difference that was not declared: {blocked}");
    let cancel = ["models", "cancel", "draft_shelf", "--reason", "declare it"];
    verb(&running, &cancel).await.unwrap();
    let ended = [&ended[..], &["--intended", "note"]].concat();
    assert_eq!(verb(&running, &ended).await.unwrap()["step"], "switched");
    assert!(rows(&running, "draft_shelf").await.contains(&json!(["salt", 2, null])));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_parked_key_is_listed_told_of_and_retried() {
    let folder = Folder::new();
    let service = Service::new("jars").decider::<Jar>().read_model::<PickyShelf>();
    let mut config = Config::at(folder.path());
    config.projector.retry_pause_min = Duration::from_millis(1);
    config.projector.retry_pause_max = Duration::from_millis(2);
    let running = service.open(config).await.unwrap();
    let give = async |jar: &str, spoons| {
        let request = Request::by(running.principal()).to(&JarId::new(jar), JarCommand::Fill { spoons });
        running.commands().handle::<Jar>(request).await.unwrap()
    };
    give("tea", 1).await;
    let cursed = give("tea", 13).await;
    let token = give("salt", 2).await.token;
    let find = PickyShelf::find().at_least(token).wait(LONG);
    let answer = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!(answer.freshness.caught_up_to_requested_position, Some(true), "others move on");
    let listed = verb(&running, &["parked", "list"]).await.unwrap();
    let parked = &listed["parked"][0];
    assert_eq!((&parked["key"], &parked["position"]), (&json!(["tea"]), &json!(2)), "{listed}");
    let (_, _, status) = get(&running, &format!("/commands/{}", cursed.command)).await;
    let model = &status["readModels"][0];
    assert_eq!((&model["visible"], &model["reason"]), (&json!(false), &json!("parked")), "{status}");
    assert!(model["parked"]["reason"].as_str().unwrap().contains("thirteen spoons"));
    let plan = verb(&running, &["parked", "retry", "picky_shelf", "--all", "--plan"]).await.unwrap();
    assert_eq!(plan["refused"], json!(null));
    let still = verb(&running, &["parked", "retry", "picky_shelf", "tea", "--reason", "try"]).await.unwrap();
    assert_eq!(
        (&still["outcome"], &still["blocked"]),
        (&json!("0 keys are folded, 1 stay parked"), &json!(true))
    );
    SUPERSTITIOUS.store(false, Ordering::Relaxed);
    let healed =
        verb(&running, &["parked", "retry", "picky_shelf", "tea", "--reason", "mended"]).await.unwrap();
    assert_eq!(healed["outcome"], "1 keys are folded, 0 stay parked");
    assert!(rows(&running, "picky_shelf").await.contains(&json!(["tea", 14])));
    let (_, _, status) = get(&running, &format!("/commands/{}", cursed.command)).await;
    assert_eq!(status["readModels"][0]["visible"], true, "{status}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_row_that_was_edited_is_found_and_repaired() {
    let folder = Folder::new();
    filled(&folder).await;
    edit(&folder, "UPDATE shelf SET spoons = 99 WHERE jar = 'salt'");
    let running = open(&folder, Process::Verb).await;
    let found = verb(&running, &["drift", "patrol", "shelf"]).await.unwrap();
    let incident = &found["incidents"][0];
    assert_eq!((&incident["key"], &incident["status"]), (&json!(["salt"]), &json!("open")), "{found}");
    assert_eq!(incident["differences"][0], json!({"column": "spoons", "expected": 2, "actual": 99}));
    let id = incident["id"].as_str().unwrap();
    let repaired = verb(&running, &["drift", "repair", id, "--reason", "a slip in the shell"]).await.unwrap();
    assert_eq!(repaired["done"], true, "{repaired}");
    assert!(rows(&running, "shelf").await.contains(&json!(["salt", 2, null])));
    let shown = verb(&running, &["drift", "show", id]).await.unwrap();
    assert_eq!(shown["status"], "repaired");
    assert_eq!(shown["actions"][0]["reason"], "a slip in the shell");
    running.stop().await.unwrap();
}

/// Does something to the rows of a model behind everybody's back.
fn edit(folder: &Folder, sql: &str) {
    let files = std::fs::read_dir(folder.path().join("models")).unwrap();
    let file = files.map(|file| file.unwrap().path()).find(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("shelf") && std::path::Path::new(&name).extension().is_some_and(|kind| kind == "db")
    });
    assert_eq!(rusqlite::Connection::open(file.unwrap()).unwrap().execute(sql, []).unwrap(), 1);
}
