//! Rows and checkpoints: inline in the append, asynchronous in files of their own, and never one without
//! the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::AccountEvent::{Closed, Cursed, Deposited};
use common::*;
use diptych_command::{CommitError, EventStore};
use diptych_core::{Code, Position, Value};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    AdvanceError, Changed, Condition, Cursor, Direction, Feed, Fold, Group, Health, Mend, ModelStore,
    Operator, Partition, RawFind, RowChange, RowRef, RowsAhead, Stopped, TableChanges,
};
use diptych_sqlite::SqliteStore;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The digest kept must be that of the rows.
async fn check_digest(store: &SqliteStore, group: &Group) {
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
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
    assert_eq!(store.event_count().unwrap(), 15);
    assert_eq!(balances(&store, &inline).await.len(), 15);
    check_digest(&store, &inline).await;
}

#[tokio::test]
async fn an_inline_model_that_is_new_takes_the_log_first() {
    let (directory, clock) = (Directory::new(), Hands::new());
    {
        let old = open(&directory.0, &clock, vec![]);
        for number in 0..10u64 {
            deposit(&old, &format!("c{number}"), "a", number, 1).await.unwrap();
        }
    }
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    assert_eq!(store.checkpoint(&inline).await.unwrap().mark.position(), Position(10));
    deposit(&store, "c10", "a", 10, 1).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 11)]);
    check_digest(&store, &inline).await;
}

#[tokio::test]
async fn an_inline_model_too_far_behind_catches_up_by_a_worker_and_goes_live_again() {
    let (directory, clock) = (Directory::new(), Hands::new());
    {
        let old = open(&directory.0, &clock, vec![]);
        for number in 0..10u64 {
            deposit(&old, &format!("c{number}"), "a", number, 1).await.unwrap();
        }
    }
    let inline = group::<InlineBalance>();
    let mut progress = None;
    let store = open_with(&directory.0, &clock, vec![inline.clone()], |options| {
        options.limits.inline_catch_up_events_max = 3;
        progress = Some(options.progress.clone());
    });
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let mut progress = None;
    let store = open_with(&directory.0, &clock, vec![inline.clone()], |options| {
        progress = Some(options.progress.clone());
    });
    let older = open(&directory.0, &clock, vec![]);
    deposit(&older, "c1", "a", 0, 5).await.unwrap();
    let mut watch = progress.unwrap().entry("balance_inline").watch();
    let reached = watch.wait_for(|position| *position == Position(1));
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap().unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn an_inline_model_stops_at_a_fact_that_somebody_else_appended_and_commands_go_on() {
    let (directory, clock) = (Directory::new(), Hands::new());
    {
        let old = open(&directory.0, &clock, vec![]);
        old.commit(append("c1", "a", 0, &[Deposited(1), Cursed])).await.unwrap();
    }
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    deposit(&store, "c2", "b", 0, 1).await.unwrap();
    let checkpoint = store.checkpoint(&inline).await.unwrap();
    assert_eq!(checkpoint.mark.position(), Position::START);
    assert_eq!(checkpoint.stopped.unwrap().position, Position(2));
    assert!(balances(&store, &inline).await.is_empty());
}

#[tokio::test]
async fn any_cut_of_the_log_gives_the_same_rows() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    for number in 0..1_200u64 {
        let store = &store;
        deposit(store, &format!("c{number}"), &format!("k{number:04}"), 0, number as i64).await.unwrap();
    }
    drain(&store, &model, 10_000).await;
    check_digest(&store, &model).await;
    let file = Connection::open(directory.0.join("models/balance-r1-g1.db")).unwrap();
    let indexes: i64 = file
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL", [], |row| {
            row.get(0)
        })
        .unwrap();
    let statistics: i64 = file.query_row("SELECT count(*) FROM sqlite_stat1", [], |row| row.get(0)).unwrap();
    assert_eq!((indexes, statistics), (1, 2));
}

