//! Two read models that look each other up: neither can fold before the other.
use diptych::prelude::*;

#[derive(Clone, Debug, Event)]
#[event(category = "farm", owner = "farm")]
enum FarmEvent {
    Laid,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "egg", revision = 1, owner = "farm", reads(Hen))]
struct Egg {
    #[key]
    egg: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "hen", revision = 1, owner = "farm", reads(Egg))]
struct Hen {
    #[key]
    hen: String,
}

impl JoinedProjection for Egg {
    type Event = FarmEvent;

    fn route(_: &Fact<FarmEvent>) -> Route<Self> {
        Route::none()
    }

    fn project(row: Option<Self>, _: &Fact<FarmEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        siblings.get::<Hen>(&"h1".to_owned())?;
        row
    }
}

impl JoinedProjection for Hen {
    type Event = FarmEvent;

    fn route(_: &Fact<FarmEvent>) -> Route<Self> {
        Route::none()
    }

    fn project(row: Option<Self>, _: &Fact<FarmEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        siblings.get::<Egg>(&"e1".to_owned())?;
        row
    }
}

fn main() {}
