//! The suites catch what they are for: each deliberate defect of the memory store is noticed.

mod harness;

use diptych_conformance::defects::Defect;
use diptych_conformance::{chain, lives, passed, poison_lives, row_rules, stateful};
use harness::MemoryHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_is_caught() {
    // What is folded ahead is a promise of stores that have it.
    for defect in Defect::ALL.into_iter().filter(|defect| !defect.is_of_folding_ahead()) {
        passed(defect.must_be_caught(MemoryHarness::new).await);
    }
}

#[test]
fn random_histories_agree_with_the_oracle() {
    passed(stateful::histories(MemoryHarness::new, 64));
}

#[test]
fn random_histories_notice_a_defect() {
    use diptych_conformance::defects::Defective;
    for defect in [Defect::GuardOff, Defect::RowsLostOnCrash, Defect::TenantForgotten] {
        let result = stateful::histories(|| Defective::new(MemoryHarness::new(), defect), 64);
        assert!(result.is_err(), "{defect:?} went unnoticed");
    }
}

#[test]
fn random_lives_of_builds_agree_with_the_rules() {
    passed(lives::lives(MemoryHarness::new, 96));
}

#[test]
fn random_lives_of_builds_notice_a_defect() {
    use diptych_conformance::defects::Defective;
    for defect in [Defect::MovesOneByOne, Defect::BuildsMixed, Defect::ParksForgotten] {
        let result = lives::lives(|| Defective::new(MemoryHarness::new(), defect), 96);
        assert!(result.is_err(), "{defect:?} went unnoticed");
    }
}

#[test]
fn random_chains_come_right() {
    passed(chain::chains(MemoryHarness::new, 64));
}

#[test]
fn random_lives_with_poison_agree_with_a_fold_without_batches() {
    passed(poison_lives::poison_lives(MemoryHarness::new, 48));
}

#[test]
fn random_lives_with_poison_notice_a_defect() {
    use diptych_conformance::defects::Defective;
    let defect = Defect::ParksForgotten;
    let result = poison_lives::poison_lives(|| Defective::new(MemoryHarness::new(), defect), 48);
    assert!(result.is_err(), "{defect:?} went unnoticed");
}

#[test]
fn random_rules_let_through_what_they_say() {
    passed(row_rules::rules(MemoryHarness::new, 48));
}

#[test]
fn random_rules_notice_a_defect() {
    use diptych_conformance::defects::Defective;
    for defect in [Defect::RuleOnFirstPage, Defect::FailedForbids, Defect::FailuresSwallowed] {
        let result = row_rules::rules(|| Defective::new(MemoryHarness::new(), defect), 48);
        assert!(result.is_err(), "{defect:?} went unnoticed");
    }
}
