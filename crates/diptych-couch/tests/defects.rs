//! Random histories over documents, and the proof that the suites notice when a store of documents is broken
//! on purpose.

mod harness;

use diptych_conformance::defects::Defect;
use diptych_conformance::{chain, lives, passed, row_rules, stateful};
use harness::CouchHarness;

/// A few of each: every step is several requests.
const HISTORIES: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_of_shared_work_is_caught() {
    // The other defects are of the suites themselves, which other stores show in a tenth of the time.
    for defect in Defect::ALL.into_iter().filter(|defect| defect.is_of_sharing()) {
        passed(defect.must_be_caught(CouchHarness::new).await);
    }
}

#[test]
fn random_histories_agree_with_the_oracle() {
    passed(stateful::histories(CouchHarness::new, HISTORIES));
}

#[test]
fn random_lives_of_builds_agree_with_the_rules() {
    passed(lives::lives(CouchHarness::new, HISTORIES));
}

#[test]
fn random_chains_come_right() {
    passed(chain::chains(CouchHarness::new, HISTORIES));
}

#[test]
fn random_rules_let_through_what_they_say() {
    passed(row_rules::rules(CouchHarness::new, HISTORIES));
}
