//! Invariants across streams, from the derive to the wire: a badge has a name that no other badge has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, StatusCode};
use diptych::SystemClock;
use diptych::command::{
    AuditLog, AuditPage, AuditQuery, CommandLimits, CommandRecord, Commands, Commit, CommitError, Committed,
    ConflictCause, EventStore, Matched, Outcome, Refusal, RefusedFor, StateRow, StateStore, StreamStanding,
    erase_boundary,
};
use diptych::core::{BoxFuture, Code, CommandId, Fault, RawFact, StreamRef, Tag, Unrestricted};
use diptych::ops::export::ExportFilter;
use diptych::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use support::Folder;
use support::transfer::{exported, imported};
use tokio::sync::Barrier;
use tower::ServiceExt;

#[derive(Id)]
struct BadgeId(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
enum Colour {
    DeepRed,
    Green,
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "badge", owner = "desk")]
enum BadgeEvent {
    Claimed {
        #[tag]
        name: String,
        note: String,
    },
    Painted {
        #[tag("colour")]
        colours: Vec<Colour>,
        #[tag]
        number: Option<i64>,
        #[tag("badge")]
        like: Option<BadgeId>,
    },
    Returned,
}

#[derive(Clone, Debug, PartialEq, Command)]
enum BadgeCommand {
    Claim { name: String },
    Return,
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum BadgeRejection {
    #[reject("`{name}` is taken")]
    NameTaken { name: String },
}

#[derive(Default, Data)]
struct Badge {
    names: Vec<String>,
    status: String,
}

impl Decider for Badge {
    type Command = BadgeCommand;
    type Event = BadgeEvent;
    type Rejection = BadgeRejection;

    fn decide(&self, command: BadgeCommand, _: &Context) -> Result<Vec<BadgeEvent>, BadgeRejection> {
        match command {
            BadgeCommand::Claim { name } if self.names.contains(&name) => {
                Err(BadgeRejection::NameTaken { name })
            }
            BadgeCommand::Claim { name } => Ok(vec![BadgeEvent::Claimed { name, note: String::new() }]),
            BadgeCommand::Return => Ok(vec![BadgeEvent::Returned]),
        }
    }

