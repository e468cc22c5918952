//! The story that the service tells about itself, over HTTP, as a caller lives through it: the same in both
//! persistences.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use diptych::prelude::*;
use serde_json::{Value, json};
use support::folder::Folder;
use support::http::{Client, Reply};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A service that listens, with one caller.
struct Served {
    _folder: Folder,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Running>,
}

impl Served {
    async fn start(name: &str, persistence: Persistence) -> Self {
        let folder = Folder::new(name);
        let persistence = [("order".to_owned(), persistence)].into();
        let config = Config { persistence, ..Config::at(folder.store()) };
        let running = orders::service().open(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let until = async { drop(stopped.await) };
            running.serve_on(listener, until).await.unwrap();
            running
        });
        Self { _folder: folder, client: Client::to(address), stop, serving }
    }

    async fn post(&mut self, path: &str, body: Value) -> Reply {
        self.client.post(path, &[], &body).await.unwrap()
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.client.get(path, &[]).await.unwrap()
    }

    /// Asks a list for at least what a command answered, and waits for it.
    async fn get_at_least(&mut self, path: &str, answer: &Value) -> Value {
        let token = answer["committedPosition"].as_str().unwrap();
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}minPosition={token}");
        let page = self.client.get(&path, &[("prefer", "wait=5")]).await.unwrap().expect(200);
        assert_eq!(page["freshness"]["caughtUpToRequestedPosition"], true, "{page}");
        page
    }

    async fn place(&mut self, order: &str) -> Value {
        self.post(&format!("/orders/{order}/place"), place()).await.expect(201)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().stop().await.unwrap();
    }
}

fn gbp(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "GBP" })
}

fn address(city: &str) -> Value {
    json!({ "street": "1 High St", "city": city, "state": "", "zip": "LS1 4AB", "country": "United Kingdom" })
}

fn place() -> Value {
    let line = json!({ "productId": "lamp", "name": "Lamp", "quantity": 2, "unitPrice": gbp("19.99") });
    json!({ "customerId": "ann", "lines": [line], "shippingAddress": address("Leeds") })
}

async fn placing_answers_with_the_events_that_it_caused(persistence: Persistence) {
    let mut served = Served::start("placing", persistence).await;
    let headers = [("prefer", "return=representation")];
    let reply = served.client.post("/orders/42/place", &headers, &place()).await.unwrap();
    let mut answer = reply.expect(201);
    assert_eq!(reply.header("location"), Some("/orders/42"));
    assert_eq!(reply.header("etag"), Some("\"1\""));
    assert_eq!(reply.header("preference-applied"), Some("return=representation"));
    let mut event = answer["events"].as_array_mut().unwrap().remove(0);
    assert_eq!(answer["events"], json!([]), "placing stores one event");
    assert_eq!(event["type"], "OrderPlaced");
    assert_eq!((&event["version"], &event["position"]), (&json!(1), &json!(1)));
    event["data"].as_object_mut().unwrap().remove("occurredAt");
    let mut expected = place();
    expected["total"] = gbp("39.98");
    assert_eq!(event["data"], expected);
    assert!(answer["committedPosition"].as_str().unwrap().starts_with("1.1."), "{answer}");
    let position = answer["committedPosition"].take();
    answer.as_object_mut().unwrap().remove("events");
    let expected = json!({ "orderId": "42", "status": "PLACED", "version": 1, "committedPosition": null });
    assert_eq!((answer, position.is_string()), (expected, true));
    served.stop().await;
}

async fn write_side_and_read_side_synchronize(persistence: Persistence) {
    let mut served = Served::start("synchronize", persistence).await;
    let placed = served.place("42").await;
    let page = served.get_at_least("/order-summary?customerId=ann", &placed).await;
    let row = &page["items"][0];
    assert_eq!((&row["orderId"], &row["status"]), (&json!("42"), &json!("PLACED")));
    assert_eq!(
        (&row["total"], &row["itemCount"], &row["shippingCity"]),
        (&gbp("39.98"), &json!(1), &json!("Leeds"))
    );
    assert_eq!(page["page"]["nextPageToken"], Value::Null);
    let version = format!("\"{}\"", row["version"]);
    let headers = [("if-match", version.as_str())];
    let cancel = json!({ "reason": "changed my mind" });
    let cancelled = served.client.post("/orders/42/cancel", &headers, &cancel).await.unwrap().expect(200);
    assert_eq!((&cancelled["status"], &cancelled["version"]), (&json!("CANCELLED"), &json!(2)));
    let page = served.get_at_least("/order-summary?customerId=ann", &cancelled).await;
    assert_eq!(page["items"][0]["status"], "CANCELLED");
    assert_eq!(page["freshness"]["token"], cancelled["committedPosition"]);
    assert_eq!((&page["freshness"]["lagEvents"], &page["freshness"]["lagSeconds"]), (&json!(0), &json!(0.0)));
    served.stop().await;
}

