//! Builds on disk: files that come and go with them, other processes, and inline builds that take over while
//! commands flow in.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::AccountEvent::{Closed, Cursed, Deposited};
use common::*;
use diptych_command::{CommitError, EventStore};
use diptych_core::{Code, Position, Timestamp, Value};
use diptych_query::fold::{bucket_of, row_digest};
use diptych_query::{
    Build, BuildId, BuildMove, Changed, Feed, Fold, Group, Mend, ModelStore, Order, Parked, Partition,
    RawFind, Registry, RowChange, RowRef, Stage, TableChanges, TransitError,
};
use diptych_sqlite::{Durability, SqliteStore};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

fn order() -> Order {
    Order::of_the_hinge("a test wants it")
}

fn first() -> BuildId {
    BuildId { revision: 1, generation: 1 }
}

fn second() -> BuildId {
    BuildId { revision: 1, generation: 2 }
}

fn to(build: BuildId, from: Stage, to: Stage) -> BuildMove {
    BuildMove { build, from, to }
}

/// Has the first build answer.
async fn serve(store: &SqliteStore, group: &Group) {
    let moves =
        [to(first(), Stage::Building, Stage::Shadowing), to(first(), Stage::Shadowing, Stage::Serving)];
    store.transit(group, &moves, &order()).await.unwrap();
}

/// Has the second build take over from the first.
async fn switch(store: &SqliteStore, group: &Group) -> Result<Vec<Build>, TransitError> {
    let moves = [
        to(second(), Stage::Building, Stage::Shadowing),
        to(first(), Stage::Serving, Stage::Shadowing),
        to(second(), Stage::Shadowing, Stage::Serving),
    ];
    store.transit(group, &moves, &order()).await
}

/// Retires the first build, which does not answer any more, and drops its tables.
async fn drop_first(store: &SqliteStore, group: &Group) {
    let moves = [to(first(), Stage::Shadowing, Stage::Retired)];
    store.transit(group, &moves, &order()).await.unwrap();
    store.drop_build(group, first()).await.unwrap();
}

fn everything() -> RawFind {
    RawFind {
        rule: diptych_query::RowRule::All,
        words: diptych_query::Words::default(),
        tenant: tenant("main"),
        conditions: vec![],
        sort: None,
        after: None,
        rows_max: 100_000,
    }
}

/// The build that answers.
async fn answers(store: &SqliteStore, group: &Group) -> BuildId {
    let schema = group.models()[0].schema();
    store.find(group, schema, &everything(), Duration::from_secs(5)).await.unwrap().build
}

fn row(key: &str) -> RowRef {
    RowRef { tenant: tenant("main"), key: vec![Value::Text(key.to_owned())] }
}

/// The digest kept of a build, by bucket.
async fn digest(store: &SqliteStore, group: &Group) -> Vec<(u8, i64, u128)> {
    store.digest(group, group.models()[0].schema()).await.unwrap()
}

