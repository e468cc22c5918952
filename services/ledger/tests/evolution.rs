//! What is stored stays readable: golden bytes of every event, and the committed catalog.

use diptych::testing::{catalog, golden};
use ledger::facts::BookEvent;

#[test]
fn every_event_is_read_and_written_as_it_always_was() {
    golden::<BookEvent>("tests/golden/book");
}

#[test]
fn the_committed_catalog_says_what_the_code_says() {
    catalog(&ledger::service(), "catalog.json");
}

#[test]
fn the_service_is_put_together_rightly() {
    assert_eq!(ledger::service().problems(), Vec::<String>::new());
}
