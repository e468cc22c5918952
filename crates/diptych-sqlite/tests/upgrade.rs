//! A store as the first schema made it: opened by this code, it keeps everything and is what a new one is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::*;
use diptych_command::{EventStore, Shape, StateRow, StateStore};
use diptych_core::{Position, Version};
use diptych_query::{BuildId, Feed, ModelStore, Registry, Stage};
use rusqlite::Connection;
use std::path::Path;

/// The texts of the first migration of `log.db`.
const LOG: &[&str] = &[
    include_str!("../src/schema/migration.sql"),
    include_str!("../src/schema/log.sql"),
    include_str!("../src/schema/tenant.sql"),
    include_str!("../src/schema/category.sql"),
    include_str!("../src/schema/actor.sql"),
    include_str!("../src/schema/command_name.sql"),
    include_str!("../src/schema/policy.sql"),
    include_str!("../src/schema/event_type.sql"),
    include_str!("../src/schema/stream.sql"),
    include_str!("../src/schema/event.sql"),
    include_str!("../src/schema/event_stream.sql"),
    include_str!("../src/schema/command.sql"),
    include_str!("../src/schema/command_refused.sql"),
    include_str!("../src/schema/command_key.sql"),
    include_str!("../src/schema/generation.sql"),
    include_str!("../src/schema/checkpoint.sql"),
    include_str!("../src/schema/checkpoint_history.sql"),
    include_str!("../src/schema/digest.sql"),
    include_str!("../src/schema/projection_checkpoint.sql"),
    include_str!("../src/schema/fact.sql"),
    include_str!("../src/schema/audit.sql"),
];

/// What the first version of a read model's file held.
const MODEL: &[&str] = &[
    include_str!("../src/schema/checkpoint.sql"),
    include_str!("../src/schema/checkpoint_history.sql"),
    include_str!("../src/schema/digest.sql"),
    include_str!("../src/schema/projection_checkpoint.sql"),
];

/// What both kinds of files had, in the columns of that time.
const SHARED_ROWS: &str = "\
    INSERT INTO checkpoint SELECT group_name, revision, shape, position, epoch, fingerprint, recorded_at, \
        updated_at, stopped_position, stopped_reason FROM new.checkpoint; \
    INSERT INTO checkpoint_history SELECT id, group_name, revision, after, position, at \
        FROM new.checkpoint_history; \
    INSERT INTO digest SELECT * FROM new.digest";

const LOG_ROWS: &str = "\
    INSERT INTO migration SELECT * FROM new.migration WHERE number = 1; \
    INSERT INTO log SELECT id, identity, epoch, created_at, keys_swept FROM new.log; \
    INSERT INTO generation SELECT group_name, revision, generation, mode, shape, created_at, 1 \
        FROM new.build WHERE mode <> 'inline'; \
    INSERT INTO tenant SELECT * FROM new.tenant; \
    INSERT INTO category SELECT * FROM new.category; \
    INSERT INTO actor SELECT * FROM new.actor; \
    INSERT INTO command_name SELECT * FROM new.command_name; \
    INSERT INTO policy SELECT * FROM new.policy; \
    INSERT INTO event_type SELECT * FROM new.event_type; \
    INSERT INTO stream SELECT * FROM new.stream; \
    INSERT INTO event SELECT * FROM new.event; \
    INSERT INTO command SELECT * FROM new.command; \
    INSERT INTO command_key SELECT * FROM new.command_key";

/// The tables of declarations in a file, with their indexes and the planner's statistics.
const OF_MODELS: &str = "SELECT type, name, sql FROM new.sqlite_schema \
    WHERE name LIKE 'balance%' AND sql IS NOT NULL ORDER BY rowid";

/// Writes a file again as the first schema had it.
fn as_it_was(new: &Path, old: &Path, texts: &[&str], rows: &str) {
    let file = Connection::open(old).unwrap();
    file.pragma_update(None, "journal_mode", "WAL").unwrap();
    file.execute("ATTACH ?1 AS new", [new.to_str().unwrap()]).unwrap();
    texts.iter().for_each(|text| file.execute_batch(text).unwrap());
    file.execute_batch(SHARED_ROWS).unwrap();
    file.execute_batch(rows).unwrap();
    let mut statement = file.prepare(OF_MODELS).unwrap();
    let objects = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    });
    for (kind, name, sql) in objects.unwrap().map(Result::unwrap) {
        file.execute_batch(&sql).unwrap();
        if kind == "table" {
            file.execute_batch(&format!("INSERT INTO \"{name}\" SELECT * FROM new.\"{name}\"")).unwrap();
        }
    }
    file.execute_batch("ANALYZE").unwrap();
    let id: i64 = file.query_row("PRAGMA new.application_id", [], |row| row.get(0)).unwrap();
    file.pragma_update(None, "application_id", id).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
}

/// What is in a file, in any order.
fn objects_of(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

const FILES: [(&str, &[&str], &str); 2] = [("log.db", LOG, LOG_ROWS), ("models/balance-r1-g1.db", MODEL, "")];

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_and_keeps_everything() {
    let (directory, old, clock) = (Directory::new(), Directory::new(), Hands::new());
    let (inline, model) = (group::<InlineBalance>(), group::<Balance>());
    let store = open(&directory.0, &clock, vec![inline.clone()]);
    store.attach(&model).await.unwrap();
    deposit(&store, "c1", "a", 0, 5).await.unwrap();
    store.commit(append("c2", "b", 0, &[AccountEvent::Deposited(3), AccountEvent::Closed])).await.unwrap();
    drain(&store, &model, 2).await;
    store.close().await;
    std::fs::create_dir_all(old.0.join("models")).unwrap();
    for (file, texts, rows) in FILES {
        as_it_was(&directory.0.join(file), &old.0.join(file), texts, rows);
    }

    let store = open(&old.0, &clock, vec![inline.clone()]);
    assert!(deposit(&store, "c1", "a", 0, 5).await.unwrap().replayed);
    let row = StateRow { version: Version(1), shape: Shape(1), state: "{}".to_owned() };
    assert!(store.write_state(&stream("a"), row).await.unwrap());
    for group in [&inline, &model] {
        assert_eq!(store.attach(group).await.unwrap().mark, store.head().await.unwrap());
        let [build] = &store.builds(group.name()).await.unwrap()[..] else { panic!("one build") };
        assert_eq!((build.id, build.stage), (BuildId { revision: 1, generation: 1 }, Stage::Serving));
        assert_eq!(build.declared, group.declared());
        assert_eq!(balances(&store, group).await, [("a".to_owned(), 5)]);
    }
    // What was read is also moved on.
    deposit(&store, "c3", "b", 2, 2).await.unwrap();
    drain(&store, &model, 10).await;
    for group in [&inline, &model] {
        assert_eq!(balances(&store, group).await, [("a".to_owned(), 5), ("b".to_owned(), 2)]);
        assert!(store.passed_at(group, Position(1)).await.unwrap().is_some());
    }
    store.close().await;
    for (file, ..) in FILES {
        assert_eq!(objects_of(&old.0.join(file)), objects_of(&directory.0.join(file)), "{file}");
    }
}