/// The digest of the rows as they are.
async fn digest_of_rows(store: &SqliteStore, group: &Group) -> Vec<(u8, i64, u128)> {
    let mut sums = std::collections::BTreeMap::new();
    for row in store.scan(group, group.models()[0].schema(), None, usize::MAX).await.unwrap() {
        let held: &mut (i64, u128) = sums.entry(bucket_of(&row.row.tenant, &row.row.key)).or_default();
        held.0 += 1;
        held.1 = held.1.wrapping_add(row_digest(&row.row.tenant, &row.values.unwrap()));
    }
    sums.into_iter().map(|(bucket, (rows, sum))| (bucket, rows, sum)).collect()
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("models")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_did_not_switch_answers_from_the_new_build_once_it_looks() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let model = group::<Balance>();
    let (ours, theirs) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    deposit(&ours, "c1", "a", 0, 5).await.unwrap();
    for store in [&ours, &theirs] {
        store.attach(&model).await.unwrap();
    }
    drain(&ours, &model, 10).await;
    serve(&ours, &model).await;
    ours.begin_build(&model, &order()).await.unwrap();
    let refused = switch(&ours, &model).await.unwrap_err();
    let TransitError::Behind { position, other } = refused else { panic!("{refused:?}") };
    assert_eq!((position, other), (Position::START, Position(1)));
    drain(&ours, &model.at(second()), 10).await;
    switch(&ours, &model).await.unwrap();
    assert_eq!(answers(&ours, &model).await, second());
    assert_eq!(answers(&theirs, &model).await, first());
    theirs.refresh().await.unwrap();
    assert_eq!(answers(&theirs, &model).await, second());
    assert_eq!(balances(&theirs, &model).await, [("a".to_owned(), 5)]);
    assert_eq!(answers(&theirs, &model.at(first())).await, first());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_dropped_meanwhile_fails_no_question() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let model = group::<Balance>();
    let (ours, theirs) = (open(&directory.0, &clock, vec![]), open(&directory.0, &clock, vec![]));
    deposit(&ours, "c1", "a", 0, 5).await.unwrap();
    ours.attach(&model).await.unwrap();
    drain(&ours, &model, 10).await;
    serve(&ours, &model).await;
    theirs.attach(&model).await.unwrap();
    ours.begin_build(&model, &order()).await.unwrap();
    drain(&ours, &model.at(second()), 10).await;
    switch(&ours, &model).await.unwrap();
    drop_first(&ours, &model).await;
    assert_eq!(files(&directory.0), ["balance-r1-g2.db"]);
    // More questions than connections are open: some find no file to open.
    let asked: Vec<_> = (0..16)
        .map(|_| {
            let (store, model) = (Arc::clone(&theirs), Arc::clone(&model));
            tokio::spawn(async move { balances(&store, &model).await })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), [("a".to_owned(), 5)]);
    }
    theirs.refresh().await.unwrap();
    assert_eq!(answers(&theirs, &model).await, second());
    let gone = theirs.checkpoint(&model.at(first())).await.unwrap_err();
    assert_eq!(gone.code(), Code::ModelRetired, "{gone}");
    assert_eq!(files(&directory.0), ["balance-r1-g2.db"], "and nothing makes the file again");
}

#[tokio::test]
async fn files_of_builds_that_are_gone_are_removed_and_no_others() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (model, models) = (group::<Balance>(), directory.0.join("models"));
    let store = open(&directory.0, &clock, vec![]);
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    store.attach(&model).await.unwrap();
    drain(&store, &model, 10).await;
    store.begin_build(&model, &order()).await.unwrap();
    let moves = [to(second(), Stage::Building, Stage::Retired)];
    store.transit(&model, &moves, &order()).await.unwrap();
    store.close().await;
    // A crash between the registry and the file leaves it there; so does one that put another log back.
    for orphan in ["balance-r1-g7.db", "balance-r1-g7.db-wal", "other-thing-r2-g1.db"] {
        std::fs::copy(models.join("balance-r1-g1.db"), models.join(orphan)).unwrap();
    }
    for other in ["notes.txt", "balance.db", "balance-r1-gx.db"] {
        std::fs::write(models.join(other), "mine").unwrap();
    }
    let store = open(&directory.0, &clock, vec![]);
    assert!(!models.join("balance-r1-g7.db-wal").exists());
    assert_eq!(files(&directory.0), ["balance-r1-g1.db", "balance-r1-gx.db", "balance.db", "notes.txt"]);
    assert_eq!(store.attach(&model).await.unwrap().mark.position(), Position(1));
}

#[tokio::test]
async fn a_build_whose_file_was_not_made_before_a_crash_is_filled_like_any_other() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let model = group::<Balance>();
    let store = open(&directory.0, &clock, vec![]);
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    store.attach(&model).await.unwrap();
    drain(&store, &model, 10).await;
    store.begin_build(&model, &order()).await.unwrap();
    store.close().await;
    std::fs::remove_file(directory.0.join("models/balance-r1-g2.db")).unwrap();
    let store = open(&directory.0, &clock, vec![]);
    let pinned = model.at(second());
    assert_eq!(store.checkpoint(&pinned).await.unwrap().mark.position(), Position::START);
    drain(&store, &pinned, 10).await;
    assert_eq!(balances(&store, &pinned).await, [("a".to_owned(), 5)]);
    assert_eq!(
        store.attach(&model).await.unwrap().mark.position(),
        Position(1),
        "its own build is the first"
    );
}

