//! What a user reads who writes something that cannot be: each program in `ui` must not compile, with exactly
//! the message beside it. After a deliberate change: `TRYBUILD=overwrite` before the test command.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
