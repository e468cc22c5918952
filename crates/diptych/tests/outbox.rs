//! An application with tables of its own: what it records in its transactions is folded like any other fact,
//! once, whatever the service does meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../examples/plain_tables.rs"]
mod plain_tables;

use diptych::prelude::*;
use plain_tables::{ProductEvent, Shop, Sku, StockLevel, service, story};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("diptych-outbox-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn config(&self) -> Config {
        Config { outbox: Some(self.0.join("shop.db")), ..Config::at(self.0.join("store")) }
    }

    fn shop(&self) -> Shop {
        Shop::open(&self.0.join("shop.db"), Principal::new("main", "clerk").unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_of_the_example() {
    let folder = Folder::new();
    let rows = story(&folder.0).await.unwrap();
    let row = |sku: &str, name: &str, in_stock, sold| StockLevel {
        sku: Sku::new(sku),
        name: name.to_owned(),
        in_stock,
        sold,
    };
    assert_eq!(rows, [row("tea", "Tea, 100 g", 7, 3), row("cup", "Cup", 4, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_while_the_service_is_away_arrives_when_it_comes() {
    let folder = Folder::new();
    let (mut shop, tea) = (folder.shop(), Sku::new("tea"));
    shop.list(&tea, "Tea").unwrap();
    for round in 0..3 {
        shop.restock(&tea, 1).unwrap();
        let running = service().open(folder.config()).await.unwrap();
        shop.restock(&tea, 1).unwrap();
        // By itself, without being asked.
        let (mut head, expected) = (running.feed().watch(), Position(3 + 2 * round));
        let arrived = tokio::time::timeout(LONG, head.wait_for(|head| *head >= expected)).await;
        arrived.expect("the outbox is taken in").unwrap();
        running.stop().await.unwrap();
    }
    let running = service().open(folder.config()).await.unwrap();
    let token = running.feed().head().await.unwrap().token;
    assert_eq!(token.position, Position(7));
    let find = StockLevel::find().at_least(token).wait(LONG);
    let answer = running.queries().find(running.principal(), find).await.unwrap();
    assert_eq!(answer.value.items[0].in_stock, 6);
    let facts = running.feed().read(Position::START, &diptych::query::Categories::All, 10).await.unwrap();
    let metadata = facts.facts[1].metadata.to_string();
    assert!(metadata.contains("\"actor\":\"clerk\""), "{metadata}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_nobody_can_read_holds_the_outbox_up_and_says_so() {
    let folder = Folder::new();
    let (mut shop, tea) = (folder.shop(), Sku::new("tea"));
    shop.list(&tea, "Tea").unwrap();
    let by_hand = rusqlite::Connection::open(folder.0.join("shop.db")).unwrap();
    let insert = "INSERT INTO diptych_outbox (tenant, category, key, type, payload, actor) \
        VALUES ('main', 'product', 'tea', ?1, ?2, 'clerk')";
    let refused = by_hand.execute(insert, ("Sold", "no JSON"));
    assert!(refused.is_err(), "the table refuses what is no JSON");
    by_hand.execute(insert, ("Burnt", "{}")).unwrap();
    by_hand.execute(insert, ("Restocked", "{\"quantity\": 3}")).unwrap();
    let config = Config { roles: Roles::ALL.without(Role::Command), ..folder.config() };
    let running = service().open(config).await.unwrap();
    let outbox = running.outbox().unwrap();
    for _ in 0..2 {
        let fault = outbox.drain().await.unwrap_err();
        assert!(fault.to_string().contains("row 2"), "{fault}");
        assert!(fault.to_string().contains("Burnt"), "{fault}");
        let status = outbox.status().await.unwrap();
        assert_eq!(status.waiting.rows, 2, "what came before is in, what comes behind waits");
        assert_eq!(status.blocked.map(|row| row.id.0), Some(2));
    }
    by_hand
        .execute(
            "UPDATE diptych_outbox SET type = 'Sold', payload = '{\"quantity\": 1}' \
        WHERE id = 2",
            [],
        )
        .unwrap();
    assert_eq!(outbox.drain().await.unwrap(), 2);
    assert_eq!(running.feed().head().await.unwrap().position(), Position(3));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_without_a_language_is_refused() {
    let folder = Folder::new();
    let opened = Service::new("shop").open(folder.config()).await;
    let fault = opened.err().expect("nothing comes by that outbox");
    assert!(fault.to_string().contains("shop.db"), "{fault}");
    let unread = Service::new("shop").read_model::<StockLevel>().problems();
    assert!(unread.iter().any(|problem| problem.contains("`product`")), "{unread:?}");
    assert!(service().problems().is_empty());
    assert_eq!(ProductEvent::CATEGORY, "product");
}
