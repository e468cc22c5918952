//! By which words a case and its decisions are found, as sentences.

use super::*;
use crate::query::samples::{
    approved, at, corrected, drafted, drafted_on, opened, ready, reassigned, registered, withdrawn,
};
use diptych::testing::{given_facts, on};

/// CASE-1 as it was opened by the fact at a position, its party not known.
fn case(position: u64) -> CaseSearch {
    CaseSearch {
        entry_id: "CASE-1".to_owned(),
        case_id: "CASE-1".into(),
        decision_id: None,
        case_title: Some("Regional enforcement review".to_owned()),
        party_id: "PARTY-1".into(),
        party_display_name: None,
        summary: None,
        status: None,
        assigned_team_id: None,
        visibility_scope: None,
        sensitivity_level: None,
        last_activity_at: at(position),
        version: Version(1),
    }
}

/// DEC-1 on it, as it was drafted by the fact at a position.
fn decision(position: u64) -> CaseSearch {
    CaseSearch {
        entry_id: "DEC-1".to_owned(),
        decision_id: Some("DEC-1".into()),
        summary: Some("a fine".to_owned()),
        status: Some(DecisionStatus::Draft),
        assigned_team_id: Some("TEAM-3".into()),
        visibility_scope: Some(VisibilityScope::Team),
        sensitivity_level: Some(SensitivityLevel::Confidential),
        ..case(position)
    }
}

fn named(entry: CaseSearch, name: &str) -> CaseSearch {
    CaseSearch { party_display_name: Some(name.to_owned()), ..entry }
}

#[test]
fn a_case_and_each_of_its_decisions_have_an_entry() {
    let other = CaseSearch { entry_id: "DEC-2".to_owned(), decision_id: Some("DEC-2".into()), ..decision(4) };
    let other = CaseSearch { case_id: "CASE-2".into(), case_title: None, ..other };
    given_facts([
        on("PARTY-1", registered()),
        on("CASE-1", opened()),
        on("DEC-1", drafted()),
        on("DEC-2", drafted_on("CASE-2", "PARTY-1")),
    ])
    .then_rows([case(2), decision(3), other].map(|entry| named(entry, "Acme Tradng Ltd")));
}

#[test]
fn entries_follow_what_people_remember() {
    let summary = "a fine for two sites".to_owned();
    let revised = DecisionEvent::DecisionSummaryRevised { summary: summary.clone() };
    let moved = CaseSearch {
        summary: Some(summary),
        assigned_team_id: Some("TEAM-7".into()),
        status: Some(DecisionStatus::Approved),
        last_activity_at: at(8),
        version: Version(5),
        ..decision(1)
    };
    given_facts([
        on("DEC-1", drafted()),
        on("CASE-1", opened()),
        on("PARTY-1", registered()),
        on("DEC-1", revised),
        on("DEC-1", reassigned()),
        on("DEC-1", ready()),
        on("PARTY-1", corrected()),
        on("DEC-1", approved()),
    ])
    .then_rows([case(2), moved].map(|entry| named(entry, "Acme Trading Ltd")));
}

#[test]
fn what_was_withdrawn_is_still_found() {
    let expected = CaseSearch {
        case_title: None,
        status: Some(DecisionStatus::Withdrawn),
        last_activity_at: at(2),
        version: Version(2),
        ..decision(1)
    };
    given_facts([on("DEC-1", drafted()), on("DEC-1", withdrawn())]).then_rows([expected]);
}
