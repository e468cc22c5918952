//! Paid orders that wait to be sent. Inline: an order is in the queue the moment its payment is taken.

use crate::facts::{CustomerId, OrderEvent, OrderId};
use diptych::prelude::*;

/// A paid order that waits to be sent.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "fulfilment_queue",
    revision = 1,
    owner = "warehouse",
    inline,
    contract = "strong",
    default_sort = "paid_at",
    purpose = "tell the warehouse what to send next, and never show an order that is already sent",
    journey = "a packer takes the oldest paid order and sends it",
    freshness_target = "always current",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#an-inline-model-fails"
)]
pub struct FulfilmentQueue {
    /// The order.
    #[key]
    pub order_id: OrderId,
    /// Who paid.
    #[filter]
    #[sensitivity(personal)]
    pub customer_id: Option<CustomerId>,
    /// How much was paid.
    pub amount: Money,
    /// When it was paid.
    #[sort]
    pub paid_at: Timestamp,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl Projection for FulfilmentQueue {
    type Event = OrderEvent;

    fn route(fact: &Fact<OrderEvent>) -> Route<Self> {
        match &fact.event {
            OrderEvent::PaymentCaptured { .. }
            | OrderEvent::ShippingAddressChanged { .. }
            | OrderEvent::OrderFulfilled
            | OrderEvent::OrderRefunded { .. } => Route::key(fact.id()),
            _ => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<OrderEvent>) -> Option<Self> {
        match &fact.event {
            OrderEvent::PaymentCaptured { amount, customer_id } => Some(Self {
                order_id: fact.id(),
                customer_id: customer_id.clone(),
                amount: *amount,
                paid_at: fact.occurred_at(),
                version: fact.version(),
            }),
            OrderEvent::ShippingAddressChanged { .. } => {
                row.map(|row| Self { version: fact.version(), ..row })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
