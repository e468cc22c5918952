//! Who may do what and see what, as sentences.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use diptych::core::Action;
use diptych::prelude::*;
use diptych::testing::{GivenPrincipal, policies};
use enforcement::command::{CaseCommand, Decision, DecisionCommand, Party, PartyCommand};
use enforcement::facts::{
    CURRENT_POLICY, DecisionEvent, DecisionStatus, PartyEvent, RiskBand, SensitivityLevel, VisibilityScope,
};
use enforcement::query::{CaseSearch, DecisionApproval, DecisionDetail, DecisionWorkQueue, PartyName};
use serde_json::json;

fn somebody(actor: &str) -> GivenPrincipal {
    policies(&enforcement::service()).principal(actor)
}

fn caseworker() -> GivenPrincipal {
    somebody("user-042").roles(["caseworker"]).teams(["TEAM-7"]).clearance(1)
}

fn approver() -> GivenPrincipal {
    somebody("user-117").roles(["approver"]).teams(["TEAM-7"]).clearance(1)
}

fn auditor() -> GivenPrincipal {
    somebody("user-405").roles(["auditor"])
}

fn registrar() -> GivenPrincipal {
    somebody("user-301").roles(["registrar"])
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A decision that waits for TEAM-7, for its own eyes.
fn row() -> DecisionWorkQueue {
    DecisionWorkQueue {
        decision_id: "DEC-1".into(),
        case_id: "CASE-1".into(),
        case_title: Some("Regional enforcement review".to_owned()),
        party_id: "PARTY-1".into(),
        party_display_name: Some("Acme Trading Ltd".to_owned()),
        status: DecisionStatus::ReadyForApproval,
        risk_band: Some(RiskBand::High),
        assigned_team_id: "TEAM-7".into(),
        due_at: Some(time("2026-07-07T09:00:00Z")),
        last_activity_at: time("2026-06-23T16:10:00Z"),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Confidential,
        updated_at: time("2026-06-23T16:10:00Z"),
        version: Version(8),
    }
}

/// The same, which every team may see.
fn shared() -> DecisionWorkQueue {
    DecisionWorkQueue { visibility_scope: VisibilityScope::Organisation, ..row() }
}

fn restricted(row: DecisionWorkQueue) -> DecisionWorkQueue {
    DecisionWorkQueue { sensitivity_level: SensitivityLevel::Restricted, ..row }
}

fn drafted(by: &str, sensitivity_level: SensitivityLevel) -> [DecisionEvent; 2] {
    let drafted = DecisionEvent::DecisionDrafted {
        case_id: "CASE-1".into(),
        party_id: "PARTY-1".into(),
        team_id: "TEAM-7".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level,
        summary: "a fine".to_owned(),
        drafted_by: Some(by.to_owned()),
    };
    [drafted, DecisionEvent::DecisionMarkedReady { due_at: time("2026-07-07T09:00:00Z") }]
}

fn ready() -> [DecisionEvent; 2] {
    drafted("user-042", SensitivityLevel::Confidential)
}

fn approve() -> DecisionCommand {
    let reason = "Meets statutory threshold".to_owned();
    DecisionCommand::Approve { reason, policy_version: CURRENT_POLICY.into() }
}

fn withdraw() -> DecisionCommand {
    DecisionCommand::Withdraw { reason: "The party has closed its site".to_owned() }
}

fn draft(team: &str, sensitivity_level: SensitivityLevel) -> DecisionCommand {
    DecisionCommand::Draft {
        case_id: "CASE-1".into(),
        party_id: "PARTY-1".into(),
        team_id: team.into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level,
        summary: "a fine".to_owned(),
    }
}

#[test]
fn the_policies_fit_what_the_service_declares() {
    assert_eq!(enforcement::service().problems(), Vec::<String>::new());
}

#[test]
fn a_team_sees_its_own_decisions_and_others_see_them_if_they_may() {
    caseworker().sees(&row());
    approver().sees(&row());
    let other = caseworker().teams(["TEAM-3"]);
    other.does_not_see(&row()).sees(&shared());
    somebody("user-900").does_not_see(&row()).does_not_see(&shared());
    registrar().does_not_see(&row()).does_not_see(&shared()).sees(&shared_and_normal());
}

#[test]
fn a_restricted_decision_needs_clearance_whoever_shares_it() {
    let cleared = caseworker().clearance(2);
    caseworker().does_not_see(&restricted(row())).does_not_see(&restricted(shared()));
    cleared.sees(&restricted(row())).sees(&restricted(shared()));
}

#[test]
fn names_of_persons_are_for_the_team_and_the_registry() {
    caseworker().sees_field(&row(), "partyDisplayName").sees_field(&row(), "caseTitle");
    let other = caseworker().teams(["TEAM-3"]);
    other.sees_field(&shared(), "caseTitle").does_not_see_field(&shared(), "partyDisplayName");
    registrar().sees_field(&shared_and_normal(), "partyDisplayName");
    let party =
        PartyName { party_id: "PARTY-1".into(), display_name: "Acme".to_owned(), version: Version(1) };
    registrar().sees_field(&party, "displayName");
    caseworker().does_not_see(&party);
}

/// Registrars have no clearance.
fn shared_and_normal() -> DecisionWorkQueue {
    DecisionWorkQueue { sensitivity_level: SensitivityLevel::Normal, ..shared() }
}

#[test]
fn nobody_asks_by_what_may_be_withheld_but_whoever_keeps_it() {
    for person in [caseworker(), approver()] {
        person.may_ask_by::<DecisionWorkQueue>("dueAt").may_ask_by::<DecisionWorkQueue>("status");
        person.may_not_ask_by::<DecisionWorkQueue>("partyDisplayName");
        person.may_not_ask_by::<DecisionDetail>("decisionReason");
    }
    registrar().may_ask_by::<DecisionWorkQueue>("partyDisplayName");
}

#[test]
fn cases_are_searched_by_whoever_works_on_them_and_decisions_by_their_team() {
    let case = CaseSearch {
        entry_id: "CASE-1".to_owned(),
        case_id: "CASE-1".into(),
        decision_id: None,
        case_title: Some("Regional enforcement review".to_owned()),
        party_id: "PARTY-1".into(),
        party_display_name: Some("Acme Trading Ltd".to_owned()),
        summary: None,
        status: None,
        assigned_team_id: None,
        visibility_scope: None,
        sensitivity_level: None,
        last_activity_at: time("2026-06-23T16:10:00Z"),
        version: Version(1),
    };
    let decision = CaseSearch {
        entry_id: "DEC-1".to_owned(),
        decision_id: Some("DEC-1".into()),
        summary: Some("a fine".to_owned()),
        assigned_team_id: Some("TEAM-7".into()),
        visibility_scope: Some(VisibilityScope::Organisation),
        sensitivity_level: Some(SensitivityLevel::Confidential),
        ..case.clone()
    };
    let other = || caseworker().teams(["TEAM-3"]);
    caseworker().sees(&case).sees_field(&decision, "summary").sees_field(&decision, "partyDisplayName");
    other().sees(&case).does_not_see(&decision);
    caseworker().clearance(0).does_not_see(&decision);
    for words in ["caseTitle", "partyDisplayName", "summary"] {
        caseworker().may_ask_by::<CaseSearch>(words);
        registrar().does_not_see(&case);
        auditor().does_not_see_field(&case, words);
    }
}

#[test]
fn the_queue_of_a_team_is_asked_for_by_its_members() {
    approver().may_ask_for::<DecisionWorkQueue>("teamId", "TEAM-7");
    approver().may_not_ask_for::<DecisionWorkQueue>("teamId", "TEAM-3");
    approver().may_not_ask_by::<DecisionWorkQueue>("teamId");
    auditor().may_ask_for::<DecisionWorkQueue>("teamId", "TEAM-3");
}

#[test]
fn auditors_see_that_something_is_there_and_who_approved_it() {
    auditor().sees(&row()).sees(&restricted(row()));
    auditor().sees_field(&row(), "status").does_not_see_field(&row(), "caseTitle");
    auditor().does_not_see_field(&row(), "partyDisplayName");
    let approval = DecisionApproval {
        decision_id: "DEC-1".into(),
        case_id: "CASE-1".into(),
        assigned_team_id: "TEAM-7".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Normal,
        approved_by: "user-117".to_owned(),
        expected_version: Version(8),
        policy_version: CURRENT_POLICY.into(),
        reason: "Meets statutory threshold".to_owned(),
        approved_at: time("2026-07-05T12:00:00Z"),
        command_id: None,
        version: Version(9),
    };
    auditor().sees_field(&approval, "approvedBy").sees_field(&approval, "reason");
    let history = Action::ReadHistory { category: "decision", key: "DEC-1" };
    auditor().may(history).may(Action::ReadAudit);
    caseworker().may_not(history).may_not(Action::ReadAudit);
}

#[test]
fn rows_are_carried_away_by_few() {
    caseworker().does_not_export(&row());
    let exporter = caseworker().roles(["caseworker", "exporter"]);
    exporter.exports(&row()).does_not_export(&restricted(row()));
    somebody("user-900").roles(["exporter"]).does_not_export(&row());
}

#[test]
fn only_an_approver_of_the_deciding_team_approves() {
    approver().on::<Decision>("DEC-1", ready()).may(approve());
    caseworker().on::<Decision>("DEC-1", ready()).may_not(approve());
    approver().teams(["TEAM-3"]).on::<Decision>("DEC-1", ready()).may_not(approve());
    let reassigned =
        DecisionEvent::DecisionReassigned { team_id: "TEAM-3".into(), reason: "workload".to_owned() };
    let elsewhere = || ready().into_iter().chain([reassigned.clone()]);
    approver().on::<Decision>("DEC-1", elsewhere()).may_not(approve());
    approver().teams(["TEAM-3"]).on::<Decision>("DEC-1", elsewhere()).may(approve());
}

#[test]
fn whoever_drafted_a_decision_does_not_approve_it() {
    let both = || somebody("user-042").roles(["approver", "caseworker"]).teams(["TEAM-7"]).clearance(1);
    both().on::<Decision>("DEC-1", ready()).may_not(approve()).may(withdraw());
    let of_another = drafted("user-031", SensitivityLevel::Confidential);
    both().on::<Decision>("DEC-1", of_another).may(approve());
}

#[test]
fn a_restricted_decision_is_worked_on_with_clearance_only() {
    let restricted = || drafted("user-031", SensitivityLevel::Restricted);
    approver().on::<Decision>("DEC-1", restricted()).may_not(approve());
    approver().clearance(2).on::<Decision>("DEC-1", restricted()).may(approve());
    caseworker().on::<Decision>("DEC-1", []).may_not(draft("TEAM-7", SensitivityLevel::Restricted));
    caseworker().clearance(2).on::<Decision>("DEC-1", []).may(draft("TEAM-7", SensitivityLevel::Restricted));
}

#[test]
fn caseworkers_draft_prepare_and_withdraw_for_their_own_team() {
    let normal = SensitivityLevel::Normal;
    caseworker().on::<Decision>("DEC-1", []).may(draft("TEAM-7", normal)).may_not(draft("TEAM-3", normal));
    caseworker().on::<Decision>("DEC-1", ready()).may(withdraw());
    caseworker().teams(["TEAM-3"]).on::<Decision>("DEC-1", ready()).may_not(withdraw());
    approver().on::<Decision>("DEC-1", ready()).may_not(withdraw());
    let open = || CaseCommand::Open {
        title: "Regional enforcement review".to_owned(),
        party_id: "PARTY-1".into(),
        risk_band: RiskBand::High,
    };
    caseworker().on::<enforcement::command::Case>("CASE-1", []).may(open());
    approver().on::<enforcement::command::Case>("CASE-1", []).may_not(open());
}

#[test]
fn a_decision_that_nobody_drafted_is_said_to_be_missing() {
    approver().on::<Decision>("DEC-1", []).may(approve());
    caseworker().on::<Decision>("DEC-1", []).may(withdraw());
    auditor().on::<Decision>("DEC-1", []).may_not(approve());
}

#[test]
fn names_are_put_right_by_registrars() {
    let registered = || [PartyEvent::PartyRegistered { display_name: "Acme".to_owned() }];
    let correct =
        || PartyCommand::CorrectName { display_name: "Acme Ltd".to_owned(), reason: "typo".to_owned() };
    registrar().on::<Party>("PARTY-1", registered()).may(correct());
    caseworker().on::<Party>("PARTY-1", registered()).may_not(correct());
}

#[test]
fn the_past_comes_in_by_imports_only() {
    let import = Action::Import { category: "fine" };
    somebody("import").roles(["importer"]).may(import);
    caseworker().may_not(import);
}

#[test]
fn the_state_of_a_decision_is_for_its_team_and_for_auditors() {
    let state = json!({ "teamId": "TEAM-7", "visibilityScope": "TEAM", "sensitivityLevel": "RESTRICTED" });
    let read = Action::ReadAggregate { category: "decision", key: "DEC-1", state: Some(&state) };
    caseworker().may_not(read);
    caseworker().clearance(2).may(read);
    caseworker().clearance(2).teams(["TEAM-3"]).may_not(read);
    auditor().may(read);
}
