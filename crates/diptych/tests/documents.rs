//! A read model that is kept as documents, over HTTP, on both stores: asked, filtered, sorted by money, paged
//! and exported like any other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use diptych::Place;
use diptych::core::Currency;
use diptych::ops::{Output, verify_models};
use diptych::prelude::*;
use serde_json::{Value as Json, json};
use support::Folder;
use support::jar::{Jar, JarCommand, JarEvent, JarId};
use support::kitchen::{fresh, give};
use tower::ServiceExt;

/// What the spoons of a jar are worth, at ten pence each.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "jar_worth", revision = 1, owner = "kitchen", document)]
struct JarWorth {
    #[key]
    jar: JarId,
    #[sort]
    #[filter]
    worth: Money,
    #[sort]
    first_filled_at: Timestamp,
    #[filter]
    large: bool,
    #[json]
    fills: Vec<Filling>,
}

/// A filling with its price.
#[derive(Clone, Debug, PartialEq, Data)]
struct Filling {
    spoons: i64,
    price: Money,
}

impl Projection for JarWorth {
    type Event = JarEvent;

    fn route(fact: &Fact<JarEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<JarEvent>) -> Option<Self> {
        let JarEvent::Filled { spoons } = &fact.event else { return None };
        let price = Money::from_thousandths(spoons * 100, Currency::GBP).expect("a jar holds few spoons");
        let mut row = row.unwrap_or(Self {
            jar: fact.id(),
            worth: Money::zero(Currency::GBP),
            first_filled_at: fact.occurred_at(),
            large: false,
            fills: Vec::new(),
        });
        row.worth = row.worth.plus(price).expect("a jar holds few spoons");
        row.fills.push(Filling { spoons: *spoons, price });
        row.large = row.fills.iter().map(|filling| filling.spoons).sum::<i64>() > 10;
        Some(row)
    }
}

async fn get(running: &Running, path: &str) -> (u16, String) {
    let request = HttpRequest::get(path).header("prefer", "wait=10").body(Body::empty()).unwrap();
    let answer = running.router().unwrap().oneshot(request).await.unwrap();
    let (status, body) = (answer.status().as_u16(), to_bytes(answer.into_body(), usize::MAX).await.unwrap());
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn page(running: &Running, query: &str) -> (Vec<String>, Json) {
    let (status, text) = get(running, &format!("/jar-worth?{query}")).await;
    assert_eq!(status, 200, "{text}");
    let page: Json = serde_json::from_str(&text).unwrap();
    let jars = page["items"].as_array().unwrap().iter().map(|row| row["jar"].as_str().unwrap().to_owned());
    (jars.collect(), page)
}

async fn a_document_model_is_asked_like_any_other(place: Place) {
    let service = Service::new("kitchen").decider::<Jar>().read_model::<JarWorth>();
    let running = service.open(Config::at(place)).await.unwrap();
    let mut token = None;
    for (jar, spoons) in [("tea", 3), ("salt", 12), ("rice", 7), ("tea", 2)] {
        token = Some(give(&running, jar, JarCommand::Fill { spoons }).await);
    }
    let (jars, all) = page(&running, &format!("minPosition={}&sort=-worth", token.unwrap())).await;
    assert_eq!(jars, ["salt", "rice", "tea"]);
    let money = |amount: &str| json!({"amount": amount, "currency": "GBP"});
    let tea = &all["items"][2];
    assert_eq!((&tea["worth"], &tea["large"]), (&money("0.50"), &json!(false)));
    let fills = json!([{"spoons": 3, "price": money("0.30")}, {"spoons": 2, "price": money("0.20")}]);
    assert_eq!(tea["fills"], fills);

    let (cheap, _) = page(&running, "worth.lt=1%20GBP&sort=worth").await;
    assert_eq!(cheap, ["tea", "rice"]);
    assert_eq!(page(&running, "large=true").await.0, ["salt"]);
    let (first, cut) = page(&running, "sort=worth&pageSize=2").await;
    let next = cut["page"]["nextPageToken"].as_str().unwrap().to_owned();
    let (rest, _) = page(&running, &format!("sort=worth&pageSize=2&pageToken={next}")).await;
    assert_eq!([first, rest].concat(), ["tea", "rice", "salt"]);
    let (status, row) = get(&running, "/jar-worth/rice").await;
    assert!(status == 200 && row.contains(r#""worth":{"amount":"0.70","currency":"GBP"}"#), "{row}");

    let (status, export) = get(&running, "/exports/jar_worth").await;
    let lines: Vec<Json> = export.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let worths: Vec<_> = lines.iter().map(|line| &line["worth"]).filter(|worth| worth.is_object()).collect();
    assert_eq!((status, worths.len()), (200, 3), "{export}");
    let operator = running.operator().await.unwrap();
    let verified = verify_models(&operator, Some("jar_worth")).await.unwrap().render(Output::Human);
    assert!(!verified.contains("NOT VERIFIED"), "{verified}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_document_model_is_asked_like_any_other_on_sqlite() {
    let folder = Folder::new();
    a_document_model_is_asked_like_any_other(Place::from(folder.path())).await;
}

#[tokio::test]
async fn a_document_model_is_asked_like_any_other_on_postgres() {
    a_document_model_is_asked_like_any_other(fresh()).await;
}
