//! A look-up that was not declared, and one in a read model without a projection.
use diptych::prelude::*;

#[derive(Clone, Debug, Event)]
#[event(category = "case", owner = "cases")]
enum CaseEvent {
    Opened { title: String },
}

#[derive(Clone, ReadModel)]
#[read_model(name = "case_title", revision = 1, owner = "cases")]
struct CaseTitle {
    #[key]
    case: String,
    title: String,
}

impl Projection for CaseTitle {
    type Event = CaseEvent;

    fn route(_: &Fact<CaseEvent>) -> Route<Self> {
        Route::none()
    }

    fn project(row: Option<Self>, _: &Fact<CaseEvent>) -> Option<Self> {
        row
    }
}

#[derive(Clone, ReadModel)]
#[read_model(name = "party_name", revision = 1, owner = "cases")]
struct PartyName {
    #[key]
    party: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "queue", revision = 1, owner = "cases", reads(PartyName))]
struct Queue {
    #[key]
    decision: String,
}

impl JoinedProjection for Queue {
    type Event = CaseEvent;

    fn route(_: &Fact<CaseEvent>) -> Route<Self> {
        Route::none()
    }

    fn project(row: Option<Self>, _: &Fact<CaseEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        siblings.get::<CaseTitle>(&"c1".to_owned())?;
        row
    }
}

fn main() {}
