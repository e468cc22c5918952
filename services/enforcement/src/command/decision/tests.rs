//! What a decision promises, as sentences.

use super::*;
use crate::facts::CURRENT_POLICY;
// Each case is decided on the stored state, too.
use diptych::testing::stored_state as given;

fn text(text: &str) -> String {
    text.to_owned()
}

fn draft() -> DecisionCommand {
    DecisionCommand::Draft {
        case_id: "CASE-1".into(),
        party_id: "PARTY-1".into(),
        team_id: "TEAM-7".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Normal,
        summary: text("a fine"),
    }
}

fn drafted() -> DecisionEvent {
    DecisionEvent::DecisionDrafted {
        case_id: "CASE-1".into(),
        party_id: "PARTY-1".into(),
        team_id: "TEAM-7".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Normal,
        summary: text("a fine"),
        drafted_by: Some(text("tester")),
    }
}

fn due_at() -> Timestamp {
    "2026-07-07T09:00:00Z".parse().unwrap()
}

fn ready() -> [DecisionEvent; 2] {
    [drafted(), DecisionEvent::DecisionMarkedReady { due_at: due_at() }]
}

fn approve(policy: &str) -> DecisionCommand {
    DecisionCommand::Approve { reason: text("Meets statutory threshold"), policy_version: policy.into() }
}

fn reject(policy: &str) -> DecisionCommand {
    DecisionCommand::Reject { reason: text("Not proportionate"), policy_version: policy.into() }
}

fn approved() -> DecisionEvent {
    DecisionEvent::DecisionApproved {
        approved_by: text("user-117"),
        reason: text("Meets statutory threshold"),
        policy_version: CURRENT_POLICY.into(),
    }
}

fn rejected() -> DecisionEvent {
    DecisionEvent::DecisionRejected {
        rejected_by: text("user-117"),
        reason: text("Not proportionate"),
        policy_version: CURRENT_POLICY.into(),
    }
}

fn withdraw() -> DecisionCommand {
    DecisionCommand::Withdraw { reason: text("The party has closed its site") }
}

fn withdrawn() -> DecisionEvent {
    DecisionEvent::DecisionWithdrawn {
        withdrawn_by: text("user-042"),
        reason: text("The party has closed its site"),
    }
}

fn report() -> Evidence {
    Evidence { reference: text("EV-1"), description: text("inspection report") }
}

/// Everything that may be asked of a decision that exists.
fn every_change() -> [DecisionCommand; 7] {
    [
        DecisionCommand::Reassign { team_id: "TEAM-3".into(), reason: text("workload") },
        DecisionCommand::AttachEvidence { evidence: report() },
        DecisionCommand::ReviseSummary { summary: text("a warning") },
        DecisionCommand::MarkReady { due_at: due_at() },
        approve(CURRENT_POLICY),
        reject(CURRENT_POLICY),
        withdraw(),
    ]
}

#[test]
fn a_decision_is_drafted_once() {
    given::<Decision>([]).when(draft()).then([drafted()]);
    let twice = |status| DecisionRejection::DecisionAlreadyDrafted { status };
    given::<Decision>([drafted()]).when(draft()).then_rejected(twice(DecisionStatus::Draft));
    given::<Decision>(ready()).when(draft()).then_rejected(twice(DecisionStatus::ReadyForApproval));
}

#[test]
fn a_decision_that_nobody_drafted_is_not_found() {
    for command in every_change() {
        given::<Decision>([]).when(command).then_rejected(DecisionRejection::DecisionNotFound);
    }
}

#[test]
fn the_approver_is_the_actor_and_the_policy_is_recorded() {
    given::<Decision>(ready()).by("user-117").when(approve(CURRENT_POLICY)).then([approved()]);
    given::<Decision>(ready()).by("user-117").when(reject(CURRENT_POLICY)).then([rejected()]);
    let state = |decision: &Decision| {
        assert_eq!(decision.status, Some(DecisionStatus::Approved));
        assert_eq!(decision.policy_version, Some(CURRENT_POLICY.into()));
    };
    given::<Decision>(ready()).when(approve(CURRENT_POLICY)).then_state(state);
}

#[test]
fn a_draft_is_not_approved() {
    let early = DecisionRejection::DecisionNotReady { status: DecisionStatus::Draft };
    given::<Decision>([drafted()]).when(approve(CURRENT_POLICY)).then_rejected(early.clone());
    given::<Decision>([drafted()]).when(reject(CURRENT_POLICY)).then_rejected(early);
}

#[test]
fn a_decision_is_decided_once_and_stays_as_it_is() {
    let ends = [(approved(), DecisionStatus::Approved), (rejected(), DecisionStatus::Rejected)];
    for (end, status) in ends {
        for command in every_change() {
            let history = ready().into_iter().chain([end.clone()]);
            let late = DecisionRejection::DecisionAlreadyDecided { status };
            given::<Decision>(history).when(command).then_rejected(late);
        }
    }
}

#[test]
fn whoever_drafted_it_is_remembered() {
    given::<Decision>([]).by("user-042").when(draft()).then_state(|decision| {
        assert_eq!(decision.drafted_by.as_deref(), Some("user-042"));
    });
}

