//! An application that keeps its own tables, plain CRUD and no decider, and still has read models that say
//! how fresh they are: in each of its transactions it records what happened in an outbox, which is taken into
//! the log. Run it with `cargo run -p diptych --example plain_tables`.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use diptych::prelude::*;
use diptych::sqlite::Outbox;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

/// How long the shop's front waits for what was just sold.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Id)]
pub(crate) struct Sku(String);

/// What happens to products. The application decides; this only tells.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "product", owner = "warehouse")]
pub(crate) enum ProductEvent {
    /// A product came into the range.
    Listed { name: String },
    /// Goods came in.
    Restocked { quantity: i64 },
    /// Goods went out.
    Sold { quantity: i64 },
}

/// What is on the shelves, for the shop's front.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "stock_level", revision = 1, owner = "warehouse", contract = "bounded 5s")]
pub(crate) struct StockLevel {
    #[key]
    pub(crate) sku: Sku,
    pub(crate) name: String,
    #[sort]
    pub(crate) in_stock: i64,
    pub(crate) sold: i64,
}

impl Projection for StockLevel {
    type Event = ProductEvent;

    fn route(fact: &Fact<ProductEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<ProductEvent>) -> Option<Self> {
        match (&fact.event, row) {
            (ProductEvent::Listed { name }, _) => {
                Some(Self { sku: fact.id(), name: name.clone(), in_stock: 0, sold: 0 })
            }
            (ProductEvent::Restocked { quantity }, Some(row)) => {
                Some(Self { in_stock: row.in_stock + quantity, ..row })
            }
            (ProductEvent::Sold { quantity }, Some(row)) => {
                Some(Self { in_stock: row.in_stock - quantity, sold: row.sold + quantity, ..row })
            }
            (_, None) => None,
        }
    }
}

/// The application as it always was: a table and its statements. What is new is one line in each transaction.
pub(crate) struct Shop {
    tables: Connection,
    clerk: Principal,
}

impl Shop {
    /// Opens the application's own file.
    pub(crate) fn open(file: &Path, clerk: Principal) -> Result<Self, Box<dyn std::error::Error>> {
        let tables = Connection::open(file)?;
        tables.execute_batch(
            "CREATE TABLE IF NOT EXISTS product (sku TEXT PRIMARY KEY, name TEXT NOT NULL, \
             stock INTEGER NOT NULL CHECK (stock >= 0)) STRICT",
        )?;
        Outbox::create(&tables)?;
        Ok(Self { tables, clerk })
    }

    /// A product more.
    pub(crate) fn list(&mut self, sku: &Sku, name: &str) -> Result<(), Box<dyn std::error::Error>> {
        let mut transaction = self.tables.transaction()?;
        transaction.execute("INSERT INTO product VALUES (?1, ?2, 0)", (sku.as_str(), name))?;
        let listed = ProductEvent::Listed { name: name.to_owned() };
        Outbox::append(&mut transaction, Facts::by(&self.clerk).of(sku, [listed]).command("ListProduct"))?;
        Ok(transaction.commit()?)
    }

    /// Goods come in.
    pub(crate) fn restock(&mut self, sku: &Sku, quantity: i64) -> Result<(), Box<dyn std::error::Error>> {
        let mut transaction = self.tables.transaction()?;
        transaction
            .execute("UPDATE product SET stock = stock + ?2 WHERE sku = ?1", (sku.as_str(), quantity))?;
        let restocked = ProductEvent::Restocked { quantity };
        Outbox::append(&mut transaction, Facts::by(&self.clerk).of(sku, [restocked]).command("Restock"))?;
        Ok(transaction.commit()?)
    }

    /// Goods go out. The table's own check refuses more than there are, and the fact goes with the change.
    pub(crate) fn sell(&mut self, sku: &Sku, quantity: i64) -> Result<(), Box<dyn std::error::Error>> {
        let mut transaction = self.tables.transaction()?;
        let sold = ProductEvent::Sold { quantity };
        Outbox::append(&mut transaction, Facts::by(&self.clerk).of(sku, [sold]).command("Sell"))?;
        transaction
            .execute("UPDATE product SET stock = stock - ?2 WHERE sku = ?1", (sku.as_str(), quantity))?;
        Ok(transaction.commit()?)
    }
}

/// The service beside the application: no decider, one read model.
pub(crate) fn service() -> Service {
    Service::new("shop")
        .about("Stock levels of a shop that keeps its own tables")
        .outbox::<ProductEvent>()
        .read_model::<StockLevel>()
        .link("/stock-level")
}

/// A day at the shop; answers what the read model shows in the evening.
pub(crate) async fn story(folder: &Path) -> Result<Vec<StockLevel>, Box<dyn std::error::Error>> {
    let file = folder.join("shop.db");
    let config = Config { outbox: Some(file.clone()), ..Config::at(folder.join("store")) };
    let running = service().open(config).await?;
    let mut shop = Shop::open(&file, running.principal().clone())?;
    let (tea, cup) = (Sku::new("tea"), Sku::new("cup"));
    shop.list(&tea, "Tea, 100 g")?;
    shop.list(&cup, "Cup")?;
    shop.restock(&tea, 10)?;
    shop.restock(&cup, 4)?;
    shop.sell(&tea, 3)?;
    let refused = shop.sell(&cup, 5);
    println!("five cups of four: {}", refused.expect_err("the table's check refuses it"));
    // What the outbox holds is taken in by itself and folded; here both are waited for.
    let outbox = running.outbox().ok_or("the service has an outbox")?;
    outbox.drain().await?;
    let token = running.feed().head().await?.token;
    let find = StockLevel::find().sort(StockLevel::IN_STOCK.desc()).at_least(token).wait(WAIT_MAX);
    let answer = running.queries().find(running.principal(), find).await?;
    let freshness = &answer.freshness;
    println!("as of position {}, {} events behind", freshness.projection_position, freshness.lag_events);
    let rows = answer.value.items;
    running.stop().await?;
    Ok(rows)
}

#[allow(dead_code, reason = "the tests tell the story themselves")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("diptych-plain-tables-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for StockLevel { sku, name, in_stock, sold } in story(&folder).await? {
        println!("{sku:?} {name}: {in_stock} in stock, {sold} sold");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
