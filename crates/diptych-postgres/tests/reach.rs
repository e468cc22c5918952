//! What stands between a store and its server: a pooler that shares sessions out, one that nobody has
//! declared, and who may write through any of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::proxy::{Break, Proxy};
use common::*;
use diptych_command::EventStore;
use diptych_conformance::fixtures::Total;
use diptych_core::{Code, Fault, Position, Value, Version};
use diptych_postgres::{Notify, PostgresOptions, PostgresStore};
use diptych_query::{Feed, Group, ModelStore, RawFind, ReadModel, RowRef, erase};
use std::time::Duration;
use tokio_postgres::Client;

const PROCESS: &str = "SELECT pg_backend_pid()";

/// A time that no test waits for.
const NEVER: Duration = Duration::from_secs(100_000);

/// How long anything may take before the test says that it hangs.
const HANG: Duration = Duration::from_secs(20);

/// The ways to one database.
fn ways(place: &Place) -> [PostgresOptions; 3] {
    let [direct, mut beside, mut alone] = [(); 3].map(|()| place.options());
    beside.url = place.pooled_url();
    beside.notify = Notify::At(direct.url.clone());
    alone.url = place.pooled_url();
    alone.notify = Notify::Poll;
    [direct, beside, alone]
}

async fn process(client: &Client) -> i32 {
    client.query_typed_one(PROCESS, &[]).await.unwrap().get(0)
}

/// Leaves a client that has just used a connection of the pooler without it: somebody else keeps it busy.
async fn take_away(place: &Place, used: i32) -> Client {
    let mut held = Vec::new();
    loop {
        let other = connect(&place.pooled_url()).await;
        other.batch_execute("BEGIN").await.unwrap();
        if process(&other).await == used {
            return other;
        }
        held.push(other);
    }
}

