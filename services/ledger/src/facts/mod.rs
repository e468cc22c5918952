//! What both panels share: identities, values and the events, whose names are the stored format.

mod events;
mod values;

pub use events::{BookEvent, Movement};
pub use values::{
    AccountId, AccountKind, CurrencyCode, CustomerId, Day, Entry, LineKind, Month, Overdraft, PostedEntry,
    TransactionId, Year, day_of, month_of, year_of,
};
