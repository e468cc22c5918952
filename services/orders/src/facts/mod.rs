//! What both panels share: identities, values and the events, whose names are the stored format.

mod events;
mod values;

pub use events::{CreditNoteEvent, DataImportEvent, LedgerAdjustmentEvent, OrderEvent, StockAdjustmentEvent};
pub use values::{
    Address, Country, CreditNoteId, CustomerId, DataImportId, Day, LedgerAdjustmentId, LineItem, OrderId,
    OrderStatus, ProductId, SaleKind, StockAdjustmentId, Tally, tally,
};
