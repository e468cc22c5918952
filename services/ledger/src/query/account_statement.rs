//! The statement of an account: one line for every entry, with what the account held after it.

use super::AccountBalance;
use crate::facts::{AccountId, BookEvent, CustomerId, Day, LineKind, TransactionId};
use diptych::prelude::*;

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "account_statement",
    revision = 1,
    owner = "accounting",
    reads(AccountBalance),
    contract = "bounded 5s",
    default_sort = "position desc",
    purpose = "tell line by line how an account came to hold what it holds",
    journey = "a customer looks for a payment, newest first, or reads a quarter from its beginning",
    freshness_target = "99% within 1s over 30d",
    correctness_target = "none tolerated",
    latency_target = "p99 50ms",
    runbook = "docs/operate.md#a-model-lags"
)]
#[index(account, position desc)]
pub struct AccountStatement {
    /// The account.
    #[key]
    pub account: AccountId,
    /// The place of the line in the log: a later line has a higher one.
    #[key]
    #[sort]
    pub position: Position,
    /// Which transaction.
    #[filter]
    pub transaction: TransactionId,
    /// Whether it was posted or reversed.
    pub kind: LineKind,
    /// What it was for, or why it was taken back.
    #[sensitivity(personal)]
    pub description: String,
    /// For whom, where it was for somebody.
    #[sensitivity(personal)]
    pub customer: Option<CustomerId>,
    /// How much: a debit is positive, a credit negative.
    pub amount: Money,
    /// What the account holds after it, on the side that increases it.
    pub balance: Money,
    /// When it was posted.
    #[filter]
    #[sort]
    #[column(range_max = "366d")]
    pub posted_at: Timestamp,
    /// The day from which it counts.
    pub value_date: Day,
    /// The version of the transaction to act on: send it back as `If-Match`.
    pub version: Version,
}

impl JoinedProjection for AccountStatement {
    type Event = BookEvent;

    fn route(fact: &Fact<BookEvent>) -> Route<Self> {
        let Some(movement) = fact.event.movement() else { return Route::none() };
        Route::starting(movement.entries.iter().map(|entry| Self {
            account: entry.account.clone(),
            position: fact.position(),
            transaction: movement.transaction.clone(),
            kind: movement.kind,
            description: movement.words.to_owned(),
            customer: movement.customer.cloned(),
            amount: entry.amount,
            balance: Money::zero(entry.amount.currency()),
            posted_at: fact.occurred_at(),
            value_date: movement.value_date.clone(),
            version: fact.version(),
        }))
    }

    fn project(row: Option<Self>, _: &Fact<BookEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let row = row?;
        // The sibling stands as it was after the fact.
        let balance = siblings.get::<AccountBalance>(&row.account)?.balance;
        Some(Self { balance, ..row })
    }
}
