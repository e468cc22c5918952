//! The real binary on the command line: what it prints, what it refuses, how it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::core::CommandId;
use diptych::prelude::*;
use orders::command::{Order, OrderCommand};
use orders::facts::{Address, LineItem, OrderId};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::folder::Folder;
use support::http::Client;
use support::server::{HANG, Server, run, run_json, said};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

const MODELS: [&str; 4] =
    ["customer_account", "fulfilment_queue", "order_summary", "sales_by_country_and_day"];

/// How often a server is asked to stop as soon as it says that it is there: now and then it is not ready.
const STARTS: usize = 20;

/// Three orders, of which the last is paid: seven events. No model but the inline one has moved.
async fn three_orders(folder: &Folder) -> PathBuf {
    let store = folder.store();
    let running = orders::service()
        .open(Config { roles: Roles::ALL.without(Role::Projector), ..Config::at(&store) })
        .await
        .unwrap();
    for order in ["1", "2", "3"] {
        give(&running, order, place()).await;
    }
    give(&running, "2", OrderCommand::Cancel { reason: "changed my mind".to_owned() }).await;
    for command in [OrderCommand::Confirm, OrderCommand::AuthorizePayment, OrderCommand::CapturePayment] {
        give(&running, "3", command).await;
    }
    running.stop().await.unwrap();
    store
}

async fn give(running: &Running, order: &str, command: OrderCommand) {
    let request = Request::by(running.principal()).to(&OrderId::new(order), command);
    running.commands().handle::<Order>(request).await.unwrap();
}

fn place() -> OrderCommand {
    let unit_price = Money::parse("19.99", Currency::GBP).unwrap();
    let line = LineItem { product_id: "lamp".into(), name: None, quantity: 2, unit_price };
    let text = str::to_owned;
    let country = "United Kingdom".into();
    let shipping_address = Address {
        street: text("1 High St"),
        city: text("Leeds"),
        state: text(""),
        zip: text("LS1"),
        country,
    };
    OrderCommand::Place { customer_id: Some("ann".into()), lines: vec![line], shipping_address }
}

async fn drained(folder: &Folder) -> PathBuf {
    let store = three_orders(folder).await;
    for model in MODELS {
        run_json(&store, &["models", "drain", model]).await;
    }
    store
}

