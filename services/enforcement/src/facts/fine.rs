//! The event language of fines, and its values. The names are ours; what they tell of is the Italian police's
//! log of road traffic fines (doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5). No rules are here.

use super::{Article, DismissalCode, NotificationCode, OfficerId, VehicleClass};
use diptych::prelude::*;

/// What happens to a fine.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "fine", owner = "collections")]
pub enum FineEvent {
    /// An officer imposed it.
    FineCreated {
        /// How much.
        amount: Money,
        /// The article of the road traffic act that was broken.
        article: Article,
        /// Who imposed it.
        officer_id: OfficerId,
        /// With what kind of vehicle.
        vehicle_class: VehicleClass,
        /// How many points it takes from the driving licence.
        points: i64,
        /// Why it is dismissed, where it is.
        dismissal: Option<DismissalCode>,
    },
    /// It went to the offender by mail.
    FineSent {
        /// What that costs, to be paid with the fine.
        expense: Money,
    },
    /// The offender has been notified of it.
    FineNotificationInserted {
        /// How.
        notification: NotificationCode,
        /// What was sent last, where that is known.
        last_sent: Option<NotificationCode>,
    },
    /// It was not paid in time and became dearer.
    FinePenaltyAdded {
        /// How much it is now, in place of the amount before.
        amount: Money,
    },
    /// Money came in.
    FinePaid {
        /// How much.
        amount: Money,
        /// Where the fine stood.
        status: FineStatus,
        /// What had come in altogether, as whoever keeps the books said; it need not be the sum of what did.
        recorded_total: Option<Money>,
    },
    /// The date of an appeal to the prefecture was noted.
    FineAppealDateInserted,
    /// The appeal went to the prefecture.
    FineAppealSent {
        /// Why the fine is dismissed, where it is.
        dismissal: Option<DismissalCode>,
    },
    /// The prefecture gave its result.
    FineAppealResultReceived,
    /// The offender was told of the result.
    FineAppealResultNotified,
    /// The offender appealed to a judge.
    FineAppealedToJudge {
        /// Why the fine is dismissed, where it is.
        dismissal: Option<DismissalCode>,
    },
    /// Others collect it from now on.
    FineSentForCreditCollection {
        /// What was still to be paid.
        outstanding: Money,
    },
}

impl FineEvent {
    /// The step of the procedure that it is.
    #[must_use]
    pub fn step(&self) -> FineStep {
        match self {
            Self::FineCreated { .. } => FineStep::CreateFine,
            Self::FineSent { .. } => FineStep::SendFine,
            Self::FineNotificationInserted { .. } => FineStep::InsertFineNotification,
            Self::FinePenaltyAdded { .. } => FineStep::AddPenalty,
            Self::FinePaid { .. } => FineStep::Payment,
            Self::FineAppealDateInserted => FineStep::InsertDateAppealToPrefecture,
            Self::FineAppealSent { .. } => FineStep::SendAppealToPrefecture,
            Self::FineAppealResultReceived => FineStep::ReceiveResultAppealFromPrefecture,
            Self::FineAppealResultNotified => FineStep::NotifyResultAppealToOffender,
            Self::FineAppealedToJudge { .. } => FineStep::AppealToJudge,
            Self::FineSentForCreditCollection { .. } => FineStep::SendForCreditCollection,
        }
    }
}

/// A step of the procedure, by the names of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Scalar)]
pub enum FineStep {
    /// It is imposed.
    CreateFine,
    /// It goes to the offender.
    SendFine,
    /// The offender is notified.
    InsertFineNotification,
    /// It becomes dearer.
    AddPenalty,
    /// Money comes in.
    Payment,
    /// The date of an appeal is noted.
    InsertDateAppealToPrefecture,
    /// The appeal goes to the prefecture.
    SendAppealToPrefecture,
    /// The prefecture gives its result.
    ReceiveResultAppealFromPrefecture,
    /// The offender is told of it.
    NotifyResultAppealToOffender,
    /// The offender appeals to a judge.
    AppealToJudge,
    /// Others collect it.
    SendForCreditCollection,
}

impl FineStep {
    /// Every step.
    pub const ALL: [Self; 11] = [
        Self::CreateFine,
        Self::SendFine,
        Self::InsertFineNotification,
        Self::AddPenalty,
        Self::Payment,
        Self::InsertDateAppealToPrefecture,
        Self::SendAppealToPrefecture,
        Self::ReceiveResultAppealFromPrefecture,
        Self::NotifyResultAppealToOffender,
        Self::AppealToJudge,
        Self::SendForCreditCollection,
    ];
}

/// How far a fine has come. Each of these comes after the one before it; payments and appeals come at any
/// time and change none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Scalar)]
pub enum FineStatus {
    /// It is imposed.
    #[default]
    Created,
    /// It went to the offender.
    Sent,
    /// The offender has been notified.
    Notified,
    /// It was not paid in time and became dearer.
    PenaltyAdded,
    /// Others collect it.
    InCreditCollection,
}

