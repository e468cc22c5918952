//! The event languages. Each belongs to one decider; the right panel joins them.

use super::{CaseId, Evidence, PartyId, PolicyVersion, RiskBand, SensitivityLevel, TeamId, VisibilityScope};
use diptych::prelude::*;

/// What happens to a case.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "case", owner = "casework")]
pub enum CaseEvent {
    /// Somebody began to look into something.
    CaseOpened {
        /// What it is about.
        title: String,
        /// Whom it concerns.
        party_id: PartyId,
        /// How much is at stake, as far as is known.
        risk_band: RiskBand,
    },
    /// More or less is at stake than was thought.
    CaseRiskBandChanged {
        /// How much.
        risk_band: RiskBand,
        /// Why.
        reason: String,
    },
}

/// What happens to a decision.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "decision", owner = "enforcement")]
pub enum DecisionEvent {
    /// Somebody began to prepare it.
    DecisionDrafted {
        /// On which case.
        case_id: CaseId,
        /// Whom it concerns.
        party_id: PartyId,
        /// Who decides.
        team_id: TeamId,
        /// Who may see it.
        visibility_scope: VisibilityScope,
        /// How careful to be with it.
        sensitivity_level: SensitivityLevel,
        /// What is to be decided.
        summary: String,
        /// Who drafted it, where that was recorded.
        drafted_by: Option<String>,
    },
    /// Another team decides.
    DecisionReassigned {
        /// Which.
        team_id: TeamId,
        /// Why.
        reason: String,
    },
    /// Something that supports it was filed.
    DecisionEvidenceAttached {
        /// What.
        evidence: Evidence,
    },
    /// It says something else now.
    DecisionSummaryRevised {
        /// What is to be decided.
        summary: String,
    },
    /// It waits for somebody to decide.
    DecisionMarkedReady {
        /// Until when.
        due_at: Timestamp,
    },
    /// It is in force.
    DecisionApproved {
        /// Who approved it.
        approved_by: String,
        /// Why.
        reason: String,
        /// Under which policy.
        policy_version: PolicyVersion,
    },
    /// It was turned down.
    DecisionRejected {
        /// Who turned it down.
        rejected_by: String,
        /// Why.
        reason: String,
        /// Under which policy.
        policy_version: PolicyVersion,
    },
    /// Nobody is to decide it any more.
    DecisionWithdrawn {
        /// Who withdrew it.
        withdrawn_by: String,
        /// Why.
        reason: String,
    },
}

/// What happens to a party.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "party", owner = "registry")]
pub enum PartyEvent {
    /// The registry learned of it.
    PartyRegistered {
        /// What it is called.
        display_name: String,
    },
    /// It was called by a wrong name.
    PartyNameCorrected {
        /// What it is called.
        display_name: String,
        /// Why it was wrong.
        reason: String,
    },
}
