//! When the store cannot commit: no room, another process in the way, a commit that fails, a defect in the
//! writer's thread. And what keeps a store from growing for ever.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::AccountEvent::Closed;
use common::*;
use diptych_command::{CommitError, Committed, EventStore};
use diptych_core::{Clock, Code, CommandId, Fault, Position, Timestamp, Version};
use diptych_query::ModelStore;
use diptych_sqlite::{SqliteOptions, SqliteStore};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[track_caller]
fn fault_of(failed: Result<Committed, CommitError>) -> Fault {
    match failed {
        Err(CommitError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

async fn is_recorded(store: &SqliteStore, id: &str) -> bool {
    store.recorded(&tenant("main"), &CommandId::new(id).unwrap()).await.unwrap().is_some()
}

fn log_of(directory: &Directory) -> Connection {
    Connection::open(directory.0.join("log.db")).unwrap()
}

fn count(path: &Path, sql: &str) -> i64 {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_room_leaves_nothing_and_succeeds_once_there_is_room() {
    const COMMANDS: u64 = 4_000;
    let (directory, clock) = (Directory::new(), Hands::new());
    let small = |limit: Option<u64>| {
        open_with(&directory.0, &clock, vec![], |options| options.limits.log_bytes_max = limit)
    };
    let store = small(Some(400_000));
    let mut failed = Vec::new();
    let mut done = 0;
    // Callers in groups, so that a group that finds no room has neighbours before and after it.
    for group in 0..COMMANDS / 16 {
        let callers: Vec<_> = (group * 16..(group + 1) * 16)
            .map(|number| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    (number, deposit(&store, &format!("c{number}"), &format!("k{number}"), 0, 1).await)
                })
            })
            .collect();
        for caller in callers {
            match caller.await.unwrap() {
                (_, Ok(_)) => done += 1,
                (number, failure) => {
                    let fault = fault_of(failure);
                    assert_eq!((fault.code(), fault.is_transient()), (Code::StorageFull, true), "{fault}");
                    failed.push(number);
                }
            }
        }
        if failed.len() > 100 {
            break;
        }
    }
    assert!(failed.len() > 100 && done > 100, "{} failed, {done} done", failed.len());
    assert_eq!(store.event_count().unwrap(), done);
    assert_eq!(store.statistics().await.unwrap().commands, done);
    for number in &failed {
        assert!(!is_recorded(&store, &format!("c{number}")).await);
        assert!(store.load(&stream(&format!("k{number}")), Version::NONE, 1).await.unwrap().is_empty());
    }
    // What is there is still read, and answered from the ledger.
    assert!(deposit(&store, "c0", "k0", 0, 1).await.unwrap().replayed);
    store.close().await;
    let store = small(None);
    for number in &failed {
        let answer = deposit(&store, &format!("c{number}"), &format!("k{number}"), 0, 1).await.unwrap();
        assert!(!answer.replayed);
    }
    assert_eq!(store.event_count().unwrap(), done + failed.len() as u64);
}

#[tokio::test]
async fn a_store_that_another_process_holds_answers_with_a_fault_that_passes() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open_with(&directory.0, &clock, vec![], |options| {
        options.limits.busy_timeout = Duration::from_millis(1);
    });
    deposit(&store, "c1", "a", 0, 1).await.unwrap();
    let other = log_of(&directory);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let fault = fault_of(deposit(&store, "c2", "a", 1, 1).await);
    assert_eq!((fault.code(), fault.is_transient()), (Code::Storage, true), "{fault}");
    assert!(!is_recorded(&store, "c2").await);
    other.execute_batch("ROLLBACK").unwrap();
    let answer = deposit(&store, "c2", "a", 1, 1).await.unwrap();
    assert!(!answer.replayed);
    assert_eq!(answer.record.token.position, Position(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_takes_its_group_back_and_leaves_every_key_free() {
    // A row that refers to nothing is noticed at the commit, when everything else has been written.
    const TRAP: &str = "CREATE TABLE trap (position INTEGER REFERENCES event DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER trap AFTER INSERT ON event BEGIN INSERT INTO trap VALUES (-1); END;";
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    deposit(&store, "c0", "a", 0, 1).await.unwrap();
    log_of(&directory).execute_batch(TRAP).unwrap();
    let callers: Vec<_> = (1..=8_u64)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { deposit(&store, &format!("c{number}"), &format!("k{number}"), 0, 1).await },
            )
        })
        .collect();
    for caller in callers {
        assert_eq!(fault_of(caller.await.unwrap()).code(), Code::Storage);
    }
    assert_eq!(store.event_count().unwrap(), 1);
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 1)]);
    log_of(&directory).execute_batch("DROP TRIGGER trap; DROP TABLE trap").unwrap();
    for number in 1..=8 {
        assert!(!is_recorded(&store, &format!("c{number}")).await);
        let answer = deposit(&store, &format!("c{number}"), &format!("k{number}"), 0, 1).await.unwrap();
        assert!(!answer.replayed);
        assert_eq!(answer.record.token.position, Position(number + 1));
    }
    assert_eq!(balances(&store, &inline).await.len(), 9);
}

