//! A fine: commands, rejections, state, decisions. Its rules are those that hold for every one of 150,370
//! real fines (`tests/fines.rs`); what real offices do is not refused, such as taking money for what is paid
//! already, or adding a penalty to it. It does not look at times: what happened on one day comes in the order
//! it is given.

use super::is_blank;
use crate::facts::{
    Article, Balance, DismissalCode, FineEvent, FineStatus, FineStep, NotificationCode, OfficerId,
    VehicleClass,
};
use diptych::prelude::*;

/// The largest amount of money in a command, in thousandths of a euro: sums over millions of fines stay
/// exact.
const AMOUNT_THOUSANDTHS_MAX: i64 = 1_000_000_000;

/// The most payments of a fine; 15 is the most that was ever seen.
const PAYMENTS_MAX: i64 = 1_000;

/// The most points that a driving licence has.
const POINTS_MAX: i64 = 30;

/// What may be asked of a fine.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum FineCommand {
    /// Imposes a fine.
    Create {
        /// How much.
        amount: Money,
        /// The article of the road traffic act that was broken.
        article: Article,
        /// Who imposes it.
        officer_id: OfficerId,
        /// With what kind of vehicle.
        vehicle_class: VehicleClass,
        /// How many points it takes from the driving licence.
        points: i64,
        /// Why it is dismissed, where it is.
        dismissal: Option<DismissalCode>,
    },
    /// Sends it to the offender.
    Send {
        /// What that costs.
        expense: Money,
    },
    /// Notes that the offender has been notified.
    InsertNotification {
        /// How.
        notification: NotificationCode,
        /// What was sent last, where that is known.
        last_sent: Option<NotificationCode>,
    },
    /// Makes it dearer, because it was not paid in time.
    AddPenalty {
        /// How much it is from now on, in place of the amount before.
        amount: Money,
    },
    /// Notes that money came in.
    Pay {
        /// How much.
        amount: Money,
        /// What came in altogether, as whoever keeps the books says.
        recorded_total: Option<Money>,
    },
    /// Notes the date of an appeal to the prefecture.
    InsertAppealDate,
    /// Sends the appeal to the prefecture.
    SendAppeal {
        /// Why the fine is dismissed, where it is.
        dismissal: Option<DismissalCode>,
    },
    /// Notes that the prefecture gave its result.
    ReceiveAppealResult,
    /// Notes that the offender was told of the result.
    NotifyAppealResult,
    /// Notes that the offender appealed to a judge.
    AppealToJudge {
        /// Why the fine is dismissed, where it is.
        dismissal: Option<DismissalCode>,
    },
    /// Gives it to others to collect.
    SendForCreditCollection,
}

/// What the domain may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum FineRejection {
    /// Nobody has imposed it.
    #[reject("the fine does not exist", not_found)]
    FineNotFound,
    /// Everything but a payment happens once.
    #[reject("the fine has had the step {step} already")]
    FineStepTaken {
        /// Which.
        step: FineStep,
    },
    /// Some steps need another before them.
    #[reject("the fine cannot have the step {step} before {needed}")]
    FineStepTooEarly {
        /// Which.
        step: FineStep,
        /// What it needs.
        needed: FineStep,
    },
    /// Some steps end what was possible before.
    #[reject("the fine cannot have the step {step} after {ended_by}")]
    FineStepTooLate {
        /// Which.
        step: FineStep,
        /// What came before it.
        ended_by: FineStep,
    },
    /// A penalty makes no fine cheaper.
    #[reject("the fine is {amount} and cannot become {penalty} by a penalty")]
    FinePenaltyTooLow {
        /// How much the fine is.
        amount: Money,
        /// How much it was to be.
        penalty: Money,
    },
    /// Money is in euros, not below zero, and within what can be added up.
    #[reject("the {field} of the fine cannot be {amount}")]
    FineAmountNotValid {
        /// Which.
        field: String,
        /// How much.
        amount: Money,
    },
    /// No licence has that many points.
    #[reject("the fine cannot take {points} points")]
    FinePointsNotValid {
        /// How many.
        points: i64,
    },
    /// No fine is paid in so many parts.
    #[reject("the fine has {payments_max} payments, which is the most it can have")]
    FinePaymentsFull {
        /// The most.
        payments_max: i64,
    },
    /// A text that says nothing helps nobody.
    #[reject("the {field} of the fine says nothing")]
    FineTextBlank {
        /// Which text.
        field: String,
    },
}

