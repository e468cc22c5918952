//! What is stored stays readable: golden bytes of every event, and the committed catalog.

use diptych::testing::{catalog, golden};
use orders::facts::{
    CreditNoteEvent, DataImportEvent, LedgerAdjustmentEvent, OrderEvent, StockAdjustmentEvent,
};

#[test]
fn every_event_is_read_and_written_as_it_always_was() {
    golden::<OrderEvent>("tests/golden/order");
    golden::<CreditNoteEvent>("tests/golden/credit_note");
    golden::<StockAdjustmentEvent>("tests/golden/stock_adjustment");
    golden::<LedgerAdjustmentEvent>("tests/golden/ledger_adjustment");
    golden::<DataImportEvent>("tests/golden/data_import");
}

#[test]
fn the_committed_catalog_says_what_the_code_says() {
    catalog(&orders::service(), "catalog.json");
}
