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

/// The sum of two amounts of one currency. At an end of the range of money a sum stays there, whatever comes:
/// it says that more was moved than is kept exactly, and never anything that looks exact and is not. An entry
/// is bounded, so that this takes 90,000 of the largest.
fn sum(left: Money, right: Money) -> Money {
    let at_end = |money: &Money| money.thousandths().abs() == Money::THOUSANDTHS_MAX;
    if let Some(unknown) = [left, right].into_iter().find(at_end) {
        return unknown;
    }
    let wide = left.thousandths().saturating_add(right.thousandths());
    let within = wide.clamp(-Money::THOUSANDTHS_MAX, Money::THOUSANDTHS_MAX);
    Money::from_thousandths(within, left.currency()).expect("it is within the range of money")
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
