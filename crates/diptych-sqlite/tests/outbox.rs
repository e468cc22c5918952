//! The outbox in an application's own file: with its transaction or not at all, and once into the log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Directory, Hands, stream};
use diptych_command::{Facts, Languages, OutboxTable, arrivals};
use diptych_conformance::fixtures::{AccountEvent, AccountId};
use diptych_core::{Code, Position, Principal, Version};
use diptych_query::{Categories, Feed};
use diptych_sqlite::{Outbox, OutboxFile, SqliteOptions, SqliteStore};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;

fn languages() -> Languages {
    let mut languages = Languages::default();
    languages.add::<AccountEvent>();
    languages
}

fn opened() -> AccountEvent {
    AccountEvent::Opened { owner: "ann".to_owned() }
}

fn renamed(number: u64) -> AccountEvent {
    AccountEvent::Renamed { owner: number.to_string() }
}

/// A store, and the file of an application beside it.
struct Place {
    directory: Directory,
}

impl Place {
    fn new() -> Self {
        Self { directory: Directory::new() }
    }

    fn open(&self) -> Arc<SqliteStore> {
        SqliteStore::open(SqliteOptions::at(self.directory.0.join("store"), Hands::new())).unwrap()
    }

    fn root(&self) -> &Path {
        &self.directory.0
    }
}

fn application(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS own (key TEXT, change TEXT) STRICT").unwrap();
    Outbox::create(&connection).unwrap();
    connection
}

/// One change of the application: its own row, and what happened.
fn change(connection: &mut Connection, key: &str, events: &[AccountEvent], end: End) {
    let ann = Principal::new("main", "ann").unwrap();
    let behaviour = rusqlite::TransactionBehavior::Immediate;
    let mut transaction = connection.transaction_with_behavior(behaviour).unwrap();
    transaction.execute("INSERT INTO own VALUES (?1, 'changed')", [key]).unwrap();
    let facts = Facts::by(&ann).of(&AccountId(key.to_owned()), events.iter().cloned());
    Outbox::append(&mut transaction, facts).unwrap();
    match end {
        End::Commit => transaction.commit().unwrap(),
        End::Rollback => transaction.rollback().unwrap(),
    }
}

enum End {
    Commit,
    Rollback,
}

/// Takes in everything; answers how many arrivals were new.
async fn drain(outbox: &OutboxFile) -> usize {
    let mut all = 0;
    loop {
        let rows = outbox.oldest(3).await.unwrap();
        let (arrivals, bad) = arrivals(&rows, &languages());
        assert_eq!(bad, None);
        if arrivals.is_empty() {
            return all;
        }
        all += outbox.take(arrivals).await.unwrap().taken;
    }
}

async fn facts(store: &SqliteStore) -> Vec<String> {
    let block = store.read(Position::START, &Categories::All, 10_000).await.unwrap();
    let text = |fact: &Arc<diptych_core::RawFact>| format!("{} {}", fact.stream.stream, &*fact.payload);
    block.facts.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_go_with_the_transaction_or_not_at_all() {
    let place = Place::new();
    let (store, file) = (place.open(), place.root().join("app.db"));
    let mut application = application(&file);
    change(&mut application, "a", &[opened(), renamed(1)], End::Commit);
    change(&mut application, "b", &[opened()], End::Rollback);
    change(&mut application, "a", &[renamed(2)], End::Commit);
    let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
    assert_eq!(drain(&outbox).await, 2);
    let expected =
        [r#"account-a {"owner":"ann"}"#, r#"account-a {"owner":"1"}"#, r#"account-a {"owner":"2"}"#];
    assert_eq!(facts(&store).await, expected);
    assert_eq!(outbox.waiting().await.unwrap().rows, 0);
    let own: i64 = application.query_row("SELECT count(*) FROM own", [], |row| row.get(0)).unwrap();
    assert_eq!(own, 2, "the application's own rows are untouched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_died_between_the_two_files_is_found_done() {
    let place = Place::new();
    let (store, file) = (place.open(), place.root().join("app.db"));
    let mut application = application(&file);
    let copy = place.root().join("copy.db");
    for round in 0..3 {
        change(&mut application, "a", &[renamed(2 * round), renamed(2 * round + 1)], End::Commit);
        // The log has taken the rows, and the process has died before it could remove them.
        application.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
        assert_eq!(drain(&outbox).await, 1, "round {round}");
        drop((outbox, application));
        std::fs::rename(&copy, &file).unwrap();
        let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
        assert_eq!(outbox.waiting().await.unwrap().rows, 2);
        assert_eq!(drain(&outbox).await, 0, "nothing is taken twice");
        assert_eq!(outbox.waiting().await.unwrap().rows, 0);
        application = self::application(&file);
    }
    assert_eq!(facts(&store).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_put_back_is_noticed() {
    let place = Place::new();
    let (store, file) = (place.open(), place.root().join("app.db"));
    let mut application = application(&file);
    let copy = place.root().join("copy.db");
    application.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    change(&mut application, "a", &[opened(), renamed(1)], End::Commit);
    let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
    assert_eq!(drain(&outbox).await, 1);
    drop((outbox, application));
    std::fs::rename(&copy, &file).unwrap();
    let mut application = self::application(&file);
    // These get the numbers of those that the log has.
    for number in 0..2 {
        change(&mut application, "b", &[renamed(7 + number)], End::Commit);
        let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
        let fault = outbox.oldest(10).await.unwrap_err();
        assert_eq!(fault.code(), Code::IntakeStopped, "{fault}");
        assert_eq!(outbox.waiting().await.unwrap().rows, number + 1, "nothing is lost");
    }
    application.execute("DELETE FROM diptych_outbox_identity", []).unwrap();
    let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
    assert_eq!(drain(&outbox).await, 2);
    assert_eq!(facts(&store).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_many_connections_arrive_while_they_are_made() {
    const CHANGES: u64 = 40;
    let place = Place::new();
    let (store, file) = (place.open(), place.root().join("app.db"));
    application(&file);
    let mut writers = Vec::new();
    for writer in 0..3 {
        let file = file.clone();
        writers.push(tokio::task::spawn_blocking(move || {
            let mut application = application(&file);
            for number in 0..CHANGES {
                let end = if number % 5 == 4 { End::Rollback } else { End::Commit };
                change(&mut application, &format!("{writer}"), &[renamed(number)], end);
            }
        }));
    }
    let outbox = OutboxFile::open(&file, Arc::clone(&store)).unwrap();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        drain(&outbox).await;
        tokio::task::yield_now().await;
    }
    drain(&outbox).await;
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..3 {
        let stream = stream(&writer.to_string());
        let events = diptych_command::EventStore::load(&*store, &stream, Version::NONE, 1_000).await.unwrap();
        let numbers: Vec<_> = (0..CHANGES).filter(|number| number % 5 != 4).collect();
        let expected: Vec<_> = numbers.iter().map(|number| format!(r#"{{"owner":"{number}"}}"#)).collect();
        let actual: Vec<_> = events.iter().map(|event| event.payload.to_string()).collect();
        assert_eq!(actual, expected, "the changes of writer {writer} in their order");
    }
}