    fn evolve(mut self, event: &BadgeEvent) -> Self {
        if let BadgeEvent::Claimed { name, .. } = event {
            self.names.push(name.clone());
            self.status = "CLAIMED".to_owned();
        }
        self
    }
}

impl Boundary for Badge {
    fn boundary(command: &BadgeCommand, context: &Context) -> TagQuery {
        match command {
            BadgeCommand::Claim { name } => TagQuery::tagged("name", name),
            BadgeCommand::Return => TagQuery::stream(&context.stream),
        }
    }
}

async fn open(folder: &Folder, facts_max: usize) -> Running {
    let mut config = Config::at(folder.path());
    config.commands.boundary_facts_max = facts_max;
    Service::new("desk").boundary::<Badge>().open(config).await.unwrap()
}

#[tokio::test]
async fn a_log_in_another_store_keeps_the_rule() {
    let (here, there, files) = (Folder::new(), Folder::new(), Folder::new());
    std::fs::create_dir_all(files.path()).unwrap();
    let file = files.path().join("badges.ndjson");
    let running = open(&here, 100).await;
    assert_eq!(claim(&running, "1", &[], "ann").await.0, 201);
    exported(&running, ExportFilter::default(), &file).await;
    running.stop().await.unwrap();
    let service = Service::new("desk").boundary::<Badge>();
    imported(&service, &there.path().into(), &file).await.unwrap();
    let running = open(&there, 100).await;
    let (status, taken) = claim(&running, "2", &[], "ann").await;
    assert_eq!((status, &taken["code"]), (422, &json!(Code::Rejected.as_str())), "{taken}");
    assert_eq!(claim(&running, "2", &[], "bob").await.0, 201);
    running.stop().await.unwrap();
}

async fn ask(running: &Running, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (u16, Value) {
    let mut request = HttpRequest::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = match body {
        Some(body) => request
            .method("POST")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let response = running.router().unwrap().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let json = serde_json::from_slice(&bytes).unwrap();
    assert_ne!(status, StatusCode::NOT_FOUND, "{json}");
    (status.as_u16(), json)
}

async fn claim(running: &Running, badge: &str, headers: &[(&str, &str)], name: &str) -> (u16, Value) {
    ask(running, &format!("/badges/{badge}/claim"), headers, Some(json!({ "name": name }))).await
}

#[track_caller]
fn tagged(event: &BadgeEvent, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|text| Tag::new(text).unwrap()).collect();
    assert_eq!(event.tags().unwrap(), expected);
}

#[test]
fn fields_that_are_marked_make_tags_and_no_others() {
    tagged(&BadgeEvent::Claimed { name: "ann".into(), note: "x".into() }, &["name:ann"]);
    let colours = vec![Colour::Green, Colour::DeepRed];
    let painted = BadgeEvent::Painted { colours, number: Some(-7), like: None };
    tagged(&painted, &["colour:GREEN", "colour:DEEP_RED", "number:-7"]);
    let like = BadgeEvent::Painted { colours: vec![], number: None, like: Some("b 1".into()) };
    tagged(&like, &["badge:b 1"]);
    tagged(&BadgeEvent::Returned, &[]);
}

#[test]
fn a_value_that_makes_no_tag_is_not_stored() {
    let event = BadgeEvent::Claimed { name: String::new(), note: String::new() };
    let error = diptych::core::NewEvent::from_event(&event).unwrap_err().to_string();
    assert_eq!(error, "`Claimed` cannot be stored: a tag's value must not be empty");
    let many = BadgeEvent::Painted { colours: vec![Colour::Green; 9], number: Some(1), like: None };
    assert_eq!(diptych::core::NewEvent::from_event(&many).unwrap().tags.len(), 2, "each tag counts once");
}

#[tokio::test]
async fn over_http_a_command_is_decided_on_facts_of_other_streams() {
    let folder = Folder::new();
    let running = open(&folder, 10).await;
    let keyed = [("idempotency-key", "one")];
    let (status, first) = claim(&running, "1", &keyed, "ann").await;
    assert_eq!((status, &first["status"], &first["version"]), (201, &json!("CLAIMED"), &json!(1)));
    let (status, taken) = claim(&running, "2", &[], "ann").await;
    assert_eq!(
        (status, &taken["code"], &taken["rejection"]["name"]),
        (422, &json!("DP0010"), &json!("name_taken"))
    );
    let (status, again) = claim(&running, "1", &keyed, "ann").await;
    assert_eq!((status, &again["version"]), (201, &json!(1)), "the key is answered, not the boundary");
    let (status, other) = claim(&running, "2", &[], "bob").await;
    assert_eq!((status, &other["version"]), (201, &json!(1)));
    let (status, stale) = claim(&running, "2", &[("if-match", "\"7\"")], "cy").await;
    assert_eq!((status, &stale["code"]), (412, &json!("DP0003")));
    let (status, right) = claim(&running, "2", &[("if-match", "\"1\"")], "cy").await;
    assert_eq!((status, &right["version"]), (200, &json!(2)));
    // The address shows the stream alone.
    let (status, badge) = ask(&running, "/badges/2", &[], None).await;
    assert_eq!((status, &badge["names"]), (200, &json!(["bob", "cy"])), "{badge}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_boundary_that_cannot_be_asked_for_is_refused() {
    let folder = Folder::new();
    let running = open(&folder, 10).await;
    let (status, long) = claim(&running, "1", &[], &"x".repeat(300)).await;
    assert_eq!((status, &long["code"]), (422, &json!("DP0046")), "{long}");
    assert_eq!(long["detail"], "a tag has at most 200 bytes, this one has 305");
    let request =
        Request::by(running.principal()).to(&BadgeId::new("1"), BadgeCommand::Claim { name: "".into() });
    let refused = running.commands().handle::<Badge>(request).await;
    assert!(matches!(refused, Err(HandleError::Refused(Refusal::Boundary(_)))), "{refused:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_boundary_with_too_many_facts_fails_and_is_told() {
    let folder = Folder::new();
    let running = open(&folder, 2).await;
    for number in 1..=3 {
        let (status, done) = ask(&running, "/badges/1/return", &[], Some(json!({}))).await;
        assert!(matches!((number, status), (1, 201) | (2..=3, 200)), "{done}");
    }
    let (status, full) = ask(&running, "/badges/1/return", &[], Some(json!({}))).await;
    assert_eq!((status, &full["code"]), (500, &json!(Code::BoundaryLimit.as_str())));
    running.stop().await.unwrap();
}

/// A store whose callers have all read before any of them writes.
struct Together {
    inner: Arc<dyn EventStore>,
    read: Barrier,
}

impl EventStore for Together {
    fn load<'a>(
        &'a self,
        stream: &'a StreamRef,
        after: Version,
        events_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Arc<RawFact>>, Fault>> {
        self.inner.load(stream, after, events_max)
    }

    fn load_query<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a TagQuery,
        after: Position,
        facts_max: usize,
    ) -> BoxFuture<'a, Result<Matched, Fault>> {
        Box::pin(async move {
            let found = self.inner.load_query(tenant, query, after, facts_max).await?;
            self.read.wait().await;
            Ok(found)
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.inner.commit(commit)
    }

    fn recorded<'a>(
        &'a self,
        tenant: &'a Tenant,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<CommandRecord>, Fault>> {
        self.inner.recorded(tenant, id)
    }

    fn expire_keys(&self, before: Timestamp, keys_max: usize) -> BoxFuture<'_, Result<usize, Fault>> {
        self.inner.expire_keys(before, keys_max)
    }
}

impl AuditLog for Together {
    fn audited<'a>(&'a self, query: &'a AuditQuery) -> BoxFuture<'a, Result<AuditPage, Fault>> {
        self.inner.audited(query)
    }
}

impl StateStore for Together {
    fn load_state<'a>(&'a self, stream: &'a StreamRef) -> BoxFuture<'a, Result<Option<StateRow>, Fault>> {
        self.inner.load_state(stream)
    }

    fn streams_of<'a>(
        &'a self,
        category: &'a str,
        after: Option<&'a StreamRef>,
        streams_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamStanding>, Fault>> {
        self.inner.streams_of(category, after, streams_max)
    }

    fn write_state<'a>(&'a self, stream: &'a StreamRef, row: StateRow) -> BoxFuture<'a, Result<bool, Fault>> {
        self.inner.write_state(stream, row)
    }

    fn drop_states<'a>(&'a self, category: &'a str, rows_max: usize) -> BoxFuture<'a, Result<usize, Fault>> {
        self.inner.drop_states(category, rows_max)
    }

    fn show_states<'a>(
        &'a self,
        category: &'a str,
        columns: &'static [StateColumn],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.show_states(category, columns)
    }

    fn hide_states<'a>(&'a self, category: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        self.inner.hide_states(category)
    }
}

