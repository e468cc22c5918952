//! Sales of which there are two tables: one that follows the log, and one for analytics that is folded from
//! the nightly export and says how far behind it is. Run it with `cargo run -p diptych --example nightly`.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use diptych::core::Clock;
use diptych::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

#[derive(Id)]
struct OrderId(String);

#[derive(Clone, Debug, Event)]
#[event(category = "order", owner = "sales")]
enum OrderEvent {
    /// A customer ordered something.
    Placed { cents: i64 },
}

#[derive(Clone, Debug, Command)]
enum OrderCommand {
    Place { cents: i64 },
}

#[derive(Clone, Debug, Rejection)]
enum OrderRejection {
    #[reject("the order is placed already")]
    OrderAlreadyPlaced,
}

#[derive(Default, Data)]
struct Order {
    placed: bool,
}

impl Decider for Order {
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = OrderRejection;

    fn decide(&self, command: OrderCommand, _: &Context) -> Result<Vec<OrderEvent>, OrderRejection> {
        let OrderCommand::Place { cents } = command;
        if self.placed {
            return Err(OrderRejection::OrderAlreadyPlaced);
        }
        Ok(vec![OrderEvent::Placed { cents }])
    }

    fn evolve(self, _: &OrderEvent) -> Self {
        Self { placed: true }
    }
}

/// Every order, for analytics: as of last night.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "analytics", revision = 1, owner = "sales", source = "nightly-events")]
struct Analytics {
    #[key]
    order: OrderId,
    cents: i64,
}

impl Projection for Analytics {
    type Event = OrderEvent;

    fn route(fact: &Fact<OrderEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(_: Option<Self>, fact: &Fact<OrderEvent>) -> Option<Self> {
        let OrderEvent::Placed { cents } = &fact.event;
        Some(Self { order: fact.id(), cents: *cents })
    }
}

/// A clock that is moved by hand, so that a night takes no time.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn set(&self, now: &str) {
        let now: Timestamp = now.parse().expect("a time");
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_stored(self.0.load(Ordering::SeqCst))
    }
}

async fn place(running: &Running, order: &str, cents: i64) -> Token {
    let request = Request::by(running.principal()).to(&OrderId::new(order), OrderCommand::Place { cents });
    running.commands().handle::<Order>(request).await.expect("a new order").token
}

/// What is told of the analytics: how many rows there are, and how far they are behind.
async fn told(running: &Running) -> (usize, String) {
    let answer = running.queries().find(running.principal(), Analytics::find()).await.expect("an answer");
    (answer.value.items.len(), answer.freshness.words)
}

/// An evening, a night and the morning after.
async fn day(folder: &Path) -> Vec<(usize, String)> {
    let hands = Hands(Arc::default());
    hands.set("2026-11-28T18:00:00Z");
    let service = Service::new("shop")
        .decider::<Order>()
        .read_model::<Analytics>()
        .job(Job::export("nightly-events").daily_at("02:00"))
        .clock(hands.clone());
    let running = service.open(Config::at(folder)).await.expect("a new store");
    let mut all = Vec::new();
    place(&running, "A-1", 1_999).await;
    let token = place(&running, "A-2", 500).await;
    hands.set("2026-11-28T19:00:00Z");
    all.push(told(&running).await);

    // A process that serves does this by itself.
    hands.set("2026-11-29T02:00:00Z");
    running.run_due_jobs().await.expect("the night");
    let wait = Duration::from_secs(20);
    let awaited = running.queries().wait_all(running.principal(), &["analytics"], Some(token), wait).await;
    awaited.expect("the model moves");
    all.push(told(&running).await);

    place(&running, "A-3", 750).await;
    hands.set("2026-11-29T02:30:00Z");
    all.push(told(&running).await);
    running.stop().await.expect("the end");
    all
}

#[tokio::main]
async fn main() {
    let folder = std::env::temp_dir().join(format!("diptych-nightly-{}", std::process::id()));
    for (rows, words) in day(&folder).await {
        println!("{rows} orders; analytics is {words}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_analytics_say_how_far_behind_they_are() {
        let folder = std::env::temp_dir().join(format!("diptych-nightly-test-{}", std::process::id()));
        let told = day(&folder).await;
        let _ = std::fs::remove_dir_all(&folder);
        let expected = [
            (0, "60 minutes behind, never exported, first export due 2026-11-29 02:00"),
            (2, "up to date, last export 02:00"),
            (2, "30 minutes behind, last export 02:00"),
        ];
        assert_eq!(told, expected.map(|(rows, words)| (rows, words.to_owned())));
    }
}
