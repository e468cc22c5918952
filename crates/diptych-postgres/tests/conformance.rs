//! The PostgreSQL store runs the published suites.

mod harness;

use diptych_conformance::{conformance_suite, hinge_suite, sharing_suite};
use harness::PostgresHarness;

conformance_suite!(PostgresHarness::new());
sharing_suite!(PostgresHarness::new());
hinge_suite!(PostgresHarness::new());
