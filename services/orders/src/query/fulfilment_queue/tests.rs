//! What the warehouse sees, as sentences.

use super::*;
use crate::query::samples::{authorized, cancelled, captured, moved, placed, pounds, refunded, time};
use diptych::testing::{GivenFacts, given_facts, on};

fn paid() -> Vec<OrderEvent> {
    vec![placed(), OrderEvent::OrderConfirmed, authorized(), captured()]
}

fn order(events: impl IntoIterator<Item = OrderEvent>) -> GivenFacts {
    given_facts(events.into_iter().map(|event| on("42", event)))
}

fn row(version: u64) -> FulfilmentQueue {
    FulfilmentQueue {
        order_id: "42".into(),
        customer_id: Some("ann".into()),
        amount: pounds("39.98"),
        paid_at: time("2026-07-07T09:00:03Z"),
        version: Version(version),
    }
}

#[track_caller]
fn check_absent(events: impl IntoIterator<Item = OrderEvent>) {
    order(events).then_no_row::<FulfilmentQueue>(&"42".into());
}

#[test]
fn a_paid_order_waits_to_be_sent() {
    order(paid()).then_row(row(4));
}

#[test]
fn an_order_that_is_not_paid_does_not_wait() {
    for steps in 1..4 {
        check_absent(paid().into_iter().take(steps));
    }
    check_absent([placed(), cancelled()]);
}

#[test]
fn an_order_that_is_sent_or_refunded_waits_no_longer() {
    check_absent(paid().into_iter().chain([OrderEvent::OrderFulfilled]));
    check_absent(paid().into_iter().chain([refunded()]));
    check_absent(paid().into_iter().chain([OrderEvent::OrderFulfilled, refunded()]));
}

#[test]
fn a_new_address_keeps_the_place_in_the_queue_and_moves_the_version() {
    order(paid().into_iter().chain([moved("York")])).then_row(row(5));
}

#[test]
fn a_new_address_before_the_payment_makes_no_row() {
    check_absent([placed(), moved("York")]);
}

#[test]
fn orders_wait_beside_each_other() {
    let other = FulfilmentQueue { order_id: "43".into(), paid_at: time("2026-07-07T09:00:04Z"), ..row(1) };
    let facts = paid().into_iter().map(|event| on("42", event)).chain([on("43", captured())]);
    given_facts(facts).then_rows([row(4), other]);
}
