//! The right panel: what people who decide, people who look at a case, and people who collect fines ask. One
//! group of tables about decisions: two look-ups, then the tables that read them; the row of an approval,
//! which moves with its command; and a group about fines. Knows nothing of commands.

mod case_search;
mod case_timeline;
mod decision_approval;
mod decision_detail;
mod decision_work_queue;
mod fine_balance;
mod fines_by_status;
mod lookups;
mod samples;

pub use case_search::CaseSearch;
pub use case_timeline::{CaseTimeline, TimelineEvent};
pub use decision_approval::{DecisionApproval, DecisionCase};
pub use decision_detail::DecisionDetail;
pub use decision_work_queue::DecisionWorkQueue;
pub use fine_balance::FineBalance;
pub use fines_by_status::FinesByStatus;
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
