//! What the sums show, as sentences.

use super::*;
use crate::query::samples::{collected, fine_notified, fine_paid, fine_sent, fined, penalty};
use diptych::testing::{GivenFact, given_facts, on};

/// One fine that nobody has paid anything of.
fn unpaid(status: FineStatus, due: i64) -> FinesByStatus {
    FinesByStatus {
        fines: 1,
        unpaid: 1,
        due: euros(due),
        outstanding: euros(due),
        ..FinesByStatus::none(status)
    }
}

fn facts(fine: &str, events: impl IntoIterator<Item = FineEvent>) -> Vec<GivenFact> {
    events.into_iter().map(|event| on(fine, event)).collect()
}

#[test]
fn fines_of_a_status_are_added_up() {
    let sum = FinesByStatus { fines: 2, unpaid: 2, ..unpaid(FineStatus::Created, 55_500) };
    given_facts([on("F-1", fined(35_000)), on("F-2", fined(20_500))]).then_rows([sum]);
}

#[test]
fn a_fine_moves_from_status_to_status_and_leaves_no_row_behind() {
    let mut events = vec![fined(35_000)];
    for (event, expected) in [
        (fine_sent(), unpaid(FineStatus::Sent, 46_000)),
        (fine_notified(), unpaid(FineStatus::Notified, 46_000)),
        (penalty(71_500), unpaid(FineStatus::PenaltyAdded, 82_500)),
        (collected(82_500), unpaid(FineStatus::InCreditCollection, 82_500)),
    ] {
        events.push(event);
        given_facts(facts("F-1", events.clone())).then_rows([expected]);
    }
}

#[test]
fn a_payment_moves_a_fine_from_unpaid_to_partly_paid_to_paid_to_overpaid() {
    let mut events = vec![fined(35_000), fine_sent()];
    let sent = FinesByStatus { unpaid: 0, ..unpaid(FineStatus::Sent, 46_000) };
    for (amount, expected) in [
        (
            6_000,
            FinesByStatus { partly_paid: 1, paid: euros(6_000), outstanding: euros(40_000), ..sent.clone() },
        ),
        (
            40_000,
            FinesByStatus { paid_exactly: 1, paid: euros(46_000), outstanding: euros(0), ..sent.clone() },
        ),
        (1, FinesByStatus { overpaid: 1, paid: euros(46_001), outstanding: euros(0), ..sent.clone() }),
    ] {
        events.push(fine_paid(amount, FineStatus::Sent));
        given_facts(facts("F-1", events.clone())).then_rows([expected]);
    }
}

#[test]
fn a_fine_that_was_paid_before_it_was_sent_owes_what_sending_cost() {
    let events = [fined(35_000), fine_paid(35_000, FineStatus::Created), fine_sent()];
    let expected = FinesByStatus {
        unpaid: 0,
        partly_paid: 1,
        paid: euros(35_000),
        outstanding: euros(11_000),
        ..unpaid(FineStatus::Sent, 46_000)
    };
    given_facts(facts("F-1", events)).then_rows([expected]);
}

#[test]
fn what_one_fine_is_overpaid_by_pays_no_other() {
    let mut events = facts("F-1", [fined(35_000), fine_paid(50_000, FineStatus::Created)]);
    events.extend(facts("F-2", [fined(20_000)]));
    let expected = FinesByStatus {
        fines: 2,
        overpaid: 1,
        due: euros(55_000),
        paid: euros(50_000),
        outstanding: euros(20_000),
        ..unpaid(FineStatus::Created, 20_000)
    };
    given_facts(events).then_rows([expected]);
}

#[test]
fn an_appeal_moves_no_money() {
    let events = [fined(35_000), FineEvent::FineAppealDateInserted];
    given_facts(facts("F-1", events)).then_rows([unpaid(FineStatus::Created, 35_000)]);
}
