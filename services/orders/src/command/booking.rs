//! Bookings that are made once and never change: credit notes, stock and ledger adjustments.

use crate::facts::{
    Country, CreditNoteEvent, CustomerId, LedgerAdjustmentEvent, LineItem, StockAdjustmentEvent, Tally, tally,
};
use diptych::prelude::*;

/// The largest booking, in thousandths of a pound, and the most goods of one.
const BOOKING_MAX: i64 = 100_000_000_000;

/// What the domain may answer to a booking instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum BookingRejection {
    /// It is made once.
    #[reject("the booking is already made")]
    BookingAlreadyMade,
    /// The lines cannot be added up.
    #[reject("the booking cannot be added up: {reason}")]
    BookingNotValid {
        /// What is wrong.
        reason: String,
    },
}

/// What may be asked of a credit note.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum CreditNoteCommand {
    /// Takes goods back, or corrects a price.
    Issue {
        /// Who is credited, where that is known.
        customer_id: Option<CustomerId>,
        /// Where from.
        country: Country,
        /// What, with negative quantities.
        lines: Vec<LineItem>,
    },
}

/// A credit note.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct CreditNote {
    /// Its lines, once it is issued.
    pub lines: Option<Vec<LineItem>>,
}

impl Decider for CreditNote {
    type Command = CreditNoteCommand;
    type Event = CreditNoteEvent;
    type Rejection = BookingRejection;

    fn decide(
        &self,
        command: CreditNoteCommand,
        _: &Context,
    ) -> Result<Vec<CreditNoteEvent>, BookingRejection> {
        let CreditNoteCommand::Issue { customer_id, country, lines } = command;
        once(self.lines.as_deref())?;
        let total = checked(&lines)?.amount;
        Ok(vec![CreditNoteEvent::CreditNoteIssued { customer_id, country, lines, total }])
    }

    fn evolve(self, event: &CreditNoteEvent) -> Self {
        let CreditNoteEvent::CreditNoteIssued { lines, .. } = event;
        Self { lines: Some(lines.clone()) }
    }
}

/// What may be asked of a stock adjustment.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum StockAdjustmentCommand {
    /// Notes that goods came or went without a price.
    Record {
        /// Where.
        country: Country,
        /// What.
        lines: Vec<LineItem>,
    },
}

/// A stock adjustment.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct StockAdjustment {
    /// Its lines, once it is recorded.
    pub lines: Option<Vec<LineItem>>,
}

impl Decider for StockAdjustment {
    type Command = StockAdjustmentCommand;
    type Event = StockAdjustmentEvent;
    type Rejection = BookingRejection;

    fn decide(
        &self,
        command: StockAdjustmentCommand,
        _: &Context,
    ) -> Result<Vec<StockAdjustmentEvent>, BookingRejection> {
        let StockAdjustmentCommand::Record { country, lines } = command;
        once(self.lines.as_deref())?;
        let booked = checked(&lines)?;
        if booked.amount.thousandths() != 0 {
            let reason = format!("stock is adjusted without a price, the lines add up to {}", booked.amount);
            return Err(BookingRejection::BookingNotValid { reason });
        }
        Ok(vec![StockAdjustmentEvent::StockAdjusted { country, lines }])
    }

    fn evolve(self, event: &StockAdjustmentEvent) -> Self {
        let StockAdjustmentEvent::StockAdjusted { lines, .. } = event;
        Self { lines: Some(lines.clone()) }
    }
}

/// What may be asked of a ledger adjustment.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum LedgerAdjustmentCommand {
    /// Books a correction, such as a bad debt.
    Book {
        /// Where.
        country: Country,
        /// What.
        lines: Vec<LineItem>,
    },
}

/// An adjustment of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct LedgerAdjustment {
    /// Its lines, once it is booked.
    pub lines: Option<Vec<LineItem>>,
}

impl Decider for LedgerAdjustment {
    type Command = LedgerAdjustmentCommand;
    type Event = LedgerAdjustmentEvent;
    type Rejection = BookingRejection;

    fn decide(
        &self,
        command: LedgerAdjustmentCommand,
        _: &Context,
    ) -> Result<Vec<LedgerAdjustmentEvent>, BookingRejection> {
        let LedgerAdjustmentCommand::Book { country, lines } = command;
        once(self.lines.as_deref())?;
        let total = checked(&lines)?.amount;
        Ok(vec![LedgerAdjustmentEvent::LedgerAdjusted { country, lines, total }])
    }

    fn evolve(self, event: &LedgerAdjustmentEvent) -> Self {
        let LedgerAdjustmentEvent::LedgerAdjusted { lines, .. } = event;
        Self { lines: Some(lines.clone()) }
    }
}

fn once(made: Option<&[LineItem]>) -> Result<(), BookingRejection> {
    if made.is_some() { Err(BookingRejection::BookingAlreadyMade) } else { Ok(()) }
}

/// Folds add bookings up without asking again, so what is booked must add up.
fn checked(lines: &[LineItem]) -> Result<Tally, BookingRejection> {
    let not_valid = |reason: String| BookingRejection::BookingNotValid { reason };
    if lines.iter().any(|line| line.unit_price.currency() != Currency::GBP) {
        return Err(not_valid("a price is not in GBP, the currency of this shop".to_owned()));
    }
    let booked = tally(lines).map_err(|error| not_valid(error.to_string()))?;
    let sizes = [booked.amount.thousandths(), booked.quantity];
    if sizes.iter().any(|size| !(-BOOKING_MAX..=BOOKING_MAX).contains(size)) {
        return Err(not_valid("it is beyond 100,000,000.00 GBP".to_owned()));
    }
    Ok(booked)
}
