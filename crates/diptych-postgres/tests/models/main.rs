//! Rows and checkpoints: inline in the append, asynchronous beside it, and never one without the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod builds;
mod kept_by_sql;
mod plans;
mod pooled;
mod world;

use diptych_command::{CommitError, EventStore};
use diptych_core::{Code, Position, Value};
use diptych_postgres::PostgresStore;
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    AdvanceError, Condition, Cursor, Direction, Feed, Fold, Group, Health, ModelStore, Operator, Partition,
    RawFind, RowRef, Stopped,
};
use std::collections::BTreeMap;
use std::time::Duration;
use world::AccountEvent::{Closed, Cursed, Deposited};
use world::*;

/// The digest kept must be that of the rows.
async fn check_digest(store: &PostgresStore, group: &Group) {
    let schema = group.models()[0].schema();
    let mut expected: BTreeMap<u8, (i64, u128)> = BTreeMap::new();
    for row in store.scan(group, schema, None, usize::MAX).await.unwrap() {
        let held = expected.entry(bucket_of(&row.row.tenant, &row.row.key)).or_default();
        held.0 += 1;
        held.1 = held.1.wrapping_add(row_digest(&row.row.tenant, &row.values.unwrap()));
    }
    let kept = store.digest(group, schema).await.unwrap();
    let kept: BTreeMap<_, _> = kept.into_iter().map(|(bucket, rows, sum)| (bucket, (rows, sum))).collect();
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn an_inline_row_is_there_with_the_answer() {
    let (database, clock) = (Database::new().await, Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&database, &clock, vec![inline.clone()]).await;
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    store.commit(append("c2", "a", 1, &[Deposited(7), Deposited(1)])).await.unwrap();
    deposit(&store, "c3", "b", 0, 2).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 13), ("b".to_owned(), 2)]);
    assert_eq!(store.checkpoint(&inline).await.unwrap().mark, store.head().await.unwrap());
    store.commit(append("c4", "b", 1, &[Closed])).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 13)]);
    deposit(&store, "c5", "b", 2, 9).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 13), ("b".to_owned(), 9)]);
    check_digest(&store, &inline).await;
    let visible = store.passed_at(&inline, Position(2)).await.unwrap();
    assert_eq!(visible, Some(store.mark(Position(2)).await.unwrap().unwrap().recorded_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_its_inline_model_cannot_take_fails_alone() {
    let (database, clock) = (Database::new().await, Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&database, &clock, vec![inline.clone()]).await;
    let commits: Vec<_> = (0..20)
        .map(|number| {
            let event = if number % 4 == 1 { Cursed } else { Deposited(1) };
            let (store, commit) =
                (store.clone(), append(&format!("c{number}"), &format!("k{number:02}"), 0, &[event]));
            tokio::spawn(async move { store.commit(commit).await })
        })
        .collect();
    for (number, commit) in commits.into_iter().enumerate() {
        match commit.await.unwrap() {
            Ok(_) => assert_ne!(number % 4, 1),
            Err(CommitError::Fault(fault)) => {
                assert_eq!((number % 4, fault.code()), (1, Code::InlineFailed), "{fault}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(store.head().await.unwrap().position().0, 15);
    assert_eq!(balances(&store, &inline).await.len(), 15);
    check_digest(&store, &inline).await;
}

#[tokio::test]
async fn an_inline_model_that_is_new_takes_the_log_first() {
    let (database, clock) = (Database::new().await, Hands::new());
    {
        let old = open(&database, &clock, vec![]).await;
        for number in 0..10u64 {
            deposit(&old, &format!("c{number}"), "a", number, 1).await.unwrap();
        }
    }
    let inline = group::<InlineBalance>();
    let store = open(&database, &clock, vec![inline.clone()]).await;
    assert_eq!(store.checkpoint(&inline).await.unwrap().mark.position(), Position(10));
    deposit(&store, "c10", "a", 10, 1).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 11)]);
    check_digest(&store, &inline).await;
}

#[tokio::test]
async fn an_inline_model_too_far_behind_catches_up_by_a_worker_and_goes_live_again() {
    let (database, clock) = (Database::new().await, Hands::new());
    {
        let old = open(&database, &clock, vec![]).await;
        for number in 0..10u64 {
            deposit(&old, &format!("c{number}"), "a", number, 1).await.unwrap();
        }
    }
    let inline = group::<InlineBalance>();
    let mut progress = None;
    let store = open_with(&database, &clock, vec![inline.clone()], |options| {
        options.limits.inline_catch_up_events_max = 3;
        progress = Some(options.progress.clone());
    })
    .await;
    let entry = progress.unwrap().entry("balance_inline");
    assert_eq!(entry.health(), Health::CatchingUp);
    deposit(&store, "c10", "a", 10, 1).await.unwrap();
    assert!(balances(&store, &inline).await.is_empty());
    drain(&store, &inline, 4).await;
    assert_eq!(entry.health(), Health::Live);
    deposit(&store, "c11", "a", 11, 1).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 12)]);
    assert_eq!(*entry.watch().borrow(), Position(12));
    check_digest(&store, &inline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_model_follows_what_another_process_appends() {
    let (database, clock) = (Database::new().await, Hands::new());
    let inline = group::<InlineBalance>();
    let mut progress = None;
    let store = open_with(&database, &clock, vec![inline.clone()], |options| {
        progress = Some(options.progress.clone());
    })
    .await;
    let older = open(&database, &clock, vec![]).await;
    deposit(&older, "c1", "a", 0, 5).await.unwrap();
    let mut watch = progress.unwrap().entry("balance_inline").watch();
    let reached = watch.wait_for(|position| *position == Position(1));
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap().unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn an_inline_model_stops_at_a_fact_that_somebody_else_appended_and_commands_go_on() {
    let (database, clock) = (Database::new().await, Hands::new());
    {
        let old = open(&database, &clock, vec![]).await;
        old.commit(append("c1", "a", 0, &[Deposited(1), Cursed])).await.unwrap();
    }
    let inline = group::<InlineBalance>();
    let store = open(&database, &clock, vec![inline.clone()]).await;
    deposit(&store, "c2", "b", 0, 1).await.unwrap();
    let checkpoint = store.checkpoint(&inline).await.unwrap();
    assert_eq!(checkpoint.mark.position(), Position::START);
    assert_eq!(checkpoint.stopped.unwrap().position, Position(2));
    assert!(balances(&store, &inline).await.is_empty());
}

#[tokio::test]
async fn any_cut_of_the_log_gives_the_same_rows() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    let mut versions = BTreeMap::new();
    for number in 0..60u64 {
        let key = format!("k{}", number % 7);
        let base = versions.entry(key.clone()).or_insert(0u64);
        let event = if number % 11 == 10 { Closed } else { Deposited(number as i64) };
        store.commit(append(&format!("c{number}"), &key, *base, &[event])).await.unwrap();
        *base += 1;
    }
    drain(&store, &model, 1).await;
    let one_by_one = balances(&store, &model).await;
    check_digest(&store, &model).await;
    for batch in [2, 7, 60] {
        store.reset(&model).await.unwrap();
        assert!(balances(&store, &model).await.is_empty());
        drain(&store, &model, batch).await;
        assert_eq!(balances(&store, &model).await, one_by_one);
        check_digest(&store, &model).await;
    }
}

#[tokio::test]
async fn a_large_build_ends_with_its_indexes_in_place() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    for number in 0..1_200u64 {
        let store = &store;
        deposit(store, &format!("c{number}"), &format!("k{number:04}"), 0, number as i64).await.unwrap();
    }
    drain(&store, &model, 10_000).await;
    check_digest(&store, &model).await;
    let person = database.person().await;
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'balance_r1_g1'";
    assert_eq!(person.query_one(indexes, &[]).await.unwrap().get::<_, i64>(0), 3);
    let seen = "SELECT account, balance, total::text FROM diptych.balance ORDER BY balance DESC LIMIT 1";
    let seen = person.query_one(seen, &[]).await.unwrap();
    let seen: (String, i64, String) = (seen.get(0), seen.get(1), seen.get(2));
    assert_eq!(seen, ("k1199".to_owned(), 1_199, "1.199".to_owned()));
    let checkpoint = "SELECT projection_name, partition_id, last_position FROM diptych.projection_checkpoint";
    assert!(person.query_opt(checkpoint, &[]).await.unwrap().is_none(), "a build that does not answer yet");
    serve(&store, &model).await;
    let checkpoint = person.query_one(checkpoint, &[]).await.unwrap();
    let checkpoint: (String, i32, i64) = (checkpoint.get(0), checkpoint.get(1), checkpoint.get(2));
    assert_eq!(checkpoint, ("balance".to_owned(), 0, 1_200));
}

#[tokio::test]
async fn a_fold_from_elsewhere_moves_nothing() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    let start = store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let block = store.read(Position::START, model.categories(), 10).await.unwrap();
    drain(&store, &model, 10).await;
    let mut fold = Fold::new(&model, &start);
    fold.plan(&block).unwrap();
    let moved = store.advance(&model, fold).await;
    assert!(matches!(moved, Err(AdvanceError::Moved { checkpoint: Position(1) })), "{moved:?}");
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn facts_delivered_again_change_nothing_even_for_deleted_rows() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    store.commit(append("c1", "a", 0, &[Deposited(5)])).await.unwrap();
    store.commit(append("c2", "b", 0, &[Deposited(6)])).await.unwrap();
    drain(&store, &model, 10).await;
    store.commit(append("c3", "b", 1, &[Closed])).await.unwrap();
    drain(&store, &model, 10).await;
    let all = store.read(Position::START, model.categories(), 10).await.unwrap();
    let mut fold = Fold::redelivery(&model, all.through);
    fold.plan_facts(&all.facts, all.through).unwrap();
    store.advance(&model, fold).await.unwrap();
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 5)]);
    check_digest(&store, &model).await;
}

