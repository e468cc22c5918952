//! What a decision's page shows, as sentences.

use super::*;
use crate::facts::CURRENT_POLICY;
use crate::query::samples::{
    approved, at, attached, corrected, drafted, opened, ready, reassigned, registered, rejected, report,
    risk_changed, time, withdrawn,
};
use diptych::testing::{given_facts, on};

/// DEC-1 as it was drafted by the third fact, after its case and its party.
fn row() -> DecisionDetail {
    DecisionDetail {
        decision_id: "DEC-1".into(),
        case_id: "CASE-1".into(),
        case_title: Some("Regional enforcement review".to_owned()),
        party_id: "PARTY-1".into(),
        party_display_name: Some("Acme Tradng Ltd".to_owned()),
        status: DecisionStatus::Draft,
        risk_band: Some(RiskBand::Medium),
        assigned_team_id: "TEAM-3".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Confidential,
        summary: "a fine".to_owned(),
        evidence: Vec::new(),
        due_at: None,
        drafted_by: Some("user-042".to_owned()),
        drafted_at: at(3),
        decided_by: None,
        decided_at: None,
        decision_reason: None,
        policy_version: None,
        last_activity_at: at(3),
        version: Version(1),
    }
}

#[test]
fn a_decision_is_shown_from_its_draft_on() {
    given_facts([on("CASE-1", opened()), on("PARTY-1", registered()), on("DEC-1", drafted())])
        .then_row(row());
}

#[test]
fn what_was_filed_and_revised_is_shown() {
    let summary = "a fine for two sites".to_owned();
    let revised = DecisionEvent::DecisionSummaryRevised { summary: summary.clone() };
    let expected = DecisionDetail {
        assigned_team_id: "TEAM-7".into(),
        evidence: vec![report()],
        summary,
        status: DecisionStatus::ReadyForApproval,
        due_at: Some(time("2026-07-09T09:00:00Z")),
        last_activity_at: at(7),
        version: Version(5),
        ..row()
    };
    given_facts([
        on("CASE-1", opened()),
        on("PARTY-1", registered()),
        on("DEC-1", drafted()),
        on("DEC-1", attached()),
        on("DEC-1", reassigned()),
        on("DEC-1", revised),
        on("DEC-1", ready()),
    ])
    .then_row(expected);
}

#[test]
fn a_decided_decision_says_by_whom_why_and_under_which_policy() {
    let ends = [
        (approved(), DecisionStatus::Approved, "user-117", "Meets statutory threshold", true),
        (rejected(), DecisionStatus::Rejected, "user-117", "Not proportionate", true),
        (withdrawn(), DecisionStatus::Withdrawn, "user-042", "The party has closed its site", false),
    ];
    for (end, status, by, reason, under_a_policy) in ends {
        let expected = DecisionDetail {
            status,
            due_at: Some(time("2026-07-09T09:00:00Z")),
            decided_by: Some(by.to_owned()),
            decided_at: Some(at(5)),
            decision_reason: Some(reason.to_owned()),
            policy_version: under_a_policy.then(|| CURRENT_POLICY.into()),
            last_activity_at: at(5),
            version: Version(3),
            ..row()
        };
        given_facts([
            on("CASE-1", opened()),
            on("PARTY-1", registered()),
            on("DEC-1", drafted()),
            on("DEC-1", ready()),
            on("DEC-1", end),
        ])
        .then_row(expected);
    }
}

#[test]
fn a_decision_follows_its_case_and_its_party() {
    let expected = DecisionDetail {
        risk_band: Some(RiskBand::High),
        party_display_name: Some("Acme Trading Ltd".to_owned()),
        ..row()
    };
    given_facts([
        on("CASE-1", opened()),
        on("PARTY-1", registered()),
        on("DEC-1", drafted()),
        on("CASE-1", risk_changed(RiskBand::High)),
        on("PARTY-1", corrected()),
    ])
    .then_row(expected);
}
