//! The accounts' read model as a group of three tables: two lookups and the rows that read them.

use crate::domain::{AccountEvent, AccountId};
use diptych::prelude::*;

/// What an account is called.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "account_name", revision = 1, owner = "bench", on_demand)]
pub(crate) struct AccountName {
    #[key]
    account: AccountId,
    name: String,
}

impl Projection for AccountName {
    type Event = AccountEvent;

    fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
        match &fact.event {
            AccountEvent::Opened { .. } | AccountEvent::Renamed { .. } => Route::key(fact.id()),
            _ => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
        match &fact.event {
            AccountEvent::Opened { name, .. } | AccountEvent::Renamed { name, .. } => {
                Some(Self { account: fact.id(), name: name.clone() })
            }
            _ => row,
        }
    }
}

/// Where an account is kept.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "account_branch", revision = 1, owner = "bench", on_demand)]
pub(crate) struct AccountBranch {
    #[key]
    account: AccountId,
    branch: String,
}

impl Projection for AccountBranch {
    type Event = AccountEvent;

    fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
        match &fact.event {
            AccountEvent::Opened { .. } => Route::key(fact.id()),
            _ => Route::none(),
        }
    }

    fn project(row: Option<Self>, fact: &Fact<AccountEvent>) -> Option<Self> {
        match &fact.event {
            AccountEvent::Opened { branch, .. } => Some(Self { account: fact.id(), branch: branch.clone() }),
            _ => row,
        }
    }
}

/// One account in one row, with what its siblings know; two secondary indexes as the model that stands alone.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "account_card",
    revision = 1,
    owner = "bench",
    on_demand,
    reads(AccountName, AccountBranch)
)]
#[index(balance desc)]
pub(crate) struct AccountCard {
    #[key]
    account: AccountId,
    #[filter]
    branch: String,
    name: String,
    #[sort]
    balance: i64,
    entries: i64,
    updated_at: Timestamp,
}

impl JoinedProjection for AccountCard {
    type Event = AccountEvent;

    fn route(fact: &Fact<AccountEvent>) -> Route<Self> {
        Route::key(fact.id())
    }

    fn project(row: Option<Self>, fact: &Fact<AccountEvent>, siblings: &Siblings<'_, Self>) -> Option<Self> {
        let account: AccountId = fact.id();
        let name = || siblings.get::<AccountName>(&account).map(|row| row.name.clone());
        let row = match &fact.event {
            AccountEvent::Opened { .. } => Self {
                branch: siblings.get::<AccountBranch>(&account)?.branch.clone(),
                name: name()?,
                balance: 0,
                entries: 0,
                updated_at: fact.occurred_at(),
                account,
            },
            AccountEvent::Deposited { amount, .. } => row?.moved(*amount),
            AccountEvent::Withdrawn { amount, .. } => row?.moved(-amount),
            AccountEvent::Renamed { .. } => Self { name: name()?, ..row? },
        };
        Some(Self { updated_at: fact.occurred_at(), ..row })
    }
}

impl AccountCard {
    fn moved(self, amount: i64) -> Self {
        Self { balance: self.balance + amount, entries: self.entries + 1, ..self }
    }
}
