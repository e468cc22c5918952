//! The event languages. Events carry what the right panel will need, so that no fold ever has to ask.

use super::{Address, Country, CustomerId, LineItem};
use diptych::prelude::*;

/// What happens to an order.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "order", owner = "sales")]
pub enum OrderEvent {
    /// A customer asked for goods.
    OrderPlaced {
        /// Who; unknown for a sale over the counter.
        customer_id: Option<CustomerId>,
        /// What, possibly nothing.
        lines: Vec<LineItem>,
        /// Where to.
        shipping_address: Address,
        /// What the lines add up to.
        total: Money,
    },
    /// The shop accepted the order.
    OrderConfirmed,
    /// The money is reserved.
    PaymentAuthorized {
        /// How much.
        amount: Money,
    },
    /// The money is taken.
    PaymentCaptured {
        /// How much.
        amount: Money,
        /// From whom.
        customer_id: Option<CustomerId>,
    },
    /// The goods go somewhere else.
    ShippingAddressChanged {
        /// Where to.
        shipping_address: Address,
    },
    /// The order was called off.
    OrderCancelled {
        /// Why.
        reason: String,
        /// By whom.
        cancelled_by: String,
        /// Whose order it was.
        customer_id: Option<CustomerId>,
        /// Where it would have gone.
        country: Country,
        /// How many lines it had.
        item_count: i64,
        /// How many goods it had.
        quantity: i64,
        /// What it added up to.
        total: Money,
    },
    /// The goods are on their way.
    OrderFulfilled,
    /// The money was paid back.
    OrderRefunded {
        /// Why.
        reason: String,
        /// How much.
        amount: Money,
        /// To whom.
        customer_id: Option<CustomerId>,
        /// Where the goods had gone.
        country: Country,
    },
}

/// What happens to a credit note.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "credit_note", owner = "accounting")]
pub enum CreditNoteEvent {
    /// Goods came back, or a price was corrected.
    CreditNoteIssued {
        /// Who is credited, where that is known.
        customer_id: Option<CustomerId>,
        /// Where from.
        country: Country,
        /// What, with negative quantities.
        lines: Vec<LineItem>,
        /// What the lines add up to.
        total: Money,
    },
}

/// What happens to stock without a sale.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "stock_adjustment", owner = "warehouse")]
pub enum StockAdjustmentEvent {
    /// Goods came or went without a price: counted again, damaged, lost.
    StockAdjusted {
        /// Where.
        country: Country,
        /// What.
        lines: Vec<LineItem>,
    },
}

/// What happens to the ledger without a sale.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "ledger_adjustment", owner = "accounting")]
pub enum LedgerAdjustmentEvent {
    /// A correction was booked, such as a bad debt.
    LedgerAdjusted {
        /// Where.
        country: Country,
        /// What.
        lines: Vec<LineItem>,
        /// What the lines add up to.
        total: Money,
    },
}

/// What happens to an imported data set.
#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "data_import", owner = "operations")]
pub enum DataImportEvent {
    /// Every row of the data set is in the log.
    DataImported {
        /// Of the file, so that another file of the same name is noticed.
        checksum: String,
        /// How many rows it had.
        rows: i64,
        /// How many invoices they formed.
        invoices: i64,
    },
}