#[tokio::test]
async fn large_batches_leave_what_small_ones_leave() {
    const KEYS: u64 = 1_100;
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    // Every row is made; then a third of them is deleted and the others change; then all are there again.
    for round in 0..3u64 {
        let mut commands = JoinSet::new();
        for number in 0..KEYS {
            let event =
                if round == 1 && number % 3 == 0 { Closed } else { Deposited((number + 60 * round) as i64) };
            let key = format!("k{:04}", number * 7 % KEYS);
            let (store, command) = (store.clone(), append(&format!("{round} {key}"), &key, round, &[event]));
            commands.spawn(async move { store.commit(command).await.map(|_| ()) });
        }
        commands.join_all().await.into_iter().for_each(Result::unwrap);
    }
    drain(&store, &model, 100).await;
    let small = balances(&store, &model).await;
    assert_eq!(small.len(), KEYS as usize);
    for batch in [KEYS as usize, 3 * KEYS as usize, 2_000] {
        store.reset(&model).await.unwrap();
        drain(&store, &model, batch).await;
        assert_eq!(balances(&store, &model).await, small, "in batches of {batch}");
        check_digest(&store, &model).await;
    }
}

#[tokio::test]
async fn a_fold_from_elsewhere_moves_nothing() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    for number in 0..3_u64 {
        // From the second batch on the row is in memory, too.
        deposit(&store, &format!("c{number}"), "a", number, 5).await.unwrap();
        drain(&store, &model, 10).await;
    }
    let file = Connection::open(directory.0.join("models/balance-r1-g1.db")).unwrap();
    file.execute("UPDATE balance SET balance = 500", []).unwrap();
    deposit(&store, "c3", "a", 3, 5).await.unwrap();
    let checkpoint = store.checkpoint(&model).await.unwrap();
    let block = store.read(Position(3), model.categories(), 10).await.unwrap();
    let mut fold = Fold::new(&model, &checkpoint);
    fold.plan(&block).unwrap();
    assert!(matches!(store.advance(&model, fold).await, Err(AdvanceError::Fold(_))));
    let stopped = Stopped { position: Position(4), reason: "edited".to_owned() };
    store.set_stopped(&model, Partition::WHOLE, Some(stopped.clone())).await.unwrap();
    assert_eq!(store.checkpoint(&model).await.unwrap().stopped, Some(stopped));
}

#[tokio::test]
async fn nothing_is_written_where_a_model_is_said_not_to_stand_still_and_does_not() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    deposit(&store, "c0", "a", 0, 5).await.unwrap();
    drain(&store, &model, 10).await;
    let file = Connection::open(directory.0.join("models/balance-r1-g1.db")).unwrap();
    // It changes with each commit of another connection.
    let written = || file.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    let say = async |stopped: Option<Stopped>| {
        let before = written();
        store.set_stopped(&model, Partition::WHOLE, stopped.clone()).await.unwrap();
        assert_eq!(store.checkpoint(&model).await.unwrap().stopped, stopped);
        written() != before
    };
    let stopped = || Some(Stopped { position: Position(2), reason: "edited".to_owned() });
    let later = || Some(Stopped { position: Position(2), reason: "edited again".to_owned() });
    // Whoever drains says it each time, and rows in memory are let go when anybody writes.
    assert!(!say(None).await);
    assert!(say(stopped()).await && !say(stopped()).await && say(later()).await);
    assert!(say(None).await && !say(None).await);
}

/// Puts the only row of a model right, with all that belongs to it.
async fn mend(store: &SqliteStore, model: &Group, balance: i64) {
    let mut stored = store.scan(model, model.models()[0].schema(), None, 1).await.unwrap().remove(0);
    let values = stored.values.as_mut().unwrap();
    let before = row_digest(&stored.row.tenant, values);
    values[1] = Value::Integer(balance);
    let after = row_digest(&stored.row.tenant, values);
    stored.hash = after as u64;
    let digest = vec![(bucket_of(&stored.row.tenant, &stored.row.key), 0, after.wrapping_sub(before))];
    let rows = vec![RowChange { stored, existed: true, changed: Changed::ALL }];
    let changes = vec![TableChanges { rows, digest, facts: vec![] }];
    let at = store.checkpoint(model).await.unwrap().mark.position();
    let (partition, healed, parked) = (Partition::WHOLE, vec![], vec![]);
    store.mend(model, Mend { partition, lease: None, at, changes, healed, parked }).await.unwrap();
}

/// What one store has folded ahead of a model, and how often that was refused.
#[derive(Default)]
struct FoldedAhead {
    standing: Option<(Fold, Arc<dyn RowsAhead>)>,
    refused: usize,
}

