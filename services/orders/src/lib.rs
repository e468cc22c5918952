//! Orders: the service that shows the whole toolkit on real input.
//!
//! `facts` is what both panels share; `command` decides, `query` answers, and neither knows the other.

pub mod command;
pub mod facts;
pub mod import;
pub mod query;

use diptych::Service;

/// The service, ready to be opened.
#[must_use]
pub fn service() -> Service {
    Service::new("orders")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Takes orders from placing to refund, and answers for customers, the warehouse and the books")
        .snapshots::<command::Order>()
        .decider::<command::CreditNote>()
        .decider::<command::StockAdjustment>()
        .decider::<command::LedgerAdjustment>()
        .decider::<command::DataImport>()
        .read_model::<query::OrderSummary>()
        .read_model::<query::FulfilmentQueue>()
        .read_model::<query::SalesByCountryAndDay>()
        .read_model::<query::CustomerAccount>()
        .link("/order-summary?customerId=12748&pageSize=5")
        .link("/sales-by-country-and-day?country=EIRE&sort=-amount&pageSize=5")
        .link("/customer-account?sort=-paid&pageSize=5")
        .verb_before_serving(import::Import)
}
