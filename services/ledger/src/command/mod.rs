//! The left panel: what may be posted, and what it means. Knows nothing of read models.

mod account;
mod books;
mod language;
mod posting;
#[cfg(test)]
mod tests;

pub use account::{Account, Guarded};
pub use books::{Books, Transaction};
pub use language::{BookCommand, BookRejection};
pub use posting::{
    BALANCE_THOUSANDTHS_MAX, ENTRIES_MAX, ENTRY_THOUSANDTHS_MAX, GUARDED_ACCOUNTS_MAX, POSTINGS_CARRIED_MAX,
};
