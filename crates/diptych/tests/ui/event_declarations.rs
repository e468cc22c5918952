//! Event languages that cannot be stored.
use diptych::prelude::*;

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum Unnamed {
    Placed(String, i64),
    Confirmed,
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum WithoutUpcast {
    #[event(version = 3, v1 = PlacedV1)]
    Placed { customer: String },
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum Backwards {
    #[event(version = 2, v2 = PlacedV1)]
    Placed { customer: String },
}

#[derive(Event)]
#[event(category = "sales-order", owner = "sales")]
enum Hyphen {
    Placed,
}

#[derive(Event)]
#[event(category = "order", ower = "sales")]
enum Misspelt {
    Placed,
}

#[derive(Event)]
#[event(category = "order")]
enum Ownerless {
    Placed,
}

#[derive(Event)]
#[event(category = "order", owner = "sales", retired = "Placed, Seen")]
enum Revived {
    Placed,
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum WithoutFirst {
    #[event(version = 3, v2 = PlacedV2)]
    Placed { customer: String },
}

#[derive(Event)]
#[event(category = "order", owner = "sales", unknown = "skip")]
enum Silent {
    Placed,
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum Generic<T> {
    Placed { what: T },
}

fn main() {}
