//! The files of a store: their schema word for word, newer versions, and who may write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::*;
use diptych_core::Code;
use diptych_query::ModelStore;
use diptych_sqlite::{SqliteOptions, SqliteStore};
use rusqlite::Connection;
use std::sync::Arc;

fn schema_of(path: &std::path::Path) -> String {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").unwrap();
    let texts: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    texts.join(";\n\n")
}

#[tokio::test]
async fn the_schema_on_disk_is_what_it_always_was() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![group::<InlineBalance>()]);
    store.attach(&group::<Balance>()).await.unwrap();
    store.close().await;
    insta::assert_snapshot!("log", schema_of(&directory.0.join("log.db")));
    insta::assert_snapshot!("model", schema_of(&directory.0.join("models/balance-r1-g1.db")));
}

#[tokio::test]
async fn a_store_of_newer_software_is_refused() {
    let (directory, clock) = (Directory::new(), Hands::new());
    open(&directory.0, &clock, vec![]).close().await;
    Connection::open(directory.0.join("log.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = SqliteStore::open(SqliteOptions::at(&directory.0, Arc::clone(&clock) as _)).err().unwrap();
    assert_eq!(refused.code(), Code::StoreVersion);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let other = Connection::open(directory.0.join("log.db")).unwrap();
    other.execute_batch("CREATE TABLE mine (id INTEGER)").unwrap();
    drop(other);
    let refused = SqliteStore::open(SqliteOptions::at(&directory.0, Arc::clone(&clock) as _)).err().unwrap();
    assert_eq!(refused.code(), Code::StoreVersion);
    assert_eq!(schema_of(&directory.0.join("log.db")), "CREATE TABLE mine (id INTEGER)");
}

#[tokio::test]
async fn a_migration_that_is_not_ours_is_refused() {
    let (directory, clock) = (Directory::new(), Hands::new());
    open(&directory.0, &clock, vec![]).close().await;
    let log = Connection::open(directory.0.join("log.db")).unwrap();
    log.execute("UPDATE migration SET checksum = 'other'", []).unwrap();
    drop(log);
    let refused = SqliteStore::open(SqliteOptions::at(&directory.0, Arc::clone(&clock) as _)).err().unwrap();
    assert_eq!(refused.code(), Code::StoreVersion);
}

#[tokio::test]
async fn people_can_read_the_log_the_audit_and_the_checkpoints_in_sql() {
    let (directory, clock) = (Directory::new(), Hands::new());
    let store = open(&directory.0, &clock, vec![group::<InlineBalance>()]);
    deposit(&store, "01991c3e-7b2a-7c3d-8e4f-0123456789ab", "a", 0, 5).await.unwrap();
    let log = Connection::open(directory.0.join("log.db")).unwrap();
    let fact: (String, String, String) = log
        .query_row("SELECT stream, type, recorded_at FROM fact", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((fact.0.as_str(), fact.1.as_str()), ("account-a", "Deposited"));
    assert_eq!(fact.2, "2023-11-14T22:13:20.000Z");
    let audit: (String, String, String) = log
        .query_row("SELECT command_id, outcome, policy FROM audit", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    let expected = ("01991c3e-7b2a-7c3d-8e4f-0123456789ab", "accepted", "p1");
    assert_eq!((audit.0.as_str(), audit.1.as_str(), audit.2.as_str()), expected);
    let checkpoint: (String, i64, i64) = log
        .query_row(
            "SELECT projection_name, partition_id, last_position FROM projection_checkpoint",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(checkpoint, ("balance_inline".to_owned(), 0, 1));
}