/// A fine. The default is a fine that nobody has imposed.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct Fine {
    /// The steps that it has had, each once, in the order in which they first came.
    pub steps: Vec<FineStep>,
    /// How far it has come.
    pub status: FineStatus,
    /// Its money.
    pub balance: Balance,
    /// How many payments it has had.
    pub payments: i64,
}

impl Decider for Fine {
    type Command = FineCommand;
    type Event = FineEvent;
    type Rejection = FineRejection;

    fn decide(&self, command: FineCommand, _: &Context) -> Result<Vec<FineEvent>, FineRejection> {
        self.possible(step(&command))?;
        let event = match command {
            FineCommand::Create { amount, article, officer_id, vehicle_class, points, dismissal } => {
                creatable(amount, points)?;
                says_something("article", article.as_str())?;
                says_something("officer", officer_id.as_str())?;
                says_something("vehicle class", vehicle_class.as_str())?;
                FineEvent::FineCreated { amount, article, officer_id, vehicle_class, points, dismissal }
            }
            FineCommand::Send { expense } => {
                payable("expense", expense)?;
                FineEvent::FineSent { expense }
            }
            FineCommand::InsertNotification { notification, last_sent } => {
                says_something("notification", notification.as_str())?;
                FineEvent::FineNotificationInserted { notification, last_sent }
            }
            FineCommand::AddPenalty { amount } => self.dearer(amount)?,
            FineCommand::Pay { amount, recorded_total } => self.paid(amount, recorded_total)?,
            FineCommand::InsertAppealDate => FineEvent::FineAppealDateInserted,
            FineCommand::SendAppeal { dismissal } => FineEvent::FineAppealSent { dismissal },
            FineCommand::ReceiveAppealResult => FineEvent::FineAppealResultReceived,
            FineCommand::NotifyAppealResult => FineEvent::FineAppealResultNotified,
            FineCommand::AppealToJudge { dismissal } => FineEvent::FineAppealedToJudge { dismissal },
            FineCommand::SendForCreditCollection => {
                FineEvent::FineSentForCreditCollection { outstanding: self.balance.outstanding() }
            }
        };
        Ok(vec![event])
    }

    fn evolve(mut self, event: &FineEvent) -> Self {
        if !self.steps.contains(&event.step()) {
            self.steps.push(event.step());
        }
        self.status = self.status.after(event);
        self.balance = self.balance.after(event);
        self.payments += i64::from(event.step() == FineStep::Payment);
        self
    }
}

impl Fine {
    /// Whether a step may come now.
    fn possible(&self, step: FineStep) -> Result<(), FineRejection> {
        let had = |step: &FineStep| self.steps.contains(step);
        if step != FineStep::Payment && had(&step) {
            return Err(FineRejection::FineStepTaken { step });
        }
        if step != FineStep::CreateFine && !had(&FineStep::CreateFine) {
            return Err(FineRejection::FineNotFound);
        }
        if let Some(needed) = needed(step).filter(|needed| !had(needed)) {
            return Err(FineRejection::FineStepTooEarly { step, needed });
        }
        match ended_by(step).iter().copied().find(had) {
            Some(ended_by) => Err(FineRejection::FineStepTooLate { step, ended_by }),
            None => Ok(()),
        }
    }

    fn dearer(&self, penalty: Money) -> Result<FineEvent, FineRejection> {
        payable("penalty", penalty)?;
        let amount = self.balance.amount;
        if penalty.thousandths() < amount.thousandths() {
            return Err(FineRejection::FinePenaltyTooLow { amount, penalty });
        }
        Ok(FineEvent::FinePenaltyAdded { amount: penalty })
    }

