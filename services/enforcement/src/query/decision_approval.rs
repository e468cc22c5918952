//! Who approved what, at which version, under which policy and why: the audit row of an approval. Inline: it
//! is there with the decision's row and with the fact that everybody else hears of, or none of the three is.

use crate::facts::{
    CaseId, DecisionEvent, DecisionId, PolicyVersion, SensitivityLevel, TeamId, VisibilityScope,
};
use diptych::prelude::*;

/// The case of a decision and who may see it, for the row of its approval, whose fact repeats neither.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "decision_case",
    revision = 2,
    owner = "enforcement",
    inline,
    contract = "strong",
    about = "decision",
    purpose = "name the case of a decision, and its team, in the transaction that approves it",
    journey = "an auditor finds every approval of a case",
    freshness_target = "always current",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#an-inline-model-fails"
)]
pub struct DecisionCase {
    /// The decision.
    #[key]
    pub decision_id: DecisionId,
    /// On which case.
    #[filter]
    pub case_id: CaseId,
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
}

impl Projection for DecisionCase {
    type Event = DecisionEvent;

    fn route(fact: &Fact<DecisionEvent>) -> Route<Self> {
        match &fact.event {
            DecisionEvent::DecisionDrafted { .. } | DecisionEvent::DecisionReassigned { .. } => {
                Route::key(fact.id())
            }
            _ => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<DecisionEvent>) -> Option<Self> {
        match &fact.event {
            DecisionEvent::DecisionDrafted {
                case_id, team_id, visibility_scope, sensitivity_level, ..
            } => Some(Self {
                decision_id: fact.id(),
                case_id: case_id.clone(),
                assigned_team_id: team_id.clone(),
                visibility_scope: *visibility_scope,
                sensitivity_level: *sensitivity_level,
            }),
            DecisionEvent::DecisionReassigned { team_id, .. } => {
                Some(Self { assigned_team_id: team_id.clone(), ..row? })
            }
            _ => row,
        }
    }
}

/// An approval.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "decision_approval",
    revision = 2,
    owner = "enforcement",
    inline,
    reads(DecisionCase),
    contract = "strong",
    about = "decision",
    default_sort = "approved_at desc",
    purpose = "prove who approved a decision, at which version, under which policy and why",
    journey = "an auditor looks up the approval of a decision, or all those of a case or of a person",
    freshness_target = "always current",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#an-inline-model-fails"
)]
pub struct DecisionApproval {
    /// The decision.
    #[key]
    pub decision_id: DecisionId,
    /// On which case.
    #[filter]
    pub case_id: CaseId,
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
    /// Who approved it.
    #[filter]
    #[sensitivity(personal)]
    pub approved_by: String,
    /// The version that was approved.
    pub expected_version: Version,
    /// Under which policy.
    #[filter]
    pub policy_version: PolicyVersion,
    /// Why.
    #[sensitivity(internal)]
    pub reason: String,
    /// When.
    #[sort]
    pub approved_at: Timestamp,
    /// By which command, where the log says so.
    pub command_id: Option<String>,
    /// The version with the approval.
    pub version: Version,
}

impl JoinedProjection for DecisionApproval {
    type Event = DecisionEvent;

    fn route(fact: &Fact<DecisionEvent>) -> Route<Self> {
        match &fact.event {
            DecisionEvent::DecisionApproved { .. } => Route::key(fact.id()),
            _ => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<DecisionEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let DecisionEvent::DecisionApproved { approved_by, reason, policy_version } = &fact.event else {
            return row;
        };
        let decision_id: DecisionId = fact.id();
        let case = siblings.get::<DecisionCase>(&decision_id)?;
        Some(Self {
            decision_id,
            case_id: case.case_id.clone(),
            assigned_team_id: case.assigned_team_id.clone(),
            visibility_scope: case.visibility_scope,
            sensitivity_level: case.sensitivity_level,
            approved_by: approved_by.clone(),
            expected_version: Version(fact.version().0.saturating_sub(1)),
            policy_version: policy_version.clone(),
            reason: reason.clone(),
            approved_at: fact.occurred_at(),
            command_id: fact.metadata().ok().map(|metadata| metadata.command.to_string()),
            version: fact.version(),
        })
    }
}

#[cfg(test)]
mod tests;
