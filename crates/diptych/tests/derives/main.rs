//! What the derives generate: stored names and bytes, what is refused and how, and the declarations that
//! stores and the wire read. The languages under test stand here. No store and no transport.

mod languages;
mod read_model;

use diptych::command::{CommandType, RejectionKind};
use diptych::core::{DecodeError, EventType, NewEvent, Portable, Value, ValueType};
use diptych::prelude::*;
use diptych::query::{Breach, Contract, Direction, Mode, Schema, Sensitivity, Tenants};
use std::collections::BTreeMap;
use std::time::Duration;

/// Identifies an order.
#[derive(Id)]
struct OrderId(String);

#[derive(Id)]
struct CustomerId(String);

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
enum Status {
    Placed,
    PaymentAuthorized,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
#[scalar(ordered)]
enum Risk {
    Low,
    Medium,
    High,
    #[scalar(name = "OFF_THE_CHART")]
    Extreme,
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Data)]
struct Line {
    /// Which product.
    product_id: String,
    quantity: i64,
    unit_price: Option<Money>,
    #[data(default)]
    tags: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Data)]
enum Payment {
    Open,
    CardCharged { charged_at: Timestamp, card: Option<String> },
    Split { parts: Vec<Self> },
}

#[derive(Clone, Debug, Default, PartialEq, Data)]
#[data(tag = "status")]
enum Order {
    #[default]
    New,
    Placed {
        lines: Vec<Line>,
    },
}

/// What happens to an order.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "order", owner = "sales", retired = "OrderNoted, OrderSeen")]
enum OrderEvent {
    /// The customer committed
    /// to buy.
    ///
    /// The total is the sum of the lines.
    #[event(version = 3, v1 = PlacedV1, v2 = PlacedV2)]
    Placed {
        customer: CustomerId,
        lines: Vec<Line>,
        placed_by: Option<String>,
    },
    #[event(name = "OrderConfirmed")]
    Confirmed,
    Cancelled {
        reason: String,
        r#type: i64,
    },
}

#[derive(Data)]
struct PlacedV1 {
    customer: CustomerId,
}

#[derive(Data)]
struct PlacedV2 {
    customer: CustomerId,
    line: Option<Line>,
}

impl From<PlacedV1> for PlacedV2 {
    fn from(old: PlacedV1) -> Self {
        Self { customer: old.customer, line: None }
    }
}

impl From<PlacedV2> for OrderEvent {
    fn from(old: PlacedV2) -> Self {
        Self::Placed { customer: old.customer, lines: old.line.into_iter().collect(), placed_by: None }
    }
}

/// A part of the category, for who wants no more of it.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "order", owner = "sales", retired = "OrderNoted", unknown = "ignore")]
enum CancelledOnly {
    Cancelled { reason: String },
}

/// What happens to a shelf.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "shelf", owner = "warehouse")]
enum ShelfEvent {
    Filled,
}

/// A set in which one language is read in part.
#[derive(Clone, Debug, PartialEq, EventSet)]
enum SomeEvents {
    Order(CancelledOnly),
    #[event(unknown = "ignore")]
    Shelf(ShelfEvent),
}

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "stock_2", owner = "warehouse")]
enum StockEvent {
    Counted { quantity: i64 },
}

#[derive(Clone, Debug, PartialEq, EventSet)]
enum Everything {
    Order(OrderEvent),
    Stock(StockEvent),
}

#[derive(Clone, Debug, PartialEq, Command)]
#[command(text_bytes_max = 20)]
enum OrderCommand {
    /// Buy.
    PlaceOrder {
        customer: CustomerId,
        lines: Vec<Line>,
        note: Option<String>,
    },
    Confirm,
    #[command(segment = "approval-requests", key_required)]
    RequestApproval {
        payment: Payment,
        fields: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum OrderRejection {
    /// Nothing can be undone twice.
    #[reject("the order is already cancelled: {reason}")]
    OrderAlreadyCancelled { reason: String, at: Option<Timestamp> },
    #[reject("there is no such order", not_found)]
    OrderNotFound,
}

#[derive(Debug, Rejection)]
enum Never {}

fn line() -> Line {
    Line {
        product_id: "P1".into(),
        quantity: 2,
        unit_price: Some(Money::parse("19.99", Currency::GBP).expect("an amount")),
        tags: Vec::new(),
    }
}
