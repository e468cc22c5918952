//! The memory store runs the published suites.

mod harness;

use diptych_conformance::conformance_suite;
use harness::MemoryHarness;

conformance_suite!(MemoryHarness::new());