#[tokio::test]
async fn an_edited_row_is_noticed_when_the_fold_meets_it() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    let person = database.person().await;
    person.batch_execute("UPDATE diptych.balance_r1_g1 SET balance = 500").await.unwrap();
    deposit(&store, "c2", "a", 1, 5).await.unwrap();
    let checkpoint = store.checkpoint(&model).await.unwrap();
    let block = store.read(Position(1), model.categories(), 10).await.unwrap();
    let mut fold = Fold::new(&model, &checkpoint);
    fold.plan(&block).unwrap();
    assert!(matches!(store.advance(&model, fold).await, Err(AdvanceError::Fold(_))));
    let stopped = Stopped { position: Position(2), reason: "edited".to_owned() };
    store.set_stopped(&model, Partition::WHOLE, Some(stopped.clone())).await.unwrap();
    assert_eq!(store.checkpoint(&model).await.unwrap().stopped, Some(stopped));
}

#[tokio::test]
async fn another_shape_under_the_same_revision_is_refused() {
    let (database, clock) = (Database::new().await, Hands::new());
    {
        let store = open(&database, &clock, vec![]).await;
        store.attach(&group::<Balance>()).await.unwrap();
    }
    let store = open(&database, &clock, vec![]).await;
    let refused = store.attach(&group::<ReshapedBalance>()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ShapeChanged);
    store.attach(&group::<Balance>()).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_refused() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    {
        let store = open(&database, &clock, vec![]).await;
        store.attach(&model).await.unwrap();
        deposit(&store, "c1", "a", 0, 5).await.unwrap();
        drain(&store, &model, 10).await;
        store.close().await;
    }
    let person = database.person().await;
    let foreign = "UPDATE diptych.checkpoint SET fingerprint = (fingerprint + 1) % 4294967296";
    person.batch_execute(foreign).await.unwrap();
    let store = open(&database, &clock, vec![]).await;
    assert_eq!(store.attach(&model).await.unwrap_err().code(), Code::LogDiffers);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_attach_and_advance_at_once() {
    let (database, clock) = (Database::new().await, Hands::new());
    let model = group::<Balance>();
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(open(&database, &clock, vec![]).await);
    }
    for number in 0..20u64 {
        deposit(&stores[0], &format!("c{number}"), "a", number, 1).await.unwrap();
    }
    let attached: Vec<_> = stores
        .iter()
        .map(|store| {
            let (store, model) = (store.clone(), model.clone());
            tokio::spawn(async move { store.attach(&model).await })
        })
        .collect();
    for attached in attached {
        attached.await.unwrap().unwrap();
    }
    let folding: Vec<_> = stores
        .iter()
        .map(|store| {
            let (store, model) = (store.clone(), model.clone());
            tokio::spawn(async move { drain_among_others(&store, &model, 3).await })
        })
        .collect();
    for folded in folding {
        folded.await.unwrap();
    }
    assert_eq!(balances(&stores[3], &model).await, [("a".to_owned(), 20)]);
    check_digest(&stores[3], &model).await;
}

