//! The log and the ledger of one store: its schema word for word, who may open it, who may write, and what
//! commands leave behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::*;
use diptych_command::{CommitError, Effect, EventStore, Outcome, RefusedFor, StateStore};
use diptych_core::{Clock, Code, Epoch, Position, Timestamp, Version};
use diptych_postgres::{PostgresOptions, PostgresStore};
use diptych_query::{Categories, Feed};
use std::sync::Arc;
use tokio_postgres::Client;

/// Every column, constraint and index of the schema, and the texts of its views.
const COLUMNS: &str = "SELECT c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) \
        || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END \
        || CASE WHEN a.attcollation <> 0 \
            THEN ' ' || (SELECT collname FROM pg_collation WHERE oid = a.attcollation) ELSE '' END \
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relnamespace = 'diptych'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname, a.attnum";
const INDEXES: &str = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'diptych' ORDER BY indexname";
const CHECKS: &str = "SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
    WHERE connamespace = 'diptych'::regnamespace AND contype = 'c' ORDER BY 1";

async fn texts(client: &Client, sql: &str) -> String {
    let rows = client.query(sql, &[]).await.unwrap();
    let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    texts.join("\n")
}

async fn refused(options: PostgresOptions) -> Code {
    PostgresStore::open(options).await.err().unwrap().code()
}

#[tokio::test]
async fn the_schema_is_what_it_always_was() {
    let place = Place::new().await;
    place.open().await.close().await;
    let client = place.connect().await;
    let mut schema = Vec::new();
    for sql in [COLUMNS, INDEXES, CHECKS] {
        schema.push(texts(&client, sql).await);
    }
    insta::assert_snapshot!("schema", schema.join("\n\n"));
}

#[tokio::test]
async fn a_store_of_newer_software_is_refused() {
    let place = Place::new().await;
    place.open().await.close().await;
    let client = place.connect().await;
    let newer = "INSERT INTO diptych.migration (number, checksum, applied_at) VALUES (99, 'x', now())";
    client.batch_execute(newer).await.unwrap();
    assert_eq!(refused(place.options()).await, Code::StoreVersion);
}

#[tokio::test]
async fn a_store_made_by_other_migrations_is_refused() {
    let place = Place::new().await;
    place.open().await.close().await;
    let client = place.connect().await;
    client.batch_execute("UPDATE diptych.migration SET checksum = 'x'").await.unwrap();
    assert_eq!(refused(place.options()).await, Code::StoreVersion);
}

/// What the first migration knew of checkpoints, made out of what there is now.
const AS_IT_WAS: &str = "DROP TABLE diptych.state; DROP FUNCTION diptych.instant; \
    DROP TABLE diptych.event_tag; DROP TABLE diptych.source; DROP TABLE diptych.outbox; \
    DROP TABLE diptych.worker; DROP VIEW diptych.projection_checkpoint; \
    DROP INDEX diptych.command_causation, diptych.command_correlation; \
    DROP TABLE diptych.queued_command; DROP SEQUENCE diptych.queued_command_number; \
    DROP TABLE diptych.stage_move, diptych.record, diptych.parked; DROP SEQUENCE diptych.lease_fence; \
    ALTER TABLE diptych.generation DROP COLUMN stage, DROP COLUMN declared, DROP COLUMN moved_at, \
        ADD COLUMN serving boolean NOT NULL; \
    ALTER TABLE diptych.checkpoint DROP CONSTRAINT checkpoint_pkey, DROP COLUMN partition, \
        DROP COLUMN fence, DROP COLUMN holder, DROP COLUMN held_until, DROP COLUMN repairs, \
        ADD PRIMARY KEY (group_name, revision, generation); \
    ALTER TABLE diptych.checkpoint_history DROP CONSTRAINT checkpoint_history_pkey, DROP COLUMN partition, \
        ADD PRIMARY KEY (group_name, revision, generation, move); \
    CREATE VIEW diptych.projection_checkpoint (projection_name, partition_id, last_position, updated_at) AS \
        SELECT group_name, 0, position, updated_at FROM diptych.checkpoint; \
    DELETE FROM diptych.migration WHERE number > 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_first_schema_is_brought_up_once_by_processes_that_start_together() {
    let place = Place::new().await;
    let store = place.open().await;
    deposit(&store, "c1", "a", 0).await.unwrap();
    store.close().await;
    let client = place.connect().await;
    let held = "INSERT INTO diptych.checkpoint (group_name, revision, generation, shape, position, epoch, \
        fingerprint, recorded_at, updated_at) SELECT 'old', 1, 1, '', 1, epoch, fingerprint, now(), now() \
        FROM diptych.head";
    client.batch_execute(&format!("{AS_IT_WAS}; {held}")).await.unwrap();
    let openings: Vec<_> = (0..3).map(|_| tokio::spawn(PostgresStore::open(place.options()))).collect();
    for opening in openings {
        let store = opening.await.unwrap().unwrap();
        assert!(deposit(&store, "c1", "a", 0).await.unwrap().replayed);
    }
    assert_eq!(
        texts(&client, "SELECT number::text FROM diptych.migration ORDER BY migration.number").await,
        "1\n2\n3\n4\n5\n6\n7\n8\n9\n10"
    );
    let shown =
        "SELECT concat_ws(' ', group_name, partition, position, fence, holder) FROM diptych.checkpoint";
    assert_eq!(texts(&client, shown).await, "old 0 1 0");
}

