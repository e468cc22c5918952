//! The log and the ledger of one store: appends, versions, keys, replays, many callers, other processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::*;
use diptych_command::{CommitError, Effect, EventStore, Outcome, RefusedFor};
use diptych_core::{CommandId, Fingerprint, Position, Timestamp, Version};
use diptych_query::{Categories, Feed};
use std::sync::Arc;

#[tokio::test]
async fn an_appended_event_reads_back_as_it_was_written() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let committed = deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let [fact] = &committed.events[..] else { panic!("one event was appended") };
    assert_eq!((fact.position, fact.version), (Position(1), Version(1)));
    assert_eq!(fact.occurred_at, Timestamp::from_stored(1_600_000_000_000_000));
    assert_eq!(&*fact.payload, "5");
    let read = store.load(&stream("a"), Version::NONE, 10).await.unwrap();
    assert_eq!(read, committed.events);
    let block = store.read(Position::START, &Categories::All, 10).await.unwrap();
    assert_eq!(block.facts, committed.events);
    assert_eq!(block.through.token, committed.record.token);
    assert_eq!(store.head().await.unwrap(), block.through);
    let fingerprint = Fingerprint::of_entry(
        &fact.stream,
        fact.version,
        "Deposited",
        fact.recorded_at.as_micros(),
        &fact.payload,
    );
    assert_eq!(committed.record.token.fingerprint, fingerprint);
    store.close().await;
}

#[tokio::test]
async fn a_stale_base_is_a_conflict_and_leaves_nothing() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let lost = deposit(&store, "c2", "a", 0, 5).await;
    let Err(CommitError::Conflict(conflict)) = lost else { panic!("{lost:?}") };
    assert_eq!((conflict.expected, conflict.actual), (Version(0), Version(1)));
    assert_eq!(store.recorded(&tenant("main"), &CommandId::new("c2").unwrap()).await.unwrap(), None);
    assert_eq!(store.event_count().unwrap(), 1);
}

#[tokio::test]
async fn the_same_command_again_is_answered_from_the_ledger_even_after_a_restart() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let first = {
        let store = open(&directory.0, &clock, vec![]);
        deposit(&store, "01991c3e-7b2a-7c3d-8e4f-0123456789ab", "a", 0, 5).await.unwrap()
        // The store is dropped without being closed.
    };
    clock.turn(1_000_000);
    let store = open(&directory.0, &clock, vec![]);
    let again = deposit(&store, "01991c3e-7b2a-7c3d-8e4f-0123456789ab", "a", 0, 5).await.unwrap();
    assert!(again.replayed && again.events.is_empty());
    assert_eq!(again.record, first.record);
    let other = store.commit(append("01991c3e-7b2a-7c3d-8e4f-0123456789ab", "b", 0, &[])).await;
    assert!(matches!(other, Err(CommitError::KeyReused)), "{other:?}");
    assert_eq!(store.event_count().unwrap(), 1);
}

#[tokio::test]
async fn rejections_are_final_and_refusals_leave_the_key_free() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let mut commit = append("c1", "a", 0, &[]);
    commit.effect = Effect::Refuse { reason: RefusedFor::Conflict, version: Version(3) };
    let refused = store.commit(commit.clone()).await.unwrap();
    let id = CommandId::new("c1").unwrap();
    assert_eq!(store.recorded(&tenant("main"), &id).await.unwrap(), Some(refused.record));
    let (name, data) = ("Broke".to_owned(), "{}".to_owned());
    commit.effect = Effect::Reject { base: Version(0).into(), name: name.clone(), data: data.clone() };
    let rejected = store.commit(commit.clone()).await.unwrap();
    assert_eq!(rejected.record.outcome, Outcome::Rejected { name, data });
    assert!(store.commit(commit).await.unwrap().replayed);
    assert_eq!(store.recorded(&tenant("main"), &id).await.unwrap(), Some(rejected.record));
    assert_eq!(store.recorded(&tenant("other"), &id).await.unwrap(), None);
}

