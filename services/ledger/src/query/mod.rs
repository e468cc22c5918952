//! The right panel: what the books say, by account and by customer. Knows nothing of commands.

mod account_balance;
mod account_statement;
mod account_total;
mod account_year;
mod customer_month;
#[cfg(test)]
mod tests;
mod trial_balance;

pub use account_balance::AccountBalance;
pub use account_statement::AccountStatement;
pub use account_total::{AccountTotal, YearSum};
pub use account_year::{AccountYear, MonthSum};
pub use customer_month::{CustomerMonth, KindSum};
pub use trial_balance::TrialBalance;

use diptych::prelude::*;

/// The sum of two amounts of one account.
fn sum(left: Money, right: Money) -> Money {
    left.plus(right).expect("an account has one currency, and sums of bounded entries stay exact")
}

/// The debit and the credit of an amount, neither below zero.
fn sides(amount: Money) -> (Money, Money) {
    let zero = Money::zero(amount.currency());
    if amount.is_negative() {
        (zero, amount.times(-1).expect("the range of money is symmetric"))
    } else {
        (amount, zero)
    }
}
