//! A set whose languages could not be told apart.
use diptych::prelude::*;

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum OrderEvent {
    Placed,
}

#[derive(Event)]
#[event(category = "order", owner = "warehouse")]
enum StockEvent {
    Counted,
}

#[derive(EventSet)]
enum Everything {
    Order(OrderEvent),
    Stock(StockEvent),
}

fn main() {}