#[tokio::test]
async fn tombstones_are_swept_once_they_are_old() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open_with(&database, &clock, vec![], |options| {
        options.limits.tombstone_window_events = 4;
    })
    .await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    store.commit(append("c1", "gone", 0, &[Deposited(1)])).await.unwrap();
    drain(&store, &model, 1).await;
    store.commit(append("c2", "gone", 1, &[Closed])).await.unwrap();
    drain(&store, &model, 1).await;
    let person = database.person().await;
    let count = "SELECT count(*) FROM diptych.balance_r1_g1_tombstone";
    assert_eq!(person.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
    for number in 0..6u64 {
        deposit(&store, &format!("d{number}"), "a", number, 1).await.unwrap();
    }
    drain(&store, &model, 1).await;
    assert_eq!(person.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
    deposit(&store, "c3", "gone", 2, 9).await.unwrap();
    drain(&store, &model, 1).await;
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 6), ("gone".to_owned(), 9)]);
    check_digest(&store, &model).await;
}

#[tokio::test]
async fn the_history_of_a_checkpoint_is_bounded() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open_with(&database, &clock, vec![], |options| {
        options.limits.checkpoint_history_max = 3;
    })
    .await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    for number in 0..8u64 {
        deposit(&store, &format!("c{number}"), "a", number, 1).await.unwrap();
        clock.turn(1_000);
    }
    drain(&store, &model, 1).await;
    let person = database.person().await;
    let count = "SELECT count(*), min(move) FROM diptych.checkpoint_history";
    let held = person.query_one(count, &[]).await.unwrap();
    assert_eq!((held.get::<_, i64>(0), held.get::<_, i64>(1)), (3, 6));
    assert_eq!(store.passed_at(&model, Position(2)).await.unwrap(), None);
    assert!(store.passed_at(&model, Position(7)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_row_that_its_table_refuses_leaves_nothing_behind() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    let person = database.person().await;
    let rule = "ALTER TABLE diptych.balance_r1_g1 ADD CONSTRAINT small CHECK (balance < 10)";
    person.batch_execute(rule).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    deposit(&store, "c2", "b", 0, 50).await.unwrap();
    let checkpoint = store.checkpoint(&model).await.unwrap();
    let block = store.read(Position::START, model.categories(), 10).await.unwrap();
    let mut fold = Fold::new(&model, &checkpoint);
    fold.plan(&block).unwrap();
    assert!(matches!(store.advance(&model, fold).await, Err(AdvanceError::Fault(_))));
    assert!(balances(&store, &model).await.is_empty());
    assert_eq!(store.checkpoint(&model).await.unwrap(), checkpoint);
    check_digest(&store, &model).await;
}

#[tokio::test]
async fn a_new_revision_has_tables_of_its_own_and_the_view() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let (old, new) = (group::<Balance>(), group::<NewerBalance>());
    for model in [&old, &new] {
        store.attach(model).await.unwrap();
        drain(&store, model, 10).await;
        assert_eq!(balances(&store, model).await, [("a".to_owned(), 5)]);
    }
    store.reset(&old).await.unwrap();
    assert_eq!(balances(&store, &new).await, [("a".to_owned(), 5)]);
    let person = database.person().await;
    let seen = person.query_one("SELECT account, extra FROM diptych.balance", &[]).await.unwrap();
    assert_eq!((seen.get::<_, String>(0), seen.get::<_, i64>(1)), ("a".to_owned(), 0));
}

