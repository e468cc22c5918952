//! What a customer's list of orders shows, as sentences.

use super::*;
use crate::query::samples::{
    authorized, cancelled, captured, moved, placed, placed_by, pounds, refunded, time,
};
use diptych::testing::{GivenFact, given_facts, on};

/// The row of order 42 after its first fact, at 09:00:00; each fact comes a second after the one before.
fn row(status: OrderStatus, version: u64) -> OrderSummary {
    let placed_at = time("2026-07-07T09:00:00Z");
    OrderSummary {
        order_id: "42".into(),
        customer_id: Some("ann".into()),
        status,
        total: pounds("39.98"),
        item_count: 1,
        shipping_city: Some("Leeds".to_owned()),
        placed_at,
        last_updated_at: placed_at.plus(std::time::Duration::from_secs(version - 1)),
        version: Version(version),
    }
}

#[track_caller]
fn check(events: impl IntoIterator<Item = OrderEvent>, expected: OrderSummary) {
    let facts: Vec<GivenFact> = events.into_iter().map(|event| on("42", event)).collect();
    given_facts(facts).then_row(expected);
}

#[test]
fn an_order_appears_when_it_is_placed() {
    check([placed()], row(OrderStatus::Placed, 1));
}

#[test]
fn the_status_follows_the_order() {
    let way = [
        placed(),
        OrderEvent::OrderConfirmed,
        authorized(),
        captured(),
        OrderEvent::OrderFulfilled,
        refunded(),
    ];
    let statuses = [
        OrderStatus::Placed,
        OrderStatus::Confirmed,
        OrderStatus::PaymentAuthorized,
        OrderStatus::PaymentAuthorized,
        OrderStatus::Fulfilled,
        OrderStatus::Refunded,
    ];
    for (status, version) in statuses.into_iter().zip(1..) {
        check(way[..version].iter().cloned(), row(status, version as u64));
    }
}

#[test]
fn a_cancelled_order_stays_on_the_list() {
    check([placed(), cancelled()], row(OrderStatus::Cancelled, 2));
}

#[test]
fn the_city_follows_the_address() {
    let moved_row = OrderSummary { shipping_city: Some("York".to_owned()), ..row(OrderStatus::Placed, 2) };
    check([placed(), moved("York")], moved_row);
    check([placed(), moved("")], OrderSummary { shipping_city: None, ..row(OrderStatus::Placed, 2) });
}

#[test]
fn a_sale_over_the_counter_has_no_customer() {
    check([placed_by(None)], OrderSummary { customer_id: None, ..row(OrderStatus::Placed, 1) });
}

#[test]
fn an_order_without_lines_counts_none() {
    let nothing = OrderEvent::OrderPlaced {
        customer_id: Some("ann".into()),
        lines: vec![],
        shipping_address: crate::query::samples::address("Leeds"),
        total: pounds("0"),
    };
    check([nothing], OrderSummary { item_count: 0, total: pounds("0"), ..row(OrderStatus::Placed, 1) });
}

#[test]
fn orders_do_not_touch_each_other() {
    let other = OrderSummary {
        order_id: "43".into(),
        placed_at: time("2026-07-07T09:00:01Z"),
        last_updated_at: time("2026-07-07T09:00:01Z"),
        ..row(OrderStatus::Placed, 1)
    };
    let cancelled_row =
        OrderSummary { last_updated_at: time("2026-07-07T09:00:02Z"), ..row(OrderStatus::Cancelled, 2) };
    given_facts([on("42", placed()), on("43", placed()), on("42", cancelled())])
        .then_rows([cancelled_row, other]);
}

#[test]
fn an_order_that_nobody_placed_has_no_row() {
    given_facts([on("42", OrderEvent::OrderConfirmed)]).then_no_row::<OrderSummary>(&"42".into());
}
