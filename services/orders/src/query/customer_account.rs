//! What each customer has ordered, paid and got back.

use crate::facts::{CreditNoteEvent, CustomerId, OrderEvent};
use diptych::prelude::*;

/// Every language that moves a customer's account.
#[derive(Clone, Debug, PartialEq, EventSet)]
pub enum AccountEvent {
    /// Orders.
    Order(OrderEvent),
    /// Credit notes.
    CreditNote(CreditNoteEvent),
}

/// One customer's account.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "customer_account",
    revision = 1,
    owner = "sales",
    contract = "bounded 10s",
    purpose = "show what a customer has ordered, paid and got back",
    journey = "a clerk looks at an account while the customer is on the line",
    freshness_target = "99% within 3s over 30d",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct CustomerAccount {
    /// The customer.
    #[key]
    #[sensitivity(personal)]
    pub customer_id: CustomerId,
    /// How many orders were placed.
    #[sort]
    pub orders_placed: i64,
    /// How many of them were called off.
    pub orders_cancelled: i64,
    /// How much was paid.
    #[sort]
    pub paid: Money,
    /// How much was paid back or credited, as a negative amount.
    pub credited: Money,
    /// When an order was last placed.
    #[sort]
    pub last_order_at: Option<Timestamp>,
}

impl Projection for CustomerAccount {
    type Event = AccountEvent;

    fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
        customer(&fact.event).cloned().map_or_else(Route::none, Route::key)
    }

    fn project(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
        let Some(customer_id) = customer(&fact.event) else {
            return row;
        };
        let row = row.unwrap_or_else(|| Self {
            customer_id: customer_id.clone(),
            orders_placed: 0,
            orders_cancelled: 0,
            paid: Money::zero(Currency::GBP),
            credited: Money::zero(Currency::GBP),
            last_order_at: None,
        });
        Some(match &fact.event {
            AccountEvent::Order(OrderEvent::OrderPlaced { .. }) => {
                let last_order_at = row.last_order_at.max(Some(fact.occurred_at()));
                Self { orders_placed: row.orders_placed + 1, last_order_at, ..row }
            }
            AccountEvent::Order(OrderEvent::OrderCancelled { .. }) => {
                Self { orders_cancelled: row.orders_cancelled + 1, ..row }
            }
            AccountEvent::Order(OrderEvent::PaymentCaptured { amount, .. }) => {
                Self { paid: sum(row.paid, *amount), ..row }
            }
            AccountEvent::Order(OrderEvent::OrderRefunded { amount, .. }) => {
                let back = amount.times(-1).expect("the range of money is symmetric");
                Self { credited: sum(row.credited, back), ..row }
            }
            AccountEvent::Order(_) => row,
            AccountEvent::CreditNote(CreditNoteEvent::CreditNoteIssued { total, .. }) => {
                Self { credited: sum(row.credited, *total), ..row }
            }
        })
    }
}

fn customer(event: &AccountEvent) -> Option<&CustomerId> {
    match event {
        AccountEvent::Order(
            OrderEvent::OrderPlaced { customer_id, .. }
            | OrderEvent::PaymentCaptured { customer_id, .. }
            | OrderEvent::OrderCancelled { customer_id, .. }
            | OrderEvent::OrderRefunded { customer_id, .. },
        ) => customer_id.as_ref(),
        AccountEvent::Order(_) => None,
        AccountEvent::CreditNote(CreditNoteEvent::CreditNoteIssued { customer_id, .. }) => {
            customer_id.as_ref()
        }
    }
}

fn sum(left: Money, right: Money) -> Money {
    left.plus(right).expect("the shop books in one currency")
}

#[cfg(test)]
mod tests;
