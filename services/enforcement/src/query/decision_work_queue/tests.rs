//! What a team's queue shows, as sentences.

use super::*;
use crate::query::samples::{
    approved, at, attached, corrected, drafted, drafted_on, opened, ready, reassigned, registered, rejected,
    risk_changed, time, withdrawn,
};
use diptych::testing::{given_facts, on};

/// DEC-1 as it was drafted by the fact at a position, with its case and its party known.
fn row(drafted_at: u64) -> DecisionWorkQueue {
    DecisionWorkQueue {
        decision_id: "DEC-1".into(),
        case_id: "CASE-1".into(),
        case_title: Some("Regional enforcement review".to_owned()),
        party_id: "PARTY-1".into(),
        party_display_name: Some("Acme Tradng Ltd".to_owned()),
        status: DecisionStatus::Draft,
        risk_band: Some(RiskBand::Medium),
        assigned_team_id: "TEAM-3".into(),
        due_at: None,
        last_activity_at: at(drafted_at),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Confidential,
        updated_at: at(drafted_at),
        version: Version(1),
    }
}

#[test]
fn a_drafted_decision_stands_in_the_queue_with_its_case_and_its_party() {
    given_facts([on("PARTY-1", registered()), on("CASE-1", opened()), on("DEC-1", drafted())])
        .then_row(row(3));
}

#[test]
fn a_decision_that_is_ready_has_a_due_date() {
    let expected = DecisionWorkQueue {
        status: DecisionStatus::ReadyForApproval,
        due_at: Some(time("2026-07-09T09:00:00Z")),
        assigned_team_id: "TEAM-7".into(),
        last_activity_at: at(6),
        updated_at: at(6),
        version: Version(4),
        ..row(3)
    };
    given_facts([
        on("PARTY-1", registered()),
        on("CASE-1", opened()),
        on("DEC-1", drafted()),
        on("DEC-1", attached()),
        on("DEC-1", reassigned()),
        on("DEC-1", ready()),
    ])
    .then_row(expected);
}

#[test]
fn a_decided_decision_has_left_the_queue() {
    for end in [approved(), rejected(), withdrawn()] {
        given_facts([on("CASE-1", opened()), on("DEC-1", drafted()), on("DEC-1", ready()), on("DEC-1", end)])
            .then_rows::<DecisionWorkQueue>([]);
    }
}

#[test]
fn every_row_of_a_case_follows_its_risk_band() {
    let high = |decision: &str, drafted_at| DecisionWorkQueue {
        decision_id: decision.into(),
        risk_band: Some(RiskBand::High),
        party_display_name: None,
        updated_at: at(5),
        ..row(drafted_at)
    };
    let other = DecisionWorkQueue {
        decision_id: "DEC-3".into(),
        case_id: "CASE-2".into(),
        party_display_name: None,
        updated_at: at(4),
        ..row(4)
    };
    given_facts([
        on("CASE-1", opened()),
        on("DEC-1", drafted()),
        on("CASE-2", opened()),
        on("DEC-3", drafted_on("CASE-2", "PARTY-1")),
        on("CASE-1", risk_changed(RiskBand::High)),
        on("DEC-2", drafted()),
    ])
    .then_rows([high("DEC-1", 2), other, DecisionWorkQueue { updated_at: at(6), ..high("DEC-2", 6) }]);
}

#[test]
fn every_row_of_a_party_follows_its_name() {
    let expected = DecisionWorkQueue {
        party_display_name: Some("Acme Trading Ltd".to_owned()),
        updated_at: at(4),
        ..row(3)
    };
    given_facts([
        on("PARTY-1", registered()),
        on("CASE-1", opened()),
        on("DEC-1", drafted()),
        on("PARTY-1", corrected()),
    ])
    .then_row(expected);
}

#[test]
fn what_is_not_known_yet_is_filled_in_when_it_is() {
    let unknown = DecisionWorkQueue { case_title: None, risk_band: None, party_display_name: None, ..row(1) };
    given_facts([on("DEC-1", drafted())]).then_row(unknown);
    given_facts([on("DEC-1", drafted()), on("CASE-1", opened()), on("PARTY-1", registered())])
        .then_row(DecisionWorkQueue { updated_at: at(3), ..row(1) });
}

#[test]
fn days_until_due_are_counted_by_the_calendar_and_never_stored() {
    let ready = DecisionWorkQueue { due_at: Some(time("2026-07-09T09:00:00Z")), ..row(1) };
    for (now, days) in [
        ("2026-07-07T23:59:59Z", 2),
        ("2026-07-08T00:00:00Z", 1),
        ("2026-07-09T08:00:00Z", 0),
        ("2026-07-09T23:00:00Z", 0),
        ("2026-07-10T00:00:00Z", -1),
    ] {
        assert_eq!(ready.days_until_due(time(now)), Some(days), "{now}");
    }
    assert_eq!(row(1).days_until_due(time("2026-07-09T09:00:00Z")), None);
    let columns = DecisionWorkQueue::SCHEMA.columns.iter().map(|column| column.name);
    assert!(columns.into_iter().all(|name| name != "days_until_due"));
}

#[test]
fn the_queue_has_its_columns_and_its_address() {
    let schema = DecisionWorkQueue::SCHEMA;
    assert_eq!((schema.name, schema.segment().as_str()), ("decision_work_queue_view", "decision-work-queue"));
    let stored: Vec<_> = schema.columns.iter().map(|column| column.name).collect();
    // The store keeps `tenant_id` and `projection_position` of every row by itself.
    for name in [
        "decision_id",
        "case_id",
        "case_title",
        "party_display_name",
        "status",
        "risk_band",
        "assigned_team_id",
        "due_at",
        "last_activity_at",
        "visibility_scope",
        "sensitivity_level",
        "updated_at",
    ] {
        assert!(stored.contains(&name), "{name} is missing");
    }
    assert_eq!(schema.computed[0].public, "daysUntilDue");
    assert_eq!(schema.column("teamId"), stored.iter().position(|name| *name == "assigned_team_id"));
}
