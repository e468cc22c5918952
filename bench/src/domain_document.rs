//! The accounts' read model once more, kept as documents: the same columns, indexes and projection, so that
//! the form of a row is all that differs.

use crate::domain::{AccountEvent, AccountId, AccountSummary};
use diptych::prelude::*;

/// One account in one document.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "account_document", revision = 1, owner = "bench", contract = "eventual", document)]
#[index(balance desc)]
pub(crate) struct AccountDocument {
    #[key]
    pub(crate) account: AccountId,
    #[filter]
    pub(crate) owner: String,
    pub(crate) name: String,
    #[sort]
    pub(crate) balance: i64,
    pub(crate) entries: i64,
    pub(crate) updated_at: Timestamp,
}

impl From<AccountSummary> for AccountDocument {
    fn from(row: AccountSummary) -> Self {
        let AccountSummary { account, owner, name, balance, entries, updated_at } = row;
        Self { account, owner, name, balance, entries, updated_at }
    }
}

impl From<AccountDocument> for AccountSummary {
    fn from(row: AccountDocument) -> Self {
        let AccountDocument { account, owner, name, balance, entries, updated_at } = row;
        Self { account, owner, name, balance, entries, updated_at }
    }
}

impl Projection for AccountDocument {
    type Event = AccountEvent;

    fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
        <AccountSummary as Projection>::project(row.map(Into::into), fact).map(Into::into)
    }
}
