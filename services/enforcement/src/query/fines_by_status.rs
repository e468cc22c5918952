//! How many fines there are of each status and what they add up to: one row for each status that any fine is
//! in.
//!
//! A table of five rows that each fine moves between, kept by a projection beside the fines and not by SQL:
//! it is verified against the log, hashed and rebuilt like any other, and is the same on both stores. An
//! event names the statuses that it moves a fine between; how much money moves with it is looked up in the
//! fine's own row, which stands as it was after the event, so that the balance before follows from taking the
//! event back.

use super::FineBalance;
use crate::facts::{Balance, FineEvent, FineStatus, Settlement, euros};
use diptych::prelude::*;

/// What the fines of one status add up to.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "fines_by_status",
    revision = 1,
    owner = "collections",
    reads(FineBalance),
    contract = "bounded 5s",
    purpose = "say how many fines stand where and how much money that is, without adding up any of them",
    journey = "a head of collections looks in the morning at what is outstanding, and where it is stuck",
    freshness_target = "99% within 3s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct FinesByStatus {
    /// How far they have come.
    #[key]
    pub status: FineStatus,
    /// How many fines.
    #[sort]
    pub fines: i64,
    /// Of how many nothing has been paid.
    pub unpaid: i64,
    /// Of how many less has been paid than is due.
    pub partly_paid: i64,
    /// Of how many exactly what is due has been paid.
    pub paid_exactly: i64,
    /// Of how many more has been paid than is due.
    pub overpaid: i64,
    /// What is to be paid altogether.
    pub due: Money,
    /// What came in.
    pub paid: Money,
    /// What is still to be paid. It is more than due less paid where fines are overpaid.
    #[sort]
    pub outstanding: Money,
}

impl FinesByStatus {
    /// A status that no fine is in.
    fn none(status: FineStatus) -> Self {
        Self {
            status,
            fines: 0,
            unpaid: 0,
            partly_paid: 0,
            paid_exactly: 0,
            overpaid: 0,
            due: euros(0),
            paid: euros(0),
            outstanding: euros(0),
        }
    }

    /// The sums with a balance counted that many times: once, or once less.
    fn counting(mut self, times: i64, balance: &Balance) -> Self {
        self.fines += times;
        *match balance.settlement() {
            Settlement::Unpaid => &mut self.unpaid,
            Settlement::PartlyPaid => &mut self.partly_paid,
            Settlement::Paid => &mut self.paid_exactly,
            Settlement::Overpaid => &mut self.overpaid,
        } += times;
        let plus = |sum: Money, part: Money| euros(sum.thousandths() + times * part.thousandths());
        self.due = plus(self.due, balance.due());
        self.paid = plus(self.paid, balance.paid);
        self.outstanding = plus(self.outstanding, balance.outstanding());
        self
    }
}

/// The status that a fine was in before an event and the one that it is in after it; none where the event
/// moves neither the fine nor money.
fn moved(event: &FineEvent) -> Option<(Option<FineStatus>, FineStatus)> {
    Some(match event {
        FineEvent::FineCreated { .. } => (None, FineStatus::Created),
        FineEvent::FineSent { .. } => (Some(FineStatus::Created), FineStatus::Sent),
        FineEvent::FineNotificationInserted { .. } => (Some(FineStatus::Sent), FineStatus::Notified),
        FineEvent::FinePenaltyAdded { .. } => (Some(FineStatus::Notified), FineStatus::PenaltyAdded),
        FineEvent::FinePaid { status, .. } => (Some(*status), *status),
        FineEvent::FineSentForCreditCollection { .. } => {
            (Some(FineStatus::PenaltyAdded), FineStatus::InCreditCollection)
        }
        FineEvent::FineAppealDateInserted
        | FineEvent::FineAppealSent { .. }
        | FineEvent::FineAppealResultReceived
        | FineEvent::FineAppealResultNotified
        | FineEvent::FineAppealedToJudge { .. } => return None,
    })
}

impl JoinedProjection for FinesByStatus {
    type Event = FineEvent;

    fn route(fact: &Fact<FineEvent>) -> Route<Self> {
        match moved(&fact.event) {
            Some((from, to)) => Route::starting(from.into_iter().chain([to]).map(Self::none)),
            None => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<FineEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let mut row = row?;
        let (Some((from, to)), Some(fine)) = (moved(&fact.event), siblings.get::<FineBalance>(&fact.id()))
        else {
            return Some(row);
        };
        let after = fine.balance();
        if from == Some(row.status) {
            row = row.counting(-1, &after.before(&fact.event));
        }
        if to == row.status {
            row = row.counting(1, &after);
        }
        (row.fines > 0).then_some(row)
    }
}

#[cfg(test)]
mod tests;