#[tokio::test]
async fn status_says_what_the_log_holds_and_how_every_model_is_doing() {
    let folder = Folder::new("status");
    let store = three_orders(&folder).await;
    let status = run_json(&store, &["status"]).await;
    assert_eq!((&status["service"], &status["events"]), (&json!("orders"), &json!(7)));
    assert_eq!((&status["streams"], &status["commands"]), (&json!(3), &json!(7)));
    assert!(status["logBytes"].as_u64().unwrap() > 0 && status["token"].is_string(), "{status}");
    let models: Vec<_> = status["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["model"].as_str().unwrap(), model["freshness"]["lagEvents"].as_u64().unwrap()))
        .collect();
    assert_eq!(models, MODELS.map(|model| (model, if model == "fulfilment_queue" { 0 } else { 7 })));
    let text = run(&store, &["status"]).await;
    assert!(said(&text).contains("7 events in 3 streams, 7 commands"), "{}", said(&text));
}

#[tokio::test]
async fn draining_moves_a_model_to_the_head_and_verifying_finds_nothing() {
    let folder = Folder::new("drain");
    let store = three_orders(&folder).await;
    let drained = run_json(&store, &["models", "drain", "order_summary"]).await;
    assert_eq!(drained, json!({ "model": "order_summary", "from": 0, "through": 7, "events": 7 }));
    let again = run_json(&store, &["models", "drain", "order_summary"]).await;
    assert_eq!(again, json!({ "model": "order_summary", "from": 7, "through": 7, "events": 0 }));
    let list = run_json(&store, &["models", "list"]).await;
    let row = list.as_array().unwrap().iter().find(|model| model["model"] == "order_summary").unwrap();
    assert_eq!((&row["rows"], &row["mode"]), (&json!(3), &json!("asynchronous")));
    assert_eq!((&row["contract"], &row["health"]), (&json!("bounded 5s"), &json!({ "state": "live" })));
    let verified = run_json(&store, &["models", "verify"]).await;
    let reports: Vec<_> = verified.as_array().unwrap().iter().collect();
    assert_eq!(reports.len(), 4);
    assert!(
        reports.iter().all(|report| report["differingRows"] == 0 && report["digestMatches"] == true),
        "{verified}"
    );
}

#[tokio::test]
async fn a_model_is_shown_with_everything_it_declares() {
    let folder = Folder::new("show");
    let store = drained(&folder).await;
    let model = run_json(&store, &["models", "show", "order-summary"]).await;
    assert_eq!((&model["model"], &model["owner"]), (&json!("order_summary"), &json!("sales")));
    assert_eq!(model["categories"], json!(["order"]));
    assert_eq!(model["indexes"][0], "customer_id, placed_at desc");
    let names: Vec<_> =
        model["columns"].as_array().unwrap().iter().map(|column| column["name"].clone()).collect();
    let expected = ["order_id", "customer_id", "status", "total", "item_count", "shipping_city", "placed_at"];
    assert_eq!(names[..7], expected);
    let text = said(&run(&store, &["models", "show", "order_summary"]).await);
    assert!(text.contains("a customer opens the list of orders"), "{text}");
    let unknown = run(&store, &["models", "show", "nothing"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("there is no read model `nothing`"), "{}", said(&unknown));
}

#[tokio::test]
async fn a_query_takes_the_same_words_as_over_http() {
    let folder = Folder::new("query");
    let store = drained(&folder).await;
    let first = run_json(&store, &["query", "order_summary", "customerId=ann", "pageSize=2"]).await;
    assert_eq!(column(&first, "orderId"), ["3", "2"], "newest first");
    assert_eq!(first["freshness"]["lagEvents"], 0);
    let token = format!("pageToken={}", first["nextPageToken"].as_str().unwrap());
    let second = run_json(&store, &["query", "order_summary", "customerId=ann", "pageSize=2", &token]).await;
    assert_eq!((column(&second, "orderId"), &second["nextPageToken"]), (vec!["1".to_owned()], &Value::Null));
    let cancelled = run_json(&store, &["query", "order-summary", "status=CANCELLED"]).await;
    assert_eq!(column(&cancelled, "orderId"), ["2"]);
    let queue = run_json(&store, &["query", "fulfilment_queue"]).await;
    assert_eq!(column(&queue, "orderId"), ["3"]);
    let wrong = run(&store, &["query", "order_summary", "colour=red"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said(&wrong).contains("customerId, status"), "the filters are not named: {}", said(&wrong));
}

fn column(page: &Value, name: &str) -> Vec<String> {
    let index = page["columns"].as_array().unwrap().iter().position(|column| column == name).unwrap();
    page["rows"].as_array().unwrap().iter().map(|row| row[index].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_row_edited_by_hand_is_named_by_its_key() {
    let folder = Folder::new("edit");
    let store = drained(&folder).await;
    let file = model_file(&store, "order_summary");
    let edited = Connection::open(&file).unwrap();
    let table = table_of(&edited, "order_summary");
    let sql = format!("UPDATE {table} SET item_count = 7 WHERE order_id = '2'");
    assert_eq!(edited.execute(&sql, []).unwrap(), 1);
    drop(edited);
    let verified = run(&store, &["models", "verify", "order_summary", "--json"]).await;
    assert_eq!(verified.status.code(), Some(1), "{}", said(&verified));
    let reports: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&reports[0]["differingRows"], &reports[0]["digestMatches"]), (&json!(1), &json!(false)));
    let difference = &reports[0]["differences"][0];
    assert_eq!((&difference["key"], &difference["column"]), (&json!(["2"]), &json!("item_count")));
    assert_eq!((&difference["expected"], &difference["actual"]), (&json!(1), &json!(7)));
    let text = run(&store, &["models", "verify"]).await;
    assert_eq!(text.status.code(), Some(1));
    assert!(said(&text).contains("main 2: item_count is 7, expected 1"), "{}", said(&text));
    let clean = run(&store, &["models", "verify", "customer_account"]).await;
    assert_eq!(clean.status.code(), Some(0), "{}", said(&clean));
}

#[tokio::test]
async fn a_row_deleted_or_added_by_hand_is_named_too() {
    let folder = Folder::new("delete");
    let store = drained(&folder).await;
    let edited = Connection::open(model_file(&store, "customer_account")).unwrap();
    let table = table_of(&edited, "customer_account");
    assert_eq!(edited.execute(&format!("UPDATE {table} SET customer_id = 'bob'"), []).unwrap(), 1);
    drop(edited);
    let verified = run(&store, &["models", "verify", "customer_account", "--json"]).await;
    assert_eq!(verified.status.code(), Some(1));
    let reports: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let keys: Vec<_> =
        reports[0]["differences"].as_array().unwrap().iter().map(|found| &found["key"]).collect();
    assert_eq!(keys, [&json!(["ann"]), &json!(["bob"])]);
}

/// The file that holds an asynchronous model.
fn model_file(store: &Path, model: &str) -> PathBuf {
    let entries = std::fs::read_dir(store.join("models")).unwrap().map(|entry| entry.unwrap().path());
    let mut files = entries.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(model) && !name.ends_with("-wal") && !name.ends_with("-shm")
    });
    files.next().expect("the model has a file")
}

fn table_of(connection: &Connection, model: &str) -> String {
    let sql =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ?1 || '%' ORDER BY length(name)";
    connection.query_row(sql, [model], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn verbs_with_a_tenant_show_that_tenant_and_no_other() {
    let folder = Folder::new("tenants");
    let store = three_orders(&folder).await;
    let told = async |words: &[&str], tenant: &str| {
        let output = run(&store, &[words, &["--tenant", tenant, "--json"]].concat()).await;
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), said(&output))
    };
    run_json(&store, &["models", "drain", "order_summary"]).await;
    for (words, secret) in [
        (&["streams", "show", "order-2"][..], "CANCELLED"),
        (&["streams", "events", "order-2"], "changed my mind"),
        (&["audit", "list"], "Cancel"),
        (&["query", "order-summary"], "CANCELLED"),
        (&["models", "history", "order-summary", "2"], "OrderCancelled"),
    ] {
        let (code, ours, all) = told(words, "main").await;
        assert!(code == Some(0) && ours.contains(secret), "{words:?}: {all}");
        let (_, theirs, all) = told(words, "other").await;
        assert!(!theirs.contains(secret) && !all.contains("changed my mind"), "{words:?}: {all}");
    }
    let (code, _, all) = told(&["streams", "show", "order-2"], "other").await;
    assert_eq!(code, Some(1), "{all}");
}

#[tokio::test]
async fn the_rows_of_one_tenant_are_carried_away_whole_and_say_where_they_come_from() {
    let folder = Folder::new("rows_export");
    let store = three_orders(&folder).await;
    run_json(&store, &["models", "drain", "order_summary"]).await;
    let file = store.with_extension("ndjson");
    let words = ["models", "export", "order-summary", "--to", file.to_str().unwrap()];
    let report = run_json(&store, &words).await;
    let lineage: Value =
        serde_json::from_slice(&std::fs::read(report["lineageFile"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(report["lineage"], lineage);
    assert_eq!((&lineage["tenant"], &lineage["model"]), (&json!("main"), &json!("order_summary")));
    assert_eq!((&lineage["rows"], &lineage["position"]), (&json!(3), &json!(7)), "{lineage}");
    let rows: Vec<Value> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<_> = rows.iter().map(|row| (row["orderId"].clone(), row["status"].clone())).collect();
    let expected = [("1", "PLACED"), ("2", "CANCELLED"), ("3", "PAYMENT_AUTHORIZED")];
    assert_eq!(found, expected.map(|(id, status)| (json!(id), json!(status))));

    // Only some of them, in the other form: the header, and the rows that fit.
    let file = store.with_extension("csv");
    let words = ["models", "export", "order-summary", "status=PAYMENT_AUTHORIZED", "--format", "csv", "--to"];
    let report = run_json(&store, &[&words[..], &[file.to_str().unwrap()]].concat()).await;
    assert_eq!(
        (&report["lineage"]["rows"], &report["lineage"]["filter"]),
        (&json!(1), &json!(["status=PAYMENT_AUTHORIZED"]))
    );
    assert_ne!(report["lineage"]["checksum"], lineage["checksum"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().matches("\r\n").count(), 2);

    // Another tenant has no rows; its empty file says whose it is.
    let words = ["models", "export", "order-summary", "--tenant", "other", "--to", file.to_str().unwrap()];
    let report = run_json(&store, &words).await;
    assert_eq!((&report["lineage"]["tenant"], &report["lineage"]["rows"]), (&json!("other"), &json!(0)));
    assert_eq!(std::fs::read(store.with_extension("csv")).unwrap(), b"");

    // What cannot be exported leaves no file.
    let none = store.with_extension("none");
    for wrong in [["models", "export", "nothing", "--to"], ["models", "export", "order_summary", "--to"]] {
        let question = if wrong[2] == "nothing" { "status=PAYMENT_AUTHORIZED" } else { "colour=red" };
        let refused = run(&store, &[&wrong[..], &[none.to_str().unwrap(), question]].concat()).await;
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    }
    assert!(!none.exists());
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let folder = Folder::new("listen");
    for address in ["0.0.0.0:8080", "[::]:0"] {
        let refused = run(&folder.store(), &["serve", "--listen", address]).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains("(DP0041)"), "{}", said(&refused));
    }
    assert!(!folder.store().exists(), "a refused server made a store");
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_at_once() {
    let folder = Folder::new("taken");
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let refused = run(&folder.store(), &["serve", "--listen", &address]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("(DP0042)"), "{}", said(&refused));
}

#[tokio::test]
async fn a_missing_data_set_is_named_and_nothing_is_imported() {
    let folder = Folder::new("missing");
    let failed = run(&folder.store(), &["import", "--file", "missing.csv.gz"]).await;
    assert_eq!(failed.status.code(), Some(1));
    let text = said(&failed);
    assert!(
        text.contains("error: `missing.csv.gz` cannot be read; name the data set with `--file`"),
        "{text}"
    );
    assert!(text.contains("(DP0043)"), "{text}");
    assert_eq!(run_json(&folder.store(), &["status"]).await["events"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_nothing_and_ends_well() {
    const CALLERS: usize = 8;
    const STOP_AFTER: usize = 60;
    let folder = Folder::new("stop");
    let server = Server::start(&folder.store()).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(Notify::new());
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (acknowledged, enough) = (Arc::clone(&acknowledged), Arc::clone(&enough));
        let mut client = Client::to(server.address);
        callers.spawn(async move {
            let mut kept = Vec::new();
            let body: Value = serde_json::from_str(&order_body()).unwrap();
            for number in 0.. {
                let (id, path) =
                    (format!("k-{caller}-{number}"), format!("/orders/o-{caller}-{number}/place"));
                match client.post(&path, &[("idempotency-key", &id)], &body).await {
                    Ok(reply) => kept.push((id, reply.expect(201)["committedPosition"].clone())),
                    Err(_) => break,
                }
                if acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == STOP_AFTER {
                    enough.notify_one();
                }
            }
            kept
        });
    }
    // A browser opens connections ahead of need: one that never says a word must not hold up the end.
    let silent = TcpStream::connect(server.address).await.unwrap();
    enough.notified().await;
    server.terminate().await;
    let (status, said) = server.ended().await;
    drop(silent);
    assert_eq!(status.code(), Some(0), "{said:?}");
    assert!(said.iter().any(|line| line == "finishing what has begun"), "{said:?}");
    let kept: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    assert!(kept.len() >= STOP_AFTER);
    let running = orders::service().open(Config::at(folder.store())).await.unwrap();
    for (id, position) in kept {
        let id = CommandId::new(id).unwrap();
        let record = running.commands().recorded(running.principal(), &id).await.unwrap();
        let record = record.unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
        assert_eq!(position, record.token.to_string());
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_never_finished_does_not_hold_up_the_end() {
    let folder = Folder::new("unfinished");
    let mut config = Config::at(folder.store());
    config.http.request_duration_max = Duration::from_millis(200);
    let running = orders::service().open(config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        running.serve_on(listener, async { drop(stopped.await) }).await.unwrap();
        running
    });
    // The first is accepted before the answer of the second: connections are taken in their order.
    let mut unfinished = TcpStream::connect(address).await.unwrap();
    unfinished.write_all(b"POST /orders/1/place HTTP/1.1\r\nhost: loc").await.unwrap();
    Client::to(address).get("/health/live", &[]).await.unwrap().expect(200);
    stop.send(()).unwrap();
    let served = tokio::time::timeout(HANG, serving).await.expect("an unfinished request holds up the end");
    served.unwrap().stop().await.unwrap();
    drop(unfinished);
}

fn order_body() -> String {
    let price = json!({ "amount": "19.99", "currency": "GBP" });
    let line = json!({ "productId": "lamp", "quantity": 1, "unitPrice": price });
    let address = json!({ "street": "", "city": "", "state": "", "zip": "", "country": "EIRE" });
    json!({ "lines": [line], "shippingAddress": address }).to_string()
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_as_soon_as_it_is_there_stops_as_it_should() {
    let folder = Folder::new("stopped at once");
    for start in 1..=STARTS {
        let server = Server::start(&folder.store()).await;
        server.terminate().await;
        let (status, said) = server.ended().await;
        assert_eq!(status.code(), Some(0), "start {start}: {said:?}");
        assert!(said.iter().any(|line| line == "finishing what has begun"), "start {start}: {said:?}");
    }
}