#[tokio::test]
async fn a_revision_whose_builds_are_retired_is_not_built_again() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (model, inline) = (group::<Balance>(), group::<InlineBalance>());
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    store.attach(&model).await.unwrap();
    for group in [&model, &inline] {
        let moves = [to(first(), Stage::Building, Stage::Retired)];
        store.transit(group, &moves, &order()).await.unwrap();
        store.drop_build(group, first()).await.unwrap();
        assert_eq!(store.attach(group).await.unwrap_err().code(), Code::ModelRetired);
    }
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    store.close().await;
    // Code that still declares it starts all the same, and its commands go on.
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    deposit(&store, "c2", "a", 1, 5).await.unwrap();
    for group in [&model, &inline] {
        assert_eq!(store.attach(group).await.unwrap_err().code(), Code::ModelRetired);
    }
}

/// The tables of inline builds in the log's file.
fn inline_tables(directory: &Path) -> Vec<String> {
    let log = Connection::open(directory.join("log.db")).unwrap();
    let mut select = log
        .prepare(
            "SELECT name FROM sqlite_schema WHERE name LIKE 'balance_inline%' AND type = 'table' ORDER BY 1",
        )
        .unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_inline_build_takes_over_while_commands_flow_in_and_misses_none() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    serve(&store, &inline).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tellers: Vec<_> = (0..4)
        .map(|teller| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut told = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let (id, key) = (format!("t{teller} {told}"), format!("k{teller} {}", told % 9));
                    deposit(&store, &id, &key, told / 9, 1).await.unwrap();
                    told += 1;
                }
                told
            })
        })
        .collect();
    let switched = async {
        let mut head = store.watch();
        head.wait_for(|head| *head >= Position(50)).await.unwrap();
        store.begin_build(&inline, &order()).await.unwrap();
        drain_to(&store, &inline.at(second()), 20, Position(50)).await;
        switch(&store, &inline).await.unwrap();
        let at = *head.borrow();
        head.wait_for(|head| *head >= Position(at.0 + 50)).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), switched).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut told = 0;
    for teller in tellers {
        told += teller.await.unwrap();
    }
    assert_eq!(answers(&store, &inline).await, second());
    assert_eq!(store.checkpoint(&inline).await.unwrap().mark, store.head().await.unwrap());
    let rows = balances(&store, &inline).await;
    assert_eq!(rows.iter().map(|(_, balance)| balance.unsigned_abs()).sum::<u64>(), told);
    let third = store.begin_build(&inline, &order()).await.unwrap().id;
    drain(&store, &inline.at(third), 1_000).await;
    assert_eq!(digest(&store, &inline).await, digest(&store, &inline.at(third)).await);
    assert_eq!(digest(&store, &inline).await, digest_of_rows(&store, &inline).await);
    assert!(store.checkpoint(&inline.at(first())).await.unwrap().mark.position().0 < told, "nobody moves it");
    drop_first(&store, &inline).await;
    let left = ["balance_inline_r1_g2", "balance_inline_r1_g2_tombstone", "balance_inline_r1_g3"];
    assert_eq!(inline_tables(&directory.0)[..3], left);
}