#[tokio::test]
async fn a_database_that_acknowledges_what_it_may_lose_is_refused() {
    let place = Place::new().await;
    let name = place.url.rsplit('/').next().unwrap();
    let client = place.connect().await;
    let set = |value| format!("ALTER DATABASE {name} SET synchronous_commit = {value}");
    client.batch_execute(&set("off")).await.unwrap();
    assert_eq!(refused(place.options()).await, Code::ServiceInvalid);
    client.batch_execute(&set("local")).await.unwrap();
    place.open().await.close().await;
}

#[tokio::test]
async fn a_schema_of_another_program_is_refused_and_left_alone() {
    let place = Place::new().await;
    let client = place.connect().await;
    client.batch_execute("CREATE SCHEMA diptych; CREATE TABLE diptych.mine (id integer)").await.unwrap();
    assert_eq!(refused(place.options()).await, Code::StoreVersion);
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'diptych'";
    assert_eq!(texts(&client, tables).await, "mine");
}

#[tokio::test]
async fn two_schemas_of_a_database_are_two_logs() {
    let place = Place::new().await;
    let mut options = place.options();
    options.schema = "the \"other\" one".to_owned();
    let (one, other) = (place.open().await, PostgresStore::open(options).await.unwrap());
    // Even while both are empty.
    assert_ne!(one.head().await.unwrap(), other.head().await.unwrap());
    deposit(&one, "c1", "a", 0).await.unwrap();
    assert_eq!(other.head().await.unwrap().position(), Position::START);
    assert!(!deposit(&other, "c1", "a", 0).await.unwrap().replayed);
    assert_eq!(positions(&other, Position::START).await, [1]);
    assert_eq!(other.load(&stream("a"), Version::NONE, 9).await.unwrap().len(), 1);
    assert_eq!(other.statistics().await.unwrap().events, 1);
}

#[tokio::test]
async fn the_database_itself_keeps_readers_from_writing() {
    let place = Place::new().await;
    let client = place.connect().await;
    let role = format!("reader_{}", place.url.rsplit('/').next().unwrap());
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let mut options = place.options();
    let (_, host) = place.url.rsplit_once('@').unwrap();
    let reader_url = format!("postgres://{role}@{host}");
    options.reader_url = Some(reader_url.clone());
    let store = PostgresStore::open(options.clone()).await.unwrap();
    deposit(&store, "c1", "a", 0).await.unwrap();
    assert_eq!(positions(&store, Position::START).await, [1]);
    let reader = connect(&reader_url).await;
    for statement in
        ["DELETE FROM diptych.event", "UPDATE diptych.head SET position = 0", "TABLE diptych.page_key"]
    {
        let refused = reader.batch_execute(statement).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{statement}");
    }
    // What is made later is covered, too.
    client.batch_execute("CREATE TABLE diptych.later (id integer)").await.unwrap();
    reader.batch_execute("TABLE diptych.later").await.unwrap();
    store.show_states("account", &[]).await.unwrap();
    reader.batch_execute("TABLE diptych.state_account").await.unwrap();
    // A role that was meant to read and may write is found out.
    client.batch_execute(&format!("GRANT INSERT ON diptych.event TO {role}")).await.unwrap();
    assert_eq!(refused(options).await, Code::ServiceInvalid);
}

