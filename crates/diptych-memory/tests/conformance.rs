//! The memory store runs the published suites.

mod harness;

use diptych_conformance::{conformance_suite, rebuild_suite, sharing_suite};
use harness::MemoryHarness;

conformance_suite!(MemoryHarness::new());
sharing_suite!(MemoryHarness::new());
rebuild_suite!(MemoryHarness::new());
