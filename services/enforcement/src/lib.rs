//! Enforcement: decisions on cases, and a work queue that joins three languages of facts.
//!
//! `facts` is what both panels share; `command` decides, `query` answers, and neither knows the other.

pub mod command;
pub mod facts;
pub mod import;
pub mod parties;
pub mod people;
pub mod query;
pub mod scenario;

use diptych::Service;
use diptych::prelude::{Policies, Principal, Reference};

/// Who may do what and see what, by the names of the files.
const POLICIES: [(&str, &str); 4] = [
    ("commands", include_str!("../policies/commands.cedar")),
    ("fields", include_str!("../policies/fields.cedar")),
    ("records", include_str!("../policies/records.cedar")),
    ("rows", include_str!("../policies/rows.cedar")),
];

/// The service, ready to be opened.
#[must_use]
pub fn service() -> Service {
    Service::new("enforcement")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Takes decisions on cases, and tells each team what to decide next")
        .decider::<command::Case>()
        .state_stored::<command::Decision>()
        .decider_in::<command::Party>("parties")
        .decider::<command::Fine>()
        .reference(facts::DecisionPolicy::editions())
        .group("decision_work", |group| {
            group
                .read_model::<query::CaseTitle>()
                .read_model::<query::PartyName>()
                .read_model::<query::DecisionDetail>()
                .read_model::<query::DecisionWorkQueue>()
                .read_model::<query::CaseTimeline>()
                .read_model::<query::CaseSearch>()
        })
        .read_model::<query::DecisionApproval>()
        .group("fines", |group| group.read_model::<query::FineBalance>().read_model::<query::FinesByStatus>())
        .development_principal(Principal::from_text(people::EVERYBODY).expect("a test reads it"))
        .policies(Policies::from_texts(POLICIES).expect("a test reads the policies"))
        .link("/decision-work-queue?teamId=TEAM-7&status=READY_FOR_APPROVAL&sort=dueAt&pageSize=50")
        .link("/decision-detail/DEC-2026-00112")
        .link("/case-timeline?caseId=CASE-2026-00091")
        .link("/case-search?q=unlicensed%20trade")
        .verb_before_serving(scenario::Scenario)
        .verb(import::Import)
        .verb(parties::Parties)
}
