//! The suites catch what they are for: each deliberate defect of the memory store is noticed.

mod harness;

use diptych_conformance::defects::Defect;
use diptych_conformance::{passed, stateful};
use harness::MemoryHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_defect_is_caught() {
    for defect in Defect::ALL {
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
