//! Everything about a decision, also when it is decided.

use super::{CaseTitle, PartyName, WorkEvent};
use crate::facts::{
    CaseEvent, CaseId, DecisionEvent, DecisionId, DecisionStatus, Evidence, PartyEvent, PartyId,
    PolicyVersion, RiskBand, SensitivityLevel, TeamId, VisibilityScope,
};
use diptych::prelude::*;

/// A decision with everything that is known about it.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "decision_detail",
    revision = 2,
    owner = "enforcement",
    reads(CaseTitle, PartyName),
    about = "decision",
    pending,
    contract = "bounded 5s",
    default_sort = "last_activity_at desc",
    purpose = "show what is decided or to be decided, on what evidence, by whom and under which policy",
    journey = "a decider reads a decision before approving it; an auditor reads it years later",
    freshness_target = "99% within 3s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct DecisionDetail {
    /// The decision.
    #[key]
    pub decision_id: DecisionId,
    /// On which case.
    #[filter]
    pub case_id: CaseId,
    /// What the case is about, where the case is known.
    #[sensitivity(internal)]
    pub case_title: Option<String>,
    /// Whom it concerns.
    #[filter]
    #[sensitivity(internal)]
    pub party_id: PartyId,
    /// What the party is called, where the party is known.
    #[sensitivity(personal)]
    pub party_display_name: Option<String>,
    /// Where it stands.
    #[filter]
    pub status: DecisionStatus,
    /// How much is at stake in the case, where the case is known.
    #[filter]
    pub risk_band: Option<RiskBand>,
    /// Who decides.
    #[filter]
    #[column(public = "teamId")]
    pub assigned_team_id: TeamId,
    /// Who may see it.
    #[filter]
    pub visibility_scope: VisibilityScope,
    /// How careful to be with it.
    #[filter]
    pub sensitivity_level: SensitivityLevel,
    /// What is to be decided.
    #[sensitivity(internal)]
    pub summary: String,
    /// What supports it.
    #[json]
    #[sensitivity(internal)]
    pub evidence: Vec<Evidence>,
    /// Until when it is to be decided, once it is ready.
    pub due_at: Option<Timestamp>,
    /// Who drafted it, where that was recorded.
    #[sensitivity(personal)]
    pub drafted_by: Option<String>,
    /// When it was drafted.
    #[sort]
    pub drafted_at: Timestamp,
    /// Who approved it, turned it down or withdrew it.
    #[sensitivity(personal)]
    pub decided_by: Option<String>,
    /// When that was.
    #[filter]
    #[sort]
    pub decided_at: Option<Timestamp>,
    /// Why.
    #[sensitivity(internal)]
    #[column(withheld = "absent")]
    pub decision_reason: Option<String>,
    /// Under which policy.
    #[filter]
    pub policy_version: Option<PolicyVersion>,
    /// When somebody last did something to the decision.
    #[sort]
    pub last_activity_at: Timestamp,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl JoinedProjection for DecisionDetail {
    type Event = WorkEvent;

    fn route(fact: &Fact<WorkEvent>) -> Route<Self> {
        match &fact.event {
            WorkEvent::Decision(_) => Route::key(fact.id()),
            WorkEvent::Case(_) => Route::rows_where(Self::CASE_ID, &fact.id()),
            WorkEvent::Party(_) => Route::rows_where(Self::PARTY_ID, &fact.id()),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<WorkEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        Some(match &fact.event {
            WorkEvent::Decision(event) => {
                let row = match row {
                    Some(row) => row.after(event, fact.occurred_at()),
                    None => Self::drafted(event, fact, siblings)?,
                };
                Self { last_activity_at: fact.occurred_at(), version: fact.version(), ..row }
            }
            WorkEvent::Case(CaseEvent::CaseOpened { title, risk_band, .. }) => {
                Self { case_title: Some(title.clone()), risk_band: Some(*risk_band), ..row? }
            }
            WorkEvent::Case(CaseEvent::CaseRiskBandChanged { risk_band, .. }) => {
                Self { risk_band: Some(*risk_band), ..row? }
            }
            WorkEvent::Party(
                PartyEvent::PartyRegistered { display_name }
                | PartyEvent::PartyNameCorrected { display_name, .. },
            ) => Self { party_display_name: Some(display_name.clone()), ..row? },
        })
    }
}

impl DecisionDetail {
    /// The first row; none for a fact about a decision that nobody drafted.
    fn drafted(event: &DecisionEvent, fact: &Fact<WorkEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let DecisionEvent::DecisionDrafted {
            case_id,
            party_id,
            team_id,
            visibility_scope,
            sensitivity_level,
            summary,
            drafted_by,
        } = event
        else {
            return None;
        };
        let (case, party) = (siblings.get::<CaseTitle>(case_id), siblings.get::<PartyName>(party_id));
        Some(Self {
            decision_id: fact.id(),
            case_id: case_id.clone(),
            case_title: case.map(|case| case.title.clone()),
            party_id: party_id.clone(),
            party_display_name: party.map(|party| party.display_name.clone()),
            status: DecisionStatus::Draft,
            risk_band: case.map(|case| case.risk_band),
            assigned_team_id: team_id.clone(),
            visibility_scope: *visibility_scope,
            sensitivity_level: *sensitivity_level,
            summary: summary.clone(),
            evidence: Vec::new(),
            due_at: None,
            drafted_by: drafted_by.clone(),
            drafted_at: fact.occurred_at(),
            decided_by: None,
            decided_at: None,
            decision_reason: None,
            policy_version: None,
            last_activity_at: fact.occurred_at(),
            version: fact.version(),
        })
    }

    /// This row after something happened to its decision.
    fn after(self, event: &DecisionEvent, at: Timestamp) -> Self {
        match event {
            // A decision is drafted once: its decider sees to that.
            DecisionEvent::DecisionDrafted { .. } => self,
            DecisionEvent::DecisionReassigned { team_id, .. } => {
                Self { assigned_team_id: team_id.clone(), ..self }
            }
            DecisionEvent::DecisionEvidenceAttached { evidence } => {
                let evidence = self.evidence.into_iter().chain([evidence.clone()]).collect();
                Self { evidence, ..self }
            }
            DecisionEvent::DecisionSummaryRevised { summary } => Self { summary: summary.clone(), ..self },
            DecisionEvent::DecisionMarkedReady { due_at } => {
                Self { status: DecisionStatus::ReadyForApproval, due_at: Some(*due_at), ..self }
            }
            DecisionEvent::DecisionApproved { approved_by, reason, policy_version } => {
                self.closed(DecisionStatus::Approved, approved_by, at, reason, Some(policy_version))
            }
            DecisionEvent::DecisionRejected { rejected_by, reason, policy_version } => {
                self.closed(DecisionStatus::Rejected, rejected_by, at, reason, Some(policy_version))
            }
            DecisionEvent::DecisionWithdrawn { withdrawn_by, reason } => {
                self.closed(DecisionStatus::Withdrawn, withdrawn_by, at, reason, None)
            }
        }
    }

    fn closed(
        self,
        status: DecisionStatus,
        by: &str,
        at: Timestamp,
        reason: &str,
        policy_version: Option<&PolicyVersion>,
    ) -> Self {
        Self {
            status,
            decided_by: Some(by.to_owned()),
            decided_at: Some(at),
            decision_reason: Some(reason.to_owned()),
            policy_version: policy_version.cloned(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
