//! The published suites once more, with every row kept as a document; random histories, rules and rows, too.

mod harness;

use diptych_conformance::{
    AsDocuments, chain, conformance_suite, documents, hinge_suite, lives, passed, poison_lives, row_rules,
    sharing_suite, stateful,
};
use harness::PostgresHarness;

conformance_suite!(AsDocuments(PostgresHarness::new()));
sharing_suite!(AsDocuments(PostgresHarness::new()));
hinge_suite!(AsDocuments(PostgresHarness::new()));

/// Enough histories to meet most kinds of step, in seconds.
const HISTORIES: u32 = 12;

#[test]
fn random_rows_are_the_same_as_documents_and_as_columns() {
    passed(documents::rows(PostgresHarness::new, 8));
}

#[test]
fn random_histories_agree_with_the_oracle() {
    passed(stateful::histories(|| AsDocuments(PostgresHarness::new()), HISTORIES));
}

#[test]
fn random_lives_of_builds_agree_with_the_rules() {
    passed(lives::lives(|| AsDocuments(PostgresHarness::new()), HISTORIES));
}

#[test]
fn random_chains_come_right() {
    passed(chain::chains(|| AsDocuments(PostgresHarness::new()), HISTORIES));
}

#[test]
fn random_lives_with_poison_agree_with_a_fold_without_batches() {
    passed(poison_lives::poison_lives(|| AsDocuments(PostgresHarness::new()), HISTORIES));
}

#[test]
fn random_rules_let_through_what_they_say() {
    passed(row_rules::rules(|| AsDocuments(PostgresHarness::new()), HISTORIES));
}
