//! A real log as a load: every event of the Italian police's fines, appended by many callers at once and read
//! back whole, held against the figures of its publishers
//! (doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5).
//!
//! The file may not be copied into the project. `DIPTYCH_FINES` says where it is; without it nothing runs
//! here, and `cargo xtask test` says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]
#![allow(clippy::print_stderr, reason = "a test that did not run says so")]

mod common;

use common::{Place, tenant};
use diptych_command::{CommandHeader, Commit, Effect, EventStore, InputHash, RawCommand};
use diptych_core::{
    Actor, CommandId, ExpectedVersion, NewEvent, Position, StreamId, StreamRef, Timestamp, Version,
};
use diptych_postgres::PostgresStore;
use diptych_query::{Categories, Feed};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// What the publishers counted, by type.
const COUNTS: [(&str, usize); 11] = [
    ("Add penalty", 79_860),
    ("Appeal to Judge", 555),
    ("Create Fine", 150_370),
    ("Insert Date Appeal to Prefecture", 4_188),
    ("Insert Fine Notification", 79_860),
    ("Notify Result Appeal to Offender", 896),
    ("Payment", 77_601),
    ("Receive Result Appeal from Prefecture", 999),
    ("Send Appeal to Prefecture", 4_141),
    ("Send Fine", 103_987),
    ("Send for Credit Collection", 59_013),
];
const EVENTS: usize = 561_470;
const TRACES: usize = 150_370;
const VARIANTS: usize = 231;
const EVENTS_PER_TRACE_MAX: usize = 20;

/// Callers at once; all of their commands may go in one group.
const CALLERS: usize = 2_048;

/// Positions that are read at once.
const POSITIONS_MAX: usize = 10_000;

/// Columns that the log keeps by itself: case, place in the case, activity, time.
const OWN_COLUMNS: usize = 4;

/// A row of the file.
struct Event {
    name: &'static str,
    occurred_at: Timestamp,
    payload: String,
}

/// The rows of one case, in their order.
struct Case {
    id: String,
    events: Vec<Event>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_log_of_fines_is_taken_and_read_back_whole() {
    let Some(path) = std::env::var_os("DIPTYCH_FINES") else {
        eprintln!("not run: DIPTYCH_FINES names no file");
        return;
    };
    let cases = Arc::new(read_file(&File::open(path).unwrap()));
    assert_eq!((cases.len(), events_of(&cases)), (TRACES, EVENTS), "the file is another one");
    let mut options = Place::new().await.options();
    options.limits.group_commands_max = CALLERS;
    let store = PostgresStore::open(options).await.unwrap();
    append_all(&store, &cases).await;
    check_log(&store, &cases).await;
    let statistics = store.statistics().await.unwrap();
    assert_eq!((statistics.events, statistics.streams), (EVENTS as u64, TRACES as u64));
}

fn events_of(cases: &[Case]) -> usize {
    cases.iter().map(|case| case.events.len()).sum()
}

fn read_file(file: &File) -> Vec<Case> {
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    let columns: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(columns[..OWN_COLUMNS], ["case", "seq", "activity", "timestamp"]);
    let mut cases: Vec<Case> = Vec::new();
    for row in reader.records() {
        let row = row.unwrap();
        if cases.last().is_none_or(|case| case.id != row[0]) {
            cases.push(Case { id: row[0].to_owned(), events: Vec::new() });
        }
        let case = cases.last_mut().unwrap();
        assert_eq!(row[1].parse(), Ok(case.events.len() + 1), "{}", case.id);
        let (name, _) = COUNTS.iter().find(|(name, _)| *name == &row[2]).unwrap();
        let rest: serde_json::Map<String, serde_json::Value> = (columns.iter().zip(&row).skip(OWN_COLUMNS))
            .filter(|(_, value)| !value.is_empty())
            .map(|(column, value)| (column.clone(), value.into()))
            .collect();
        let payload = serde_json::to_string(&rest).unwrap();
        case.events.push(Event { name, occurred_at: row[3].parse().unwrap(), payload });
    }
    cases
}

/// Each case is appended in its order, by one command for what happened at the same time; the cases all at
/// once.
async fn append_all(store: &Arc<PostgresStore>, cases: &Arc<Vec<Case>>) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (store, cases, next) = (Arc::clone(store), Arc::clone(cases), Arc::clone(&next));
        callers.spawn(async move {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                append(&store, case).await;
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
}

async fn append(store: &PostgresStore, case: &Case) {
    let mut base = 0;
    for events in case.events.chunk_by(|one, other| one.occurred_at == other.occurred_at) {
        let done = store.commit(commit(case, base, events)).await.unwrap();
        base += events.len() as u64;
        assert_eq!((done.record.version, done.replayed), (Version(base), false), "{}", case.id);
    }
}

fn commit(case: &Case, base: u64, events: &[Event]) -> Commit {
    let stream = StreamRef { tenant: tenant("main"), stream: StreamId::new("fine", &case.id).unwrap() };
    let command = RawCommand { name: "record".to_owned(), body: events[0].payload.clone() };
    let actor = Actor::new("police").unwrap();
    let new = events.iter().map(|event| NewEvent::new(event.name, 1, event.payload.clone()));
    let header = CommandHeader {
        id: CommandId::new(format!("{}-{base}", case.id)).unwrap(),
        hash: InputHash::of(&actor, &stream, &command, ExpectedVersion::Any),
        stream,
        name: command.name,
        actor,
        correlation: None,
        causation: None,
        policy: None,
        occurred_at: events[0].occurred_at,
    };
    Commit::new(header, Effect::Append { base: Version(base).into(), events: new.collect() })
}

/// Every position and every version is there, every event is the one of the file, and the figures are those
/// of the publishers.
async fn check_log(store: &PostgresStore, cases: &[Case]) {
    let expected: HashMap<&str, &Case> = cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut traces: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut position = Position::START;
    loop {
        let block = store.read(position, &Categories::All, POSITIONS_MAX).await.unwrap();
        for fact in &block.facts {
            position = position.next();
            assert_eq!(fact.position, position, "a gap in the log");
            let case = expected[fact.stream.stream.key.as_str()];
            let trace = traces.entry(&case.id).or_default();
            assert_eq!(fact.version.0, trace.len() as u64 + 1, "a gap in {}", fact.stream);
            let event = &case.events[trace.len()];
            assert_eq!(
                (&*fact.event.name, fact.occurred_at, &*fact.payload),
                (event.name, event.occurred_at, event.payload.as_str())
            );
            trace.push(event.name);
            *counts.entry(event.name).or_default() += 1;
        }
        if block.facts.is_empty() {
            break;
        }
    }
    assert_eq!(position, Position(EVENTS as u64));
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), COUNTS);
    assert_eq!(traces.len(), TRACES);
    assert_eq!(traces.values().map(Vec::len).max(), Some(EVENTS_PER_TRACE_MAX));
    assert_eq!(traces.into_values().collect::<BTreeSet<_>>().len(), VARIANTS);
}
