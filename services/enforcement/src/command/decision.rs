//! A decision: commands, rejections, state, decisions.

use super::is_blank;
use crate::facts::{
    CURRENT_POLICY, CaseId, DecisionEvent, DecisionStatus, Evidence, PartyId, PolicyVersion,
    SensitivityLevel, Standing, TeamId, VisibilityScope, standing,
};
use diptych::prelude::*;

/// The most evidence of a decision.
const EVIDENCE_MAX: usize = 200;

/// What may be asked of a decision.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum DecisionCommand {
    /// Begins to prepare a decision.
    Draft {
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
    },
    /// Gives the decision to another team.
    Reassign {
        /// Which.
        team_id: TeamId,
        /// Why.
        reason: String,
    },
    /// Files something that supports the decision.
    AttachEvidence {
        /// What.
        evidence: Evidence,
    },
    /// Says anew what is to be decided.
    ReviseSummary {
        /// What is to be decided.
        summary: String,
    },
    /// Asks for somebody to decide, and for nobody to change it any more.
    MarkReady {
        /// Until when.
        due_at: Timestamp,
    },
    /// Puts the decision in force, in the name of whoever asks.
    #[command(segment = "approval-requests", actor = "approvedBy")]
    Approve {
        /// Why.
        reason: String,
        /// Under which policy.
        policy_version: PolicyVersion,
    },
    /// Turns the decision down, in the name of whoever asks.
    Reject {
        /// Why.
        reason: String,
        /// Under which policy.
        policy_version: PolicyVersion,
    },
}

/// What the domain may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum DecisionRejection {
    /// Nobody has drafted it.
    #[reject("the decision does not exist", not_found)]
    DecisionNotFound,
    /// It is drafted once.
    #[reject("the decision is already drafted, it is {status}")]
    DecisionAlreadyDrafted {
        /// Where it stands.
        status: DecisionStatus,
    },
    /// What waits for approval is what was marked ready, and nothing else.
    #[reject("the decision is ready for approval and can no longer be changed")]
    DecisionAlreadyReady,
    /// Only what is ready can be decided.
    #[reject("the decision is not ready for approval, it is {status}")]
    DecisionNotReady {
        /// Where it stands.
        status: DecisionStatus,
    },
    /// It is decided once.
    #[reject("the decision is already {status}")]
    DecisionAlreadyDecided {
        /// How.
        status: DecisionStatus,
    },
    /// There is no such policy.
    #[reject("there is no policy `{policy_version}`; `{current}` is in force")]
    PolicyVersionUnknown {
        /// What was named.
        policy_version: PolicyVersion,
        /// What is in force.
        current: PolicyVersion,
    },
    /// The policy is out of force.
    #[reject("policy `{policy_version}` is superseded; `{current}` is in force")]
    PolicyVersionSuperseded {
        /// What was named.
        policy_version: PolicyVersion,
        /// What is in force.
        current: PolicyVersion,
    },
    /// No decision needs that much.
    #[reject("the decision has {evidence_max} pieces of evidence, which is the most it can have")]
    DecisionEvidenceFull {
        /// The most.
        evidence_max: i64,
    },
    /// A text that says nothing helps nobody.
    #[reject("the {field} of the decision says nothing")]
    DecisionTextBlank {
        /// Which text.
        field: String,
    },
}

/// A decision. The default is a decision that nobody has drafted.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct Decision {
    /// Where it stands, once it is drafted.
    pub status: Option<DecisionStatus>,
    /// On which case.
    pub case_id: Option<CaseId>,
    /// Whom it concerns.
    pub party_id: Option<PartyId>,
    /// Who decides.
    pub team_id: Option<TeamId>,
    /// What is to be decided.
    pub summary: String,
    /// What supports it.
    pub evidence: Vec<Evidence>,
    /// Until when it is to be decided.
    pub due_at: Option<Timestamp>,
    /// Under which policy it was decided.
    pub policy_version: Option<PolicyVersion>,
}

impl Decider for Decision {
    type Command = DecisionCommand;
    type Event = DecisionEvent;
    type Rejection = DecisionRejection;

