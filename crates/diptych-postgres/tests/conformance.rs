//! The PostgreSQL store runs the published suites.

mod harness;

use diptych_conformance::{conformance_suite, rebuild_suite, sharing_suite};
use harness::PostgresHarness;

conformance_suite!(PostgresHarness::new());
sharing_suite!(PostgresHarness::new());
rebuild_suite!(PostgresHarness::new());
