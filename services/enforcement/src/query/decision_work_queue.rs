//! Decisions that wait, as the team that decides works through them.

use super::{CaseTitle, PartyName, WorkEvent};
use crate::facts::{
    CaseEvent, CaseId, DecisionEvent, DecisionId, DecisionStatus, PartyEvent, PartyId, RiskBand,
    SensitivityLevel, TeamId, VisibilityScope,
};
use diptych::prelude::*;

/// The length of a day in UTC.
const DAY_MICROS: i64 = 86_400_000_000;

/// A decision that waits, with what a decider needs to choose the next one.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "decision_work_queue_view",
    path = "decision-work-queue",
    revision = 2,
    owner = "enforcement",
    reads(CaseTitle, PartyName),
    about = "decision",
    pending,
    contract = "bounded 5s",
    default_sort = "due_at",
    purpose = "tell a team what to decide next, most urgent first, and never show what is decided already",
    journey = "a decider opens the team's queue in the morning and takes the decision that is due first",
    freshness_target = "99% within 3s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
#[index(assigned_team_id, status, due_at)]
#[computed(days_until_due: Option<i64> = Self::days_until_due)]
pub struct DecisionWorkQueue {
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
    #[filter]
    #[sort]
    #[sensitivity(personal)]
    pub party_display_name: Option<String>,
    /// Where it stands.
    #[filter]
    pub status: DecisionStatus,
    /// How much is at stake in the case, where the case is known.
    #[filter]
    #[sort]
    pub risk_band: Option<RiskBand>,
    /// Who decides.
    #[filter]
    #[column(public = "teamId")]
    pub assigned_team_id: TeamId,
    /// Until when it is to be decided, once it is ready.
    #[filter]
    #[sort]
    pub due_at: Option<Timestamp>,
    /// When somebody last did something to the decision.
    #[sort]
    pub last_activity_at: Timestamp,
    /// Who may see it.
    #[filter]
    pub visibility_scope: VisibilityScope,
    /// How careful to be with it.
    #[filter]
    pub sensitivity_level: SensitivityLevel,
    /// When something last changed in this row, also in what it looks up.
    pub updated_at: Timestamp,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl DecisionWorkQueue {
    /// How many days are left, by the calendar in UTC: 0 on the last day, negative when it is overdue.
    fn days_until_due(&self, now: Timestamp) -> Option<i64> {
        let day = |time: Timestamp| time.as_micros().div_euclid(DAY_MICROS);
        self.due_at.map(|due_at| day(due_at) - day(now))
    }
}

impl JoinedProjection for DecisionWorkQueue {
    type Event = WorkEvent;

    fn route(fact: &Fact<WorkEvent>) -> Route<Self> {
        match &fact.event {
            WorkEvent::Decision(_) => Route::key(fact.id()),
            WorkEvent::Case(_) => Route::rows_where(Self::CASE_ID, &fact.id()),
            WorkEvent::Party(_) => Route::rows_where(Self::PARTY_ID, &fact.id()),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<WorkEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let row = match &fact.event {
            WorkEvent::Decision(event) => {
                let row = Self::after(row, event, fact, siblings)?;
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
        };
        Some(Self { updated_at: fact.recorded_at(), ..row })
    }
}

impl DecisionWorkQueue {
    /// The row after a fact about the decision itself.
    fn after(
        row: Option<Self>,
        event: &DecisionEvent,
        fact: &Fact<WorkEvent>,
        siblings: &Siblings<'_, Self>,
    ) -> Option<Self> {
        match event {
            DecisionEvent::DecisionDrafted {
                case_id,
                party_id,
                team_id,
                visibility_scope,
                sensitivity_level,
                ..
            } => {
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
                    due_at: None,
                    last_activity_at: fact.occurred_at(),
                    visibility_scope: *visibility_scope,
                    sensitivity_level: *sensitivity_level,
                    updated_at: fact.recorded_at(),
                    version: fact.version(),
                })
            }
            DecisionEvent::DecisionReassigned { team_id, .. } => {
                Some(Self { assigned_team_id: team_id.clone(), ..row? })
            }
            DecisionEvent::DecisionEvidenceAttached { .. } | DecisionEvent::DecisionSummaryRevised { .. } => {
                row
            }
            DecisionEvent::DecisionMarkedReady { due_at } => {
                Some(Self { status: DecisionStatus::ReadyForApproval, due_at: Some(*due_at), ..row? })
            }
            DecisionEvent::DecisionApproved { .. }
            | DecisionEvent::DecisionRejected { .. }
            | DecisionEvent::DecisionWithdrawn { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
