//! What the books see, as sentences.

use super::*;
use crate::query::samples::{cancelled, captured, credited, line, placed, pounds, refunded};
use diptych::testing::{given_facts, on};

const DAY: &str = "2026-07-07";

fn row(kind: SaleKind, bookings: i64, line_count: i64, quantity: i64, amount: &str) -> SalesByCountryAndDay {
    SalesByCountryAndDay {
        country: "United Kingdom".into(),
        day: DAY.into(),
        kind,
        bookings,
        line_count,
        quantity,
        amount: pounds(amount),
    }
}

#[test]
fn an_order_is_booked_when_it_is_placed_and_not_again_when_it_is_paid() {
    let facts =
        [on("1", placed()), on("1", OrderEvent::OrderConfirmed), on("1", captured()), on("2", placed())];
    given_facts(facts).then_rows([row(SaleKind::Order, 2, 2, 4, "79.96")]);
}

#[test]
fn kinds_are_kept_apart_and_add_up() {
    let adjusted = LedgerAdjustmentEvent::LedgerAdjusted {
        country: "United Kingdom".into(),
        lines: vec![line(1, "-53594.36")],
        total: pounds("-53594.36"),
    };
    let counted = StockAdjustmentEvent::StockAdjusted {
        country: "United Kingdom".into(),
        lines: vec![line(-17, "0"), line(-3, "0")],
    };
    let facts = [
        on("1", placed()),
        on("1", cancelled()),
        on("2", placed()),
        on("2", refunded()),
        on("C1", credited()),
        on("A1", adjusted),
        on("3", counted),
    ];
    given_facts(facts).then_rows([
        row(SaleKind::Order, 2, 2, 4, "79.96"),
        row(SaleKind::Cancellation, 1, -1, -2, "-39.98"),
        row(SaleKind::Refund, 1, 0, 0, "-39.98"),
        row(SaleKind::CreditNote, 1, 1, -1, "-19.99"),
        row(SaleKind::LedgerAdjustment, 1, 1, 1, "-53594.36"),
        row(SaleKind::StockAdjustment, 1, 2, -20, "0"),
    ]);
}

#[test]
fn the_day_is_that_of_the_event_in_utc() {
    let facts = [
        on("1", placed()).at("2026-07-07T23:59:59Z"),
        on("2", placed()).at("2026-07-08T00:00:00Z"),
        on("3", placed()).at("2026-07-08T01:30:00+02:00"),
    ];
    let next = SalesByCountryAndDay { day: "2026-07-08".into(), ..row(SaleKind::Order, 1, 1, 2, "39.98") };
    given_facts(facts).then_rows([row(SaleKind::Order, 2, 2, 4, "79.96"), next]);
}

#[test]
fn thousandths_are_not_lost() {
    let country = Country::from("EIRE");
    let lines = vec![line(7, "0.001")];
    let event =
        CreditNoteEvent::CreditNoteIssued { customer_id: None, country, lines, total: pounds("0.007") };
    let expected =
        SalesByCountryAndDay { country: "EIRE".into(), ..row(SaleKind::CreditNote, 1, 1, 7, "0.007") };
    given_facts([on("C1", event)]).then_row(expected);
}
