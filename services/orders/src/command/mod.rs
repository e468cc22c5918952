//! The left panel: who may do what to an order, and what it means. Knows nothing of read models.

mod booking;
mod data_import;
mod order;

pub use booking::{
    BookingRejection, CreditNote, CreditNoteCommand, LedgerAdjustment, LedgerAdjustmentCommand,
    StockAdjustment, StockAdjustmentCommand,
};
pub use data_import::{DataImport, DataImportCommand, DataImportRejection};
pub use order::{Order, OrderCommand, OrderRejection};