/// Folds until a build has come to a position.
async fn drain_to(store: &SqliteStore, group: &Group, batch: usize, until: Position) {
    loop {
        let checkpoint = store.checkpoint(group).await.unwrap();
        if checkpoint.mark.position() >= until {
            return;
        }
        let block = store.read(checkpoint.mark.position(), group.categories(), batch).await.unwrap();
        let mut fold = Fold::new(group, &checkpoint);
        fold.plan(&block).unwrap();
        store.advance(group, fold).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_did_not_switch_folds_inline_into_the_new_build() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let ours = open_with(&directory.0, &clock, vec![inline.clone()], |options| {
        // Nothing but the switch itself brings a build to the head.
        options.limits.inline_catch_up_events_max = 0;
    });
    let theirs = open(&directory.0, &clock, vec![inline.clone()]);
    serve(&ours, &inline).await;
    deposit(&theirs, "c1", "a", 0, 5).await.unwrap();
    ours.begin_build(&inline, &order()).await.unwrap();
    switch(&ours, &inline).await.unwrap();
    assert_eq!(ours.checkpoint(&inline).await.unwrap().mark, ours.head().await.unwrap());
    deposit(&theirs, "c2", "a", 1, 5).await.unwrap();
    for store in [&ours, &theirs] {
        assert_eq!(answers(store, &inline).await, second());
        assert_eq!(balances(store, &inline).await, [("a".to_owned(), 10)]);
        assert_eq!(balances(store, &inline.at(first())).await, [("a".to_owned(), 5)]);
    }
    drop_first(&ours, &inline).await;
    deposit(&theirs, "c3", "a", 2, 5).await.unwrap();
    assert_eq!(balances(&ours, &inline).await, [("a".to_owned(), 15)]);
}

#[tokio::test]
async fn an_inline_group_that_other_code_keeps_in_a_file_fails_no_command() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let log = Connection::open(directory.0.join("log.db")).unwrap();
    log.execute_batch(
        "INSERT INTO build SELECT group_name, revision, 2, 'asynchronous', 'serving', shape, declared, 7, 7 \
        FROM build; UPDATE log SET builds_changed = builds_changed + 1",
    )
    .unwrap();
    deposit(&store, "c2", "a", 1, 5).await.unwrap();
    assert_eq!(balances(&store, &inline.at(first())).await, [("a".to_owned(), 5)]);
}

/// More rows than are written at once.
const MANY: u64 = 2_500;

async fn deposit_many(store: &Arc<SqliteStore>) {
    let mut told = JoinSet::new();
    for number in 0..MANY {
        let commit = append(&format!("c{number}"), &format!("k{number:05}"), 0, &[Deposited(1)]);
        let store = Arc::clone(store);
        told.spawn(async move { store.commit(commit).await.map(drop) });
    }
    while let Some(told) = told.join_next().await {
        told.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_inline_build_is_loaded_in_parts_and_begins_anew_after_a_crash() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<InlineBalance>();
    let store = open_with(&directory.0, &clock, vec![inline.clone()], |options| {
        options.durability = Durability::Normal;
    });
    deposit_many(&store).await;
    serve(&store, &inline).await;
    store.begin_build(&inline, &order()).await.unwrap();
    let pinned = inline.at(second());
    let log = Connection::open(directory.0.join("log.db")).unwrap();
    let filling =
        || log.query_row("SELECT sum(filling <> 0) FROM checkpoint", [], |row| row.get::<_, i64>(0));
    // A loading that is given up half way leaves rows that no checkpoint covers.
    let loading = drain(&store, &pinned, 10_000);
    let under_way = async {
        while filling().unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = loading => panic!("it was loaded at once"),
        () = under_way => {}
    }
    assert_eq!(store.checkpoint(&pinned).await.unwrap().mark.position(), Position::START);
    let refused = switch(&store, &inline).await.unwrap_err();
    assert!(matches!(refused, TransitError::Behind { .. }), "{refused}");
    let commits = AtomicBool::new(true);
    let told = async {
        let mut version = 1;
        while commits.load(Ordering::Relaxed) {
            deposit(&store, &format!("more {version}"), "k00000", version, 1).await.unwrap();
            version += 1;
        }
    };
    let loaded = async {
        drain_to(&store, &pinned, 10_000, Position(MANY)).await;
        commits.store(false, Ordering::Relaxed);
    };
    tokio::join!(told, loaded);
    drain(&store, &pinned, 10_000).await;
    assert_eq!(digest(&store, &pinned).await, digest(&store, &inline).await);
    assert_eq!(digest(&store, &pinned).await, digest_of_rows(&store, &pinned).await);
    assert_eq!(filling().unwrap(), 0);
    assert!(store.build_bytes(&inline, second()).await.unwrap() > MANY * 20);
    switch(&store, &inline).await.unwrap();
    assert_eq!(answers(&store, &inline).await, second());
}

fn parked(model: &Group, key: &str, position: Position) -> Parked {
    Parked {
        model: model.models()[0].schema().name.to_owned(),
        row: row(key),
        position,
        event: "Cursed".to_owned(),
        reason: "nobody can fold this (DP0000)".to_owned(),
        parked_at: Timestamp::from_stored(7),
    }
}

#[tokio::test]
async fn a_key_that_is_parked_waits_in_the_append_too_and_is_mended_where_its_group_stands() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let inline = group::<ParkingBalance>();
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    let waiting = parked(&inline, "a", Position(2));
    store.park(&inline, None, std::slice::from_ref(&waiting)).await.unwrap();
    // It is held back already, and stays where it is.
    store.park(&inline, None, &[parked(&inline, "a", Position(3))]).await.unwrap();
    store.commit(append("c2", "a", 1, &[Cursed, Deposited(1)])).await.unwrap();
    deposit(&store, "c3", "b", 0, 2).await.unwrap();
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 5), ("b".to_owned(), 2)]);
    let other = store.commit(append("c4", "b", 1, &[Cursed])).await;
    assert!(matches!(other, Err(CommitError::Fault(fault)) if fault.code() == Code::InlineFailed));
    store.close().await;

    let store = open(&directory.0, &clock, vec![inline.clone()]);
    assert_eq!(store.parked(&inline).await.unwrap(), [waiting]);
    let schema = inline.models()[0].schema();
    let mut held = store.scan(&inline, schema, None, 1).await.unwrap().remove(0);
    let values = held.values.as_mut().unwrap();
    let before = row_digest(&held.row.tenant, values);
    values[1] = Value::Integer(6);
    let sum = row_digest(&held.row.tenant, values).wrapping_sub(before);
    held.guard = Position(4);
    let digest = vec![(bucket_of(&held.row.tenant, &held.row.key), 0, sum)];
    let mend = |at: u64| {
        // Whoever mends may not know that the row is there.
        let rows = vec![RowChange { stored: held.clone(), existed: false, changed: Changed::ALL }];
        let changes = vec![TableChanges { rows, digest: digest.clone(), facts: vec![] }];
        let (partition, at) = (Partition::WHOLE, Position(at));
        Mend { partition, lease: None, at, changes, healed: vec![(0, row("a"))], parked: vec![] }
    };
    assert!(store.mend(&inline, mend(3)).await.is_err(), "it stands elsewhere");
    assert_eq!(store.parked(&inline).await.unwrap().len(), 1);
    store.mend(&inline, mend(4)).await.unwrap();
    assert!(store.parked(&inline).await.unwrap().is_empty());
    assert_eq!(balances(&store, &inline).await, [("a".to_owned(), 6), ("b".to_owned(), 2)]);
    assert_eq!(self::digest(&store, &inline).await, digest_of_rows(&store, &inline).await);
    store.park(&inline, None, &[parked(&inline, "b", Position(9))]).await.unwrap();
    store.reset(&inline).await.unwrap();
    assert!(store.parked(&inline).await.unwrap().is_empty());
}

