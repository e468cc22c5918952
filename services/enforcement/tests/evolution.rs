//! What is stored stays readable: golden bytes of every event, and the committed catalog.

use diptych::testing::{catalog, golden};
use enforcement::facts::{CaseEvent, DecisionEvent, FineEvent, PartyEvent};

#[test]
fn every_event_is_read_and_written_as_it_always_was() {
    golden::<CaseEvent>("tests/golden/case");
    golden::<DecisionEvent>("tests/golden/decision");
    golden::<FineEvent>("tests/golden/fine");
    golden::<PartyEvent>("tests/golden/party");
}

#[test]
fn the_committed_catalog_says_what_the_code_says() {
    catalog(&enforcement::service(), "catalog.json");
}
