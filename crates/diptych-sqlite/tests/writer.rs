//! What the writer remembers of streams between two groups, beside other processes that append to the same
//! log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::AccountEvent::{Cursed, Deposited};
use common::*;
use diptych_command::{CommitError, Effect, EventStore, RefusedFor};
use diptych_core::{Code, Position, Version};
use diptych_query::{Categories, Feed};
use diptych_sqlite::SqliteStore;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives a deposit on a base that is wrong, and checks that the store says where the stream really is.
#[track_caller]
fn check_conflict(lost: Result<diptych_command::Committed, CommitError>, expected: u64, actual: u64) {
    let Err(CommitError::Conflict(conflict)) = lost else { panic!("{lost:?}") };
    assert_eq!((conflict.expected, conflict.actual), (Version(expected), Version(actual)));
}

#[tokio::test]
async fn a_version_that_another_process_has_moved_is_seen() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (one, two) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    deposit(&one, "c1", "a", 0, 1).await.unwrap();
    deposit(&two, "c2", "a", 1, 1).await.unwrap();
    check_conflict(deposit(&one, "c3", "a", 1, 1).await, 1, 2);
    deposit(&one, "c3", "a", 2, 1).await.unwrap();
    check_conflict(deposit(&two, "c4", "a", 2, 1).await, 2, 3);
    deposit(&two, "c4", "a", 3, 1).await.unwrap();
    // A move of another stream makes nothing of this one wrong, and nothing right.
    deposit(&one, "c5", "b", 0, 1).await.unwrap();
    check_conflict(deposit(&two, "c6", "a", 3, 1).await, 3, 4);
    let versions = one.load(&stream("a"), Version::NONE, 10).await.unwrap();
    assert!(versions.iter().map(|fact| fact.version.0).eq(1..=4));
}

#[tokio::test]
async fn a_stream_that_another_process_has_named_without_an_event_is_found() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (one, two) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    deposit(&one, "c1", "a", 0, 1).await.unwrap();
    check_conflict(deposit(&one, "c2", "b", 7, 1).await, 7, 0);
    let mut refusal = append("c3", "b", 0, &[]);
    refusal.effect = Effect::Refuse { reason: RefusedFor::Conflict, version: Version(0) };
    two.commit(refusal).await.unwrap();
    deposit(&one, "c2", "b", 0, 1).await.unwrap();
    check_conflict(deposit(&two, "c4", "b", 0, 1).await, 0, 1);
}

#[tokio::test]
async fn many_streams_and_two_processes_in_turns_keep_every_version() {
    let (directory, clock) = (Directory::new(), Hands::new());
    // Two names at a time: the memory starts over again and again.
    let small = |directory: &std::path::Path| -> Arc<SqliteStore> {
        open_with(directory, &clock, vec![], |options| options.limits.stream_names_max = 2)
    };
    let stores = [small(&directory.0), small(&directory.0)];
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..240_usize {
        let (store, key) = (&stores[number / 3 % 2], format!("k{}", number * 7 % 5));
        let version = versions.entry(key.clone()).or_default();
        if number % 4 == 0 {
            let wrong = *version + 1;
            check_conflict(deposit(store, &format!("w{number}"), &key, wrong, 1).await, wrong, *version);
        }
        let committed = deposit(store, &format!("c{number}"), &key, *version, 1).await.unwrap();
        *version += 1;
        assert_eq!(committed.record.version, Version(*version));
        assert_eq!(committed.record.token.position, Position(number as u64 + 1));
    }
    let block = stores[0].read(Position::START, &Categories::All, 1_000).await.unwrap();
    let read = block.facts.iter().map(|fact| fact.stream.stream.key.as_str().to_owned());
    assert!(read.eq((0..240_usize).map(|number| format!("k{}", number * 7 % 5))), "{:?}", block.facts);
    for (key, version) in versions {
        let facts = stores[0].load(&stream(&key), Version::NONE, 1_000).await.unwrap();
        assert!(facts.iter().map(|fact| fact.version.0).eq(1..=version), "stream {key}");
    }
}

#[tokio::test]
async fn what_a_command_took_back_is_not_remembered() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![group::<InlineBalance>()]);
    deposit(&store, "c1", "a", 0, 1).await.unwrap();
    for (id, key, base) in [("c2", "a", 1), ("c3", "new", 0)] {
        let failed = store.commit(append(id, key, base, &[Deposited(1), Cursed])).await;
        let Err(CommitError::Fault(fault)) = failed else { panic!("{failed:?}") };
        assert_eq!(fault.code(), Code::InlineFailed);
        // Its key is as free as its stream is unmoved.
        let again = deposit(&store, id, key, base, 1).await.unwrap();
        assert!(!again.replayed);
        assert_eq!(again.record.version, Version(base + 1));
    }
    let block = store.read(Position::START, &Categories::All, 10).await.unwrap();
    assert_eq!(block.facts.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_by_many_callers_at_once_is_done_once() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { deposit(&store, "c1", "a", 0, 5).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.record == answers[0].record));
    assert_eq!(store.event_count().unwrap(), 1);
}