#[test]
fn a_decision_can_be_given_up_until_it_is_decided() {
    for history in [vec![drafted()], ready().to_vec()] {
        given::<Decision>(history).by("user-042").when(withdraw()).then([withdrawn()]);
    }
    let status = DecisionStatus::Approved;
    let late = DecisionRejection::DecisionAlreadyDecided { status };
    given::<Decision>(ready().into_iter().chain([approved()])).when(withdraw()).then_rejected(late);
}

#[test]
fn a_withdrawn_decision_stays_withdrawn() {
    for command in every_change() {
        let history = ready().into_iter().chain([withdrawn()]);
        given::<Decision>(history).when(command).then_rejected(DecisionRejection::DecisionAlreadyWithdrawn);
    }
    let status = DecisionStatus::Withdrawn;
    let again = DecisionRejection::DecisionAlreadyDrafted { status };
    given::<Decision>([drafted(), withdrawn()]).when(draft()).then_rejected(again);
}

#[test]
fn another_policy_than_the_code_brings_along_can_be_in_force() {
    let strict =
        || DecisionPolicy::editions().then("ENF-POLICY-2027.01", DecisionPolicy { reason_words_min: 4 });
    let superseded = DecisionRejection::PolicyVersionSuperseded {
        policy_version: CURRENT_POLICY.into(),
        current: "ENF-POLICY-2027.01".into(),
    };
    given::<Decision>(ready()).under(strict()).when(approve(CURRENT_POLICY)).then_rejected(superseded);
    let short =
        DecisionRejection::DecisionReasonShort { policy_version: "ENF-POLICY-2027.01".into(), words_min: 4 };
    given::<Decision>(ready()).under(strict()).when(approve("ENF-POLICY-2027.01")).then_rejected(short);
    let lenient = Editions::new("ENF-POLICY-2027.02", DecisionPolicy { reason_words_min: 3 });
    let approved = DecisionEvent::DecisionApproved {
        approved_by: text("tester"),
        reason: text("Meets statutory threshold"),
        policy_version: "ENF-POLICY-2027.02".into(),
    };
    given::<Decision>(ready()).under(lenient).when(approve("ENF-POLICY-2027.02")).then([approved]);
}

#[test]
fn a_policy_that_is_not_in_force_is_refused_by_name() {
    let current = || PolicyVersion::from(CURRENT_POLICY);
    let superseded = DecisionRejection::PolicyVersionSuperseded {
        policy_version: "ENF-POLICY-2025.10".into(),
        current: current(),
    };
    given::<Decision>(ready()).when(approve("ENF-POLICY-2025.10")).then_rejected(superseded);
    let unknown = DecisionRejection::PolicyVersionUnknown {
        policy_version: "ENF-POLICY-2099.01".into(),
        current: current(),
    };
    given::<Decision>(ready()).when(reject("ENF-POLICY-2099.01")).then_rejected(unknown);
}

#[test]
fn what_waits_for_approval_is_what_was_marked_ready() {
    for command in every_change().into_iter().skip(1).take(3) {
        given::<Decision>(ready()).when(command).then_rejected(DecisionRejection::DecisionAlreadyReady);
    }
}

#[test]
fn a_decision_may_go_to_another_team_until_it_is_decided() {
    let (team_id, reason) = (TeamId::from("TEAM-3"), text("workload"));
    let reassigned = DecisionEvent::DecisionReassigned { team_id: team_id.clone(), reason: reason.clone() };
    let reassign = DecisionCommand::Reassign { team_id, reason };
    given::<Decision>([drafted()]).when(reassign.clone()).then([reassigned.clone()]);
    given::<Decision>(ready()).when(reassign.clone()).then([reassigned.clone()]);
    given::<Decision>([drafted(), reassigned]).when(reassign).then_nothing();
}

#[test]
fn evidence_is_filed_once_and_not_without_end() {
    let attach = |evidence| DecisionCommand::AttachEvidence { evidence };
    let attached = |evidence| DecisionEvent::DecisionEvidenceAttached { evidence };
    given::<Decision>([drafted()]).when(attach(report())).then([attached(report())]);
    given::<Decision>([drafted(), attached(report())]).when(attach(report())).then_nothing();
    let many = (0..EVIDENCE_MAX)
        .map(|number| attached(Evidence { reference: format!("EV-{number}-of-many"), ..report() }));
    let full = DecisionRejection::DecisionEvidenceFull { evidence_max: EVIDENCE_MAX as i64 };
    given::<Decision>([drafted()].into_iter().chain(many)).when(attach(report())).then_rejected(full);
}

#[test]
fn texts_say_something() {
    let blank = |field: &str| DecisionRejection::DecisionTextBlank { field: text(field) };
    let revise = DecisionCommand::ReviseSummary { summary: text(" ") };
    given::<Decision>([drafted()]).when(revise).then_rejected(blank("summary"));
    let policy_version = PolicyVersion::from(CURRENT_POLICY);
    let approve = DecisionCommand::Approve { reason: String::new(), policy_version };
    given::<Decision>(ready()).when(approve).then_rejected(blank("reason"));
    let reassign = DecisionCommand::Reassign { team_id: "TEAM-3".into(), reason: text("") };
    given::<Decision>(ready()).when(reassign).then_rejected(blank("reason"));
}

#[test]
fn saying_the_same_again_changes_nothing() {
    let same = DecisionCommand::ReviseSummary { summary: text("a fine") };
    given::<Decision>([drafted()]).when(same).then_nothing();
}
