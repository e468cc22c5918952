//! Ledger: double-entry bookkeeping, with balances at once and analytics that say how far behind they are.
//!
//! `facts` is what both panels share; `command` decides, `query` answers, and neither knows the other.

pub mod command;
pub mod facts;
pub mod import;
pub mod page;
pub mod query;
pub mod scenario;

use diptych::Service;

/// The service, ready to be opened.
#[must_use]
pub fn service() -> Service {
    Service::new("ledger")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps accounts by double entry: every transaction adds up to zero, and none is ever edited")
        .boundary::<command::Books>()
        .read_model::<query::TrialBalance>()
        .group("statements", |group| {
            group.read_model::<query::AccountBalance>().read_model::<query::AccountStatement>()
        })
        .read_model::<query::CustomerMonth>()
        .group("account_years", |group| {
            group.read_model::<query::AccountTotal>().read_model::<query::AccountYear>()
        })
        .own_page(page::StatementPage)
        .link("/statements/ann")
        .link("/trial-balance")
        .link("/account-statement?account=ann&pageSize=5")
        .link("/account-year?account=ann")
        .link("/customer-month?customer=ann")
        .verb_before_serving(scenario::Scenario)
        .verb(import::Import)
}
