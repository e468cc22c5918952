//! What an order promises, as sentences.

use super::*;
// Each case is decided on the stored state, too.
use diptych::testing::stored_state as given;

fn line(quantity: i64, price: &str) -> LineItem {
    let unit_price = Money::parse(price, Currency::GBP).unwrap();
    LineItem { product_id: "lamp".into(), name: Some("Lamp".to_owned()), quantity, unit_price }
}

fn address() -> Address {
    let text = |text: &str| text.to_owned();
    Address {
        street: text("1 High St"),
        city: text("Leeds"),
        state: text(""),
        zip: text("LS1"),
        country: "United Kingdom".into(),
    }
}

fn pounds(amount: &str) -> Money {
    Money::parse(amount, Currency::GBP).unwrap()
}

fn place() -> OrderCommand {
    OrderCommand::Place {
        customer_id: Some("ann".into()),
        lines: vec![line(2, "19.99")],
        shipping_address: address(),
    }
}

fn placed() -> OrderEvent {
    OrderEvent::OrderPlaced {
        customer_id: Some("ann".into()),
        lines: vec![line(2, "19.99")],
        shipping_address: address(),
        total: pounds("39.98"),
    }
}

fn cancelled() -> OrderEvent {
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

fn cancel() -> OrderCommand {
    OrderCommand::Cancel { reason: "changed my mind".to_owned() }
}

fn authorized() -> OrderEvent {
    OrderEvent::PaymentAuthorized { amount: pounds("39.98") }
}

fn captured() -> OrderEvent {
    OrderEvent::PaymentCaptured { amount: pounds("39.98"), customer_id: Some("ann".into()) }
}

#[test]
fn placing_stores_one_order_placed() {
    given::<Order>([]).when(place()).then([placed()]);
}

#[test]
fn the_decider_computes_the_total() {
    given::<Order>([]).when(place()).then_state(|order| assert_eq!(order.total.amount(), "39.98"));
}

#[test]
fn an_order_may_have_no_lines() {
    let empty = OrderCommand::Place { customer_id: None, lines: vec![], shipping_address: address() };
    given::<Order>([]).when(empty).then_state(|order| assert_eq!(order.total, pounds("0")));
}

#[test]
fn cancel_after_placement_succeeds() {
    given::<Order>([placed()]).by("ann").when(cancel()).then([cancelled()]);
}

#[test]
fn cancelling_twice_is_rejected() {
    let rejection = OrderRejection::OrderAlreadyCancelled { reason: "changed my mind".to_owned() };
    given::<Order>([placed(), cancelled()]).when(cancel()).then_rejected(rejection);
}

#[test]
fn an_order_that_nobody_placed_is_not_found() {
    given::<Order>([]).when(cancel()).then_rejected(OrderRejection::OrderNotFound);
    given::<Order>([]).when(OrderCommand::Confirm).then_rejected(OrderRejection::OrderNotFound);
}

#[test]
fn an_order_is_placed_once() {
    given::<Order>([placed()]).when(place()).then_rejected(OrderRejection::OrderAlreadyPlaced);
}

#[test]
fn a_captured_payment_is_refunded_and_not_cancelled() {
    let paid = || [placed(), OrderEvent::OrderConfirmed, authorized(), captured()];
    let reason = "the payment is captured; refund it instead".to_owned();
    given::<Order>(paid()).when(cancel()).then_rejected(OrderRejection::OrderCannotBeCancelled { reason });
    let refund = OrderCommand::Refund { reason: "broken".to_owned() };
    given::<Order>(paid()).when(refund).then([OrderEvent::OrderRefunded {
        reason: "broken".to_owned(),
        amount: pounds("39.98"),
        customer_id: Some("ann".into()),
        country: "United Kingdom".into(),
    }]);
}

#[test]
fn an_order_goes_from_placing_to_fulfilment_step_by_step() {
    given::<Order>([placed()]).when(OrderCommand::Confirm).then([OrderEvent::OrderConfirmed]);
    let confirmed = [placed(), OrderEvent::OrderConfirmed];
    given::<Order>(confirmed.clone()).when(OrderCommand::AuthorizePayment).then([authorized()]);
    let step = "be fulfilled".to_owned();
    let early = OrderRejection::OrderStepNotPossible { step, status: OrderStatus::Confirmed };
    given::<Order>(confirmed).when(OrderCommand::Fulfil).then_rejected(early);
    let paid = [placed(), OrderEvent::OrderConfirmed, authorized(), captured()];
    given::<Order>(paid.clone()).when(OrderCommand::Fulfil).then([OrderEvent::OrderFulfilled]);
    let step = "have its payment captured".to_owned();
    let twice = OrderRejection::OrderStepNotPossible { step, status: OrderStatus::PaymentAuthorized };
    given::<Order>(paid).when(OrderCommand::CapturePayment).then_rejected(twice);
}

#[test]
fn moving_to_the_same_address_changes_nothing() {
    let same = OrderCommand::ChangeShippingAddress { shipping_address: address() };
    given::<Order>([placed()]).when(same).then_nothing();
}

#[test]
fn lines_must_make_sense() {
    let with = |lines| OrderCommand::Place { customer_id: None, lines, shipping_address: address() };
    let reason = "its quantity is below 1".to_owned();
    let rejection = OrderRejection::OrderLineNotValid { line: 2, reason };
    given::<Order>([]).when(with(vec![line(1, "1"), line(0, "1")])).then_rejected(rejection);
    let reason = "its price is below 0".to_owned();
    let rejection = OrderRejection::OrderLineNotValid { line: 1, reason };
    given::<Order>([]).when(with(vec![line(1, "-1")])).then_rejected(rejection);
    let mut euro = line(1, "1");
    euro.unit_price = Money::parse("1", Currency::EUR).unwrap();
    let reason = "its price is not in GBP, the currency of this shop".to_owned();
    let rejection = OrderRejection::OrderLineNotValid { line: 1, reason };
    given::<Order>([]).when(with(vec![euro])).then_rejected(rejection);
    let reason = "it is above 100,000,000.00 GBP".to_owned();
    let rejection = OrderRejection::OrderTotalNotValid { reason };
    given::<Order>([]).when(with(vec![line(1_000_000, "101")])).then_rejected(rejection);
}
