//! What a fine's row shows, as sentences.

use super::*;
use crate::facts::euros;
use crate::query::samples::{at, collected, fine_notified, fine_paid, fine_sent, fined, penalty};
use diptych::testing::{given_facts, on};

/// F-1 of 35 euros, as it was created by the first fact.
fn row() -> FineBalance {
    FineBalance {
        fine_id: "F-1".into(),
        status: FineStatus::Created,
        settlement: Settlement::Unpaid,
        amount: euros(35_000),
        penalty: None,
        expense: None,
        due: euros(35_000),
        paid: euros(0),
        outstanding: euros(35_000),
        payments: 0,
        recorded_paid: None,
        article: "157".into(),
        vehicle_class: "A".into(),
        points: 2,
        officer_id: "561".into(),
        dismissal: None,
        notification: None,
        appeal: None,
        created_at: at(1),
        last_activity: FineStep::CreateFine,
        last_activity_at: at(1),
        version: Version(1),
    }
}

#[test]
fn a_fine_that_was_created_is_outstanding() {
    given_facts([on("F-1", fined(35_000))]).then_row(row());
}

#[test]
fn sending_costs_and_a_penalty_takes_the_place_of_the_amount() {
    let expected = FineBalance {
        status: FineStatus::PenaltyAdded,
        expense: Some(euros(11_000)),
        penalty: Some(euros(71_500)),
        due: euros(82_500),
        outstanding: euros(82_500),
        notification: Some("P".into()),
        last_activity: FineStep::AddPenalty,
        last_activity_at: at(4),
        version: Version(4),
        ..row()
    };
    let facts = [fined(35_000), fine_sent(), fine_notified(), penalty(71_500)];
    given_facts(facts.map(|fact| on("F-1", fact))).then_row(expected);
}

#[test]
fn payments_settle_a_fine_and_what_the_books_say_stands_beside_them() {
    let partly = FineBalance {
        settlement: Settlement::PartlyPaid,
        paid: euros(20_000),
        outstanding: euros(15_000),
        payments: 1,
        recorded_paid: Some(euros(20_000)),
        last_activity: FineStep::Payment,
        last_activity_at: at(2),
        version: Version(2),
        ..row()
    };
    let first = fine_paid(20_000, FineStatus::Created);
    given_facts([on("F-1", fined(35_000)), on("F-1", first.clone())]).then_row(partly.clone());
    let over = FineBalance {
        settlement: Settlement::Overpaid,
        paid: euros(35_001),
        outstanding: euros(0),
        payments: 2,
        recorded_paid: Some(euros(15_001)),
        last_activity_at: at(3),
        version: Version(3),
        ..partly
    };
    let second = fine_paid(15_001, FineStatus::Created);
    given_facts([fined(35_000), first, second].map(|fact| on("F-1", fact))).then_row(over);
}

#[test]
fn an_appeal_shows_its_last_step_and_the_dismissal_that_was_said_last() {
    let expected = FineBalance {
        appeal: Some(FineStep::AppealToJudge),
        dismissal: Some("#".into()),
        last_activity: FineStep::AppealToJudge,
        last_activity_at: at(4),
        version: Version(4),
        ..row()
    };
    let facts = [
        fined(35_000),
        FineEvent::FineAppealDateInserted,
        FineEvent::FineAppealSent { dismissal: Some("#".into()) },
        FineEvent::FineAppealedToJudge { dismissal: None },
    ];
    given_facts(facts.map(|fact| on("F-1", fact))).then_row(expected);
}

#[test]
fn a_fine_that_others_collect_says_so() {
    let facts = [fined(35_000), fine_sent(), fine_notified(), penalty(71_500), collected(82_500)];
    let rows = given_facts(facts.map(|fact| on("F-1", fact)));
    rows.then_row(FineBalance {
        status: FineStatus::InCreditCollection,
        expense: Some(euros(11_000)),
        penalty: Some(euros(71_500)),
        due: euros(82_500),
        outstanding: euros(82_500),
        notification: Some("P".into()),
        last_activity: FineStep::SendForCreditCollection,
        last_activity_at: at(5),
        version: Version(5),
        ..row()
    });
}
