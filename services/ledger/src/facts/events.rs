//! The event language of the books. Events carry what the right panel will need, so that no fold ever has to
//! ask. Nothing here is ever edited: what was wrong is reversed.
//!
//! The tag `account` says which facts a decision on an account rests on: its opening and its closing, and
//! for an account that refuses overdraft also everything posted to it. Other accounts are not marked on
//! transactions, so that busy ones never make two commands wait for each other and their history is never
//! read. A balance that is carried forward says all of this anew, so that nothing before it is read again.

use super::{
    AccountId, AccountKind, CurrencyCode, CustomerId, Day, LineKind, Overdraft, PostedEntry, TransactionId,
};
use diptych::prelude::*;

/// What happens in the books.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "book", owner = "accounting")]
pub enum BookEvent {
    /// An account came to be.
    AccountOpened {
        /// Which.
        #[tag]
        account: AccountId,
        /// What people call it.
        name: String,
        /// Of which of the five kinds it is.
        kind: AccountKind,
        /// The only currency of its entries.
        currency: CurrencyCode,
        /// Whether it may fall below zero.
        overdraft: Overdraft,
    },
    /// An account takes no entries any more.
    AccountClosed {
        /// Which.
        #[tag]
        account: AccountId,
    },
    /// What an account that refuses overdraft holds was carried forward, as books are from one period to the
    /// next. It stands right before the transaction that made it due, in the stream of that.
    BalanceCarriedForward {
        /// Which account.
        #[tag]
        account: AccountId,
        /// What people call it.
        name: String,
        /// Of which of the five kinds it is.
        kind: AccountKind,
        /// What it holds, on the side that increases it, in its currency.
        balance: Money,
    },
    /// Money moved between accounts.
    TransactionPosted {
        /// Which transaction.
        transaction: TransactionId,
        /// Its sides, which add up to zero in each currency.
        entries: Vec<PostedEntry>,
        /// The accounts among them that refuse overdraft.
        #[tag("account")]
        guarded: Vec<AccountId>,
        /// What it was for.
        description: String,
        /// For whom, where it was for somebody.
        customer: Option<CustomerId>,
        /// The day from which it counts.
        value_date: Day,
    },
    /// A transaction was taken back, by the same entries with the other sign.
    TransactionReversed {
        /// Which transaction.
        transaction: TransactionId,
        /// Its sides with the other sign.
        entries: Vec<PostedEntry>,
        /// The accounts among them that refuse overdraft.
        #[tag("account")]
        guarded: Vec<AccountId>,
        /// Why.
        reason: String,
        /// For whom the transaction was, where it was for somebody.
        customer: Option<CustomerId>,
        /// The day from which it counts.
        value_date: Day,
    },
}

/// The two events that move money, seen as one.
#[derive(Clone, Copy, Debug)]
pub struct Movement<'a> {
    /// Which transaction.
    pub transaction: &'a TransactionId,
    /// Its sides.
    pub entries: &'a [PostedEntry],
    /// What it was for, or why it was taken back.
    pub words: &'a str,
    /// For whom.
    pub customer: Option<&'a CustomerId>,
    /// The day from which it counts.
    pub value_date: &'a Day,
    /// Whether it is a transaction or its reversal.
    pub kind: LineKind,
}

impl BookEvent {
    /// What money it moves; none where it is about an account.
    #[must_use]
    pub fn movement(&self) -> Option<Movement<'_>> {
        let (kind, transaction, entries, words, customer, value_date) = match self {
            Self::AccountOpened { .. } | Self::AccountClosed { .. } | Self::BalanceCarriedForward { .. } => {
                return None;
            }
            Self::TransactionPosted { transaction, entries, description, customer, value_date, .. } => {
                (LineKind::Posting, transaction, entries, description, customer, value_date)
            }
            Self::TransactionReversed { transaction, entries, reason, customer, value_date, .. } => {
                (LineKind::Reversal, transaction, entries, reason, customer, value_date)
            }
        };
        let customer = customer.as_ref();
        Some(Movement { transaction, entries, words, customer, value_date, kind })
    }
}

impl<'a> Movement<'a> {
    /// The side of an account. A transaction has one for each account at most.
    #[must_use]
    pub fn of(&self, account: &AccountId) -> Option<&'a PostedEntry> {
        self.entries.iter().find(|entry| entry.account == *account)
    }
}
