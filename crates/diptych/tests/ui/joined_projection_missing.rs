//! A service over a read model that looks rows up and has no projection.
use diptych::prelude::*;

#[derive(Clone, ReadModel)]
#[read_model(name = "queue", revision = 1, owner = "cases")]
struct Queue {
    #[key]
    decision: String,
}

fn main() {
    let _ = Service::new("cases").group("work", |group| group.read_model::<Queue>());
}
