//! The right panel: what customers, the warehouse and the books ask. Knows nothing of commands.

mod customer_account;
mod determinism;
mod fulfilment_queue;
mod order_summary;
mod sales;
mod samples;

pub use customer_account::{AccountEvent, CustomerAccount};
pub use fulfilment_queue::FulfilmentQueue;
pub use order_summary::OrderSummary;
pub use sales::{SaleEvent, SalesByCountryAndDay};
