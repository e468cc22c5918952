//! What may be asked of the books, and what they may answer instead.

use crate::facts::{AccountId, AccountKind, CurrencyCode, CustomerId, Day, Entry, Overdraft, TransactionId};
use diptych::prelude::*;

/// What may be asked of the books. Accounts and transactions are addressed alike, by their ids: an id names
/// one or the other.
#[derive(Clone, Debug, PartialEq, Command)]
pub enum BookCommand {
    /// Opens an account.
    OpenAccount {
        /// What people call it.
        name: String,
        /// Of which of the five kinds it is.
        kind: AccountKind,
        /// The only currency of its entries.
        currency: CurrencyCode,
        /// Whether it may fall below zero.
        overdraft: Overdraft,
    },
    /// Closes an account. One that refuses overdraft has to be at zero.
    CloseAccount,
    /// Posts a transaction: two entries at least, which add up to zero in each currency.
    #[command(key_required)]
    PostTransaction {
        /// Its sides, one for each account.
        entries: Vec<Entry>,
        /// What it is for.
        description: String,
        /// For whom, where it is for somebody.
        customer: Option<CustomerId>,
        /// The day from which it counts; that of the posting unless said otherwise.
        value_date: Option<Day>,
    },
    /// Takes a transaction back by the same entries with the other sign. It happens once.
    #[command(key_required)]
    ReverseTransaction {
        /// The accounts of its entries: what stands in them is part of the decision.
        accounts: Vec<AccountId>,
        /// Why.
        reason: String,
        /// The day from which it counts; that of the reversal unless said otherwise.
        value_date: Option<Day>,
    },
}

/// What the books may answer instead.
#[derive(Clone, Debug, PartialEq, Rejection)]
pub enum BookRejection {
    /// An account is opened once, and not again after it was closed.
    #[reject("the account exists already")]
    AccountExists,
    /// There is no such account.
    #[reject("there is no account `{account}`", not_found)]
    AccountNotFound {
        /// Which.
        account: AccountId,
    },
    /// An entry needs an account that is open.
    #[reject("the account `{account}` is not open")]
    AccountNotOpen {
        /// Which.
        account: AccountId,
    },
    /// A guarded account is closed at zero only.
    #[reject("the account holds {balance} and is closed at zero only")]
    AccountNotEmpty {
        /// What it holds.
        balance: Money,
    },
    /// Not answered any more: balances are carried forward. Commands of earlier days were answered with it.
    #[reject("the account `{account}` has {postings_max} postings, the most it can have: move all it holds")]
    AccountFull {
        /// Which.
        account: AccountId,
        /// The most.
        postings_max: i64,
    },
    /// A guarded account holds only so much: sums of what comes to it stay exact.
    #[reject("the account `{account}` would hold more than {balance_max}, the most that is guarded")]
    BalanceTooLarge {
        /// Which.
        account: AccountId,
        /// The most.
        balance_max: Money,
    },
    /// An account and a transaction cannot have the same id.
    #[reject("the id is that of an account or of a transaction already")]
    IdInUse,
    /// A currency is one of ISO 4217.
    #[reject("`{currency}` is not a currency of ISO 4217")]
    CurrencyNotKnown {
        /// What was given.
        currency: CurrencyCode,
    },
    /// An account has one currency.
    #[reject("the account `{account}` is kept in {expected}, not in {currency}")]
    CurrencyMismatch {
        /// Which account.
        account: AccountId,
        /// Of the entry.
        currency: CurrencyCode,
        /// Of the account.
        expected: CurrencyCode,
    },
    /// Debits and credits must be equal.
    #[reject("debits and credits in {currency} differ by {by}")]
    Unbalanced {
        /// In which currency.
        currency: CurrencyCode,
        /// By how much the debits are more.
        by: Money,
    },
    /// The account may not fall below zero.
    #[reject("the account `{account}` holds {balance}, which does not cover {amount}")]
    Overdraft {
        /// Which.
        account: AccountId,
        /// What it holds.
        balance: Money,
        /// What was to be taken from it.
        amount: Money,
    },
    /// Money that moves has a side that it comes from and one that it goes to.
    #[reject("a transaction has {entries_min} to {entries_max} entries, not {entries}")]
    EntriesNotValid {
        /// How many were given.
        entries: i64,
        /// The fewest.
        entries_min: i64,
        /// The most.
        entries_max: i64,
    },
    /// Entries of one account are added up before they are posted.
    #[reject("the account `{account}` stands in two entries")]
    AccountTwice {
        /// Which.
        account: AccountId,
    },
    /// An entry moves something, and not more than sums stay exact with.
    #[reject("an entry cannot be {amount}")]
    AmountNotValid {
        /// How much.
        amount: Money,
    },
    /// A transaction touches only so many accounts that refuse overdraft.
    #[reject("a transaction touches at most {accounts_max} accounts that refuse overdraft")]
    TooManyGuarded {
        /// The most.
        accounts_max: i64,
    },
    /// A transaction is posted once.
    #[reject("the transaction is posted already")]
    TransactionAlreadyPosted,
    /// There is no such transaction.
    #[reject("there is no such transaction", not_found)]
    TransactionNotFound,
    /// A transaction is reversed once.
    #[reject("the transaction is reversed already")]
    AlreadyReversed {
        /// Which.
        transaction: TransactionId,
    },
    /// A reversal names the accounts of its transaction.
    #[reject("the accounts of the transaction are others")]
    AccountsDiffer {
        /// Which.
        accounts: Vec<AccountId>,
    },
    /// A text that says nothing helps nobody.
    #[reject("the {field} says nothing")]
    TextBlank {
        /// Which text.
        field: String,
    },
    /// A day is written `2026-11-30`.
    #[reject("`{value_date}` is not a day such as 2026-11-30")]
    ValueDateNotValid {
        /// What was given.
        value_date: Day,
    },
}
