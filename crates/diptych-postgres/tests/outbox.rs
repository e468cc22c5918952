//! The outbox of applications in the same database: with their transaction or not at all, in the order of
//! their commits for each stream, and once into the log, whoever takes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Place, connect, stream};
use diptych_command::{EventStore, Facts, Languages, arrivals};
use diptych_conformance::fixtures::{AccountEvent, AccountId};
use diptych_core::{Position, Principal, Version};
use diptych_postgres::{Outbox, PostgresStore};
use diptych_query::{Categories, Feed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::{Client, Transaction};

fn languages() -> Languages {
    let mut languages = Languages::default();
    languages.add::<AccountEvent>();
    languages
}

fn renamed(number: u64) -> AccountEvent {
    AccountEvent::Renamed { owner: number.to_string() }
}

/// One change of the application: its own row, and what happened.
async fn change(transaction: &mut Transaction<'_>, key: &str, numbers: &[u64]) {
    let ann = Principal::new("main", "ann").unwrap();
    transaction.execute("INSERT INTO public.own VALUES ($1)", &[&key]).await.unwrap();
    let facts = Facts::by(&ann).of(&AccountId(key.to_owned()), numbers.iter().map(|number| renamed(*number)));
    Outbox::append(transaction, facts).await.unwrap();
}

async fn committed(client: &mut Client, key: &str, numbers: &[u64]) {
    let mut transaction = client.transaction().await.unwrap();
    change(&mut transaction, key, numbers).await;
    transaction.commit().await.unwrap();
}

/// Takes in what waits; answers how many arrivals were new.
async fn drain(store: &PostgresStore, rows_max: usize) -> usize {
    let (outbox, mut all) = (store.outbox(), 0);
    loop {
        let rows = outbox.oldest(rows_max).await.unwrap();
        let (arrivals, bad) = arrivals(&rows, &languages());
        assert_eq!(bad, None);
        if arrivals.is_empty() {
            return all;
        }
        all += outbox.take(arrivals).await.unwrap().taken;
    }
}

async fn owners(store: &PostgresStore, key: &str) -> Vec<String> {
    let events = store.load(&stream(key), Version::NONE, 10_000).await.unwrap();
    let numbers: Vec<String> = events.iter().map(|event| event.payload.to_string()).collect();
    numbers.iter().map(|text| text.chars().filter(char::is_ascii_digit).collect()).collect()
}

async fn application(place: &Place) -> Client {
    let client = place.connect().await;
    client.batch_execute("CREATE TABLE IF NOT EXISTS public.own (key text)").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_go_with_the_transaction_or_not_at_all() {
    let place = Place::new().await;
    let store = place.open().await;
    let mut application = application(&place).await;
    committed(&mut application, "a", &[1, 2]).await;
    let mut dropped = application.transaction().await.unwrap();
    change(&mut dropped, "a", &[3]).await;
    dropped.rollback().await.unwrap();
    committed(&mut application, "a", &[4]).await;
    assert_eq!(drain(&store, 2).await, 2);
    assert_eq!(owners(&store, "a").await, ["1", "2", "4"]);
    assert_eq!(store.outbox().waiting().await.unwrap().rows, 0);
    assert_eq!(drain(&store, 2).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_commits_late_is_not_passed_over() {
    let place = Place::new().await;
    let store = place.open().await;
    let (mut early, mut late) = (application(&place).await, application(&place).await);
    let mut slow = late.transaction().await.unwrap();
    change(&mut slow, "slow", &[1]).await;
    committed(&mut early, "quick", &[2]).await;
    assert_eq!(drain(&store, 10).await, 1, "what is committed does not wait for other streams");
    slow.commit().await.unwrap();
    assert_eq!(drain(&store, 10).await, 1);
    assert_eq!(owners(&store, "slow").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_transaction_waits_for_the_first_of_its_stream() {
    let place = Place::new().await;
    let store = place.open().await;
    let (mut one, mut two) = (application(&place).await, application(&place).await);
    let mut first = one.transaction().await.unwrap();
    change(&mut first, "a", &[1]).await;
    let second = tokio::spawn(async move { committed(&mut two, "a", &[2]).await });
    let watcher = place.connect().await;
    loop {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        let waiting: i64 = watcher.query_one(waiting, &[]).await.unwrap().get(0);
        if waiting == 1 {
            break;
        }
        assert!(!second.is_finished(), "the second did not wait for the first");
        tokio::task::yield_now().await;
    }
    assert_eq!(drain(&store, 10).await, 0);
    first.commit().await.unwrap();
    second.await.unwrap();
    drain(&store, 10).await;
    assert_eq!(owners(&store, "a").await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_take_each_row_once_and_in_order() {
    const CHANGES: u64 = 30;
    let place = Place::new().await;
    let (one, two) = (place.open().await, place.open().await);
    application(&place).await;
    let finished = Arc::new(AtomicBool::new(false));
    let mut takers = Vec::new();
    for (store, rows_max) in [(&one, 3), (&two, 7), (&one, 1)] {
        let (store, finished) = (Arc::clone(store), Arc::clone(&finished));
        takers.push(tokio::spawn(async move {
            let mut all = 0;
            while !finished.load(Ordering::SeqCst) {
                all += drain(&store, rows_max).await;
                tokio::task::yield_now().await;
            }
            all + drain(&store, rows_max).await
        }));
    }
    let mut writers = Vec::new();
    for writer in 0..4_u64 {
        let url = place.url.clone();
        writers.push(tokio::spawn(async move {
            let mut application = connect(&url).await;
            for number in 0..CHANGES {
                // Two writers share a stream: together they number its changes in their own order.
                let key = format!("{}", writer % 2);
                committed(
                    &mut application,
                    &key,
                    &[1_000 * writer + 2 * number, 1_000 * writer + 2 * number + 1],
                )
                .await;
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    finished.store(true, Ordering::SeqCst);
    for taker in takers {
        taker.await.unwrap();
    }
    for key in 0..2_u64 {
        let owners: Vec<u64> =
            owners(&one, &key.to_string()).await.iter().map(|text| text.parse().unwrap()).collect();
        for writer in [key, key + 2] {
            let own: Vec<_> = owners.iter().copied().filter(|number| number / 1_000 == writer).collect();
            let expected: Vec<_> = (0..2 * CHANGES).map(|number| 1_000 * writer + number).collect();
            assert_eq!(own, expected, "the changes of writer {writer} in their order, each once");
        }
    }
    let head = one.head().await.unwrap().position();
    assert_eq!(head, Position(4 * 2 * CHANGES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_needs_no_privilege_but_to_insert() {
    let place = Place::new().await;
    let store = place.open().await;
    let owner = place.connect().await;
    let role = format!("shop_{}", std::process::id());
    let grants = format!(
        "CREATE ROLE {role} LOGIN; CREATE TABLE public.own (key text); GRANT INSERT ON public.own TO {role}; \
         GRANT USAGE ON SCHEMA diptych TO {role}; GRANT INSERT ON diptych.outbox TO {role}"
    );
    owner.batch_execute(&grants).await.unwrap();
    let mut application = place.connect().await;
    application.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
    committed(&mut application, "a", &[1]).await;
    for forbidden in
        ["SELECT * FROM diptych.head", "DELETE FROM diptych.outbox", "SELECT * FROM diptych.event"]
    {
        assert!(application.execute(forbidden, &[]).await.is_err(), "{forbidden}");
    }
    // A trigger or another language needs only the plain table.
    let by_hand = "INSERT INTO diptych.outbox (tenant, category, key, type, payload, actor) \
        VALUES ('main', 'account', 'b', 'Opened', $1, 'cron')";
    assert!(application.execute(by_hand, &[&"no JSON"]).await.is_err(), "the table refuses what is no JSON");
    application.execute(by_hand, &[&"{\"owner\": \"bob\"}"]).await.unwrap();
    assert_eq!(drain(&store, 10).await, 2);
    let block = store.read(Position::START, &Categories::All, 10).await.unwrap();
    assert_eq!(&*block.facts[1].payload, "{\"owner\": \"bob\"}");
    assert!(block.facts[1].metadata.contains("\"actor\":\"cron\""));
}
