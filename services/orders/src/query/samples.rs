//! Events that the tests of every projection begin with.
#![cfg(test)]

use crate::facts::{Address, CreditNoteEvent, CustomerId, LineItem, OrderEvent};
use diptych::prelude::*;

pub(super) fn pounds(amount: &str) -> Money {
    Money::parse(amount, Currency::GBP).unwrap()
}

pub(super) fn line(quantity: i64, price: &str) -> LineItem {
    let unit_price = pounds(price);
    LineItem { product_id: "lamp".into(), name: Some("Lamp".to_owned()), quantity, unit_price }
}

pub(super) fn address(city: &str) -> Address {
    let text = str::to_owned;
    let country = "United Kingdom".into();
    Address { street: text("1 High St"), city: text(city), state: text(""), zip: text("LS1"), country }
}

/// Two lamps for ann.
pub(super) fn placed() -> OrderEvent {
    placed_by(Some("ann".into()))
}

pub(super) fn placed_by(customer_id: Option<CustomerId>) -> OrderEvent {
    let (lines, total) = (vec![line(2, "19.99")], pounds("39.98"));
    OrderEvent::OrderPlaced { customer_id, lines, shipping_address: address("Leeds"), total }
}

pub(super) fn authorized() -> OrderEvent {
    OrderEvent::PaymentAuthorized { amount: pounds("39.98") }
}

pub(super) fn captured() -> OrderEvent {
    OrderEvent::PaymentCaptured { amount: pounds("39.98"), customer_id: Some("ann".into()) }
}

pub(super) fn moved(city: &str) -> OrderEvent {
    OrderEvent::ShippingAddressChanged { shipping_address: address(city) }
}

pub(super) fn cancelled() -> OrderEvent {
    OrderEvent::OrderCancelled {
        reason: "changed my mind".to_owned(),
        cancelled_by: "ann".to_owned(),
        customer_id: Some("ann".into()),
        country: "United Kingdom".into(),
        item_count: 1,
        quantity: 2,
        total: pounds("39.98"),
    }
}

pub(super) fn refunded() -> OrderEvent {
    let (reason, amount) = ("broken".to_owned(), pounds("39.98"));
    OrderEvent::OrderRefunded {
        reason,
        amount,
        customer_id: Some("ann".into()),
        country: "United Kingdom".into(),
    }
}

/// One lamp comes back.
pub(super) fn credited() -> CreditNoteEvent {
    CreditNoteEvent::CreditNoteIssued {
        customer_id: Some("ann".into()),
        country: "United Kingdom".into(),
        lines: vec![line(-1, "19.99")],
        total: pounds("-19.99"),
    }
}

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}