#[tokio::test]
async fn a_command_that_loses_every_race_is_told_that_its_boundary_moved() {
    let folder = Folder::new();
    let running = open(&folder, 10).await;
    let store = Together { inner: Arc::clone(running.store()) as _, read: Barrier::new(2) };
    let limits = CommandLimits { attempts_max: 1, ..CommandLimits::default() };
    let deciders = vec![erase_boundary::<Badge>()];
    let commands =
        Commands::new(Arc::new(store), deciders, Arc::new(Unrestricted), Arc::new(SystemClock), limits);
    let claim = |badge: &str| {
        let claim = BadgeCommand::Claim { name: "ann".into() };
        let request = Request::by(running.principal()).to(&BadgeId::new(badge), claim);
        commands.handle::<Badge>(request.command_id(badge))
    };
    let (one, two) = tokio::join!(claim("1"), claim("2"));
    let (loser, lost) = if one.is_ok() { ("2", two) } else { ("1", one) };
    let Err(HandleError::Conflict(conflict)) = lost else { panic!("{lost:?}") };
    let cause = ConflictCause::Boundary { position: Position(1) };
    assert_eq!((conflict.cause, conflict.attempts), (cause, 1));
    assert_eq!(conflict.stream.key.as_str(), loser);
    let id = CommandId::new(loser).unwrap();
    let record = running.commands().recorded(running.principal(), &id).await.unwrap().unwrap();
    assert_eq!(record.outcome, Outcome::Refused(RefusedFor::Conflict), "the evidence of a lost race");
    running.stop().await.unwrap();
}
