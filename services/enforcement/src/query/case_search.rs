//! Words to find cases and decisions by: what a case is called, what its party is called, what is to be decided.
//! An entry for each case and one for each decision, so that nobody finds a case by the words of a decision that
//! they may not see.

use super::{CaseTitle, PartyName, WorkEvent};
use crate::facts::{
    CaseEvent, CaseId, DecisionEvent, DecisionId, DecisionStatus, PartyEvent, PartyId, SensitivityLevel,
    TeamId, VisibilityScope,
};
use diptych::prelude::*;

/// A case or a decision, as it is found.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "case_search",
    revision = 1,
    owner = "casework",
    reads(CaseTitle, PartyName),
    contract = "bounded 5s",
    default_sort = "last_activity_at desc",
    purpose = "find a case by the words that people remember: its title, its party, what was to be decided",
    journey = "a caseworker who is called by a party finds what there is about it, without any number",
    freshness_target = "99% within 3s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 50ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct CaseSearch {
    /// The number of the case or of the decision.
    #[key]
    pub entry_id: String,
    /// Which case it is, or belongs to.
    #[filter]
    pub case_id: CaseId,
    /// Which decision it is, where it is one.
    #[filter]
    pub decision_id: Option<DecisionId>,
    /// What the case is about, where the case is known.
    #[full_text]
    #[sensitivity(internal)]
    pub case_title: Option<String>,
    /// Whom it concerns.
    #[filter]
    #[sensitivity(internal)]
    pub party_id: PartyId,
    /// What the party is called, where the party is known.
    #[full_text]
    #[sensitivity(personal)]
    pub party_display_name: Option<String>,
    /// What is or was to be decided, where it is a decision.
    #[full_text]
    #[sensitivity(internal)]
    pub summary: Option<String>,
    /// Where the decision stands, where it is one.
    #[filter]
    pub status: Option<DecisionStatus>,
    /// Who decides, where it is a decision.
    #[filter]
    #[column(public = "teamId")]
    pub assigned_team_id: Option<TeamId>,
    /// Who may see it, where it is a decision.
    #[filter]
    pub visibility_scope: Option<VisibilityScope>,
    /// How careful to be with it, where it is a decision.
    #[filter]
    pub sensitivity_level: Option<SensitivityLevel>,
    /// When somebody last did something to it.
    #[sort]
    pub last_activity_at: Timestamp,
    /// The version of the case or the decision.
    pub version: Version,
}

impl JoinedProjection for CaseSearch {
    type Event = WorkEvent;

    fn route(fact: &Fact<WorkEvent>) -> Route<Self> {
        match &fact.event {
            WorkEvent::Decision(_) => Route::key(fact.id::<DecisionId>().as_str().to_owned()),
            WorkEvent::Case(CaseEvent::CaseOpened { .. }) => {
                let case: CaseId = fact.id();
                Route::key(case.as_str().to_owned()).and(Route::rows_where(Self::CASE_ID, &case))
            }
            // What is at stake is not searched for.
            WorkEvent::Case(CaseEvent::CaseRiskBandChanged { .. }) => {
                Route::key(fact.id::<CaseId>().as_str().to_owned())
            }
            WorkEvent::Party(_) => Route::rows_where(Self::PARTY_ID, &fact.id()),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<WorkEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        match &fact.event {
            WorkEvent::Decision(DecisionEvent::DecisionDrafted { .. }) => Self::drafted(fact, siblings),
            WorkEvent::Decision(event) => Some(row?.after(event).moved(fact)),
            WorkEvent::Case(CaseEvent::CaseOpened { title, party_id, .. }) => match row {
                Some(row) if row.decision_id.is_some() => {
                    Some(Self { case_title: Some(title.clone()), ..row })
                }
                _ => Some(Self::opened(fact, title, party_id, siblings)),
            },
            WorkEvent::Case(CaseEvent::CaseRiskBandChanged { .. }) => Some(row?.moved(fact)),
            WorkEvent::Party(
                PartyEvent::PartyRegistered { display_name }
                | PartyEvent::PartyNameCorrected { display_name, .. },
            ) => Some(Self { party_display_name: Some(display_name.clone()), ..row? }),
        }
    }
}

impl CaseSearch {
    /// The entry of a case.
    fn opened(
        fact: &Fact<WorkEvent>,
        title: &str,
        party_id: &PartyId,
        siblings: &Siblings<'_, Self>,
    ) -> Self {
        let case_id: CaseId = fact.id();
        let party = siblings.get::<PartyName>(party_id);
        Self {
            entry_id: case_id.as_str().to_owned(),
            case_id,
            decision_id: None,
            case_title: Some(title.to_owned()),
            party_id: party_id.clone(),
            party_display_name: party.map(|party| party.display_name.clone()),
            summary: None,
            status: None,
            assigned_team_id: None,
            visibility_scope: None,
            sensitivity_level: None,
            last_activity_at: fact.occurred_at(),
            version: fact.version(),
        }
    }

    /// The entry of a decision.
    fn drafted(fact: &Fact<WorkEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let WorkEvent::Decision(DecisionEvent::DecisionDrafted {
            case_id,
            party_id,
            team_id,
            visibility_scope,
            sensitivity_level,
            summary,
            ..
        }) = &fact.event
        else {
            return None;
        };
        let decision_id: DecisionId = fact.id();
        let (case, party) = (siblings.get::<CaseTitle>(case_id), siblings.get::<PartyName>(party_id));
        Some(Self {
            entry_id: decision_id.as_str().to_owned(),
            case_id: case_id.clone(),
            decision_id: Some(decision_id),
            case_title: case.map(|case| case.title.clone()),
            party_id: party_id.clone(),
            party_display_name: party.map(|party| party.display_name.clone()),
            summary: Some(summary.clone()),
            status: Some(DecisionStatus::Draft),
            assigned_team_id: Some(team_id.clone()),
            visibility_scope: Some(*visibility_scope),
            sensitivity_level: Some(*sensitivity_level),
            last_activity_at: fact.occurred_at(),
            version: fact.version(),
        })
    }

    /// This entry after something happened to its decision.
    fn after(self, event: &DecisionEvent) -> Self {
        let status = |status| Self { status: Some(status), ..self.clone() };
        match event {
            // A decision is drafted once, and evidence is not searched for.
            DecisionEvent::DecisionDrafted { .. } | DecisionEvent::DecisionEvidenceAttached { .. } => self,
            DecisionEvent::DecisionReassigned { team_id, .. } => {
                Self { assigned_team_id: Some(team_id.clone()), ..self }
            }
            DecisionEvent::DecisionSummaryRevised { summary } => {
                Self { summary: Some(summary.clone()), ..self }
            }
            DecisionEvent::DecisionMarkedReady { .. } => status(DecisionStatus::ReadyForApproval),
            DecisionEvent::DecisionApproved { .. } => status(DecisionStatus::Approved),
            DecisionEvent::DecisionRejected { .. } => status(DecisionStatus::Rejected),
            DecisionEvent::DecisionWithdrawn { .. } => status(DecisionStatus::Withdrawn),
        }
    }

    fn moved(self, fact: &Fact<WorkEvent>) -> Self {
        Self { last_activity_at: fact.occurred_at(), version: fact.version(), ..self }
    }
}

#[cfg(test)]
mod tests;