impl FoldedAhead {
    /// Folds everything that a model lacks, on rows that stay in memory; from anew where that is refused.
    async fn drain(&mut self, store: &SqliteStore, model: &Group) {
        loop {
            let mark = store.checkpoint(model).await.unwrap().mark;
            if mark.position() == Position::START {
                drain(store, model, 10).await;
                continue;
            }
            let (mut fold, rows) = match self.standing.take() {
                Some(standing) => standing,
                None => store.ahead(model, Fold::lasting(model, None, mark)).await.unwrap().unwrap(),
            };
            let from = fold.through().position();
            fold.plan(&store.read(from, model.categories(), 10).await.unwrap()).unwrap();
            rows.drive(&mut fold).unwrap();
            match store.write_ahead(model, &rows, fold.take_batch().unwrap()).await {
                Ok(_) => {
                    self.standing = Some((fold, rows));
                    return;
                }
                Err(AdvanceError::Overtaken | AdvanceError::Moved { .. }) => self.refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_batch_begins_with_what_anybody_has_written_since_the_last() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (store, other) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    let model = group::<Balance>();
    store.attach(&model).await.unwrap();
    other.attach(&model).await.unwrap();
    let (mut own, mut foreign) = (FoldedAhead::default(), FoldedAhead::default());
    let mut number = 0;
    let mut paid = async |store: &SqliteStore, ahead: &mut FoldedAhead, amount: i64| {
        deposit(store, &format!("c{number}"), "a", number, amount).await.unwrap();
        ahead.drain(store, &model).await;
        number += 1;
        std::mem::take(&mut ahead.refused)
    };
    for writer in [&store, &other] {
        paid(&store, &mut own, 1).await;
        paid(&store, &mut own, 2).await;
        assert_eq!(paid(&store, &mut own, 4).await, 0, "the row is in memory, and nobody else has written");
        mend(writer, &model, 1_000).await;
        assert_eq!(paid(&store, &mut own, 7).await, 1, "somebody has mended the row");
        assert_eq!(balances(&store, &model).await, [("a".to_owned(), 1_007)]);
        check_digest(&store, &model).await;
        paid(&other, &mut foreign, 10).await;
        assert_eq!(paid(&store, &mut own, 20).await, 1, "another process has folded");
        assert_eq!(balances(&store, &model).await, [("a".to_owned(), 1_037)]);
        check_digest(&store, &model).await;
        writer.reset(&model).await.unwrap();
        paid(&store, &mut own, 0).await;
    }
    assert_eq!(balances(&store, &model).await, [("a".to_owned(), 88)]);
    check_digest(&store, &model).await;
}

#[tokio::test]
async fn another_shape_under_the_same_revision_is_refused() {
    let (directory, clock) = (Directory::new(), Hands::new());
    {
        let store = open(&directory.0, &clock, vec![]);
        store.attach(&group::<Balance>()).await.unwrap();
    }
    let store = open(&directory.0, &clock, vec![]);
    let refused = store.attach(&group::<ReshapedBalance>()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ShapeChanged);
    store.attach(&group::<Balance>()).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_refused() {
    let (directory, other, clock) = (Directory::new(), Directory::new(), Hands::new());
    {
        let store = open(&directory.0, &clock, vec![]);
        store.attach(&group::<Balance>()).await.unwrap();
        deposit(&store, "c1", "a", 0, 5).await.unwrap();
        drain(&store, &group::<Balance>(), 10).await;
        store.close().await;
    }
    let store = open(&other.0, &clock, vec![]);
    let file = "models/balance-r1-g1.db";
    std::fs::copy(directory.0.join(file), other.0.join(file)).unwrap();
    let refused = store.attach(&group::<Balance>()).await.unwrap_err();
    assert_eq!(refused.code(), Code::LogDiffers);
}

#[tokio::test]
async fn a_lost_file_is_built_again() {
    let (directory, clock) = (Directory::new(), Hands::new());
    {
        let store = open(&directory.0, &clock, vec![]);
        store.attach(&group::<Balance>()).await.unwrap();
        deposit(&store, "c1", "a", 0, 5).await.unwrap();
        drain(&store, &group::<Balance>(), 10).await;
        store.close().await;
    }
    std::fs::remove_file(directory.0.join("models/balance-r1-g1.db")).unwrap();
    let store = open(&directory.0, &clock, vec![]);
    let checkpoint = store.attach(&group::<Balance>()).await.unwrap();
    assert_eq!(checkpoint.mark.position(), Position::START);
    drain(&store, &group::<Balance>(), 10).await;
    assert_eq!(balances(&store, &group::<Balance>()).await, [("a".to_owned(), 5)]);
}

/// Pages through a query and gathers the accounts.
async fn pages(
    store: &SqliteStore,
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
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
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![]);
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