#[tokio::test]
async fn keys_expire_in_order_of_time_and_the_audit_stays() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    for number in 0..4u64 {
        clock.turn(1_000_000);
        deposit(&store, &format!("c{number}"), "a", number, 1).await.unwrap();
    }
    let last = store.head().await.unwrap().recorded_at;
    assert_eq!(store.expire_keys(last, 2).await.unwrap(), 2);
    assert_eq!(store.expire_keys(last, 10).await.unwrap(), 1);
    assert_eq!(store.expire_keys(last, 10).await.unwrap(), 0);
    let id = |text: &str| CommandId::new(text).unwrap();
    assert_eq!(store.recorded(&tenant("main"), &id("c2")).await.unwrap(), None);
    assert!(store.recorded(&tenant("main"), &id("c3")).await.unwrap().is_some());
    assert_eq!(store.statistics().await.unwrap().commands, 4);
    // The key is free again.
    deposit(&store, "c0", "a", 4, 1).await.unwrap();
}

#[tokio::test]
async fn recorded_times_never_decrease_when_the_clock_goes_back() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let first = {
        let store = open(&directory.0, &clock, vec![]);
        deposit(&store, "c1", "a", 0, 5).await.unwrap()
    };
    clock.turn(-1_000_000);
    let store = open(&directory.0, &clock, vec![]);
    let second = deposit(&store, "c2", "a", 1, 5).await.unwrap();
    assert_eq!(second.record.recorded_at, first.record.recorded_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_one_log_without_gaps() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let callers = (0..32).map(|caller| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0..20u64 {
                // Half of the callers fight for one stream, the others have their own.
                let key = if caller % 2 == 0 { "shared".to_owned() } else { format!("own-{caller}") };
                let mut base = number;
                loop {
                    match deposit(&store, &format!("{caller}-{number}"), &key, base, 1).await {
                        Ok(_) => break,
                        Err(CommitError::Conflict(conflict)) => base = conflict.actual.0,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let block = store.read(Position::START, &Categories::All, usize::MAX).await.unwrap();
    assert_eq!(block.facts.len(), 32 * 20);
    assert!(block.facts.iter().zip(1..).all(|(fact, position)| fact.position == Position(position)));
    assert_eq!(store.load(&stream("shared"), Version::NONE, 1_000).await.unwrap().len(), 16 * 20);
    assert_eq!(*store.watch().borrow(), Position(32 * 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_directory_append_in_turn_and_wake_each_other() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (one, two) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    let mut watch = one.watch();
    for number in 0..20u64 {
        let store = if number % 2 == 0 { &one } else { &two };
        let committed = deposit(store, &format!("c{number}"), "a", number, 1).await.unwrap();
        assert_eq!(committed.record.token.position, Position(number + 1));
    }
    let reached = watch.wait_for(|head| *head == Position(20));
    tokio::time::timeout(std::time::Duration::from_secs(10), reached).await.unwrap().unwrap();
    assert!(deposit(&two, "c0", "a", 0, 1).await.unwrap().replayed);
    assert_eq!(one.head().await.unwrap(), two.head().await.unwrap());
    one.close().await;
    deposit(&two, "c20", "a", 20, 1).await.unwrap();
    let refused = deposit(&one, "c21", "a", 21, 1).await;
    assert!(matches!(refused, Err(CommitError::Fault(_))), "{refused:?}");
}

#[tokio::test]
async fn a_reader_passes_over_other_categories_and_never_over_positions() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    for number in 0..5u64 {
        deposit(&store, &format!("c{number}"), "a", number, 1).await.unwrap();
    }
    let block = store.read(Position(1), &Categories::Only(vec!["order"]), 2).await.unwrap();
    assert!(block.facts.is_empty());
    assert_eq!((block.through.position(), block.head), (Position(3), Position(5)));
    assert!(store.read(Position(6), &Categories::All, 1).await.is_err());
    assert_eq!(store.mark(Position(6)).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_queue_turns_callers_away() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open_with(&directory.0, &clock, vec![], |options| options.limits.queue_commands_max = 0);
    let refused = deposit(&store, "c1", "a", 0, 1).await;
    assert!(matches!(refused, Err(CommitError::Overloaded { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_closed_store_leaves_no_wal_behind() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    deposit(&store, "c1", "a", 0, 1).await.unwrap();
    store.load(&stream("a"), Version::NONE, 1).await.unwrap();
    store.close().await;
    assert!(directory.0.join("log.db").exists());
    assert!(!directory.0.join("log.db-wal").exists());
}

#[test]
fn the_page_key_is_made_once_and_is_its_owners() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    store.page_key().unwrap();
    let path = directory.0.join("page.key");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.trim().len(), 64);
    store.page_key().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(&path, "nonsense\n").unwrap();
    assert!(store.page_key().is_err());
}

/// States as people ask for them by SQL.
mod states {
    use super::*;
    use diptych_command::{NewState, Shape, StateColumn, StateStore};
    use rusqlite::Connection;

    const COLUMNS: &[StateColumn] =
        &[StateColumn::text("owner", "owner").indexed(), StateColumn::boolean("open", "isOpen")];
    const MORE: &[StateColumn] = &[
        StateColumn::text("owner", "owner"),
        StateColumn::integer("pence", "pence").indexed(),
        StateColumn::timestamp("opened_at", "openedAt"),
    ];

    fn leaving(id: &str, key: &str, state: &str) -> diptych_command::Commit {
        append(id, key, 0, &[AccountEvent::Deposited(1)])
            .with_state(NewState { shape: Shape(1), state: state.to_owned() })
    }

    fn texts(log: &Connection, sql: &str) -> Vec<String> {
        let mut statement = log.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn declared_columns_stand_beside_the_json() {
        let (directory, clock) = (Directory::new(), Hands::new());
        let store = open(&directory.0, &clock, vec![]);
        // Made before anything of the category is there.
        store.show_states("account", COLUMNS).await.unwrap();
        store.commit(leaving("1", "a", r#"{"owner":"ann","isOpen":true}"#)).await.unwrap();
        store.commit(leaving("2", "b", r#"{"owner":"bob","isOpen":false,"pence":12}"#)).await.unwrap();
        let log = Connection::open(directory.0.join("log.db")).unwrap();
        let shown = "SELECT concat_ws(' ', tenant, key, version, position, owner, open) \
            FROM state_account ORDER BY key";
        assert_eq!(texts(&log, shown), ["main a 1 1 ann 1", "main b 1 2 bob 0"]);
        let plan = texts(&log, "SELECT sql FROM sqlite_schema WHERE name = 'state_account.owner'");
        assert_eq!(plan.len(), 1, "the declared index");
        let found = "EXPLAIN QUERY PLAN SELECT key FROM state_account WHERE owner = 'bob'";
        let mut statement = log.prepare(found).unwrap();
        let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.contains("state_account.owner")), "{steps:?}");
    }

    #[tokio::test]
    async fn a_view_follows_its_declaration_and_goes_when_it_is_told() {
        let (directory, clock) = (Directory::new(), Hands::new());
        let store = open(&directory.0, &clock, vec![]);
        store.show_states("account", COLUMNS).await.unwrap();
        store
            .commit(leaving("1", "a", r#"{"owner":"ann","pence":12,"openedAt":"2026-07-07T09:00:00Z"}"#))
            .await
            .unwrap();
        for _ in 0..2 {
            store.show_states("account", MORE).await.unwrap();
        }
        let log = Connection::open(directory.0.join("log.db")).unwrap();
        let shown = "SELECT concat_ws(' ', key, owner, pence, opened_at) FROM state_account";
        assert_eq!(texts(&log, shown), ["a ann 12 2026-07-07T09:00:00Z"]);
        let objects = "SELECT name FROM sqlite_schema WHERE name LIKE 'state_account%' ORDER BY name";
        assert_eq!(texts(&log, objects), ["state_account", "state_account.pence"]);
        store.hide_states("account").await.unwrap();
        assert_eq!(texts(&log, objects), Vec::<String>::new());
        assert!(store.load_state(&stream("a")).await.unwrap().is_some(), "hiding loses nothing");
    }
}
