//! Read models that no store could keep or no address could ask.
use diptych::prelude::*;

#[derive(Clone, ReadModel)]
#[read_model(name = "keyless", revision = 1, owner = "sales")]
struct Keyless {
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "reserved", revision = 1, owner = "sales")]
struct Reserved {
    #[key]
    order: String,
    projection_position: i64,
    #[filter]
    page_size: i64,
    #[json]
    #[filter]
    lines: Vec<String>,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "Orders", revision = 0, owner = "sales")]
struct BadName {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales", contrat = "strong")]
struct Misspelt {
    #[key]
    #[sensitivity(secret)]
    order: Option<String>,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales", contract = "bounded soon")]
struct Vague {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales")]
#[index(custmer, placed_at desc)]
struct UnknownColumn {
    #[key]
    order: String,
    customer: String,
    placed_at: Timestamp,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales", default_sort = "placed_at desc")]
struct Unsortable {
    #[key]
    order: String,
    placed_at: Timestamp,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", path = "all/orders", revision = 1, owner = "sales")]
struct Elsewhere {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
struct Undeclared {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales", inline, partitions = 4)]
struct SplitInline {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales", partitions = 65)]
struct SplitTooOften {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales", document)]
struct DocumentInDocument {
    #[key]
    order: String,
    document: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales")]
struct SystemColumn {
    #[key]
    order: String,
    ctid: String,
    rowid: i64,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales")]
struct SearchedById {
    #[key]
    id: String,
    #[full_text]
    words: String,
}

fn main() {}
