//! The books: one decider for accounts and transactions, because the invariant is about both. A command is
//! decided on the accounts that it names, found by their tags, and on its own stream; it is recorded only if
//! nothing has come to them meanwhile.

use super::account::Account;
use super::posting::{
    ENTRIES_MAX, GUARDED_ACCOUNTS_MAX, balanced, counting_from, same_accounts, says_something,
};
use super::{BookCommand, BookRejection};
use crate::facts::{AccountId, BookEvent, CustomerId, Entry, PostedEntry, TransactionId};
use diptych::prelude::*;

/// The accounts that a command names, and the transactions that it rests on.
#[derive(Clone, Debug, Default, PartialEq, Data)]
pub struct Books {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The transactions: the command's own, and those of guarded accounts.
    pub transactions: Vec<Transaction>,
}

/// A transaction that was posted.
#[derive(Clone, Debug, PartialEq, Data)]
pub struct Transaction {
    /// Which.
    pub transaction: TransactionId,
    /// Its sides.
    pub entries: Vec<PostedEntry>,
    /// What it was for.
    pub description: String,
    /// For whom, where it was for somebody.
    pub customer: Option<CustomerId>,
    /// Whether it was taken back.
    pub reversed: bool,
}

impl Decider for Books {
    type Command = BookCommand;
    type Event = BookEvent;
    type Rejection = BookRejection;

    fn decide(&self, command: BookCommand, context: &Context) -> Result<Vec<BookEvent>, BookRejection> {
        let mut events = Vec::new();
        let event = match command {
            BookCommand::OpenAccount { name, kind, currency, overdraft } => {
                let account = self.free_for_account(context.id())?;
                says_something("name", &name)?;
                if currency.currency().is_none() {
                    return Err(BookRejection::CurrencyNotKnown { currency });
                }
                BookEvent::AccountOpened { account, name, kind, currency, overdraft }
            }
            BookCommand::CloseAccount => BookEvent::AccountClosed { account: self.closable(context.id())? },
            BookCommand::PostTransaction { entries, description, customer, value_date } => {
                let transaction = self.free_for_transaction(context.id())?;
                says_something("description", &description)?;
                balanced(&entries)?;
                let value_date = counting_from(value_date, context.time)?;
                let (entries, guarded) = self.posted(&entries)?;
                events.extend(self.carried_forward(&guarded));
                BookEvent::TransactionPosted {
                    transaction,
                    entries,
                    guarded,
                    description,
                    customer,
                    value_date,
                }
            }
            BookCommand::ReverseTransaction { accounts, reason, value_date } => {
                let transaction = self.reversible(context.id())?;
                says_something("reason", &reason)?;
                same_accounts(&accounts, transaction.entries.iter().map(|entry| &entry.account))?;
                let value_date = counting_from(value_date, context.time)?;
                let opposite = transaction.entries.iter().map(PostedEntry::reversed);
                let opposite = opposite.map(|PostedEntry { account, amount, .. }| Entry { account, amount });
                let (entries, guarded) = self.posted(&opposite.collect::<Vec<_>>())?;
                events.extend(self.carried_forward(&guarded));
                let Transaction { transaction, customer, .. } = transaction.clone();
                BookEvent::TransactionReversed { transaction, entries, guarded, reason, customer, value_date }
            }
        };
        events.push(event);
        Ok(events)
    }

    fn evolve(mut self, event: &BookEvent) -> Self {
        match event.clone() {
            BookEvent::AccountOpened { account, name, kind, currency, overdraft } => self
                .accounts
                .push(Account { account, name, kind, currency, overdraft, closed: false, guarded: None }),
            BookEvent::AccountClosed { account } => {
                self.accounts
                    .iter_mut()
                    .filter(|held| held.account == account)
                    .for_each(|held| held.closed = true);
            }
            // INVARIANT: it takes the place of whatever is known of the account, so that nothing before it
            // has to be.
            BookEvent::BalanceCarriedForward { account, name, kind, balance } => {
                self.accounts.retain(|held| held.account != account);
                self.accounts.push(Account::carried(account, name, kind, balance));
            }
            BookEvent::TransactionPosted { transaction, entries, description, customer, .. } => {
                self.post(&entries);
                let reversed = false;
                self.transactions.push(Transaction { transaction, entries, description, customer, reversed });
            }
            BookEvent::TransactionReversed { transaction, entries, .. } => {
                self.post(&entries);
                self.transactions
                    .iter_mut()
                    .filter(|held| held.transaction == transaction)
                    .for_each(|held| held.reversed = true);
            }
        }
        self
    }
}

