//! Decisions of an enforcement authority, as small as the wire's contract needs them.

use diptych::core::Clock;
use diptych::prelude::*;

/// Every time in these tests.
pub(crate) const NOW: &str = "2026-07-01T09:00:00Z";

pub(crate) struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW.parse().unwrap()
    }
}

#[derive(Id)]
pub(crate) struct DecisionId(String);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Scalar)]
pub(crate) enum Status {
    #[default]
    Draft,
    ReadyForApproval,
    Approved,
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "decision", owner = "enforcement")]
pub(crate) enum DecisionEvent {
    DecisionDrafted { case_id: String, team: String, fine: Money, due_at: Timestamp },
    DecisionMarkedReady,
    DecisionApproved { reason: String, policy_version: String },
}

#[derive(Clone, Debug, PartialEq, Command)]
pub(crate) enum DecisionCommand {
    Draft {
        case_id: String,
        team: String,
        fine: Money,
        due_at: Timestamp,
    },
    MarkReady,
    /// Approves a decision that is ready.
    #[command(actor = "approvedBy")]
    Approve {
        reason: String,
        policy_version: String,
    },
    #[command(segment = "approval-requests", key_required)]
    RequestApproval {
        reason: String,
        policy_version: String,
    },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
pub(crate) enum DecisionRejection {
    #[reject("there is no such decision", not_found)]
    DecisionNotFound,
    /// Only a decision that is ready can be approved.
    #[reject("the decision is {status}")]
    DecisionNotReady { status: Status },
}

#[derive(Default, Data)]
pub(crate) struct Decision {
    pub(crate) status: Option<Status>,
    pub(crate) case_id: Option<String>,
}

impl Decider for Decision {
    type Command = DecisionCommand;
    type Event = DecisionEvent;
    type Rejection = DecisionRejection;

    fn decide(&self, command: DecisionCommand, _: &Context) -> Result<Vec<DecisionEvent>, DecisionRejection> {
        use DecisionCommand::{Approve, Draft, MarkReady, RequestApproval};
        match (self.status, command) {
            (None, Draft { case_id, team, fine, due_at }) => {
                Ok(vec![DecisionEvent::DecisionDrafted { case_id, team, fine, due_at }])
            }
            (None, _) => Err(DecisionRejection::DecisionNotFound),
            (Some(Status::Draft), MarkReady) => Ok(vec![DecisionEvent::DecisionMarkedReady]),
            (
                Some(Status::ReadyForApproval),
                Approve { reason, policy_version } | RequestApproval { reason, policy_version },
            ) => Ok(vec![DecisionEvent::DecisionApproved { reason, policy_version }]),
            (Some(status), _) => Err(DecisionRejection::DecisionNotReady { status }),
        }
    }

    fn evolve(self, event: &DecisionEvent) -> Self {
        match event {
            DecisionEvent::DecisionDrafted { case_id, .. } => {
                Self { status: Some(Status::Draft), case_id: Some(case_id.clone()) }
            }
            DecisionEvent::DecisionMarkedReady => Self { status: Some(Status::ReadyForApproval), ..self },
            DecisionEvent::DecisionApproved { .. } => Self { status: Some(Status::Approved), ..self },
        }
    }
}

/// Decisions that wait for somebody.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "decision_work_queue",
    revision = 1,
    owner = "enforcement",
    contract = "bounded 5s",
    about = "decision",
    pending
)]
#[computed(days_until_due: i64 = Self::days_until_due)]
pub(crate) struct WorkQueueRow {
    #[key]
    pub(crate) decision_id: DecisionId,
    pub(crate) case_id: String,
    #[filter]
    #[column(name = "assigned_team_id", public = "teamId")]
    pub(crate) team: String,
    #[filter]
    pub(crate) status: Status,
    pub(crate) fine: Money,
    #[sort]
    pub(crate) due_at: Timestamp,
    pub(crate) version: Version,
}

impl WorkQueueRow {
    fn days_until_due(&self, now: Timestamp) -> i64 {
        (self.due_at.as_micros() - now.as_micros()) / 86_400_000_000
    }
}

impl Projection for WorkQueueRow {
    type Event = DecisionEvent;

    fn route(fact: &Fact<DecisionEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<DecisionEvent>) -> Option<Self> {
        let version = fact.version();
        match &fact.event {
            DecisionEvent::DecisionDrafted { case_id, team, fine, due_at } => Some(Self {
                decision_id: fact.id(),
                case_id: case_id.clone(),
                team: team.clone(),
                status: Status::Draft,
                fine: *fine,
                due_at: *due_at,
                version,
            }),
            DecisionEvent::DecisionMarkedReady => {
                row.map(|row| Self { status: Status::ReadyForApproval, version, ..row })
            }
            DecisionEvent::DecisionApproved { .. } => None,
        }
    }
}

/// How many decisions wait in each team; moved when somebody drains it.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "team_load", revision = 1, owner = "enforcement", on_demand, contract = "strong")]
pub(crate) struct TeamLoad {
    #[key]
    pub(crate) team: String,
    pub(crate) decisions: i64,
}

impl Projection for TeamLoad {
    type Event = DecisionEvent;

    fn route(fact: &Fact<DecisionEvent>) -> Route<Self> {
        match &fact.event {
            DecisionEvent::DecisionDrafted { team, .. } => Route::key(team.clone()),
            _ => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<DecisionEvent>) -> Option<Self> {
        let DecisionEvent::DecisionDrafted { team, .. } = &fact.event else { return row };
        let before = row.map_or(0, |row| row.decisions);
        Some(Self { team: team.clone(), decisions: before + 1 })
    }
}

pub(crate) fn service() -> Service {
    Service::new("enforcement")
        .about("Decides about fines")
        .clock(Fixed)
        .decider::<Decision>()
        .read_model::<WorkQueueRow>()
        .read_model::<TeamLoad>()
        .link("/decision-work-queue?status=READY_FOR_APPROVAL&sort=dueAt")
}