#[tokio::test]
async fn a_model_may_have_the_name_of_a_table_of_the_store() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<EventBalance>();
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 5)]);
    let person = database.person().await;
    let seen = person.query_one("SELECT account FROM diptych.event_rows", &[]).await.unwrap();
    assert_eq!(seen.get::<_, String>(0), "a");
}

/// The process of a session that waits for a lock, once there is one.
async fn waiting(person: &tokio_postgres::Client) -> i32 {
    let waiting = "SELECT pid FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1";
    for _ in 0..100_000 {
        if let Some(row) = person.query_opt(waiting, &[]).await.unwrap() {
            return row.get(0);
        }
        tokio::task::yield_now().await;
    }
    panic!("nobody waits for a lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_leaves_nothing_of_a_fold_and_may_be_tried_again() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    let start = store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let block = store.read(Position::START, model.categories(), 10).await.unwrap();
    let (mut holder, person) = (database.person().await, database.person().await);
    let held = holder.transaction().await.unwrap();
    held.execute("LOCK TABLE diptych.digest IN SHARE MODE", &[]).await.unwrap();
    let mut fold = Fold::new(&model, &start);
    fold.plan(&block).unwrap();
    let folding = {
        let (store, model) = (store.clone(), model.clone());
        tokio::spawn(async move { store.advance(&model, fold).await })
    };
    // Its rows are written by now; the digest is not.
    let pid = waiting(&person).await;
    person.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    let Err(AdvanceError::Fault(fault)) = folding.await.unwrap() else {
        panic!("a fold was committed over a lost connection");
    };
    assert!(fault.is_transient(), "{fault}");
    held.rollback().await.unwrap();
    assert_eq!(store.checkpoint(&model).await.unwrap(), start);
    assert!(balances(&store, &model).await.is_empty());
    drain(&store, &model, 10).await;
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 5)]);
    check_digest(&store, &model).await;
}

