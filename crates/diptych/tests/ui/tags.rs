//! Fields that make no tag.
use diptych::prelude::*;

#[derive(Clone, Data)]
struct Line {
    product: String,
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum Structured {
    Placed {
        #[tag]
        line: Line,
    },
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum Paid {
    Placed {
        #[tag("price")]
        price: Option<Money>,
    },
}

#[derive(Event)]
#[event(category = "order", owner = "sales")]
enum Named {
    Placed {
        #[tag("Customer Id")]
        customer: String,
    },
    Confirmed {
        #[tag = "customer"]
        customer: String,
    },
    Cancelled {
        #[tag]
        #[tag("buyer")]
        customer: String,
    },
}

fn main() {}
