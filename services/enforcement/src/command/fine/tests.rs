//! What a fine promises, as sentences.

use super::*;
use crate::facts::euros;
use diptych::testing::given;

fn create() -> FineCommand {
    FineCommand::Create {
        amount: euros(35_000),
        article: "157".into(),
        officer_id: "561".into(),
        vehicle_class: "A".into(),
        points: 0,
        dismissal: None,
    }
}

fn created() -> FineEvent {
    FineEvent::FineCreated {
        amount: euros(35_000),
        article: "157".into(),
        officer_id: "561".into(),
        vehicle_class: "A".into(),
        points: 0,
        dismissal: None,
    }
}

fn sent() -> FineEvent {
    FineEvent::FineSent { expense: euros(11_000) }
}

fn insert_notification() -> FineCommand {
    FineCommand::InsertNotification { notification: "P".into(), last_sent: Some("P".into()) }
}

fn notified() -> FineEvent {
    FineEvent::FineNotificationInserted { notification: "P".into(), last_sent: Some("P".into()) }
}

fn penalty(thousandths: i64) -> FineEvent {
    FineEvent::FinePenaltyAdded { amount: euros(thousandths) }
}

fn pay(thousandths: i64) -> FineCommand {
    FineCommand::Pay { amount: euros(thousandths), recorded_total: None }
}

fn paid(thousandths: i64, status: FineStatus) -> FineEvent {
    FineEvent::FinePaid { amount: euros(thousandths), status, recorded_total: None }
}

fn collected(outstanding: i64) -> FineEvent {
    FineEvent::FineSentForCreditCollection { outstanding: euros(outstanding) }
}

fn too_early(step: FineStep, needed: FineStep) -> FineRejection {
    FineRejection::FineStepTooEarly { step, needed }
}

#[test]
fn a_fine_is_created_once() {
    given::<Fine>([]).when(create()).then([created()]);
    let step = FineStep::CreateFine;
    given::<Fine>([created()]).when(create()).then_rejected(FineRejection::FineStepTaken { step });
}

#[test]
fn nothing_happens_to_a_fine_that_nobody_created() {
    for command in [
        FineCommand::Send { expense: euros(11_000) },
        insert_notification(),
        FineCommand::AddPenalty { amount: euros(71_500) },
        pay(35_000),
        FineCommand::InsertAppealDate,
        FineCommand::SendAppeal { dismissal: None },
        FineCommand::ReceiveAppealResult,
        FineCommand::NotifyAppealResult,
        FineCommand::AppealToJudge { dismissal: None },
        FineCommand::SendForCreditCollection,
    ] {
        given::<Fine>([]).when(command).then_rejected(FineRejection::FineNotFound);
    }
}

#[test]
fn a_fine_comes_step_by_step_to_those_who_collect_it() {
    given::<Fine>([created()]).when(FineCommand::Send { expense: euros(11_000) }).then([sent()]);
    given::<Fine>([created(), sent()]).when(insert_notification()).then([notified()]);
    let add = FineCommand::AddPenalty { amount: euros(71_500) };
    given::<Fine>([created(), sent(), notified()]).when(add).then([penalty(71_500)]);
    given::<Fine>([created(), sent(), notified(), penalty(71_500)])
        .when(FineCommand::SendForCreditCollection)
        .then([collected(82_500)]);
}

#[test]
fn no_step_comes_before_the_one_that_it_needs() {
    use FineStep::{
        AddPenalty, InsertFineNotification, NotifyResultAppealToOffender, ReceiveResultAppealFromPrefecture,
        SendFine, SendForCreditCollection,
    };
    let early = too_early(InsertFineNotification, SendFine);
    given::<Fine>([created()]).when(insert_notification()).then_rejected(early);
    let early = too_early(AddPenalty, InsertFineNotification);
    let add = FineCommand::AddPenalty { amount: euros(71_500) };
    given::<Fine>([created(), sent()]).when(add).then_rejected(early);
    let early = too_early(SendForCreditCollection, AddPenalty);
    given::<Fine>([created(), sent(), notified()])
        .when(FineCommand::SendForCreditCollection)
        .then_rejected(early);
    let early = too_early(ReceiveResultAppealFromPrefecture, SendFine);
    given::<Fine>([created()]).when(FineCommand::ReceiveAppealResult).then_rejected(early);
    let early = too_early(NotifyResultAppealToOffender, InsertFineNotification);
    given::<Fine>([created(), sent()]).when(FineCommand::NotifyAppealResult).then_rejected(early);
}

#[test]
fn everything_but_a_payment_happens_once() {
    let events = [created(), sent(), notified(), penalty(71_500), FineEvent::FineAppealDateInserted];
    for (command, step) in [
        (FineCommand::Send { expense: euros(1) }, FineStep::SendFine),
        (insert_notification(), FineStep::InsertFineNotification),
        (FineCommand::AddPenalty { amount: euros(90_000) }, FineStep::AddPenalty),
        (FineCommand::InsertAppealDate, FineStep::InsertDateAppealToPrefecture),
    ] {
        given::<Fine>(events.clone()).when(command).then_rejected(FineRejection::FineStepTaken { step });
    }
    let twice = [created(), paid(20_000, FineStatus::Created), paid(20_000, FineStatus::Created)];
    given::<Fine>(twice).when(pay(20_000)).then([paid(20_000, FineStatus::Created)]);
}

#[test]
fn money_is_taken_also_for_what_is_paid_already_and_a_penalty_may_follow() {
    let over = [created(), sent(), notified(), paid(46_000, FineStatus::Notified)];
    given::<Fine>(over.clone()).when(pay(1_000)).then([paid(1_000, FineStatus::Notified)]);
    let add = FineCommand::AddPenalty { amount: euros(71_500) };
    given::<Fine>(over).when(add).then([penalty(71_500)]);
}

