//! Events that the tests of every projection begin with.
#![cfg(test)]

use crate::facts::{
    CURRENT_POLICY, CaseEvent, DecisionEvent, Evidence, FineEvent, FineStatus, PartyEvent, RiskBand,
    SensitivityLevel, VisibilityScope, euros,
};
use diptych::prelude::*;

pub(super) fn opened() -> CaseEvent {
    CaseEvent::CaseOpened {
        title: "Regional enforcement review".to_owned(),
        party_id: "PARTY-1".into(),
        risk_band: RiskBand::Medium,
    }
}

pub(super) fn risk_changed(risk_band: RiskBand) -> CaseEvent {
    CaseEvent::CaseRiskBandChanged { risk_band, reason: "a second report".to_owned() }
}

pub(super) fn registered() -> PartyEvent {
    PartyEvent::PartyRegistered { display_name: "Acme Tradng Ltd".to_owned() }
}

pub(super) fn corrected() -> PartyEvent {
    let reason = "a letter was missing".to_owned();
    PartyEvent::PartyNameCorrected { display_name: "Acme Trading Ltd".to_owned(), reason }
}

/// A decision of TEAM-3 on CASE-1 that concerns PARTY-1.
pub(super) fn drafted() -> DecisionEvent {
    drafted_on("CASE-1", "PARTY-1")
}

pub(super) fn drafted_on(case: &str, party: &str) -> DecisionEvent {
    DecisionEvent::DecisionDrafted {
        case_id: case.into(),
        party_id: party.into(),
        team_id: "TEAM-3".into(),
        visibility_scope: VisibilityScope::Team,
        sensitivity_level: SensitivityLevel::Confidential,
        summary: "a fine".to_owned(),
        drafted_by: Some("user-042".to_owned()),
    }
}

pub(super) fn reassigned() -> DecisionEvent {
    DecisionEvent::DecisionReassigned { team_id: "TEAM-7".into(), reason: "workload".to_owned() }
}

pub(super) fn report() -> Evidence {
    Evidence { reference: "EV-1".to_owned(), description: "inspection report".to_owned() }
}

pub(super) fn attached() -> DecisionEvent {
    DecisionEvent::DecisionEvidenceAttached { evidence: report() }
}

pub(super) fn ready() -> DecisionEvent {
    DecisionEvent::DecisionMarkedReady { due_at: time("2026-07-09T09:00:00Z") }
}

pub(super) fn approved() -> DecisionEvent {
    DecisionEvent::DecisionApproved {
        approved_by: "user-117".to_owned(),
        reason: "Meets statutory threshold".to_owned(),
        policy_version: CURRENT_POLICY.into(),
    }
}

pub(super) fn rejected() -> DecisionEvent {
    DecisionEvent::DecisionRejected {
        rejected_by: "user-117".to_owned(),
        reason: "Not proportionate".to_owned(),
        policy_version: CURRENT_POLICY.into(),
    }
}

pub(super) fn withdrawn() -> DecisionEvent {
    DecisionEvent::DecisionWithdrawn {
        withdrawn_by: "user-042".to_owned(),
        reason: "The party has closed its site".to_owned(),
    }
}

/// A fine of so many thousandths of a euro.
pub(super) fn fined(thousandths: i64) -> FineEvent {
    FineEvent::FineCreated {
        amount: euros(thousandths),
        article: "157".into(),
        officer_id: "561".into(),
        vehicle_class: "A".into(),
        points: 2,
        dismissal: None,
    }
}

pub(super) fn fine_sent() -> FineEvent {
    FineEvent::FineSent { expense: euros(11_000) }
}

pub(super) fn fine_notified() -> FineEvent {
    FineEvent::FineNotificationInserted { notification: "P".into(), last_sent: Some("N".into()) }
}

pub(super) fn penalty(thousandths: i64) -> FineEvent {
    FineEvent::FinePenaltyAdded { amount: euros(thousandths) }
}

pub(super) fn fine_paid(thousandths: i64, status: FineStatus) -> FineEvent {
    let amount = euros(thousandths);
    FineEvent::FinePaid { amount, status, recorded_total: Some(amount) }
}

pub(super) fn collected(thousandths: i64) -> FineEvent {
    FineEvent::FineSentForCreditCollection { outstanding: euros(thousandths) }
}

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The time of the fact at a position, where the test does not say otherwise: a second after the one before.
pub(super) fn at(position: u64) -> Timestamp {
    time("2026-07-07T09:00:00Z").plus(std::time::Duration::from_secs(position - 1))
}