#[tokio::test]
async fn another_server_begins_a_new_life_of_the_log() {
    let place = Place::new().await;
    let store = place.open().await;
    let before = deposit(&store, "c1", "a", 0).await.unwrap().record.token;
    let client = place.connect().await;
    // As the rows would stand on a server that was restored from elsewhere.
    client.batch_execute("UPDATE diptych.head SET system_identifier = 7").await.unwrap();
    let restored = place.open().await;
    let after = restored.head().await.unwrap().token;
    assert_eq!((before.epoch, after.epoch), (Epoch(1), Epoch(2)));
    assert_eq!((before.position, before.fingerprint), (after.position, after.fingerprint));
    deposit(&restored, "c2", "a", 1).await.unwrap();
    // Whoever has slept through it cannot append any more.
    let Err(CommitError::Fault(fault)) = deposit(&store, "c3", "a", 2).await else { panic!("it appended") };
    assert_eq!(fault.code(), Code::LogDiffers);
    assert_eq!(place.open().await.head().await.unwrap().token.epoch, Epoch(2));
}

#[tokio::test]
async fn a_log_that_does_not_end_at_its_head_is_refused() {
    let place = Place::new().await;
    let store = place.open().await;
    for number in 0..3 {
        deposit(&store, &format!("c{number}"), "a", number).await.unwrap();
    }
    store.close().await;
    let client = place.connect().await;
    for (damage, repair) in [
        ("UPDATE diptych.head SET position = 2", "UPDATE diptych.head SET position = 3"),
        ("UPDATE diptych.head SET position = 4", "UPDATE diptych.head SET position = 3"),
        (
            "UPDATE diptych.event SET payload = '2' WHERE position = 3",
            "UPDATE diptych.event SET payload = '1' WHERE position = 3",
        ),
    ] {
        client.batch_execute(damage).await.unwrap();
        assert_eq!(refused(place.options()).await, Code::LogDiffers, "{damage}");
        client.batch_execute(repair).await.unwrap();
    }
    place.open().await;
}

#[tokio::test]
async fn a_hole_in_the_log_is_told_not_passed_over() {
    let place = Place::new().await;
    let store = place.open().await;
    for number in 0..4 {
        deposit(&store, &format!("c{number}"), "a", number).await.unwrap();
    }
    let client = place.connect().await;
    client.batch_execute("DELETE FROM diptych.event WHERE position = 2").await.unwrap();
    assert!(store.read(Position::START, &Categories::All, 10).await.is_err());
    assert!(store.load(&stream("a"), Version::NONE, 10).await.is_err());
    assert_eq!(positions(&store, Position(2)).await, [3, 4]);
}

#[tokio::test]
async fn the_same_command_is_answered_from_the_ledger_even_after_a_restart() {
    let place = Place::new().await;
    let store = place.open().await;
    let first = deposit(&store, "c1", "a", 0).await.unwrap();
    store.close().await;
    assert!(matches!(deposit(&store, "c2", "a", 1).await, Err(CommitError::Fault(_))), "it is closed");
    place.clock.turn(1_000_000);
    let store = place.open().await;
    let again = deposit(&store, "c1", "a", 0).await.unwrap();
    assert!(again.replayed && again.events.is_empty());
    assert_eq!(again.record, first.record);
    let other = store.commit(append("c1", "b", 0, &[])).await;
    assert!(matches!(other, Err(CommitError::KeyReused)), "{other:?}");
}

#[tokio::test]
async fn rejections_are_final_and_refusals_leave_the_key_free() {
    let place = Place::new().await;
    let store = place.open().await;
    let mut commit = append("c1", "a", 0, &[]);
    commit.effect = Effect::Refuse { reason: RefusedFor::Conflict, version: Version(3) };
    let refused = store.commit(commit.clone()).await.unwrap();
    assert_eq!(store.recorded(&tenant("main"), &id("c1")).await.unwrap(), Some(refused.record));
    let (name, data) = ("Broke".to_owned(), "{}".to_owned());
    commit.effect = Effect::Reject { base: Version(0).into(), name: name.clone(), data: data.clone() };
    let rejected = store.commit(commit.clone()).await.unwrap();
    assert_eq!(rejected.record.outcome, Outcome::Rejected { name, data });
    assert!(store.commit(commit).await.unwrap().replayed);
    assert_eq!(store.recorded(&tenant("main"), &id("c1")).await.unwrap(), Some(rejected.record));
    assert_eq!(store.recorded(&tenant("other"), &id("c1")).await.unwrap(), None);
}

