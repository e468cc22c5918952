//! An earlier version whose payload nobody turns into today's event.
use diptych::prelude::*;

#[derive(Data)]
struct PlacedV1 {
    customer: String,
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum OrderEvent {
    #[event(version = 2, v1 = PlacedV1)]
    Placed { customer: String, lines: Vec<String> },
}

fn main() {}
