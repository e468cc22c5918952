//! What happened in a case, one line after another: to the case itself and to the decisions on it.

use super::DecisionDetail;
use crate::facts::{CaseEvent, CaseId, DecisionEvent, DecisionId, SensitivityLevel, TeamId, VisibilityScope};
use diptych::prelude::*;

/// The languages that a case's timeline tells of. A party belongs to no single case, so what happens to it
/// stands in none.
#[derive(Clone, Debug, PartialEq, EventSet)]
pub enum TimelineEvent {
    /// Decisions.
    Decision(DecisionEvent),
    /// Cases.
    Case(CaseEvent),
}

/// One thing that happened in a case.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "case_timeline",
    revision = 2,
    owner = "casework",
    reads(DecisionDetail),
    contract = "bounded 5s",
    purpose = "tell what happened in a case in its order, in sentences",
    journey = "a caseworker takes a case over and reads what has happened so far",
    freshness_target = "99% within 3s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 50ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct CaseTimeline {
    /// Its place in the log.
    #[key]
    pub position: Position,
    /// In which case.
    #[filter]
    pub case_id: CaseId,
    /// To which decision, where it was about one.
    #[filter]
    pub decision_id: Option<DecisionId>,
    /// Who decides it, where it was about a decision.
    #[filter]
    #[column(public = "teamId")]
    pub assigned_team_id: Option<TeamId>,
    /// Who may see it, where it was about a decision.
    #[filter]
    pub visibility_scope: Option<VisibilityScope>,
    /// How careful to be with it, where it was about a decision.
    #[filter]
    pub sensitivity_level: Option<SensitivityLevel>,
    /// What happened, by the event's name.
    #[filter]
    pub event: String,
    /// What happened, as a sentence.
    #[sensitivity(internal)]
    pub sentence: String,
    /// When it happened.
    #[filter]
    #[sort]
    pub at: Timestamp,
    /// Who did it, where that is known.
    #[sensitivity(personal)]
    pub actor: Option<String>,
    /// The version of the case or the decision after it.
    pub version: Version,
}

impl JoinedProjection for CaseTimeline {
    type Event = TimelineEvent;

    fn route(fact: &Fact<TimelineEvent>) -> Route<Self> {
        let own = Route::key(fact.position());
        match &fact.event {
            // What another team decides is for its eyes from the first line on.
            TimelineEvent::Decision(DecisionEvent::DecisionReassigned { .. }) => {
                own.and(Route::rows_where(Self::DECISION_ID, &fact.id()))
            }
            _ => own,
        }
    }

    fn project(row: Option<Self>, fact: &Fact<TimelineEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        if let (Some(row), TimelineEvent::Decision(DecisionEvent::DecisionReassigned { team_id, .. })) =
            (&row, &fact.event)
            && row.position != fact.position()
        {
            return Some(Self { assigned_team_id: Some(team_id.clone()), ..row.clone() });
        }
        let (case_id, decision, sentence) = match &fact.event {
            TimelineEvent::Case(event) => (fact.id(), None, of_case(event)),
            TimelineEvent::Decision(event) => {
                let decision = siblings.get::<DecisionDetail>(&fact.id())?;
                (decision.case_id.clone(), Some(decision), of_decision(event))
            }
        };
        Some(Self {
            position: fact.position(),
            case_id,
            decision_id: decision.map(|decision| decision.decision_id.clone()),
            assigned_team_id: decision.map(|decision| decision.assigned_team_id.clone()),
            visibility_scope: decision.map(|decision| decision.visibility_scope),
            sensitivity_level: decision.map(|decision| decision.sensitivity_level),
            event: fact.raw().event.name.to_string(),
            sentence,
            at: fact.occurred_at(),
            // What happened is worth telling also where the log does not say who did it.
            actor: fact.metadata().ok().map(|metadata| metadata.actor.to_string()),
            version: fact.version(),
        })
    }
}

fn of_case(event: &CaseEvent) -> String {
    match event {
        CaseEvent::CaseOpened { title, risk_band, .. } => {
            format!("The case was opened: {}. Its risk band is {risk_band}.", open_ended(title))
        }
        CaseEvent::CaseRiskBandChanged { risk_band, reason } => {
            format!("The risk band became {risk_band}: {}.", open_ended(reason))
        }
    }
}

fn of_decision(event: &DecisionEvent) -> String {
    match event {
        DecisionEvent::DecisionDrafted { team_id, summary, .. } => {
            format!("A decision was drafted for {team_id}: {}.", open_ended(summary))
        }
        DecisionEvent::DecisionReassigned { team_id, reason } => {
            format!("The decision went to {team_id}: {}.", open_ended(reason))
        }
        DecisionEvent::DecisionEvidenceAttached { evidence } => {
            format!("Evidence {} was attached: {}.", evidence.reference, open_ended(&evidence.description))
        }
        DecisionEvent::DecisionSummaryRevised { summary } => {
            format!("The summary was revised: {}.", open_ended(summary))
        }
        DecisionEvent::DecisionMarkedReady { due_at } => {
            format!("The decision is ready for approval, due on {}.", due_at.date())
        }
        DecisionEvent::DecisionApproved { approved_by, reason, policy_version } => {
            format!("{approved_by} approved the decision under {policy_version}: {}.", open_ended(reason))
        }
        DecisionEvent::DecisionRejected { rejected_by, reason, policy_version } => {
            format!("{rejected_by} rejected the decision under {policy_version}: {}.", open_ended(reason))
        }
        DecisionEvent::DecisionWithdrawn { withdrawn_by, reason } => {
            format!("{withdrawn_by} withdrew the decision: {}.", open_ended(reason))
        }
    }
}

/// A text without its own full stop, for the end of a sentence.
fn open_ended(text: &str) -> &str {
    text.trim_end().trim_end_matches('.')
}

#[cfg(test)]
mod tests;
