//! What every account holds, for the statement beside it to look up. It moves under the statement's
//! checkpoint, so that a line's balance is that of the same moment.

use super::sum;
use crate::facts::{AccountId, AccountKind, BookEvent};
use diptych::prelude::*;

/// What an account holds.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "account_balance",
    revision = 1,
    owner = "accounting",
    contract = "bounded 5s",
    purpose = "say what an account holds as of the same moment as its statement",
    journey = "the line of a statement is drawn up with the balance after it",
    freshness_target = "99% within 1s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#a-model-lags"
)]
pub struct AccountBalance {
    /// The account.
    #[key]
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// Of which of the five kinds it is.
    pub kind: AccountKind,
    /// What it holds, on the side that increases it.
    pub balance: Money,
    /// How many lines its statement has.
    #[sort]
    pub lines: i64,
}

impl Projection for AccountBalance {
    type Event = BookEvent;

    fn route(fact: &Fact<BookEvent>) -> Route<Self> {
        match (&fact.event, fact.event.movement()) {
            (BookEvent::AccountOpened { account, .. }, _) => Route::key(account.clone()),
            (_, Some(movement)) => Route::keys(movement.entries.iter().map(|entry| entry.account.clone())),
            (_, None) => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<BookEvent>) -> Option<Self> {
        if let BookEvent::AccountOpened { account, name, kind, currency, .. } = &fact.event {
            let balance = Money::zero(currency.currency()?);
            return Some(Self {
                account: account.clone(),
                name: name.clone(),
                kind: *kind,
                balance,
                lines: 0,
            });
        }
        let row = row?;
        let Some(entry) = fact.event.movement().and_then(|movement| movement.of(&row.account)) else {
            return Some(row);
        };
        let balance = sum(row.balance, entry.kind.natural(entry.amount));
        Some(Self { balance, lines: row.lines + 1, ..row })
    }
}
