//! An account as the boundary of a command shows it: what it is, and what it holds where that is guarded.

use super::BookRejection;
use super::posting::GUARDED_POSTINGS_MAX;
use crate::facts::{AccountId, AccountKind, CurrencyCode, Overdraft, PostedEntry};
use diptych::prelude::*;

/// An account.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct Account {
    /// Which.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// Of which of the five kinds it is.
    pub kind: AccountKind,
    /// The only currency of its entries.
    pub currency: CurrencyCode,
    /// Whether it may fall below zero.
    pub overdraft: Overdraft,
    /// Whether it takes no entries any more.
    pub closed: bool,
    /// What it holds, where it refuses overdraft and something was posted to it.
    pub guarded: Option<Guarded>,
}

/// What a guarded account holds.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct Guarded {
    /// How much, on the side that increases it: never below zero.
    pub balance: Money,
    /// How many postings and reversals made it.
    pub postings: i64,
}

impl Account {
    /// Whether every posting to it is decided on what it holds.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.overdraft == Overdraft::Refused
    }

    /// What it would hold after an amount, on the side that increases it.
    fn after(&self, natural: Money) -> Money {
        let held = self.guarded.as_ref().map_or_else(|| Money::zero(natural.currency()), |held| held.balance);
        held.plus(natural).expect("so few entries of bounded size stay within the range of money")
    }

    /// What it holds after an entry that was posted.
    pub(super) fn post(&mut self, entry: &PostedEntry) {
        if self.is_guarded() {
            let balance = self.after(self.kind.natural(entry.amount));
            let postings = self.guarded.as_ref().map_or(0, |held| held.postings) + 1;
            self.guarded = Some(Guarded { balance, postings });
        }
    }

    /// The entry as it may be recorded.
    ///
    /// # Errors
    /// An account that is closed or of another currency, or that would be overdrawn or too long.
    pub(super) fn take(&self, amount: Money) -> Result<PostedEntry, BookRejection> {
        let (account, currency) = (self.account.clone(), CurrencyCode::from(amount.currency()));
        if self.closed {
            return Err(BookRejection::AccountNotOpen { account });
        }
        if currency != self.currency {
            let expected = self.currency.clone();
            return Err(BookRejection::CurrencyMismatch { account, currency, expected });
        }
        if self.is_guarded() {
            self.cover(amount)?;
        }
        Ok(PostedEntry { account, kind: self.kind, amount })
    }

    /// Whether a guarded account has what an entry takes from it.
    fn cover(&self, amount: Money) -> Result<(), BookRejection> {
        let account = self.account.clone();
        let natural = self.kind.natural(amount);
        let after = self.after(natural);
        if after.is_negative() {
            let balance = self.after(Money::zero(amount.currency()));
            let amount = natural.times(-1).expect("the range of money is symmetric");
            return Err(BookRejection::Overdraft { account, balance, amount });
        }
        // What a full account holds can still leave it, all at once.
        let full = self.guarded.as_ref().is_some_and(|held| held.postings >= GUARDED_POSTINGS_MAX);
        if full && after.thousandths() != 0 {
            return Err(BookRejection::AccountFull { account, postings_max: GUARDED_POSTINGS_MAX });
        }
        Ok(())
    }
}
