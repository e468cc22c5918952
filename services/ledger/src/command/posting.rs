//! What holds of every transaction whatever the accounts are: how many entries, how large, and that debits
//! and credits are equal. Knows nothing of accounts.

use super::BookRejection;
use crate::facts::{AccountId, CurrencyCode, Day, Entry};
use diptych::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The fewest entries of a transaction.
const ENTRIES_MIN: usize = 2;

/// The most entries of a transaction: with its own stream, what one boundary can name (16 items of a query).
pub const ENTRIES_MAX: usize = 14;

/// The largest entry, in thousandths of its currency: 100,000,000.00. Sums of 90,000 of the largest stay
/// within the range of money.
pub const ENTRY_THOUSANDTHS_MAX: i64 = 100_000_000_000;

/// The most accounts of a transaction that refuse overdraft.
pub const GUARDED_ACCOUNTS_MAX: usize = 4;

/// The most postings to an account that refuses overdraft before what it holds is carried forward. As many
/// are read for each further one at most: those of four accounts stay far within `boundary_facts_max`.
pub const POSTINGS_CARRIED_MAX: i64 = 100;

/// The most that an account that refuses overdraft may hold, in thousandths of its currency:
/// 1,000,000,000,000.00, a ninth of the range of money.
pub const BALANCE_THOUSANDTHS_MAX: i64 = 1_000_000_000_000_000;

/// Refuses what cannot be a transaction.
///
/// # Errors
/// Too few or too many entries, an account in two of them, an amount that moves nothing or too much, debits
/// that are not equal to credits.
pub(super) fn balanced(entries: &[Entry]) -> Result<(), BookRejection> {
    if !(ENTRIES_MIN..=ENTRIES_MAX).contains(&entries.len()) {
        return Err(BookRejection::EntriesNotValid {
            entries: entries.len() as i64,
            entries_min: ENTRIES_MIN as i64,
            entries_max: ENTRIES_MAX as i64,
        });
    }
    let mut seen = BTreeSet::new();
    let mut sums: BTreeMap<Currency, i64> = BTreeMap::new();
    for Entry { account, amount } in entries {
        if !seen.insert(account) {
            return Err(BookRejection::AccountTwice { account: account.clone() });
        }
        let thousandths = amount.thousandths();
        if thousandths == 0 || !(-ENTRY_THOUSANDTHS_MAX..=ENTRY_THOUSANDTHS_MAX).contains(&thousandths) {
            return Err(BookRejection::AmountNotValid { amount: *amount });
        }
        *sums.entry(amount.currency()).or_default() += thousandths;
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        None => Ok(()),
        Some((currency, sum)) => {
            let by = Money::from_thousandths(sum, currency)
                .expect("so few entries of bounded size stay within the range of money");
            Err(BookRejection::Unbalanced { currency: CurrencyCode::from(currency), by })
        }
    }
}

/// Refuses accounts that are not those of the entries, in whatever order.
pub(super) fn same_accounts<'a>(
    given: &[AccountId],
    of_entries: impl Iterator<Item = &'a AccountId>,
) -> Result<(), BookRejection> {
    let of_entries: BTreeSet<_> = of_entries.collect();
    if given.iter().collect::<BTreeSet<_>>() == of_entries {
        return Ok(());
    }
    Err(BookRejection::AccountsDiffer { accounts: of_entries.into_iter().cloned().collect() })
}

/// Refuses a text that says nothing.
pub(super) fn says_something(field: &str, text: &str) -> Result<(), BookRejection> {
    if text.trim().is_empty() { Err(BookRejection::TextBlank { field: field.to_owned() }) } else { Ok(()) }
}

/// The day from which something counts: as given, or today.
pub(super) fn counting_from(given: Option<Day>, now: Timestamp) -> Result<Day, BookRejection> {
    let Some(value_date) = given else { return Ok(crate::facts::day_of(now)) };
    let midnight = format!("{value_date}T00:00:00Z").parse::<Timestamp>();
    match midnight {
        Ok(time) if time.date() == value_date.as_str() => Ok(value_date),
        _ => Err(BookRejection::ValueDateNotValid { value_date }),
    }
}
