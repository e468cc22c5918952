//! Two persistences of one decider: an order is event-sourced or state-stored, is moved there and back while
//! commands go on, and what cannot be is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use rusqlite::Connection;
use support::folder::Folder;
use support::http::Client;
use support::moving::{STATE_STORED, there_and_back};
use support::postgres::{placed, verify};
use support::server::{Server, run, run_json, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_move_there_and_back_while_commands_go_on() {
    let folder = Folder::new("moving");
    there_and_back(&folder.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_each_row_with_its_events() {
    let folder = Folder::new("killed");
    let store = folder.store();
    for life in 0..3 {
        let server = Server::start_with(&store, &STATE_STORED).await;
        let address = server.address;
        let giving = tokio::spawn(async move {
            for order in 0.. {
                let mut client = Client::to(address);
                let order = format!("{life}-{order}");
                let place = client.post(&format!("/orders/{order}/place"), &[], &placed("ann")).await;
                let confirm =
                    client.post(&format!("/orders/{order}/confirm"), &[], &serde_json::Value::Null).await;
                if place.is_err() || confirm.is_err() {
                    return;
                }
            }
        });
        while run_json(&store, &["status"]).await["streams"].as_u64().unwrap() < 10 * (life + 1) {}
        server.kill().await;
        giving.await.unwrap();
    }
    let listed = run_json(&store, &[&["states", "list"][..], &STATE_STORED].concat()).await;
    let orders = listed.as_array().unwrap().iter().find(|states| states["category"] == "order").unwrap();
    assert_eq!((&orders["rows"], &orders["behind"]), (&orders["streams"], &serde_json::json!(0)), "{orders}");
    let verified = run_json(&store, &[&["states", "verify", "order"][..], &STATE_STORED].concat()).await;
    assert_eq!(verified["differences"], serde_json::json!([]));
    verify(&store).await;
}

#[tokio::test]
async fn a_row_changed_by_hand_is_found_named_and_written_anew() {
    let folder = Folder::new("changed");
    let store = folder.store();
    let server = Server::start_with(&store, &STATE_STORED).await;
    let mut client = Client::to(server.address);
    client.post("/orders/42/place", &[], &placed("ann")).await.unwrap().expect(201);
    server.terminate().await;
    server.ended().await;
    let log = Connection::open(store.join("log.db")).unwrap();
    let shown = "SELECT concat_ws(' ', tenant, key, version, status, customer_id, captured) FROM state_order";
    let shown: String = log.query_row(shown, [], |row| row.get(0)).unwrap();
    assert_eq!(shown, "main 42 1 PLACED ann 0");
    log.execute("UPDATE state SET state = json_set(state, '$.captured', json('true'))", []).unwrap();
    let verify = [&["states", "verify", "order"][..], &STATE_STORED].concat();
    let found = run(&store, &verify).await;
    assert_eq!(found.status.code(), Some(1));
    let expected = "main 42 at version 1: /captured is true, expected false";
    assert!(said(&found).contains(expected), "{}", said(&found));
    run_json(&store, &["states", "drop", "order"]).await;
    let written = run_json(&store, &[&["states", "write", "order"][..], &STATE_STORED].concat()).await;
    assert_eq!((&written["written"], &written["streams"]), (&serde_json::json!(1), &serde_json::json!(1)));
    assert_eq!(run_json(&store, &verify).await["rows"], 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_at_the_start() {
    let folder = Folder::new("refused");
    let open = |category: &str, persistence| {
        let persistence = [(category.to_owned(), persistence)].into();
        let config = Config { persistence, ..Config::at(folder.store()) };
        async { orders::service().open(config).await.err().map(|fault| fault.to_string()) }
    };
    let refused = open("credit_note", Persistence::StateStored).await.unwrap();
    assert!(
        refused.contains("`credit_note` cannot be state-stored") && refused.contains("DP0040"),
        "{refused}"
    );
    let refused = open("invoice", Persistence::EventSourced).await.unwrap();
    assert!(refused.contains("no decider has category `invoice`"), "{refused}");
    assert_eq!(open("credit_note", Persistence::EventSourced).await, None, "as it is anyway");
    for (argument, expected) in [
        ("order=snapshots", "known are event-sourced, state-stored"),
        ("state-stored", "it is not of the form `order=state-stored`"),
    ] {
        let refused = run(&folder.store(), &["status", "--persistence", argument]).await;
        assert!(said(&refused).contains(expected), "{}", said(&refused));
    }
    let refused = run(&folder.store(), &["states", "write", "credit_note"]).await;
    assert!(said(&refused).contains("its decider is not a `StoredState`"), "{}", said(&refused));
    let refused = run(&folder.store(), &["states", "verify", "invoice"]).await;
    assert!(said(&refused).contains("`states list` shows them"), "{}", said(&refused));
}
