//! Sales by country and day, for the books. Polled: it may be behind, and says by how much.

use crate::facts::{
    Country, CreditNoteEvent, Day, LedgerAdjustmentEvent, LineItem, OrderEvent, SaleKind,
    StockAdjustmentEvent, Tally, tally,
};
use diptych::prelude::*;

/// Every language that books something.
#[derive(Clone, Debug, PartialEq, EventSet)]
pub enum SaleEvent {
    /// Orders.
    Order(OrderEvent),
    /// Credit notes.
    CreditNote(CreditNoteEvent),
    /// Stock without a sale.
    StockAdjustment(StockAdjustmentEvent),
    /// The ledger without a sale.
    LedgerAdjustment(LedgerAdjustmentEvent),
}

/// What one kind of booking added up to, in one country on one day.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "sales_by_country_and_day",
    revision = 1,
    owner = "accounting",
    contract = "eventual",
    default_sort = "amount desc",
    purpose = "say what was sold where and when, with the kinds of booking kept apart",
    journey = "an analyst compares days and countries; minutes of lag do no harm",
    freshness_target = "99% within 60s over 30d",
    latency_target = "p99 200ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct SalesByCountryAndDay {
    /// Where.
    #[key]
    pub country: Country,
    /// When, by the day in UTC.
    #[key]
    #[filter]
    pub day: Day,
    /// What kind of booking.
    #[key]
    #[filter]
    pub kind: SaleKind,
    /// How many bookings.
    pub bookings: i64,
    /// How many lines they had.
    pub line_count: i64,
    /// How many goods.
    pub quantity: i64,
    /// How much money.
    #[sort]
    pub amount: Money,
}

/// What a fact books.
struct Booking {
    country: Country,
    kind: SaleKind,
    line_count: i64,
    quantity: i64,
    amount: Money,
}

impl Projection for SalesByCountryAndDay {
    type Event = SaleEvent;

    fn route(fact: &Fact<SaleEvent>) -> Route<Self> {
        match booking(&fact.event) {
            Some(booking) => Route::key((booking.country, Day::new(fact.occurred_at().date()), booking.kind)),
            None => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<SaleEvent>) -> Option<Self> {
        let Some(booking) = booking(&fact.event) else {
            return row;
        };
        let row = row.unwrap_or_else(|| Self {
            country: booking.country,
            day: Day::new(fact.occurred_at().date()),
            kind: booking.kind,
            bookings: 0,
            line_count: 0,
            quantity: 0,
            amount: Money::zero(booking.amount.currency()),
        });
        Some(Self {
            bookings: row.bookings + 1,
            line_count: row.line_count + booking.line_count,
            quantity: row.quantity + booking.quantity,
            amount: row.amount.plus(booking.amount).expect("the shop books in one currency"),
            ..row
        })
    }
}

fn booking(event: &SaleEvent) -> Option<Booking> {
    let of_lines = |kind, country: &Country, lines: &[LineItem]| {
        let Tally { quantity, amount } = tally(lines).expect("the decider has added these lines up before");
        Booking { country: country.clone(), kind, line_count: lines.len() as i64, quantity, amount }
    };
    match event {
        SaleEvent::Order(OrderEvent::OrderPlaced { lines, shipping_address, .. }) => {
            Some(of_lines(SaleKind::Order, &shipping_address.country, lines))
        }
        SaleEvent::Order(OrderEvent::OrderCancelled { country, item_count, quantity, total, .. }) => {
            Some(Booking {
                country: country.clone(),
                kind: SaleKind::Cancellation,
                line_count: -item_count,
                quantity: -quantity,
                amount: negative(*total),
            })
        }
        SaleEvent::Order(OrderEvent::OrderRefunded { amount, country, .. }) => Some(Booking {
            country: country.clone(),
            kind: SaleKind::Refund,
            line_count: 0,
            quantity: 0,
            amount: negative(*amount),
        }),
        SaleEvent::Order(_) => None,
        SaleEvent::CreditNote(CreditNoteEvent::CreditNoteIssued { country, lines, .. }) => {
            Some(of_lines(SaleKind::CreditNote, country, lines))
        }
        SaleEvent::StockAdjustment(StockAdjustmentEvent::StockAdjusted { country, lines }) => {
            Some(of_lines(SaleKind::StockAdjustment, country, lines))
        }
        SaleEvent::LedgerAdjustment(LedgerAdjustmentEvent::LedgerAdjusted { country, lines, .. }) => {
            Some(of_lines(SaleKind::LedgerAdjustment, country, lines))
        }
    }
}

fn negative(amount: Money) -> Money {
    amount.times(-1).expect("the range of money is symmetric")
}

#[cfg(test)]
mod tests;