    fn paid(&self, amount: Money, recorded_total: Option<Money>) -> Result<FineEvent, FineRejection> {
        payable("payment", amount)?;
        if let Some(total) = recorded_total {
            payable("recorded total", total)?;
        }
        if self.payments >= PAYMENTS_MAX {
            return Err(FineRejection::FinePaymentsFull { payments_max: PAYMENTS_MAX });
        }
        Ok(FineEvent::FinePaid { amount, status: self.status, recorded_total })
    }
}

impl FineStatus {
    /// How far a fine has come with an event.
    fn after(self, event: &FineEvent) -> Self {
        match event {
            FineEvent::FineSent { .. } => Self::Sent,
            FineEvent::FineNotificationInserted { .. } => Self::Notified,
            FineEvent::FinePenaltyAdded { .. } => Self::PenaltyAdded,
            FineEvent::FineSentForCreditCollection { .. } => Self::InCreditCollection,
            _ => self,
        }
    }
}

/// The step that must have come before another, besides the first of all.
fn needed(step: FineStep) -> Option<FineStep> {
    match step {
        FineStep::InsertFineNotification | FineStep::ReceiveResultAppealFromPrefecture => {
            Some(FineStep::SendFine)
        }
        FineStep::AddPenalty | FineStep::NotifyResultAppealToOffender => {
            Some(FineStep::InsertFineNotification)
        }
        FineStep::SendForCreditCollection => Some(FineStep::AddPenalty),
        _ => None,
    }
}

/// The steps after which another cannot come any more. An appeal may still go to the prefecture when others
/// collect the fine.
fn ended_by(step: FineStep) -> &'static [FineStep] {
    match step {
        FineStep::SendAppealToPrefecture => &[],
        FineStep::InsertDateAppealToPrefecture => {
            &[FineStep::SendForCreditCollection, FineStep::NotifyResultAppealToOffender]
        }
        _ => &[FineStep::SendForCreditCollection],
    }
}

fn step(command: &FineCommand) -> FineStep {
    match command {
        FineCommand::Create { .. } => FineStep::CreateFine,
        FineCommand::Send { .. } => FineStep::SendFine,
        FineCommand::InsertNotification { .. } => FineStep::InsertFineNotification,
        FineCommand::AddPenalty { .. } => FineStep::AddPenalty,
        FineCommand::Pay { .. } => FineStep::Payment,
        FineCommand::InsertAppealDate => FineStep::InsertDateAppealToPrefecture,
        FineCommand::SendAppeal { .. } => FineStep::SendAppealToPrefecture,
        FineCommand::ReceiveAppealResult => FineStep::ReceiveResultAppealFromPrefecture,
        FineCommand::NotifyAppealResult => FineStep::NotifyResultAppealToOffender,
        FineCommand::AppealToJudge { .. } => FineStep::AppealToJudge,
        FineCommand::SendForCreditCollection => FineStep::SendForCreditCollection,
    }
}

fn creatable(amount: Money, points: i64) -> Result<(), FineRejection> {
    payable("amount", amount)?;
    if (0..=POINTS_MAX).contains(&points) {
        Ok(())
    } else {
        Err(FineRejection::FinePointsNotValid { points })
    }
}

/// Money that a fine can be added up with.
fn payable(field: &str, amount: Money) -> Result<(), FineRejection> {
    let range = 0..=AMOUNT_THOUSANDTHS_MAX;
    if amount.currency() == Currency::EUR && range.contains(&amount.thousandths()) {
        return Ok(());
    }
    Err(FineRejection::FineAmountNotValid { field: field.to_owned(), amount })
}

fn says_something(field: &str, text: &str) -> Result<(), FineRejection> {
    if is_blank(text) { Err(FineRejection::FineTextBlank { field: field.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
