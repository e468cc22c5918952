//! A projection that reads something that is no event language.
use diptych::prelude::*;

struct Placed;

#[derive(Clone, ReadModel)]
#[read_model(name = "orders", revision = 1, owner = "sales")]
struct Orders {
    #[key]
    order: String,
}

impl Projection for Orders {
    type Event = Placed;

    fn route(_: &Fact<Placed>) -> Route<Self> {
        Route::none()
    }

    fn project(row: Option<Self>, _: &Fact<Placed>) -> Option<Self> {
        row
    }
}

fn main() {}