impl Books {
    fn account(&self, account: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|held| held.account == *account)
    }

    fn transaction(&self, transaction: &TransactionId) -> Option<&Transaction> {
        self.transactions.iter().find(|held| held.transaction == *transaction)
    }

    /// The id of an account that is to be opened.
    fn free_for_account(&self, account: AccountId) -> Result<AccountId, BookRejection> {
        if self.account(&account).is_some() {
            return Err(BookRejection::AccountExists);
        }
        match self.transaction(&account.as_str().into()) {
            Some(_) => Err(BookRejection::IdInUse),
            None => Ok(account),
        }
    }

    /// The id of a transaction that is to be posted.
    fn free_for_transaction(&self, transaction: TransactionId) -> Result<TransactionId, BookRejection> {
        if self.transaction(&transaction).is_some() {
            return Err(BookRejection::TransactionAlreadyPosted);
        }
        match self.account(&transaction.as_str().into()) {
            Some(_) => Err(BookRejection::IdInUse),
            None => Ok(transaction),
        }
    }

    /// An account that can be closed. What one holds that allows overdraft is not read, and may be anything.
    fn closable(&self, account: AccountId) -> Result<AccountId, BookRejection> {
        let Some(held) = self.account(&account) else {
            return Err(BookRejection::AccountNotFound { account });
        };
        if held.closed {
            return Err(BookRejection::AccountNotOpen { account });
        }
        match held.guarded.as_ref().map(|guarded| guarded.balance) {
            Some(balance) if balance.thousandths() != 0 => Err(BookRejection::AccountNotEmpty { balance }),
            _ => Ok(account),
        }
    }

    /// A transaction that can be reversed.
    fn reversible(&self, transaction: TransactionId) -> Result<&Transaction, BookRejection> {
        match self.transaction(&transaction) {
            None => Err(BookRejection::TransactionNotFound),
            Some(held) if held.reversed => Err(BookRejection::AlreadyReversed { transaction }),
            Some(held) => Ok(held),
        }
    }

    /// Entries as they may be recorded, and which of their accounts are guarded.
    fn posted(&self, entries: &[Entry]) -> Result<(Vec<PostedEntry>, Vec<AccountId>), BookRejection> {
        let mut guarded = Vec::new();
        let mut posted = Vec::with_capacity(entries.len());
        for Entry { account, amount } in entries {
            let not_open = || BookRejection::AccountNotOpen { account: account.clone() };
            let held = self.account(account).ok_or_else(not_open)?;
            posted.push(held.take(*amount)?);
            guarded.extend(held.is_guarded().then(|| account.clone()));
        }
        if guarded.len() > GUARDED_ACCOUNTS_MAX {
            return Err(BookRejection::TooManyGuarded { accounts_max: GUARDED_ACCOUNTS_MAX as i64 });
        }
        Ok((posted, guarded))
    }

    /// What guarded accounts carry forward before what is posted to them.
    fn carried_forward(&self, guarded: &[AccountId]) -> Vec<BookEvent> {
        let held = guarded.iter().filter_map(|account| self.account(account));
        held.filter_map(Account::carried_forward).collect()
    }

    /// Entries that were posted change what guarded accounts hold. Those of accounts outside of the boundary
    /// are not all of theirs, and none of its business.
    fn post(&mut self, entries: &[PostedEntry]) {
        for entry in entries {
            let held = self.accounts.iter_mut().find(|held| held.account == entry.account);
            held.into_iter().for_each(|held| held.post(entry));
        }
    }
}

impl Boundary for Books {
    /// INVARIANT: whatever is posted to a guarded account carries its tag, so that it meets every other
    /// posting to it; what it holds is decided on from where it was carried forward last. A transaction and
    /// its reversal share a stream, which makes each happen once.
    fn boundary(command: &BookCommand, context: &Context) -> TagQuery {
        let own = TagQuery::stream(&context.stream);
        let with = |query: TagQuery, account: &AccountId| {
            query.or_tagged("account", account).since(&["BalanceCarriedForward"])
        };
        match command {
            BookCommand::OpenAccount { .. } | BookCommand::CloseAccount => with(own, &context.id()),
            // What has more entries is refused without a look at any account.
            BookCommand::PostTransaction { entries, .. } => {
                entries.iter().take(ENTRIES_MAX).map(|entry| &entry.account).fold(own, with)
            }
            BookCommand::ReverseTransaction { accounts, .. } => {
                accounts.iter().take(ENTRIES_MAX).fold(own, with)
            }
        }
    }
}
