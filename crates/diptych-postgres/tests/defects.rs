//! Random histories over the PostgreSQL store, and the proof that the suites notice when it is broken on
//! purpose.

mod harness;

use diptych_conformance::defects::Defect;
use diptych_conformance::{chain, lives, passed, row_rules, stateful};
use harness::PostgresHarness;

/// Enough histories to meet a crash at most kinds of step, in seconds.
const HISTORIES: u32 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_is_caught() {
    // What is folded ahead is a promise of stores that have it.
    for defect in Defect::ALL.into_iter().filter(|defect| !defect.is_of_folding_ahead()) {
        passed(defect.must_be_caught(PostgresHarness::new).await);
    }
}

#[test]
fn random_histories_agree_with_the_oracle() {
    passed(stateful::histories(PostgresHarness::new, HISTORIES));
}

#[test]
fn random_lives_of_builds_agree_with_the_rules() {
    passed(lives::lives(PostgresHarness::new, HISTORIES));
}

#[test]
fn random_chains_come_right() {
    passed(chain::chains(PostgresHarness::new, HISTORIES));
}

#[test]
fn random_rules_let_through_what_they_say() {
    passed(row_rules::rules(PostgresHarness::new, HISTORIES));
}
