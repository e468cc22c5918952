//! What the row of an approval tells, as sentences.

use super::*;
use crate::facts::CURRENT_POLICY;
use crate::query::samples::{approved, at, drafted, drafted_on, ready, reassigned, rejected};
use diptych::testing::{given_facts, on};

fn approval(decision: &str, case: &str, position: u64) -> DecisionApproval {
    DecisionApproval {
        decision_id: decision.into(),
        case_id: case.into(),
        assigned_team_id: "TEAM-3".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Confidential,
        approved_by: "user-117".to_owned(),
        expected_version: Version(2),
        policy_version: CURRENT_POLICY.into(),
        reason: "Meets statutory threshold".to_owned(),
        approved_at: at(position),
        command_id: Some("test".to_owned()),
        version: Version(3),
    }
}

#[test]
fn an_approval_names_its_case_and_the_version_that_was_approved() {
    given_facts([
        on("DEC-1", drafted()),
        on("DEC-2", drafted_on("CASE-2", "PARTY-1")),
        on("DEC-1", ready()),
        on("DEC-2", ready()),
        on("DEC-2", approved()),
        on("DEC-1", approved()),
    ])
    .then_rows([approval("DEC-1", "CASE-1", 6), approval("DEC-2", "CASE-2", 5)]);
}

#[test]
fn an_approval_belongs_to_the_team_that_decided() {
    let expected = DecisionApproval {
        assigned_team_id: "TEAM-7".into(),
        expected_version: Version(3),
        version: Version(4),
        ..approval("DEC-1", "CASE-1", 4)
    };
    given_facts([
        on("DEC-1", drafted()),
        on("DEC-1", reassigned()),
        on("DEC-1", ready()),
        on("DEC-1", approved()),
    ])
    .then_rows([expected]);
}

#[test]
fn only_an_approval_leaves_a_row() {
    given_facts([on("DEC-1", drafted()), on("DEC-1", ready()), on("DEC-1", rejected())])
        .then_rows(Vec::<DecisionApproval>::new());
}
