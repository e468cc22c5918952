//! The trial balance: every account with its debits, its credits and what they leave. Inline: a transaction
//! is in it the moment it is posted, and in each currency its balances add up to zero at any moment.

use super::{sides, sum};
use crate::facts::{AccountId, AccountKind, BookEvent, CurrencyCode};
use diptych::prelude::*;

/// An account of the trial balance.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "trial_balance",
    revision = 1,
    owner = "accounting",
    inline,
    contract = "strong",
    purpose = "prove that the books balance, and say what every account holds at this moment",
    journey = "an accountant posts a transaction and sees both sides of it in the next answer",
    freshness_target = "always current",
    correctness_target = "none tolerated",
    latency_target = "p99 20ms",
    runbook = "docs/operate.md#an-inline-model-fails"
)]
pub struct TrialBalance {
    /// The account.
    #[key]
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// Of which of the five kinds it is.
    #[filter]
    pub kind: AccountKind,
    /// The currency of its entries.
    #[filter]
    pub currency: CurrencyCode,
    /// Whether it takes entries.
    #[filter]
    pub open: bool,
    /// All debits.
    pub debit: Money,
    /// All credits.
    pub credit: Money,
    /// Debits less credits.
    #[sort]
    pub balance: Money,
    /// How many entries there are.
    #[sort]
    pub entries: i64,
    /// The version to act on: send it back as `If-Match`.
    pub version: Version,
}

impl Projection for TrialBalance {
    type Event = BookEvent;

    fn route(fact: &Fact<BookEvent>) -> Route<Self> {
        match (&fact.event, fact.event.movement()) {
            (_, Some(movement)) => Route::keys(movement.entries.iter().map(|entry| entry.account.clone())),
            (BookEvent::AccountOpened { account, .. } | BookEvent::AccountClosed { account }, None) => {
                Route::key(account.clone())
            }
            (_, None) => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<BookEvent>) -> Option<Self> {
        match &fact.event {
            BookEvent::AccountOpened { account, name, kind, currency, .. } => {
                let zero = Money::zero(currency.currency()?);
                Some(Self {
                    account: account.clone(),
                    name: name.clone(),
                    kind: *kind,
                    currency: currency.clone(),
                    open: true,
                    debit: zero,
                    credit: zero,
                    balance: zero,
                    entries: 0,
                    version: fact.version(),
                })
            }
            BookEvent::AccountClosed { .. } => {
                row.map(|row| Self { open: false, version: fact.version(), ..row })
            }
            // It moves nothing.
            BookEvent::BalanceCarriedForward { .. } => row,
            BookEvent::TransactionPosted { .. } | BookEvent::TransactionReversed { .. } => {
                let row = row?;
                let Some(entry) = fact.event.movement().and_then(|movement| movement.of(&row.account)) else {
                    return Some(row);
                };
                let (debit, credit) = sides(entry.amount);
                Some(Self {
                    debit: sum(row.debit, debit),
                    credit: sum(row.credit, credit),
                    balance: sum(row.balance, entry.amount),
                    entries: row.entries + 1,
                    ..row
                })
            }
        }
    }
}