/// Pages through a query and gathers the accounts.
async fn pages(
    store: &PostgresStore,
    model: &Group,
    conditions: Vec<Condition>,
    sort: Option<(usize, Direction)>,
) -> Vec<String> {
    let schema = model.models()[0].schema();
    let (mut after, mut accounts) = (None, Vec::new());
    loop {
        let find = RawFind {
            rule: diptych_query::RowRule::All,
            words: diptych_query::Words::default(),
            tenant: tenant("main"),
            conditions: conditions.clone(),
            sort,
            after,
            rows_max: 2,
        };
        let found = store.find(model, schema, &find, Duration::from_secs(5)).await.unwrap();
        let Some(last) = found.rows.last() else { return accounts };
        after =
            Some(Cursor { sorted: sort.map(|(column, _)| last[column].clone()), key: vec![last[0].clone()] });
        for row in &found.rows {
            let Value::Text(account) = &row[0] else { panic!("the key is text") };
            accounts.push(account.clone());
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_every_order() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    for (account, balance) in [("a", 5), ("b", 200), ("c", 0), ("d", 100), ("e", 5)] {
        deposit(&store, account, account, 0, balance).await.unwrap();
    }
    drain(&store, &model, 10).await;
    let (up, down) = (Direction::Ascending, Direction::Descending);
    for (sort, expected) in [
        (None, "a b c d e"),
        (Some((1, up)), "c a e d b"),
        (Some((1, down)), "b d a e c"),
        (Some((2, up)), "b d a c e"),
        (Some((2, down)), "b d a c e"),
        (Some((3, up)), "a c e b d"),
        (Some((3, down)), "b d a c e"),
        (Some((4, up)), "a e d b c"),
        (Some((4, down)), "b d a e c"),
        (Some((0, down)), "e d c b a"),
    ] {
        assert_eq!(pages(&store, &model, vec![], sort).await.join(" "), expected, "{sort:?}");
    }
    let condition = |column, operator, values| Condition { column, operator, values };
    for (asked, expected) in [
        (condition(1, Operator::Greater, vec![Value::Integer(5)]), "b d"),
        (condition(1, Operator::Equal, vec![Value::Integer(0), Value::Integer(200)]), "b c"),
        (condition(3, Operator::AtLeast, vec![Value::Text("LARGE".to_owned())]), "b d"),
        (condition(1, Operator::Equal, vec![Value::Null]), ""),
    ] {
        assert_eq!(pages(&store, &model, vec![asked], None).await.join(" "), expected);
    }
}

#[tokio::test]
async fn a_row_is_found_by_key_in_its_own_tenant_only() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    let schema = model.models()[0].schema();
    let row = |name: &str| RowRef { tenant: tenant(name), key: vec![Value::Text("a".to_owned())] };
    let found = store.get(&model, schema, &row("main")).await.unwrap();
    assert_eq!(found.rows[0][1], Value::Integer(5));
    assert_eq!(found.checkpoint, store.checkpoint(&model).await.unwrap());
    let foreign = store.get(&model, schema, &row("other")).await.unwrap();
    assert!(foreign.rows.is_empty());
    assert_eq!(foreign.checkpoint.mark.position(), Position(1));
}

#[tokio::test]
async fn a_query_past_its_time_is_interrupted() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open(&database, &clock, vec![]).await;
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    for number in 0..2_000 {
        deposit(&store, &format!("c{number}"), &format!("k{number}"), 0, number).await.unwrap();
    }
    drain(&store, &model, 10_000).await;
    let find = RawFind {
        rule: diptych_query::RowRule::All,
        words: diptych_query::Words::default(),
        tenant: tenant("main"),
        conditions: vec![],
        sort: Some((1, Direction::Ascending)),
        after: None,
        rows_max: 1,
    };
    let schema = model.models()[0].schema();
    let fault = store.find(&model, schema, &find, Duration::ZERO).await.unwrap_err();
    assert_eq!(fault.code(), Code::TimedOut);
    // The connection serves again.
    store.find(&model, schema, &find, Duration::from_secs(5)).await.unwrap();
}
