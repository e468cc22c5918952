//! Who may do what and see what, as sentences.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[test]
fn the_policies_fit_what_the_service_declares() {
    assert_eq!(enforcement::service().problems(), Vec::<String>::new());
}
