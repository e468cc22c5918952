//! What the entries of every account add up to by year: what the account's years look their opening up in.

use super::sum;
use crate::facts::{AccountId, BookEvent, Year, year_of};
use diptych::prelude::*;

/// What an account's entries add up to.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "account_total",
    revision = 1,
    owner = "analytics",
    contract = "eventual",
    purpose = "let a year of an account begin with what the years before it left, in any order",
    journey = "an import brings entries of 2003 after those of 2007",
    freshness_target = "99% within 1d over 30d",
    latency_target = "p99 50ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct AccountTotal {
    /// The account.
    #[key]
    pub account: AccountId,
    /// What the entries of each year add up to, the earliest first: a debit is positive.
    #[json]
    pub years: Vec<YearSum>,
}

/// What the entries of one year add up to.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct YearSum {
    /// Which year.
    pub year: Year,
    /// Debits less credits.
    pub sum: Money,
}

impl AccountTotal {
    /// What the years before one add up to.
    pub(super) fn before(&self, year: &Year, currency: Currency) -> Money {
        let earlier = self.years.iter().filter(|held| held.year < *year);
        earlier.fold(Money::zero(currency), |total, held| sum(total, held.sum))
    }
}

impl Projection for AccountTotal {
    type Event = BookEvent;

    fn route(fact: &Fact<BookEvent>) -> Route<Self> {
        let Some(movement) = fact.event.movement() else { return Route::none() };
        let empty = |account: &AccountId| Self { account: account.clone(), years: Vec::new() };
        Route::starting(movement.entries.iter().map(|entry| empty(&entry.account)))
    }

    fn project(row: Option<Self>, fact: &Fact<BookEvent>) -> Option<Self> {
        let mut row = row?;
        let Some(entry) = fact.event.movement().and_then(|movement| movement.of(&row.account)) else {
            return Some(row);
        };
        let year = year_of(fact.occurred_at());
        match row.years.binary_search_by(|held| held.year.cmp(&year)) {
            Ok(place) => row.years[place].sum = sum(row.years[place].sum, entry.amount),
            Err(place) => row.years.insert(place, YearSum { year, sum: entry.amount }),
        }
        Some(row)
    }
}