    fn decide(
        &self,
        command: DecisionCommand,
        context: &Context,
    ) -> Result<Vec<DecisionEvent>, DecisionRejection> {
        use DecisionCommand::{Approve, AttachEvidence, Draft, MarkReady, Reassign, Reject, ReviseSummary};
        use DecisionStatus as Status;
        let event = match (self.status, command) {
            (None, Draft { case_id, party_id, team_id, visibility_scope, sensitivity_level, summary }) => {
                says_something("summary", &summary)?;
                DecisionEvent::DecisionDrafted {
                    case_id,
                    party_id,
                    team_id,
                    visibility_scope,
                    sensitivity_level,
                    summary,
                }
            }
            (None, _) => return Err(DecisionRejection::DecisionNotFound),
            (Some(status), Draft { .. }) => return Err(DecisionRejection::DecisionAlreadyDrafted { status }),
            (Some(status @ (Status::Approved | Status::Rejected)), _) => {
                return Err(DecisionRejection::DecisionAlreadyDecided { status });
            }
            (Some(_), Reassign { team_id, .. }) if self.team_id.as_ref() == Some(&team_id) => {
                return Ok(Vec::new());
            }
            (Some(_), Reassign { team_id, reason }) => {
                says_something("reason", &reason)?;
                DecisionEvent::DecisionReassigned { team_id, reason }
            }
            (
                Some(Status::ReadyForApproval),
                AttachEvidence { .. } | ReviseSummary { .. } | MarkReady { .. },
            ) => return Err(DecisionRejection::DecisionAlreadyReady),
            (Some(Status::Draft), AttachEvidence { evidence }) if self.evidence.contains(&evidence) => {
                return Ok(Vec::new());
            }
            (Some(Status::Draft), AttachEvidence { evidence }) => self.attached(evidence)?,
            (Some(Status::Draft), ReviseSummary { summary }) if self.summary == summary => {
                return Ok(Vec::new());
            }
            (Some(Status::Draft), ReviseSummary { summary }) => {
                says_something("summary", &summary)?;
                DecisionEvent::DecisionSummaryRevised { summary }
            }
            (Some(Status::Draft), MarkReady { due_at }) => DecisionEvent::DecisionMarkedReady { due_at },
            (Some(status @ Status::Draft), Approve { .. } | Reject { .. }) => {
                return Err(DecisionRejection::DecisionNotReady { status });
            }
            (Some(Status::ReadyForApproval), Approve { reason, policy_version }) => {
                decidable(&reason, &policy_version)?;
                let approved_by = context.actor().to_owned();
                DecisionEvent::DecisionApproved { approved_by, reason, policy_version }
            }
            (Some(Status::ReadyForApproval), Reject { reason, policy_version }) => {
                decidable(&reason, &policy_version)?;
                let rejected_by = context.actor().to_owned();
                DecisionEvent::DecisionRejected { rejected_by, reason, policy_version }
            }
        };
        Ok(vec![event])
    }

    fn evolve(self, event: &DecisionEvent) -> Self {
        match event {
            DecisionEvent::DecisionDrafted { case_id, party_id, team_id, summary, .. } => Self {
                status: Some(DecisionStatus::Draft),
                case_id: Some(case_id.clone()),
                party_id: Some(party_id.clone()),
                team_id: Some(team_id.clone()),
                summary: summary.clone(),
                ..self
            },
            DecisionEvent::DecisionReassigned { team_id, .. } => {
                Self { team_id: Some(team_id.clone()), ..self }
            }
            DecisionEvent::DecisionEvidenceAttached { evidence } => {
                let evidence = self.evidence.into_iter().chain([evidence.clone()]).collect();
                Self { evidence, ..self }
            }
            DecisionEvent::DecisionSummaryRevised { summary } => Self { summary: summary.clone(), ..self },
            DecisionEvent::DecisionMarkedReady { due_at } => {
                Self { status: Some(DecisionStatus::ReadyForApproval), due_at: Some(*due_at), ..self }
            }
            DecisionEvent::DecisionApproved { policy_version, .. } => {
                let policy_version = Some(policy_version.clone());
                Self { status: Some(DecisionStatus::Approved), policy_version, ..self }
            }
            DecisionEvent::DecisionRejected { policy_version, .. } => {
                let policy_version = Some(policy_version.clone());
                Self { status: Some(DecisionStatus::Rejected), policy_version, ..self }
            }
        }
    }
}

impl StoredState for Decision {
    const COLUMNS: &'static [StateColumn] = &[
        StateColumn::text("status", "status").indexed(),
        StateColumn::text("case_id", "caseId").indexed(),
        StateColumn::text("party_id", "partyId"),
        StateColumn::text("team_id", "teamId"),
        StateColumn::timestamp("due_at", "dueAt"),
        StateColumn::text("policy_version", "policyVersion"),
    ];
}

impl Decision {
    fn attached(&self, evidence: Evidence) -> Result<DecisionEvent, DecisionRejection> {
        if self.evidence.len() >= EVIDENCE_MAX {
            return Err(DecisionRejection::DecisionEvidenceFull { evidence_max: EVIDENCE_MAX as i64 });
        }
        says_something("reference of the evidence", &evidence.reference)?;
        Ok(DecisionEvent::DecisionEvidenceAttached { evidence })
    }
}

/// A decision needs a reason, and a policy that is in force.
fn decidable(reason: &str, policy_version: &PolicyVersion) -> Result<(), DecisionRejection> {
    let (policy_version, current) = (policy_version.clone(), PolicyVersion::from(CURRENT_POLICY));
    match standing(&policy_version) {
        Standing::Current => says_something("reason", reason),
        Standing::Superseded => Err(DecisionRejection::PolicyVersionSuperseded { policy_version, current }),
        Standing::Unknown => Err(DecisionRejection::PolicyVersionUnknown { policy_version, current }),
    }
}

fn says_something(field: &str, text: &str) -> Result<(), DecisionRejection> {
    if is_blank(text) {
        Err(DecisionRejection::DecisionTextBlank { field: field.to_owned() })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
