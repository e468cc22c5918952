//! The right panel: what people who decide, and people who look at a case, ask. One group of tables under one
//! checkpoint: two look-ups, then the tables that read them; and the row of an approval, which moves with its
//! command. Knows nothing of commands.

mod case_timeline;
mod decision_approval;
mod decision_detail;
mod decision_work_queue;
mod lookups;
mod samples;

pub use case_timeline::{CaseTimeline, TimelineEvent};
pub use decision_approval::{DecisionApproval, DecisionCase};
pub use decision_detail::DecisionDetail;
pub use decision_work_queue::DecisionWorkQueue;
pub use lookups::{CaseTitle, PartyName};

use crate::facts::{CaseEvent, DecisionEvent, PartyEvent};
use diptych::prelude::*;

/// Every language that moves a row about a decision.
#[derive(Clone, Debug, PartialEq, EventSet)]
pub enum WorkEvent {
    /// Decisions.
    Decision(DecisionEvent),
    /// Cases.
    Case(CaseEvent),
    /// Parties.
    Party(PartyEvent),
}
