//! The memory store runs the published suites.

mod harness;

use diptych_conformance::{conformance_suite, hinge_suite, sharing_suite};
use harness::MemoryHarness;

conformance_suite!(MemoryHarness::new());
sharing_suite!(MemoryHarness::new());
hinge_suite!(MemoryHarness::new());
