//! A condition on a column that was declared for sorting only.
use diptych::prelude::*;

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales")]
struct Orders {
    #[key]
    order: String,
    #[sort]
    lines: i64,
    #[filter]
    customer: String,
}

fn main() {
    let _ = Orders::find().filter(Orders::LINES.eq(3));
    let _ = Orders::find().sort(Orders::CUSTOMER.asc());
}