#[test]
fn what_the_books_say_came_in_is_kept_beside_what_came_in() {
    let recorded_total = Some(euros(99_000));
    let pay = FineCommand::Pay { amount: euros(35_000), recorded_total };
    let paid = FineEvent::FinePaid { amount: euros(35_000), status: FineStatus::Created, recorded_total };
    given::<Fine>([created()]).when(pay).then([paid.clone()]);
    let fine = [created(), paid].iter().fold(Fine::default(), Fine::evolve);
    assert_eq!((fine.balance.paid, fine.payments), (euros(35_000), 1));
}

#[test]
fn those_who_collect_a_fine_are_left_to_it_but_an_appeal_may_still_go_to_the_prefecture() {
    let collected = [created(), sent(), notified(), penalty(71_500), collected(82_500)];
    let ended_by = FineStep::SendForCreditCollection;
    for (command, step) in [
        (pay(82_500), FineStep::Payment),
        (FineCommand::InsertAppealDate, FineStep::InsertDateAppealToPrefecture),
        (FineCommand::ReceiveAppealResult, FineStep::ReceiveResultAppealFromPrefecture),
        (FineCommand::NotifyAppealResult, FineStep::NotifyResultAppealToOffender),
        (FineCommand::AppealToJudge { dismissal: None }, FineStep::AppealToJudge),
    ] {
        let late = FineRejection::FineStepTooLate { step, ended_by };
        given::<Fine>(collected.clone()).when(command).then_rejected(late);
    }
    let dismissal = Some("#".into());
    given::<Fine>(collected)
        .when(FineCommand::SendAppeal { dismissal: dismissal.clone() })
        .then([FineEvent::FineAppealSent { dismissal }]);
}

#[test]
fn an_appeal_comes_in_any_order_but_its_date_not_after_the_offender_knows_the_result() {
    let judge = FineEvent::FineAppealedToJudge { dismissal: None };
    given::<Fine>([created(), judge.clone()])
        .when(FineCommand::SendAppeal { dismissal: None })
        .then([FineEvent::FineAppealSent { dismissal: None }]);
    given::<Fine>([created(), sent(), FineEvent::FineAppealResultReceived])
        .when(FineCommand::InsertAppealDate)
        .then([FineEvent::FineAppealDateInserted]);
    let known = [created(), sent(), notified(), FineEvent::FineAppealResultNotified];
    let late = FineRejection::FineStepTooLate {
        step: FineStep::InsertDateAppealToPrefecture,
        ended_by: FineStep::NotifyResultAppealToOffender,
    };
    given::<Fine>(known.clone()).when(FineCommand::InsertAppealDate).then_rejected(late);
    given::<Fine>(known).when(FineCommand::ReceiveAppealResult).then([FineEvent::FineAppealResultReceived]);
}

#[test]
fn a_penalty_makes_no_fine_cheaper() {
    let notified = [created(), sent(), notified()];
    let (amount, lower) = (euros(35_000), euros(34_999));
    let low = FineRejection::FinePenaltyTooLow { amount, penalty: lower };
    given::<Fine>(notified.clone()).when(FineCommand::AddPenalty { amount: lower }).then_rejected(low);
    given::<Fine>(notified).when(FineCommand::AddPenalty { amount }).then([penalty(35_000)]);
}

#[test]
fn money_is_in_euros_and_not_below_zero() {
    for amount in [
        euros(-1),
        euros(AMOUNT_THOUSANDTHS_MAX + 1),
        Money::from_thousandths(35_000, Currency::GBP).unwrap(),
    ] {
        let refused = |field: &str| FineRejection::FineAmountNotValid { field: field.to_owned(), amount };
        let FineCommand::Create { article, officer_id, vehicle_class, points, dismissal, .. } = create()
        else {
            unreachable!()
        };
        let create = FineCommand::Create { amount, article, officer_id, vehicle_class, points, dismissal };
        given::<Fine>([]).when(create).then_rejected(refused("amount"));
        let send = FineCommand::Send { expense: amount };
        given::<Fine>([created()]).when(send).then_rejected(refused("expense"));
        let pay = FineCommand::Pay { amount, recorded_total: None };
        given::<Fine>([created()]).when(pay).then_rejected(refused("payment"));
        let pay = FineCommand::Pay { amount: euros(1), recorded_total: Some(amount) };
        given::<Fine>([created()]).when(pay).then_rejected(refused("recorded total"));
        let add = FineCommand::AddPenalty { amount };
        given::<Fine>([created(), sent(), notified()]).when(add).then_rejected(refused("penalty"));
    }
}

#[test]
fn a_fine_says_what_was_broken_and_takes_no_more_points_than_there_are() {
    let with = |article: &str, points| FineCommand::Create {
        amount: euros(35_000),
        article: article.into(),
        officer_id: "561".into(),
        vehicle_class: "A".into(),
        points,
        dismissal: None,
    };
    let blank = FineRejection::FineTextBlank { field: "article".to_owned() };
    given::<Fine>([]).when(with(" ", 0)).then_rejected(blank);
    for points in [-1, POINTS_MAX + 1] {
        let refused = FineRejection::FinePointsNotValid { points };
        given::<Fine>([]).when(with("157", points)).then_rejected(refused);
    }
}

#[test]
fn a_fine_is_not_paid_in_any_number_of_parts() {
    let payments = (0..PAYMENTS_MAX).map(|_| paid(1, FineStatus::Created));
    let full = FineRejection::FinePaymentsFull { payments_max: PAYMENTS_MAX };
    given::<Fine>([created()].into_iter().chain(payments)).when(pay(1)).then_rejected(full);
}