#[tokio::test]
async fn what_a_session_was_told_is_gone_after_its_transaction() {
    let place = Place::new().await;
    let client = connect(&place.pooled_url()).await;
    client.batch_execute("BEGIN; SET default_transaction_read_only = on").await.unwrap();
    let named = client.prepare(PROCESS).await.unwrap();
    let used = process(&client).await;
    client.batch_execute("COMMIT").await.unwrap();
    let _busy = take_away(&place, used).await;
    assert_ne!(process(&client).await, used, "the client has got another connection");
    client.batch_execute("CREATE TABLE written (id integer)").await.expect("the setting is not here");
    let lost = client.query(&named, &[]).await.unwrap_err();
    assert_eq!(lost.code().unwrap().code(), "26000", "the statement is not here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_not_declared_is_found_out() {
    let place = Place::new().await;
    let pooled = place.pooled_url();
    let (_proxy, kept) = Proxy::before(&place.url, Break::KeepSettings).await;
    let refused = |change: &dyn Fn(&mut PostgresOptions)| {
        let mut options = place.options();
        change(&mut options);
        async move { PostgresStore::open(options).await.err().unwrap() }
    };
    let faults: [Fault; 4] = [
        refused(&|options| options.url.clone_from(&pooled)).await,
        // One that swallows what it does not know.
        refused(&|options| {
            options.url.clone_from(&kept);
            options.reader_url = Some(place.url.clone());
        })
        .await,
        // Listening through it would hear nothing.
        refused(&|options| options.notify = Notify::At(pooled.clone())).await,
        refused(&|options| {
            options.url = format!("{pooled}?options=-c%20work_mem%3D4MB");
            options.notify = Notify::Poll;
        })
        .await,
    ];
    for fault in &faults {
        assert_eq!((fault.code(), fault.is_transient()), (Code::ServiceInvalid, false), "{fault}");
    }
    for fault in &faults[..3] {
        assert!(fault.message().contains("--notify-url"), "{fault}");
    }
    assert!(faults[3].message().contains("ALTER ROLE"), "{}", faults[3]);
}

/// Has everything that reads a checkpoint, or the name of a category, write as well.
async fn let_reads_write(client: &Client) {
    const TRAP: &str = "CREATE TABLE diptych.trace (id integer); \
        CREATE FUNCTION diptych.leaves_a_trace() RETURNS boolean LANGUAGE plpgsql VOLATILE AS \
            $$ BEGIN INSERT INTO diptych.trace VALUES (1); RETURN true; END $$; \
        ALTER TABLE diptych.category RENAME TO real_category; \
        CREATE VIEW diptych.category AS \
            SELECT * FROM diptych.real_category WHERE diptych.leaves_a_trace(); \
        ALTER TABLE diptych.checkpoint RENAME TO real_checkpoint; \
        CREATE VIEW diptych.checkpoint AS \
            SELECT * FROM diptych.real_checkpoint WHERE diptych.leaves_a_trace()";
    client.batch_execute(TRAP).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_reads_from_writing_on_every_way() {
    for way in 0..3 {
        let place = Place::new().await;
        let store = PostgresStore::open(ways(&place)[way].clone()).await.unwrap();
        deposit(&store, "c1", "a", 0).await.unwrap();
        let total = Group::of_one(erase::<Total>());
        store.attach(&total).await.unwrap();
        let client = place.connect().await;
        let_reads_write(&client).await;
        let row = RowRef { tenant: tenant("main"), key: vec![Value::Text("all".to_owned())] };
        let all = RawFind {
            rule: diptych_query::RowRule::All,
            words: diptych_query::Words::default(),
            tenant: tenant("main"),
            conditions: Vec::new(),
            sort: None,
            after: None,
            rows_max: 10,
        };
        let reads: [(&str, Option<Fault>); 5] = [
            ("load", store.load(&stream("a"), Version::NONE, 9).await.err()),
            ("recorded", store.recorded(&tenant("main"), &id("c1")).await.err()),
            ("checkpoint", store.checkpoint(&total).await.err()),
            ("get", store.get(&total, Total::SCHEMA, &row).await.err()),
            ("find", store.find(&total, Total::SCHEMA, &all, HANG).await.err()),
        ];
        for (read, refused) in reads {
            let refused = refused.unwrap_or_else(|| panic!("`{read}` wrote on way {way}"));
            // Code 25006: the connection may only read.
            assert_eq!(refused.message(), "the connection may only read", "{read} on way {way}");
        }
        // Nothing was wrong with the trap.
        let trace = "SELECT count(*) FROM diptych.trace";
        let traces = |row: tokio_postgres::Row| row.get::<_, i64>(0);
        assert_eq!(traces(client.query_one(trace, &[]).await.unwrap()), 0, "way {way}");
        connect(&place.pooled_url()).await.batch_execute("TABLE diptych.category").await.unwrap();
        assert_eq!(traces(client.query_one(trace, &[]).await.unwrap()), 1, "way {way}");
        // What was refused has left no transaction behind: everything that reads nothing else goes on.
        assert_eq!(store.head().await.unwrap().position(), Position(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_woken_past_a_pooler() {
    let place = Place::new().await;
    let [direct, beside, alone] = ways(&place);
    let mut stores = Vec::new();
    for mut options in [direct, beside] {
        // Without a notification nobody would look.
        (options.limits.foreign_check, options.limits.foreign_poll) = (NEVER, NEVER);
        stores.push(PostgresStore::open(options).await.unwrap());
    }
    stores.push(PostgresStore::open(alone).await.unwrap());
    for (from, version) in [0, 1, 0, 1].into_iter().zip(0..) {
        let appended = deposit(&stores[from], &format!("c{version}"), "a", version).await.unwrap();
        for store in &stores {
            let mut watch = store.watch();
            let reached = watch.wait_for(|head| *head >= appended.record.token.position);
            tokio::time::timeout(HANG, reached).await.expect("it is not woken").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_past_the_pooler_by_the_role_that_uses_them() {
    let place = Place::new().await;
    let client = place.connect().await;
    let role = format!("listener_{}", place.url.rsplit('/').next().unwrap());
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let [_, mut beside, _] = ways(&place);
    // Whoever only listens owns nothing and may make nothing.
    let (_, host) = place.url.rsplit_once('@').unwrap();
    beside.notify = Notify::At(format!("postgres://{role}@{host}"));
    let store = PostgresStore::open(beside).await.unwrap();
    deposit(&store, "c1", "a", 0).await.unwrap();
    let owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'diptych'";
    let owners = client.query(owners, &[]).await.unwrap();
    assert_eq!(owners.len(), 1);
    assert_ne!(owners[0].get::<_, String>(0), role);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_ended_behind_the_pooler_is_replaced_and_the_command_done_once() {
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for way in [1, 2] {
        let place = Place::new().await;
        let store = PostgresStore::open(ways(&place)[way].clone()).await.unwrap();
        deposit(&store, "first", "a", 0).await.unwrap();
        let (watching, holding) = (place.connect().await, place.connect().await);
        hold_key(&holding, "held").await;
        let (done, ()) = tokio::join!(deposit(&store, "held", "a", 1), async {
            until_waiting(&watching, 1).await;
            assert_eq!(watching.query(END, &[]).await.unwrap().len(), 1);
            holding.batch_execute("ROLLBACK").await.unwrap();
        });
        assert!(!done.unwrap().replayed);
        assert_eq!(positions(&store, Position::START).await, [1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_freezes_while_it_reads_gives_the_connection_back() {
    const IDLE: &str = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let place = Place::new().await;
    let (proxy, through) = Proxy::before(&place.pooled_url(), Break::Freeze).await;
    let mut options = place.options();
    (options.url, options.notify) = (through, Notify::Poll);
    options.limits.idle_transaction_timeout = Duration::from_millis(300);
    let store = PostgresStore::open(options).await.unwrap();
    proxy.arm();
    // The end of its transaction does not leave the process.
    store.head().await.unwrap();
    let watching = place.connect().await;
    let idle = async || watching.query_one(IDLE, &[]).await.unwrap().get::<_, i64>(0);
    let given_back = async {
        while proxy.broken() == 0 || idle().await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, given_back).await.expect("the connection is kept");
    proxy.thaw();
    while store.head().await.is_err() {
        tokio::task::yield_now().await;
    }
}