#[tokio::test]
async fn keys_expire_in_order_of_time_and_the_audit_stays() {
    let place = Place::new().await;
    let store = place.open().await;
    for number in 0..4u64 {
        place.clock.turn(1_000_000);
        deposit(&store, &format!("c{number}"), "a", number).await.unwrap();
    }
    let last = store.head().await.unwrap().recorded_at;
    for freed in [2, 1, 0] {
        assert_eq!(store.expire_keys(last, 2).await.unwrap(), freed);
    }
    assert_eq!(store.recorded(&tenant("main"), &id("c2")).await.unwrap(), None);
    assert!(store.recorded(&tenant("main"), &id("c3")).await.unwrap().is_some());
    assert_eq!(store.statistics().await.unwrap().commands, 4);
    // The key is free again.
    deposit(&store, "c0", "a", 4).await.unwrap();
}

#[tokio::test]
async fn recorded_times_never_decrease_when_the_clock_goes_back() {
    let place = Place::new().await;
    let first = deposit(&*place.open().await, "c1", "a", 0).await.unwrap();
    place.clock.turn(-1_000_000);
    assert!(place.clock.now() < first.record.recorded_at);
    let second = deposit(&*place.open().await, "c2", "a", 1).await.unwrap();
    assert_eq!(second.record.recorded_at, first.record.recorded_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_that_postgresql_cannot_take_fails_alone() {
    let place = Place::new().await;
    let store = place.open().await;
    let calls = (0..20).map(|number| {
        let store = Arc::clone(&store);
        let mut commit = append(&format!("c{number}"), &format!("s{number}"), 0, &[1]);
        if number == 7 {
            commit.header.name = "no\0name".to_owned();
        }
        tokio::spawn(async move { store.commit(commit).await })
    });
    let mut failed = Vec::new();
    for (number, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        if call.await.unwrap().is_err() {
            failed.push(number);
        }
    }
    assert_eq!(failed, [7]);
    assert_eq!(store.head().await.unwrap().position(), Position(19));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_one_log_without_gaps() {
    let place = Place::new().await;
    let store = place.open().await;
    let callers = (0..32).map(|caller| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0..10u64 {
                // Half of the callers fight for one stream, the others have their own.
                let key = if caller % 2 == 0 { "shared".to_owned() } else { format!("own-{caller}") };
                let mut base = number;
                loop {
                    match deposit(&store, &format!("{caller}-{number}"), &key, base).await {
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
    assert_eq!(positions(&store, Position::START).await, (1..=320).collect::<Vec<_>>());
    assert_eq!(store.load(&stream("shared"), Version::NONE, 1_000).await.unwrap().len(), 160);
    assert_eq!(*store.watch().borrow(), Position(320));
}

#[tokio::test]
async fn a_full_queue_turns_callers_away() {
    let place = Place::new().await;
    let mut options = place.options();
    options.limits.queue_commands_max = 0;
    let store = PostgresStore::open(options).await.unwrap();
    let refused = deposit(&store, "c1", "a", 0).await;
    assert!(matches!(refused, Err(CommitError::Overloaded { .. })), "{refused:?}");
}

#[tokio::test]
async fn the_page_key_is_made_once_and_kept() {
    let place = Place::new().await;
    let client = place.connect().await;
    place.open().await.page_key().await.unwrap();
    let key = texts(&client, "SELECT encode(current, 'hex') FROM diptych.page_key").await;
    assert_eq!(key.len(), 64);
    place.open().await.page_key().await.unwrap();
    assert_eq!(texts(&client, "SELECT encode(current, 'hex') FROM diptych.page_key").await, key);
}

#[tokio::test]
async fn people_can_read_the_log_and_the_audit_in_sql() {
    let place = Place::new().await;
    let store = place.open().await;
    let mut commit = append("01991c3e-7b2a-7c3d-8e4f-0123456789ab", "a", 0, &[5]);
    commit.header.occurred_at = Timestamp::EPOCH;
    store.commit(commit).await.unwrap();
    let client = place.connect().await;
    client.batch_execute("SET TIME ZONE 'UTC'").await.unwrap();
    let fact = "SELECT concat_ws(' ', position, tenant, stream, version, type, recorded_at, occurred_at, \
        payload) FROM diptych.fact";
    let expected = "1 main account-a 1 Deposited 2023-11-14 22:13:20+00 1970-01-01 00:00:00+00 5";
    assert_eq!(texts(&client, fact).await, expected);
    let audit = "SELECT concat_ws(' ', command_id, tenant, stream, command, actor, policy, outcome, \
        position) FROM diptych.audit";
    let expected = "01991c3e-7b2a-7c3d-8e4f-0123456789ab main account-a deposit ann p1 accepted 1";
    assert_eq!(texts(&client, audit).await, expected);
}

/// States as people ask for them by SQL.
mod states {
    use super::*;
    use diptych_command::{Commit, NewState, Shape, StateColumn};

    const COLUMNS: &[StateColumn] = &[
        StateColumn::text("owner", "owner").indexed(),
        StateColumn::boolean("open", "isOpen"),
        StateColumn::timestamp("opened_at", "openedAt").indexed(),
    ];
    const MORE: &[StateColumn] = &[StateColumn::integer("pence", "pence").indexed()];
    const OBJECTS: &str = "SELECT relname::text FROM pg_class \
        WHERE relnamespace = 'diptych'::regnamespace AND relname LIKE 'state_account%' ORDER BY 1";

    fn leaving(id: &str, key: &str, state: &str) -> Commit {
        append(id, key, 0, &[1]).with_state(NewState { shape: Shape(1), state: state.to_owned() })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn declared_columns_stand_beside_the_json() {
        let place = Place::new().await;
        let store = place.open().await;
        // Made before anything of the category is there.
        store.show_states("account", COLUMNS).await.unwrap();
        let (ann, bob) = (
            r#"{"owner":"ann","isOpen":true,"openedAt":"2026-07-07T09:00:00Z"}"#,
            r#"{"owner":"bob","isOpen":false}"#,
        );
        store.commit(leaving("1", "a", ann)).await.unwrap();
        store.commit(leaving("2", "b", bob)).await.unwrap();
        let client = place.connect().await;
        let shown = "SELECT concat_ws(' ', tenant, key, version, position, owner, open, \
            opened_at AT TIME ZONE 'UTC') FROM diptych.state_account ORDER BY key";
        assert_eq!(texts(&client, shown).await, "main a 1 1 ann t 2026-07-07 09:00:00\nmain b 1 2 bob f");
        client.batch_execute("SET enable_seqscan = off").await.unwrap();
        for (condition, index) in
            [("owner = 'bob'", "state_account.owner"), ("opened_at < now()", "state_account.opened_at")]
        {
            let explain = format!("EXPLAIN SELECT key FROM diptych.state_account WHERE {condition}");
            let plan = texts(&client, &explain).await;
            assert!(plan.contains(index), "{plan}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_view_follows_its_declaration_and_goes_when_it_is_told() {
        let place = Place::new().await;
        let store = place.open().await;
        store.show_states("account", COLUMNS).await.unwrap();
        store.commit(leaving("1", "a", r#"{"owner":"ann","pence":12}"#)).await.unwrap();
        let together = (0..4).map(|_| store.show_states("account", MORE));
        for shown in together.collect::<Vec<_>>() {
            shown.await.unwrap();
        }
        let client = place.connect().await;
        let shown = "SELECT concat_ws(' ', key, pence) FROM diptych.state_account";
        assert_eq!(texts(&client, shown).await, "a 12");
        assert_eq!(texts(&client, OBJECTS).await, "state_account\nstate_account.pence");
        store.hide_states("account").await.unwrap();
        assert_eq!(texts(&client, OBJECTS).await, "");
        assert!(store.load_state(&stream("a")).await.unwrap().is_some(), "hiding loses nothing");
    }
}
