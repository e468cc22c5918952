//! A month of a customer as one document: how many transactions, and what they moved by kind of account.

use super::sum;
use crate::facts::{AccountKind, BookEvent, CustomerId, LineKind, Month, PostedEntry, month_of};
use diptych::prelude::*;

/// A month of a customer.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "customer_month",
    revision = 1,
    owner = "analytics",
    contract = "bounded 60s",
    purpose = "say what was done for a customer in a month, by kind of account",
    journey = "an analyst compares customers and months; a minute of lag does no harm",
    freshness_target = "99% within 60s over 30d",
    latency_target = "p99 100ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct CustomerMonth {
    /// The customer.
    #[key]
    #[filter]
    #[sensitivity(personal)]
    pub customer: CustomerId,
    /// The month, by when it was posted, UTC.
    #[key]
    #[filter]
    pub month: Month,
    /// How many transactions were posted.
    #[sort]
    pub transactions: i64,
    /// How many were taken back.
    pub reversals: i64,
    /// What they moved, by kind of account and currency: debits less credits.
    #[json]
    pub sums: Vec<KindSum>,
}

/// What was moved in accounts of one kind.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct KindSum {
    /// Of which kind the accounts are.
    pub kind: AccountKind,
    /// Debits less credits.
    pub sum: Money,
}

impl KindSum {
    /// Where it stands among the sums of a month.
    fn place(&self) -> (AccountKind, Currency) {
        (self.kind, self.sum.currency())
    }
}

impl Projection for CustomerMonth {
    type Event = BookEvent;

    fn route(fact: &Fact<BookEvent>) -> Route<Self> {
        let Some(customer) = fact.event.movement().and_then(|movement| movement.customer) else {
            return Route::none();
        };
        Route::starting([Self {
            customer: customer.clone(),
            month: month_of(fact.occurred_at()),
            transactions: 0,
            reversals: 0,
            sums: Vec::new(),
        }])
    }

    fn project(row: Option<Self>, fact: &Fact<BookEvent>) -> Option<Self> {
        let mut row = row?;
        let Some(movement) = fact.event.movement() else { return Some(row) };
        match movement.kind {
            LineKind::Posting => row.transactions += 1,
            LineKind::Reversal => row.reversals += 1,
        }
        for PostedEntry { kind, amount, .. } in movement.entries {
            let moved = KindSum { kind: *kind, sum: *amount };
            match row.sums.binary_search_by_key(&moved.place(), KindSum::place) {
                Ok(place) => row.sums[place].sum = sum(row.sums[place].sum, *amount),
                Err(place) => row.sums.insert(place, moved),
            }
        }
        Some(row)
    }
}
