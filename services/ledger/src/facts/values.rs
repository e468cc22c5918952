//! Identities and values of double-entry bookkeeping. The words are those of the field, as Luca Pacioli's
//! *Summa de arithmetica* (1494, "De computis et scripturis") gave them and accounting standards still use
//! them (IFRS Conceptual Framework, chapter 4: assets, liabilities, equity, income, expenses).

use diptych::prelude::*;

/// An account.
#[derive(Id)]
pub struct AccountId(String);

/// A transaction.
#[derive(Id)]
pub struct TransactionId(String);

/// Whom a transaction is for.
#[derive(Id)]
pub struct CustomerId(String);

/// A currency of ISO 4217 by its three letters, `GBP`.
#[derive(Id)]
pub struct CurrencyCode(String);

/// A day, UTC, `2026-11-30`.
#[derive(Id)]
pub struct Day(String);

/// A month, UTC, `2026-11`.
#[derive(Id)]
pub struct Month(String);

/// A year, UTC, `2026`.
#[derive(Id)]
pub struct Year(String);

/// The five kinds of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Scalar)]
pub enum AccountKind {
    /// What is owned: cash, what others owe. Debits increase it.
    Asset,
    /// What is owed to others, such as customers' deposits. Credits increase it.
    Liability,
    /// What belongs to the owners. Credits increase it.
    Equity,
    /// What was earned. Credits increase it.
    Income,
    /// What was spent. Debits increase it.
    Expense,
}

/// Whether an account may fall below zero, seen from the side that increases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
pub enum Overdraft {
    /// It may.
    Allowed,
    /// It may not: the account is guarded, and every posting to it is decided on its whole balance.
    Refused,
}

/// What a line of a statement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Scalar)]
pub enum LineKind {
    /// A transaction as it was posted.
    Posting,
    /// Its reversal: the same amounts with the other sign.
    Reversal,
}

/// One side of a transaction, as it is asked for.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct Entry {
    /// Which account.
    pub account: AccountId,
    /// How much: a debit is positive, a credit negative.
    pub amount: Money,
}

/// One side of a transaction, as it is recorded: with what folds need to know of its account.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct PostedEntry {
    /// Which account.
    pub account: AccountId,
    /// Of which kind it is.
    pub kind: AccountKind,
    /// How much: a debit is positive, a credit negative.
    pub amount: Money,
}

impl AccountKind {
    /// An amount as its kind of account counts it: above zero where it increases the account.
    #[must_use]
    pub fn natural(self, amount: Money) -> Money {
        match self {
            Self::Asset | Self::Expense => amount,
            Self::Liability | Self::Equity | Self::Income => negated(amount),
        }
    }
}

impl CurrencyCode {
    /// The currency, where there is one of that code.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        self.as_str().parse().ok()
    }
}

impl From<Currency> for CurrencyCode {
    fn from(currency: Currency) -> Self {
        Self::new(currency.as_str())
    }
}

impl PostedEntry {
    /// The same entry with the other sign.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { amount: negated(self.amount), ..self.clone() }
    }
}

/// The amount with the other sign.
fn negated(amount: Money) -> Money {
    amount.times(-1).expect("the range of money is symmetric")
}

/// The day of a time.
#[must_use]
pub fn day_of(time: Timestamp) -> Day {
    Day::new(time.date())
}

/// The month of a time.
#[must_use]
pub fn month_of(time: Timestamp) -> Month {
    let day = time.date();
    Month::new(day.rsplit_once('-').map_or(day.as_str(), |(month, _)| month))
}

/// The year of a time.
#[must_use]
pub fn year_of(time: Timestamp) -> Year {
    let month = month_of(time);
    let month = month.as_str();
    Year::new(month.rsplit_once('-').map_or(month, |(year, _)| year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_belongs_to_a_day_a_month_and_a_year() {
        let time: Timestamp = "2026-11-30T23:59:59Z".parse().unwrap();
        let of = (day_of(time), month_of(time), year_of(time));
        assert_eq!(of, ("2026-11-30".into(), "2026-11".into(), "2026".into()));
    }

    #[test]
    fn credits_increase_what_is_owed_and_debits_what_is_owned() {
        let debit = Money::parse("5.00", Currency::EUR).unwrap();
        for kind in [AccountKind::Asset, AccountKind::Expense] {
            assert!(!kind.natural(debit).is_negative(), "{kind}");
        }
        for kind in [AccountKind::Liability, AccountKind::Equity, AccountKind::Income] {
            assert!(kind.natural(debit).is_negative(), "{kind}");
        }
    }
}
