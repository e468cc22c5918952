//! Columns that no two databases keep alike.
use diptych::prelude::*;

#[derive(Clone, ReadModel)]
#[read_model(name = "readings", revision = 1, owner = "plant")]
struct Reading {
    #[key]
    sensor: String,
    temperature: f64,
    count: u64,
}

fn main() {}