async fn cancelling_twice_is_rejected_with_the_first_reason(persistence: Persistence) {
    let mut served = Served::start("twice", persistence).await;
    served.place("42").await;
    served.post("/orders/42/cancel", json!({ "reason": "too late" })).await.expect(200);
    let reply = served.post("/orders/42/cancel", json!({ "reason": "again" })).await;
    let problem = reply.expect(422);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["type"], "urn:diptych:rejection:order:order_already_cancelled");
    assert_eq!(
        problem["rejection"],
        json!({ "name": "order_already_cancelled", "data": { "reason": "too late" } })
    );
    assert_eq!(problem["detail"], "the order is already cancelled: too late");
    assert_eq!((&problem["status"], &problem["code"]), (&json!(422), &json!("DP0010")));
    assert_eq!(problem["commandId"].as_str(), reply.header("command-id"));
    let missing = served.post("/orders/43/cancel", json!({ "reason": "none" })).await.expect(404);
    assert_eq!(missing["rejection"]["name"], "order_not_found");
    served.stop().await;
}

async fn a_stale_version_is_refused_and_the_current_one_is_named(persistence: Persistence) {
    let mut served = Served::start("stale", persistence).await;
    served.place("42").await;
    served.post("/orders/42/confirm", Value::Null).await.expect(200);
    let cancel = json!({ "reason": "changed my mind" });
    let reply = served.client.post("/orders/42/cancel", &[("if-match", "\"1\"")], &cancel).await.unwrap();
    let problem = reply.expect(412);
    assert_eq!((&problem["currentVersion"], &problem["expectedVersion"]), (&json!(2), &json!(1)));
    assert_eq!(problem["code"], "DP0003");
    let weak = served.client.post("/orders/42/cancel", &[("if-match", "W/\"2\"")], &cancel).await.unwrap();
    assert_eq!(weak.expect(400)["code"], "DP0017");
    served.stop().await;
}

async fn the_fulfilment_queue_needs_no_waiting(persistence: Persistence) {
    let mut served = Served::start("queue", persistence).await;
    served.place("42").await;
    for step in ["confirm", "authorize-payment"] {
        served.post(&format!("/orders/42/{step}"), Value::Null).await.expect(200);
        assert_eq!(served.get("/fulfilment-queue").await.expect(200)["items"], json!([]));
    }
    let paid = served.post("/orders/42/capture-payment", Value::Null).await.expect(200);
    assert_eq!(paid["status"], "PAYMENT_AUTHORIZED");
    let page = served.get("/fulfilment-queue").await.expect(200);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{page}");
    assert_eq!((&items[0]["orderId"], &items[0]["amount"]), (&json!("42"), &gbp("39.98")));
    assert_eq!((&items[0]["customerId"], &items[0]["version"]), (&json!("ann"), &json!(4)));
    assert_eq!(page["freshness"]["projectionPosition"], 4);
    let moved = json!({ "shippingAddress": address("York") });
    served.post("/orders/42/change-shipping-address", moved).await.expect(200);
    assert_eq!(served.get("/fulfilment-queue/42").await.expect(200)["item"]["version"], 5);
    served.post("/orders/42/fulfil", Value::Null).await.expect(200);
    assert_eq!(served.get("/fulfilment-queue").await.expect(200)["items"], json!([]));
    let gone = served.get("/fulfilment-queue/42").await.expect(404);
    assert_eq!(gone["freshness"]["projectionPosition"], 6);
    let late = served.post("/orders/42/cancel", json!({ "reason": "too slow" })).await.expect(422);
    let reason = json!({ "reason": "it is fulfilled; refund it instead" });
    assert_eq!(late["rejection"], json!({ "name": "order_cannot_be_cancelled", "data": reason }));
    served.stop().await;
}

async fn an_order_is_read_from_the_command_side_with_its_version_as_a_strong_tag(persistence: Persistence) {
    let mut served = Served::start("aggregate", persistence).await;
    served.place("42").await;
    served.post("/orders/42/confirm", Value::Null).await.expect(200);
    let reply = served.get("/orders/42").await;
    let order = reply.expect(200);
    assert_eq!(reply.header("etag"), Some("\"2\""));
    assert_eq!((&order["orderId"], &order["version"]), (&json!("42"), &json!(2)));
    assert_eq!((&order["status"], &order["total"]), (&json!("CONFIRMED"), &gbp("39.98")));
    assert_eq!((&order["customerId"], &order["lines"]), (&json!("ann"), &place()["lines"]));
    let same = served.client.get("/orders/42", &[("if-none-match", "\"2\"")]).await.unwrap();
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    assert_eq!(served.get("/orders/43").await.expect(404)["code"], "DP0009");
    served.stop().await;
}

