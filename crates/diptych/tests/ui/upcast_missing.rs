//! Earlier versions whose payload nobody turns into that of the next, or the last into today's event.
use diptych::prelude::*;

#[derive(Data)]
struct PlacedV1 {
    customer: String,
}

#[derive(Data)]
struct PlacedV2 {
    customer: String,
    lines: Vec<String>,
}

impl From<PlacedV2> for OrderEvent {
    fn from(old: PlacedV2) -> Self {
        Self::Placed { customer: old.customer, lines: old.lines, note: None }
    }
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum OrderEvent {
    #[event(version = 3, v1 = PlacedV1, v2 = PlacedV2)]
    Placed { customer: String, lines: Vec<String>, note: Option<String> },
    #[event(version = 2, v1 = PlacedV1)]
    Renamed { customer: String },
}

fn main() {}
