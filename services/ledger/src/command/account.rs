//! An account as the boundary of a command shows it: what it is, and what it holds where that is guarded.

use super::BookRejection;
use super::posting::{BALANCE_THOUSANDTHS_MAX, POSTINGS_CARRIED_MAX};
use crate::facts::{AccountId, AccountKind, BookEvent, CurrencyCode, Overdraft, PostedEntry};
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
    /// How many postings and reversals made it since it was carried forward last.
    pub postings: i64,
}

impl Account {
    /// Whether every posting to it is decided on what it holds.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.overdraft == Overdraft::Refused
    }

    /// What it holds; nothing where nothing was posted to it, or where it is not guarded.
    fn held(&self, currency: Currency) -> Money {
        self.guarded.as_ref().map_or_else(|| Money::zero(currency), |held| held.balance)
    }

    /// What it holds after an entry that was posted.
    pub(super) fn post(&mut self, entry: &PostedEntry) {
        if self.is_guarded() {
            let (held, natural) = (self.held(entry.amount.currency()), self.kind.natural(entry.amount));
            // What was accepted adds up. Only of an account whose beginning is still to come some entries may
            // be missing here, and what it carries forward takes the place of this.
            let balance = held.plus(natural).unwrap_or(held);
            let postings = self.guarded.as_ref().map_or(0, |held| held.postings) + 1;
            self.guarded = Some(Guarded { balance, postings });
        }
    }

    /// An account as what it carried forward tells it.
    pub(super) fn carried(account: AccountId, name: String, kind: AccountKind, balance: Money) -> Self {
        let (currency, overdraft) = (CurrencyCode::from(balance.currency()), Overdraft::Refused);
        let guarded = Some(Guarded { balance, postings: 0 });
        Self { account, name, kind, currency, overdraft, closed: false, guarded }
    }

    /// What it carries forward before the next posting, where that is due.
    pub(super) fn carried_forward(&self) -> Option<BookEvent> {
        let held = self.guarded.as_ref().filter(|held| held.postings >= POSTINGS_CARRIED_MAX)?;
        Some(BookEvent::BalanceCarriedForward {
            account: self.account.clone(),
            name: self.name.clone(),
            kind: self.kind,
            balance: held.balance,
        })
    }

    /// The entry as it may be recorded.
    ///
    /// # Errors
    /// An account that is closed or of another currency, or that would be overdrawn or hold too much.
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

    /// Whether a guarded account has what an entry takes from it, and room for what one brings.
    fn cover(&self, amount: Money) -> Result<(), BookRejection> {
        let (account, balance) = (self.account.clone(), self.held(amount.currency()));
        let natural = self.kind.natural(amount);
        let most = BALANCE_THOUSANDTHS_MAX;
        match balance.plus(natural) {
            Ok(after) if after.is_negative() => {
                let amount = natural.times(-1).expect("the range of money is symmetric");
                Err(BookRejection::Overdraft { account, balance, amount })
            }
            Ok(after) if after.thousandths() <= most || natural.is_negative() => Ok(()),
            _ => {
                let balance_max = Money::from_thousandths(most, amount.currency());
                let balance_max = balance_max.expect("the most is within the range of money");
                Err(BookRejection::BalanceTooLarge { account, balance_max })
            }
        }
    }
}
