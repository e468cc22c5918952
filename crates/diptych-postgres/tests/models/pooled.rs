//! What the client can only do with a statement that has a name, and with a table of the session, done
//! through a pooler: both must end with their transaction.

use super::kept_by_sql::{SUMS, Sums, group_of};
use super::world::*;
use diptych_command::EventStore;
use diptych_core::Value;
use diptych_postgres::{Notify, PostgresStore};
use diptych_query::{Group, ModelStore};
use std::sync::Arc;

/// More than it takes to fill a table by a stream.
const ROWS: u64 = 1_500;

async fn open_through_the_pooler(database: &Database, clock: &Arc<Hands>) -> Arc<PostgresStore> {
    let pooler = std::env::var("DIPTYCH_PGBOUNCER_URL")
        .expect("DIPTYCH_PGBOUNCER_URL names no pooler: run `cargo xtask test`, which starts one");
    let (place, _) = pooler.rsplit_once('/').unwrap();
    let (_, name) = database.0.rsplit_once('/').unwrap();
    let url = format!("{place}/{name}");
    open_with(database, clock, vec![], move |options| {
        options.url = url;
        options.notify = Notify::Poll;
    })
    .await
}

/// Attaches and drains one group in two processes at once, so that each meets what the other's transactions
/// have left behind in the connections of the pooler.
async fn drain_in_two_processes(database: &Database, clock: &Arc<Hands>, model: &Arc<Group>) {
    let mut processes = Vec::new();
    for _ in 0..2 {
        let store = open_through_the_pooler(database, clock).await;
        let model = Arc::clone(model);
        processes.push(tokio::spawn(async move {
            for _ in 0..3 {
                store.attach(&model).await.unwrap();
                drain_among_others(&store, &model, usize::MAX).await;
            }
        }));
    }
    for process in processes {
        process.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_filled_through_a_pooler() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open_through_the_pooler(&database, &clock).await;
    let events = [AccountEvent::Deposited(1)];
    let names: Vec<_> = (0..ROWS).map(|number| (format!("c{number}"), format!("s{number:04}"))).collect();
    let commits: Vec<_> = names.iter().map(|(id, key)| store.commit(append(id, key, 0, &events))).collect();
    for commit in commits {
        commit.await.unwrap();
    }
    let model = group::<Balance>();
    drain_in_two_processes(&database, &clock, &model).await;
    store.attach(&model).await.unwrap();
    let expected: Vec<_> = names.into_iter().map(|(_, key)| (key, 1)).collect();
    assert_eq!(balances(&store, &model).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_author_run_through_a_pooler() {
    let (database, clock) = (Database::new().await, Hands::new());
    let store = open_through_the_pooler(&database, &clock).await;
    for number in 0..10 {
        deposit(&store, &format!("c{number}"), "a", number, 2).await.unwrap();
    }
    let model = group_of::<Sums>();
    drain_in_two_processes(&database, &clock, &model).await;
    store.attach(&model).await.unwrap();
    let rows = store.scan(&model, &SUMS, None, 10).await.unwrap();
    let rows: Vec<_> = rows.into_iter().map(|row| row.values.unwrap()).collect();
    assert_eq!(rows, [[Value::Text("a".to_owned()), Value::Integer(10), Value::Integer(20)]]);
}
