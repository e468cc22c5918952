//! What a clerk sees of a customer, as sentences.

use super::*;
use crate::query::samples::{cancelled, captured, credited, placed, placed_by, pounds, refunded, time};
use diptych::testing::{given_facts, on};

fn account(orders_placed: i64, last_order_at: &str) -> CustomerAccount {
    CustomerAccount {
        customer_id: "ann".into(),
        orders_placed,
        orders_cancelled: 0,
        paid: pounds("0"),
        credited: pounds("0"),
        last_order_at: Some(time(last_order_at)),
    }
}

#[test]
fn orders_of_a_customer_are_counted_over_all_streams() {
    let facts = [on("1", placed()), on("2", placed()), on("1", cancelled())];
    let expected = CustomerAccount { orders_cancelled: 1, ..account(2, "2026-07-07T09:00:01Z") };
    given_facts(facts).then_rows([expected]);
}

#[test]
fn only_captured_money_is_paid() {
    given_facts([on("1", placed())]).then_row(account(1, "2026-07-07T09:00:00Z"));
    let expected = CustomerAccount { paid: pounds("39.98"), ..account(1, "2026-07-07T09:00:00Z") };
    given_facts([on("1", placed()), on("1", captured())]).then_row(expected);
}

#[test]
fn refunds_and_credit_notes_come_back_as_a_negative_amount() {
    let facts = [on("1", placed()), on("1", captured()), on("1", refunded()), on("C1", credited())];
    let expected = CustomerAccount {
        paid: pounds("39.98"),
        credited: pounds("-59.97"),
        ..account(1, "2026-07-07T09:00:00Z")
    };
    given_facts(facts).then_row(expected);
}

#[test]
fn a_credit_note_alone_opens_an_account() {
    let expected = CustomerAccount {
        credited: pounds("-19.99"),
        orders_placed: 0,
        last_order_at: None,
        ..account(0, "2026-07-07T09:00:00Z")
    };
    given_facts([on("C1", credited())]).then_row(expected);
}

#[test]
fn the_last_order_is_the_latest_one_and_not_the_last_recorded() {
    let facts = [on("1", placed()).at("2010-12-01T00:00:00Z"), on("2", placed()).at("2009-12-01T00:00:00Z")];
    given_facts(facts).then_row(account(2, "2010-12-01T00:00:00Z"));
}

#[test]
fn customers_are_kept_apart_and_nobody_has_no_account() {
    let bob = CustomerAccount { customer_id: "bob".into(), ..account(1, "2026-07-07T09:00:01Z") };
    let facts = [on("1", placed()), on("2", placed_by(Some("bob".into()))), on("3", placed_by(None))];
    given_facts(facts).then_rows([account(1, "2026-07-07T09:00:00Z"), bob]);
}
