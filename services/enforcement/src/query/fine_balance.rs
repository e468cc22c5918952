//! Every fine with its money: where it stands, what is due, what came in, what is outstanding.

use crate::facts::{
    Article, Balance, DismissalCode, FineEvent, FineId, FineStatus, FineStep, NotificationCode, OfficerId,
    Settlement, VehicleClass,
};
use diptych::prelude::*;

/// A fine with its money.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "fine_balance",
    revision = 1,
    owner = "collections",
    contract = "bounded 5s",
    default_sort = "outstanding desc",
    purpose = "say of every fine where it stands and what is still to be paid, with payments added up",
    journey = "a collector opens the fines of a status, dearest first, and decides which to chase",
    freshness_target = "99% within 3s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
#[index(outstanding desc)]
#[index(status, outstanding desc)]
#[index(settlement, outstanding desc)]
pub struct FineBalance {
    /// The fine.
    #[key]
    pub fine_id: FineId,
    /// How far it has come.
    #[filter]
    pub status: FineStatus,
    /// What has been paid, against what is due.
    #[filter]
    pub settlement: Settlement,
    /// How much was imposed.
    pub amount: Money,
    /// How much it is instead since a penalty was added.
    pub penalty: Option<Money>,
    /// What sending it costs, once it is sent.
    pub expense: Option<Money>,
    /// What is to be paid altogether.
    #[sort]
    pub due: Money,
    /// What came in.
    #[sort]
    pub paid: Money,
    /// What is still to be paid; never below zero.
    #[filter]
    #[sort]
    pub outstanding: Money,
    /// How many payments came in.
    pub payments: i64,
    /// What came in altogether, as whoever keeps the books said with the last payment. Where it is not what
    /// came in, the books disagree with themselves.
    pub recorded_paid: Option<Money>,
    /// The article of the road traffic act that was broken.
    #[filter]
    pub article: Article,
    /// With what kind of vehicle.
    #[filter]
    pub vehicle_class: VehicleClass,
    /// How many points it takes from the driving licence.
    #[filter]
    #[sort]
    pub points: i64,
    /// Who imposed it.
    #[filter]
    #[sensitivity(internal)]
    pub officer_id: OfficerId,
    /// Why it is dismissed, where it is, as was said last.
    #[filter]
    pub dismissal: Option<DismissalCode>,
    /// How the offender was notified.
    pub notification: Option<NotificationCode>,
    /// The last step of an appeal, where there is one.
    #[filter]
    pub appeal: Option<FineStep>,
    /// When it was imposed.
    #[filter]
    #[sort]
    pub created_at: Timestamp,
    /// The last thing that happened to it.
    #[filter]
    pub last_activity: FineStep,
    /// When that was.
    #[filter]
    #[sort]
    pub last_activity_at: Timestamp,
    /// How many things have happened to it, and the version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl FineBalance {
    /// Its money, as the left panel knows it.
    #[must_use]
    pub fn balance(&self) -> Balance {
        Balance { amount: self.amount, penalty: self.penalty, expense: self.expense, paid: self.paid }
    }

    /// The row with other money.
    fn with(self, balance: Balance) -> Self {
        let Balance { amount, penalty, expense, paid } = balance;
        let (settlement, due, outstanding) = (balance.settlement(), balance.due(), balance.outstanding());
        Self { amount, penalty, expense, paid, settlement, due, outstanding, ..self }
    }

    /// The row of a fine that has just been imposed.
    fn created(fact: &Fact<FineEvent>) -> Option<Self> {
        let FineEvent::FineCreated { article, officer_id, vehicle_class, points, dismissal, .. } =
            &fact.event
        else {
            return None;
        };
        let balance = Balance::default();
        Some(Self {
            fine_id: fact.id(),
            status: FineStatus::Created,
            settlement: Settlement::Unpaid,
            amount: balance.amount,
            penalty: None,
            expense: None,
            due: balance.amount,
            paid: balance.paid,
            outstanding: balance.amount,
            payments: 0,
            recorded_paid: None,
            article: article.clone(),
            vehicle_class: vehicle_class.clone(),
            points: *points,
            officer_id: officer_id.clone(),
            dismissal: dismissal.clone(),
            notification: None,
            appeal: None,
            created_at: fact.occurred_at(),
            last_activity: FineStep::CreateFine,
            last_activity_at: fact.occurred_at(),
            version: fact.version(),
        })
    }

    /// The row after what an event says besides money.
    fn after(self, event: &FineEvent) -> Self {
        let appeal = Some(event.step());
        match event {
            FineEvent::FineCreated { .. } => self,
            FineEvent::FineSent { .. } => Self { status: FineStatus::Sent, ..self },
            FineEvent::FineNotificationInserted { notification, .. } => {
                Self { status: FineStatus::Notified, notification: Some(notification.clone()), ..self }
            }
            FineEvent::FinePenaltyAdded { .. } => Self { status: FineStatus::PenaltyAdded, ..self },
            FineEvent::FinePaid { recorded_total, .. } => {
                Self { payments: self.payments + 1, recorded_paid: *recorded_total, ..self }
            }
            FineEvent::FineAppealDateInserted
            | FineEvent::FineAppealResultReceived
            | FineEvent::FineAppealResultNotified => Self { appeal, ..self },
            FineEvent::FineAppealSent { dismissal } | FineEvent::FineAppealedToJudge { dismissal } => {
                Self { appeal, dismissal: dismissal.clone().or(self.dismissal), ..self }
            }
            FineEvent::FineSentForCreditCollection { .. } => {
                Self { status: FineStatus::InCreditCollection, ..self }
            }
        }
    }
}

impl Projection for FineBalance {
    type Event = FineEvent;

    fn route(fact: &Fact<FineEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<FineEvent>) -> Option<Self> {
        let row = row.or_else(|| Self::created(fact))?;
        let balance = row.balance().after(&fact.event);
        let row = row.with(balance).after(&fact.event);
        let (last_activity, last_activity_at) = (fact.event.step(), fact.occurred_at());
        Some(Self { last_activity, last_activity_at, version: fact.version(), ..row })
    }
}

#[cfg(test)]
mod tests;