#[tokio::test]
async fn people_can_read_stages_moves_and_parked_keys_in_sql() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let (model, inline) = (group::<Balance>(), group::<ParkingBalance>());
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    store.attach(&model).await.unwrap();
    serve(&store, &model).await;
    store.park(&inline, None, &[parked(&inline, "a", Position(2))]).await.unwrap();
    let log = Connection::open(directory.0.join("log.db")).unwrap();
    let stage: (String, i64, String, String, String) = log
        .query_row(
            "SELECT model, generation, stage, since, reason FROM stage WHERE mode = 'asynchronous'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
        .unwrap();
    let expected = ("balance", 1, "serving", "2023-11-14T22:13:20.000Z", "a test wants it");
    let stage = (stage.0.as_str(), stage.1, stage.2.as_str(), stage.3.as_str(), stage.4.as_str());
    assert_eq!(stage, expected);
    let key: String = log.query_row("SELECT key_json FROM parked_key", [], |row| row.get(0)).unwrap();
    assert_eq!(key, "[\"a\"]");
    let moves = store.stage_moves(Some("balance"), 2).await.unwrap();
    let ends: Vec<_> = moves.iter().map(|moved| moved.moved.to).collect();
    assert_eq!(ends, [Stage::Serving, Stage::Shadowing]);
    assert_eq!(store.groups().await.unwrap(), ["balance", "balance_parking"]);
    store.commit(append("c1", "z", 0, &[Deposited(1), Closed])).await.unwrap();
}
