//! A decision: commands, rejections, state, decisions.

use super::is_blank;
use crate::facts::{
    CaseId, DecisionEvent, DecisionPolicy, DecisionStatus, Evidence, PartyId, PolicyVersion,
    SensitivityLevel, TeamId, VisibilityScope,
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
    /// Gives the decision up before anybody decides, in the name of whoever asks.
    Withdraw {
        /// Why.
        reason: String,
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
    /// What was given up stays so.
    #[reject("the decision is withdrawn")]
    DecisionAlreadyWithdrawn,
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
    /// A policy may ask for more than a word.
    #[reject("policy `{policy_version}` asks for a reason of at least {words_min} words")]
    DecisionReasonShort {
        /// Which policy.
        policy_version: PolicyVersion,
        /// How many words it asks for.
        words_min: i64,
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
    /// Who may see it.
    pub visibility_scope: Option<VisibilityScope>,
    /// How careful to be with it.
    pub sensitivity_level: Option<SensitivityLevel>,
    /// Who drafted it, where that was recorded.
    pub drafted_by: Option<String>,
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

    const POLICY_VIEW: &'static [PolicyAttribute] = &[
        PolicyAttribute::text("teamId"),
        PolicyAttribute::text("status"),
        PolicyAttribute::text("visibilityScope"),
        PolicyAttribute::text("sensitivityLevel"),
        PolicyAttribute::text("draftedBy"),
    ];

    fn decide(
        &self,
        command: DecisionCommand,
        context: &Context,
    ) -> Result<Vec<DecisionEvent>, DecisionRejection> {
        let Some(status) = self.status else {
            return drafted(command, context).map(|event| vec![event]);
        };
        if matches!(command, DecisionCommand::Draft { .. }) {
            return Err(DecisionRejection::DecisionAlreadyDrafted { status });
        }
        let event = match status {
            DecisionStatus::Draft => self.prepared(command, context)?,
            DecisionStatus::ReadyForApproval => self.decided(command, context)?,
            DecisionStatus::Approved | DecisionStatus::Rejected => {
                return Err(DecisionRejection::DecisionAlreadyDecided { status });
            }
            DecisionStatus::Withdrawn => return Err(DecisionRejection::DecisionAlreadyWithdrawn),
        };
        Ok(event.into_iter().collect())
    }

    fn evolve(self, event: &DecisionEvent) -> Self {
        match event {
            DecisionEvent::DecisionDrafted {
                case_id,
                party_id,
                team_id,
                visibility_scope,
                sensitivity_level,
                summary,
                drafted_by,
            } => Self {
                status: Some(DecisionStatus::Draft),
                case_id: Some(case_id.clone()),
                party_id: Some(party_id.clone()),
                team_id: Some(team_id.clone()),
                visibility_scope: Some(*visibility_scope),
                sensitivity_level: Some(*sensitivity_level),
                drafted_by: drafted_by.clone(),
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
            DecisionEvent::DecisionWithdrawn { .. } => {
                Self { status: Some(DecisionStatus::Withdrawn), ..self }
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

/// The first event: of a decision that nobody has drafted nothing else can be asked.
fn drafted(command: DecisionCommand, context: &Context) -> Result<DecisionEvent, DecisionRejection> {
    let DecisionCommand::Draft { case_id, party_id, team_id, visibility_scope, sensitivity_level, summary } =
        command
    else {
        return Err(DecisionRejection::DecisionNotFound);
    };
    says_something("summary", &summary)?;
    let drafted_by = Some(context.actor().to_owned());
    Ok(DecisionEvent::DecisionDrafted {
        case_id,
        party_id,
        team_id,
        visibility_scope,
        sensitivity_level,
        summary,
        drafted_by,
    })
}

impl Decision {
    /// What becomes of a draft; none where nothing changes.
    fn prepared(
        &self,
        command: DecisionCommand,
        context: &Context,
    ) -> Result<Option<DecisionEvent>, DecisionRejection> {
        use DecisionCommand::{
            Approve, AttachEvidence, Draft, MarkReady, Reassign, Reject, ReviseSummary, Withdraw,
        };
        let status = DecisionStatus::Draft;
        let event = match command {
            Draft { .. } => return Err(DecisionRejection::DecisionAlreadyDrafted { status }),
            Reassign { team_id, reason } => return self.reassigned(team_id, reason),
            AttachEvidence { evidence } if self.evidence.contains(&evidence) => return Ok(None),
            AttachEvidence { evidence } => self.attached(evidence)?,
            ReviseSummary { summary } if self.summary == summary => return Ok(None),
            ReviseSummary { summary } => {
                says_something("summary", &summary)?;
                DecisionEvent::DecisionSummaryRevised { summary }
            }
            MarkReady { due_at } => DecisionEvent::DecisionMarkedReady { due_at },
            Approve { .. } | Reject { .. } => return Err(DecisionRejection::DecisionNotReady { status }),
            Withdraw { reason } => withdrawn(reason, context)?,
        };
        Ok(Some(event))
    }

    /// What becomes of a decision that waits for approval; none where nothing changes.
    fn decided(
        &self,
        command: DecisionCommand,
        context: &Context,
    ) -> Result<Option<DecisionEvent>, DecisionRejection> {
        use DecisionCommand::{
            Approve, AttachEvidence, Draft, MarkReady, Reassign, Reject, ReviseSummary, Withdraw,
        };
        let status = DecisionStatus::ReadyForApproval;
        let event = match command {
            Draft { .. } => return Err(DecisionRejection::DecisionAlreadyDrafted { status }),
            Reassign { team_id, reason } => return self.reassigned(team_id, reason),
            AttachEvidence { .. } | ReviseSummary { .. } | MarkReady { .. } => {
                return Err(DecisionRejection::DecisionAlreadyReady);
            }
            Approve { reason, policy_version } => {
                decidable(&reason, &policy_version, context)?;
                let approved_by = context.actor().to_owned();
                DecisionEvent::DecisionApproved { approved_by, reason, policy_version }
            }
            Reject { reason, policy_version } => {
                decidable(&reason, &policy_version, context)?;
                let rejected_by = context.actor().to_owned();
                DecisionEvent::DecisionRejected { rejected_by, reason, policy_version }
            }
            Withdraw { reason } => withdrawn(reason, context)?,
        };
        Ok(Some(event))
    }

    fn reassigned(
        &self,
        team_id: TeamId,
        reason: String,
    ) -> Result<Option<DecisionEvent>, DecisionRejection> {
        if self.team_id.as_ref() == Some(&team_id) {
            return Ok(None);
        }
        says_something("reason", &reason)?;
        Ok(Some(DecisionEvent::DecisionReassigned { team_id, reason }))
    }

    fn attached(&self, evidence: Evidence) -> Result<DecisionEvent, DecisionRejection> {
        if self.evidence.len() >= EVIDENCE_MAX {
            return Err(DecisionRejection::DecisionEvidenceFull { evidence_max: EVIDENCE_MAX as i64 });
        }
        says_something("reference of the evidence", &evidence.reference)?;
        Ok(DecisionEvent::DecisionEvidenceAttached { evidence })
    }
}

fn withdrawn(reason: String, context: &Context) -> Result<DecisionEvent, DecisionRejection> {
    says_something("reason", &reason)?;
    Ok(DecisionEvent::DecisionWithdrawn { withdrawn_by: context.actor().to_owned(), reason })
}

/// A decision needs a policy that is in force, and the reason that it asks for.
fn decidable(
    reason: &str,
    policy_version: &PolicyVersion,
    context: &Context,
) -> Result<(), DecisionRejection> {
    let policies = context.reference::<DecisionPolicy>();
    let current = PolicyVersion::from(policies.in_force().version());
    let policy_version = policy_version.clone();
    let policy = match policies.standing(policy_version.as_str()) {
        Standing::InForce(policy) => policy,
        Standing::Superseded(_) => {
            return Err(DecisionRejection::PolicyVersionSuperseded { policy_version, current });
        }
        Standing::Unknown => return Err(DecisionRejection::PolicyVersionUnknown { policy_version, current }),
    };
    says_something("reason", reason)?;
    if reason.split_whitespace().count() < policy.reason_words_min as usize {
        let words_min = policy.reason_words_min.into();
        return Err(DecisionRejection::DecisionReasonShort { policy_version, words_min });
    }
    Ok(())
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
