//! The embedded store runs the published suites.

mod harness;

use diptych_conformance::{conformance_suite, hinge_suite};
use harness::SqliteHarness;

conformance_suite!(SqliteHarness::new());
hinge_suite!(SqliteHarness::new());