/// What has been paid of a fine, against what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Scalar)]
pub enum Settlement {
    /// Nothing.
    Unpaid,
    /// Less.
    PartlyPaid,
    /// Exactly that.
    Paid,
    /// More.
    Overpaid,
}

/// The money of a fine, in euros, which is the only currency that a fine is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Data)]
pub struct Balance {
    /// As imposed.
    pub amount: Money,
    /// The amount in its place since a penalty was added.
    pub penalty: Option<Money>,
    /// What sending it costs, once it is sent.
    pub expense: Option<Money>,
    /// What came in.
    pub paid: Money,
}

impl Default for Balance {
    fn default() -> Self {
        Self { amount: euros(0), penalty: None, expense: None, paid: euros(0) }
    }
}

impl Balance {
    /// What is to be paid altogether: the last amount, and what sending it costs.
    #[must_use]
    pub fn due(&self) -> Money {
        sum(self.penalty.unwrap_or(self.amount), self.expense.unwrap_or_else(|| euros(0)))
    }

    /// What is still to be paid; never below zero.
    #[must_use]
    pub fn outstanding(&self) -> Money {
        euros((self.due().thousandths() - self.paid.thousandths()).max(0))
    }

    /// What has been paid, against what is due. A fine of nothing that nobody paid is unpaid.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        let (due, paid) = (self.due().thousandths(), self.paid.thousandths());
        match paid.cmp(&due) {
            _ if paid == 0 => Settlement::Unpaid,
            std::cmp::Ordering::Less => Settlement::PartlyPaid,
            std::cmp::Ordering::Equal => Settlement::Paid,
            std::cmp::Ordering::Greater => Settlement::Overpaid,
        }
    }

    /// The balance after an event.
    #[must_use]
    pub fn after(self, event: &FineEvent) -> Self {
        match event {
            FineEvent::FineCreated { amount, .. } => Self { amount: *amount, ..self },
            FineEvent::FineSent { expense } => Self { expense: Some(*expense), ..self },
            FineEvent::FinePenaltyAdded { amount } => Self { penalty: Some(*amount), ..self },
            FineEvent::FinePaid { amount, .. } => Self { paid: sum(self.paid, *amount), ..self },
            _ => self,
        }
    }

    /// The balance before the event that led to this one.
    #[must_use]
    pub fn before(self, event: &FineEvent) -> Self {
        match event {
            FineEvent::FineCreated { .. } => Self::default(),
            FineEvent::FineSent { .. } => Self { expense: None, ..self },
            FineEvent::FinePenaltyAdded { .. } => Self { penalty: None, ..self },
            FineEvent::FinePaid { amount, .. } => {
                Self { paid: euros(self.paid.thousandths() - amount.thousandths()), ..self }
            }
            _ => self,
        }
    }
}

/// An amount of euros.
///
/// # Panics
/// Beyond what a sum of fines can reach.
pub(crate) fn euros(thousandths: i64) -> Money {
    Money::from_thousandths(thousandths, Currency::EUR)
        .expect("sums of limited amounts stay in the range of money")
}

fn sum(one: Money, other: Money) -> Money {
    one.plus(other).expect("the decider has limited the amounts, all of them euros")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(balance: Balance, outstanding: i64, settlement: Settlement) {
        assert_eq!((balance.outstanding(), balance.settlement()), (euros(outstanding), settlement));
    }

    #[test]
    fn what_is_outstanding_is_the_last_amount_and_the_expense_less_what_came_in() {
        let created = Balance { amount: euros(35_000), ..Balance::default() };
        check(created, 35_000, Settlement::Unpaid);
        let sent = Balance { expense: Some(euros(11_000)), ..created };
        check(Balance { paid: euros(45_990), ..sent }, 10, Settlement::PartlyPaid);
        check(Balance { paid: euros(46_000), ..sent }, 0, Settlement::Paid);
        check(Balance { paid: euros(46_010), ..sent }, 0, Settlement::Overpaid);
        check(Balance { penalty: Some(euros(71_500)), ..sent }, 82_500, Settlement::Unpaid);
        check(Balance::default(), 0, Settlement::Unpaid);
    }

    #[test]
    fn the_balance_before_an_event_is_the_one_that_it_was_added_to() {
        let events = [
            FineEvent::FineSent { expense: euros(11_000) },
            FineEvent::FinePaid { amount: euros(20), status: FineStatus::Sent, recorded_total: None },
            FineEvent::FinePenaltyAdded { amount: euros(71_500) },
            FineEvent::FineAppealDateInserted,
        ];
        let mut balance = Balance { amount: euros(35_000), ..Balance::default() };
        for event in events {
            let after = balance.after(&event);
            assert_eq!(after.before(&event), balance, "{event:?}");
            balance = after;
        }
    }
}
