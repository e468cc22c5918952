//! Every projection over long histories drawn at random: the same facts leave the same rows, however they are
//! cut into batches and delivered again.
#![cfg(test)]

use super::samples::{
    authorized, cancelled, captured, credited, line, moved, placed, placed_by, pounds, refunded,
};
use super::{CustomerAccount, FulfilmentQueue, OrderSummary, SalesByCountryAndDay};
use crate::facts::{LedgerAdjustmentEvent, OrderEvent, StockAdjustmentEvent};
use diptych::testing::{GivenFact, GivenFacts, given_facts, on};

const FACTS: usize = 400;

/// A history of a few orders and bookings that come and go; the seed tells it again.
fn history(seed: u64) -> GivenFacts {
    let mut random = fastrand::Rng::with_seed(seed);
    let facts: Vec<_> = (0..FACTS).map(|_| fact(&mut random)).collect();
    given_facts(facts)
}

fn fact(random: &mut fastrand::Rng) -> GivenFact {
    let key = random.u8(..12).to_string();
    let country = "United Kingdom".into();
    match random.u8(..12) {
        0 => on(&key, placed()),
        1 => on(&key, placed_by(None)),
        2 => on(&key, OrderEvent::OrderConfirmed),
        3 => on(&key, authorized()),
        4 => on(&key, captured()),
        5 => on(&key, moved("York")),
        6 => on(&key, cancelled()),
        7 => on(&key, OrderEvent::OrderFulfilled),
        8 => on(&key, refunded()),
        9 => on(&key, credited()),
        10 => on(&key, StockAdjustmentEvent::StockAdjusted { country, lines: vec![line(-3, "0.00")] }),
        _ => {
            let (lines, total) = (vec![line(1, "-5.00")], pounds("-5.00"));
            on(&key, LedgerAdjustmentEvent::LedgerAdjusted { country, lines, total })
        }
    }
}

/// The histories; the cuts of each are drawn anew in every run.
const SEEDS: [u64; 3] = [1, 2, 3];

#[test]
fn the_list_of_orders_depends_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| history(seed).then_deterministic::<OrderSummary>());
}

#[test]
fn the_queue_depends_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| history(seed).then_deterministic::<FulfilmentQueue>());
}

#[test]
fn the_accounts_depend_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| history(seed).then_deterministic::<CustomerAccount>());
}

#[test]
fn the_sales_depend_on_the_facts_alone() {
    SEEDS.into_iter().for_each(|seed| history(seed).then_deterministic::<SalesByCountryAndDay>());
}
