//! Routes by a column that has no filter, by one that is not there, by another model's, and by another type.
use diptych::prelude::*;

#[derive(Clone, Debug, Event)]
#[event(category = "case", owner = "cases")]
enum CaseEvent {
    RiskChanged { risk: i64 },
}

#[derive(Clone, ReadModel)]
#[read_model(name = "case_title", revision = 1, owner = "cases")]
struct CaseTitle {
    #[key]
    case: String,
}

#[derive(Clone, ReadModel)]
#[read_model(name = "queue", revision = 1, owner = "cases")]
struct Queue {
    #[key]
    decision: String,
    #[sort]
    case: String,
    title: String,
    #[filter]
    risk: i64,
}

impl Projection for Queue {
    type Event = CaseEvent;

    fn route(fact: &Fact<CaseEvent>) -> Route<Self> {
        let id = "c1".to_owned();
        match &fact.event {
            CaseEvent::RiskChanged { risk: 1 } => Route::rows_where(Self::CASE, &id),
            CaseEvent::RiskChanged { risk: 2 } => Route::rows_where(Self::TITLE, &id),
            CaseEvent::RiskChanged { risk: 3 } => Route::rows_where(CaseTitle::CASE, &id),
            CaseEvent::RiskChanged { .. } => Route::rows_where(Self::RISK, &id),
        }
    }

    fn project(row: Option<Self>, _: &Fact<CaseEvent>) -> Option<Self> {
        row
    }
}

fn main() {}
