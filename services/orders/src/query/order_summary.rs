//! Every order in one line, for a customer's list of orders.

use crate::facts::{CustomerId, OrderEvent, OrderId, OrderStatus};
use diptych::prelude::*;

/// One order in one line.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "order_summary",
    revision = 1,
    owner = "sales",
    contract = "bounded 5s",
    partitions = 2,
    default_sort = "placed_at desc",
    purpose = "list a customer's orders, newest first, without loading any of them",
    journey = "a customer opens the list of orders after placing or cancelling one",
    freshness_target = "99% within 1s over 30d",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
#[index(customer_id, placed_at desc)]
#[index(status)]
pub struct OrderSummary {
    /// The order.
    #[key]
    pub order_id: OrderId,
    /// Who placed it; unknown for a sale over the counter.
    #[filter]
    #[sensitivity(personal)]
    pub customer_id: Option<CustomerId>,
    /// Where it stands.
    #[filter]
    pub status: OrderStatus,
    /// What its lines add up to.
    pub total: Money,
    /// How many lines it has.
    pub item_count: i64,
    /// Where it goes, where that is known.
    #[sensitivity(personal)]
    pub shipping_city: Option<String>,
    /// When it was placed.
    #[filter]
    #[sort]
    pub placed_at: Timestamp,
    /// When something last happened to it.
    pub last_updated_at: Timestamp,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl Projection for OrderSummary {
    type Event = OrderEvent;

    fn route(fact: &Fact<OrderEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<OrderEvent>) -> Option<Self> {
        let row = match &fact.event {
            OrderEvent::OrderPlaced { customer_id, lines, shipping_address, total } => Self {
                order_id: fact.id(),
                customer_id: customer_id.clone(),
                status: OrderStatus::Placed,
                total: *total,
                item_count: lines.len() as i64,
                shipping_city: city(&shipping_address.city),
                placed_at: fact.occurred_at(),
                last_updated_at: fact.occurred_at(),
                version: fact.version(),
            },
            OrderEvent::OrderConfirmed => Self { status: OrderStatus::Confirmed, ..row? },
            OrderEvent::PaymentAuthorized { .. } => Self { status: OrderStatus::PaymentAuthorized, ..row? },
            OrderEvent::PaymentCaptured { .. } => row?,
            OrderEvent::ShippingAddressChanged { shipping_address } => {
                Self { shipping_city: city(&shipping_address.city), ..row? }
            }
            OrderEvent::OrderCancelled { .. } => Self { status: OrderStatus::Cancelled, ..row? },
            OrderEvent::OrderFulfilled => Self { status: OrderStatus::Fulfilled, ..row? },
            OrderEvent::OrderRefunded { .. } => Self { status: OrderStatus::Refunded, ..row? },
        };
        Some(Self { last_updated_at: fact.occurred_at(), version: fact.version(), ..row })
    }
}

fn city(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
