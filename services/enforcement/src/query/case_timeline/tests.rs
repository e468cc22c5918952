//! What a case's timeline tells, as sentences.

use super::*;
use crate::facts::RiskBand;
use crate::query::samples::{
    approved, at, drafted, drafted_on, opened, ready, reassigned, registered, risk_changed, withdrawn,
};
use diptych::testing::{given_facts, on};

fn line(position: u64, event: &str, sentence: &str, version: u64) -> CaseTimeline {
    CaseTimeline {
        position: Position(position),
        case_id: "CASE-1".into(),
        decision_id: None,
        assigned_team_id: None,
        visibility_scope: None,
        sensitivity_level: None,
        event: event.to_owned(),
        sentence: sentence.to_owned(),
        at: at(position),
        actor: Some("tester".to_owned()),
        version: Version(version),
    }
}

fn about(decision: &str, line: CaseTimeline) -> CaseTimeline {
    CaseTimeline {
        decision_id: Some(decision.into()),
        assigned_team_id: Some("TEAM-3".into()),
        visibility_scope: Some(VisibilityScope::Team),
        sensitivity_level: Some(SensitivityLevel::Confidential),
        ..line
    }
}

#[test]
fn a_case_and_its_decisions_are_told_one_after_another() {
    let opening = "The case was opened: Regional enforcement review. Its risk band is MEDIUM.";
    let approval = "user-117 approved the decision under ENF-POLICY-2026.04: Meets statutory threshold.";
    given_facts([
        on("CASE-1", opened()),
        on("DEC-1", drafted()),
        on("CASE-1", risk_changed(RiskBand::High)),
        on("DEC-1", ready()),
        on("PARTY-1", registered()),
        on("DEC-1", approved()),
    ])
    .then_rows([
        line(1, "CaseOpened", opening, 1),
        about("DEC-1", line(2, "DecisionDrafted", "A decision was drafted for TEAM-3: a fine.", 1)),
        line(3, "CaseRiskBandChanged", "The risk band became HIGH: a second report.", 2),
        about(
            "DEC-1",
            line(4, "DecisionMarkedReady", "The decision is ready for approval, due on 2026-07-09.", 2),
        ),
        about("DEC-1", line(6, "DecisionApproved", approval, 3)),
    ]);
}

#[test]
fn a_fact_stands_in_the_case_of_its_decision() {
    let sentence = "A decision was drafted for TEAM-3: a fine.";
    let elsewhere = about("DEC-2", line(2, "DecisionDrafted", sentence, 1));
    given_facts([on("DEC-1", drafted()), on("DEC-2", drafted_on("CASE-2", "PARTY-1"))]).then_rows([
        about("DEC-1", line(1, "DecisionDrafted", sentence, 1)),
        CaseTimeline { case_id: "CASE-2".into(), ..elsewhere },
    ]);
}

#[test]
fn what_was_told_of_a_decision_goes_with_it_to_another_team() {
    let to = |line: CaseTimeline| CaseTimeline { assigned_team_id: Some("TEAM-7".into()), ..line };
    let opening = "The case was opened: Regional enforcement review. Its risk band is MEDIUM.";
    let drafting = "A decision was drafted for TEAM-3: a fine.";
    let withdrawal = "user-042 withdrew the decision: The party has closed its site.";
    given_facts([
        on("CASE-1", opened()),
        on("DEC-1", drafted()),
        on("DEC-2", drafted()),
        on("DEC-1", reassigned()),
        on("DEC-1", withdrawn()),
    ])
    .then_rows([
        line(1, "CaseOpened", opening, 1),
        to(about("DEC-1", line(2, "DecisionDrafted", drafting, 1))),
        about("DEC-2", line(3, "DecisionDrafted", drafting, 1)),
        to(about("DEC-1", line(4, "DecisionReassigned", "The decision went to TEAM-7: workload.", 2))),
        to(about("DEC-1", line(5, "DecisionWithdrawn", withdrawal, 3))),
    ]);
}

#[test]
fn a_sentence_ends_once() {
    let reason = "Not proportionate. ".to_owned();
    let told = of_case(&CaseEvent::CaseRiskBandChanged { risk_band: RiskBand::Low, reason });
    assert_eq!(told, "The risk band became LOW: Not proportionate.");
}
