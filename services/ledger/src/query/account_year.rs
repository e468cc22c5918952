//! A year of an account as one document: what it began with, what came and went, month by month, and what it
//! ended with. An entry of an earlier year, which an import may bring at any time, moves the years after it.

use super::{AccountTotal, sides, sum};
use crate::facts::{AccountId, BookEvent, Month, PostedEntry, Year, month_of, year_of};
use diptych::prelude::*;

/// A year of an account.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "account_year",
    revision = 1,
    owner = "analytics",
    reads(AccountTotal),
    contract = "eventual",
    purpose = "compare the years of an account, and the months of a year, without adding up any entry",
    journey = "a controller draws up the year's accounts the morning after; a night of lag does no harm",
    freshness_target = "99% within 1d over 30d",
    latency_target = "p99 100ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct AccountYear {
    /// The account.
    #[key]
    #[filter]
    pub account: AccountId,
    /// The year, by when its entries were posted, UTC.
    #[key]
    #[filter]
    pub year: Year,
    /// How many entries it has.
    #[sort]
    pub entries: i64,
    /// What the account held before it: debits less credits.
    pub opening: Money,
    /// The debits of the year.
    pub debit: Money,
    /// The credits of the year.
    pub credit: Money,
    /// What the account held after it: debits less credits.
    pub closing: Money,
    /// Its months that have entries, the earliest first.
    #[json]
    pub months: Vec<MonthSum>,
}

/// A month of an account.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct MonthSum {
    /// Which month.
    pub month: Month,
    /// How many entries it has.
    pub entries: i64,
    /// Its debits.
    pub debit: Money,
    /// Its credits.
    pub credit: Money,
}

impl AccountYear {
    /// A year without entries.
    fn empty(entry: &PostedEntry, year: Year) -> Self {
        let zero = Money::zero(entry.amount.currency());
        Self {
            account: entry.account.clone(),
            year,
            entries: 0,
            opening: zero,
            debit: zero,
            credit: zero,
            closing: zero,
            months: Vec::new(),
        }
    }

    /// The year with one entry more.
    fn with(mut self, amount: Money, month: Month) -> Self {
        let (debit, credit) = sides(amount);
        match self.months.binary_search_by(|held| held.month.cmp(&month)) {
            Ok(place) => {
                let held = &mut self.months[place];
                held.entries += 1;
                held.debit = sum(held.debit, debit);
                held.credit = sum(held.credit, credit);
            }
            Err(place) => self.months.insert(place, MonthSum { month, entries: 1, debit, credit }),
        }
        Self {
            entries: self.entries + 1,
            debit: sum(self.debit, debit),
            credit: sum(self.credit, credit),
            closing: sum(self.closing, amount),
            ..self
        }
    }
}

impl JoinedProjection for AccountYear {
    type Event = BookEvent;

    fn route(fact: &Fact<BookEvent>) -> Route<Self> {
        let Some(movement) = fact.event.movement() else { return Route::none() };
        let year = year_of(fact.occurred_at());
        let own = Route::starting(movement.entries.iter().map(|entry| Self::empty(entry, year.clone())));
        let accounts = movement.entries.iter().map(|entry| Route::rows_where(Self::ACCOUNT, &entry.account));
        accounts.fold(own, Route::and)
    }

    fn project(row: Option<Self>, fact: &Fact<BookEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let mut row = row?;
        let Some(entry) = fact.event.movement().and_then(|movement| movement.of(&row.account)) else {
            return Some(row);
        };
        let year = year_of(fact.occurred_at());
        if row.year < year {
            return Some(row);
        }
        if row.year > year {
            let (opening, closing) = (sum(row.opening, entry.amount), sum(row.closing, entry.amount));
            return Some(Self { opening, closing, ..row });
        }
        if row.entries == 0 {
            let total = siblings.get::<AccountTotal>(&row.account)?;
            row.opening = total.before(&row.year, entry.amount.currency());
            row.closing = row.opening;
        }
        Some(row.with(entry.amount, month_of(fact.occurred_at())))
    }
}