/// A clock that breaks when told to: the only code of a user that the writer runs outside of a fold.
struct Brittle {
    broken: AtomicBool,
}

impl Clock for Brittle {
    fn now(&self) -> Timestamp {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock is broken");
        Timestamp::from_stored(1_700_000_000_000_000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_in_the_writers_thread_answers_everyone_and_the_next_command_is_done() {
    let directory = Directory::new();
    let clock = Arc::new(Brittle { broken: AtomicBool::new(false) });
    let store = SqliteStore::open(SqliteOptions::at(&directory.0, Arc::clone(&clock) as _)).unwrap();
    deposit(&store, "c0", "a", 0, 1).await.unwrap();
    clock.broken.store(true, Ordering::SeqCst);
    let callers: Vec<_> = (1..=8_u64)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { deposit(&store, &format!("c{number}"), &format!("k{number}"), 0, 1).await },
            )
        })
        .collect();
    for caller in callers {
        let fault = fault_of(caller.await.unwrap());
        assert_eq!((fault.code(), fault.is_transient()), (Code::Internal, true), "{fault}");
    }
    clock.broken.store(false, Ordering::SeqCst);
    let answer = deposit(&store, "c1", "a", 1, 1).await.unwrap();
    assert_eq!((answer.replayed, answer.record.token.position), (false, Position(2)));
}

#[tokio::test]
async fn a_store_whose_writer_has_ended_refuses_and_does_not_hang() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    store.close().await;
    fault_of(deposit(&store, "c1", "a", 0, 1).await);
    assert!(store.expire_keys(Timestamp::EPOCH, 1).await.is_err());
}

#[tokio::test]
async fn the_history_of_checkpoints_stays_within_its_limit() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let model = group::<Balance>();
    let store = open_with(&directory.0, &clock, vec![], |options| {
        options.limits.checkpoint_history_max = 5;
    });
    store.attach(&model).await.unwrap();
    let path = directory.0.join("models/balance-r1-g1.db");
    for number in 0..20_u64 {
        clock.turn(1_000_000);
        deposit(&store, &format!("c{number}"), "a", number, 1).await.unwrap();
        drain(&store, &model, 10).await;
        let moves = count(&path, "SELECT count(*) FROM checkpoint_history");
        assert_eq!(moves, i64::try_from(number + 1).unwrap().min(5));
    }
    // What is remembered is the end of the history, and what is forgotten is not made up.
    let at = |position| store.passed_at(&model, Position(position));
    assert!(at(20).await.unwrap().is_some() && at(16).await.unwrap().is_some());
    assert_eq!(at(3).await.unwrap(), None);
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 20)]);
}

#[tokio::test]
async fn tombstones_are_forgotten_beyond_their_window() {
    const WINDOW: u64 = 8;
    let (directory, clock) = (Directory::new(), Hands::new());
    let (inline, model) = (group::<InlineBalance>(), group::<Balance>());
    let store = open_with(&directory.0, &clock, vec![inline.clone()], |options| {
        options.limits.tombstone_window_events = WINDOW;
    });
    store.attach(&model).await.unwrap();
    let paths = [directory.0.join("log.db"), directory.0.join("models/balance-r1-g1.db")];
    let tombstones = |path: &Path| {
        let table = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%tombstone%'";
        let name: String = Connection::open(path).unwrap().query_row(table, [], |row| row.get(0)).unwrap();
        count(path, &format!("SELECT count(*) FROM {name}"))
    };
    let mut most = 0;
    for number in 0..40_u64 {
        let key = format!("k{number}");
        deposit(&store, &format!("d{number}"), &key, 0, 1).await.unwrap();
        store.commit(append(&format!("e{number}"), &key, 1, &[Closed])).await.unwrap();
        drain(&store, &model, 10).await;
        for path in &paths {
            let held = tombstones(path);
            // Every second event leaves one; a sweep comes at least every eighth of the window.
            assert!(held >= 1 && held <= i64::try_from(WINDOW).unwrap(), "{held} at {number}");
            most = most.max(held);
        }
    }
    assert!(most >= 2, "the window itself is kept");
    assert!(balances(&store, &inline).await.is_empty() && balances(&store, &model).await.is_empty());
}
