//! Read models that cannot hold keys back, and say that they do.
use diptych::prelude::*;

#[derive(Clone, ReadModel)]
#[read_model(name = "desk", revision = 1, owner = "sales", inline, on_failure = "park")]
struct Desk {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "titles", revision = 1, owner = "sales", on_failure = "park")]
struct Title {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "lines", revision = 1, owner = "sales", reads(Title), on_failure = "park")]
struct Line {
    #[key]
    order: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "other", revision = 1, owner = "sales", on_failure = "ignore")]
struct Other {
    #[key]
    order: String,
}

fn main() {}