async fn a_command_says_since_when_each_read_model_shows_it(persistence: Persistence) {
    let mut served = Served::start("command", persistence).await;
    let headers = [("idempotency-key", "place-42")];
    let placed = served.client.post("/orders/42/place", &headers, &place()).await.unwrap().expect(201);
    for model in ["order-summary", "sales-by-country-and-day", "customer-account"] {
        served.get_at_least(&format!("/{model}"), &placed).await;
    }
    let told = served.get("/commands/place-42").await.expect(200);
    assert_eq!((&told["status"], &told["command"]), (&json!("succeeded"), &json!("Place")));
    assert_eq!((&told["target"]["address"], &told["actor"]), (&json!("/orders/42"), &json!("local")));
    assert_eq!(told["committedPosition"], placed["committedPosition"]);
    let models: Vec<_> = told["readModels"].as_array().unwrap().iter().collect();
    let names: Vec<_> = models.iter().map(|model| model["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["customer_account", "order_summary", "sales_by_country_and_day"]);
    assert!(models.iter().all(|model| model["visible"] == true && model["since"].is_string()), "{told}");
    let rejected = [("idempotency-key", "place-42-again")];
    served.client.post("/orders/42/place", &rejected, &place()).await.unwrap().expect(422);
    let told = served.get("/commands/place-42-again").await.expect(200);
    assert_eq!((&told["status"], &told["readModels"]), (&json!("rejected"), &json!([])));
    assert_eq!(told["rejection"]["name"], "order_already_placed");
    served.stop().await;
}

async fn asking_twice_under_one_key_does_it_once(persistence: Persistence) {
    let mut served = Served::start("once", persistence).await;
    let headers = [("idempotency-key", "k1")];
    let first = served.client.post("/orders/42/place", &headers, &place()).await.unwrap();
    served.post("/orders/42/confirm", Value::Null).await.expect(200);
    let second = served.client.post("/orders/42/place", &headers, &place()).await.unwrap();
    assert_eq!(
        (first.header("idempotency-replayed"), second.header("idempotency-replayed")),
        (None, Some("true"))
    );
    assert_eq!(second.expect(201), first.expect(201));
    let other = served.client.post("/orders/43/place", &headers, &place()).await.unwrap();
    assert_eq!(other.expect(422)["code"], "DP0006");
    let head = served.get("/fulfilment-queue").await.expect(200);
    assert_eq!(head["freshness"]["projectionPosition"], 2);
    served.stop().await;
}

async fn the_first_page_shows_the_way(persistence: Persistence) {
    let mut served = Served::start("home", persistence).await;
    let placed = served.place("42").await;
    served.get_at_least("/order-summary", &placed).await;
    let home = served.get("/").await.expect(200);
    let text = home.to_string();
    for word in ["orders", "order_summary", "fulfilment_queue", "/order-summary?customerId=12748&pageSize=5"]
    {
        assert!(text.contains(word), "{word} is not on the first page: {text}");
    }
    let interface = served.get("/openapi.json").await.expect(200);
    assert!(interface["paths"]["/orders/{id}/place"]["post"].is_object(), "placing is not described");
    assert!(interface["paths"]["/order-summary"]["get"].is_object());
    let metrics = served.get("/metrics").await;
    assert!(
        metrics.text.contains("projection_lag_events{projection=\"order_summary\"} 0"),
        "{}",
        metrics.text
    );
    served.stop().await;
}

/// Makes each chapter a test in both persistences.
macro_rules! chapters {
    ($($chapter:ident),+ $(,)?) => {
        mod event_sourced {
            $(#[tokio::test]
            async fn $chapter() {
                super::$chapter(super::Persistence::EventSourced).await;
            })+
        }

        mod state_stored {
            $(#[tokio::test]
            async fn $chapter() {
                super::$chapter(super::Persistence::StateStored).await;
            })+
        }
    };
}

chapters! {
    placing_answers_with_the_events_that_it_caused,
    write_side_and_read_side_synchronize,
    cancelling_twice_is_rejected_with_the_first_reason,
    a_stale_version_is_refused_and_the_current_one_is_named,
    the_fulfilment_queue_needs_no_waiting,
    an_order_is_read_from_the_command_side_with_its_version_as_a_strong_tag,
    a_command_says_since_when_each_read_model_shows_it,
    asking_twice_under_one_key_does_it_once,
    the_first_page_shows_the_way,
}
