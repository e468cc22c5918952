//! The embedded store runs the published suites.

mod harness;

use diptych_conformance::{conformance_suite, rebuild_suite};
use harness::SqliteHarness;

conformance_suite!(SqliteHarness::new());
rebuild_suite!(SqliteHarness::new());
