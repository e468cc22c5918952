//! The published suites, with every read model that is not inline kept as documents.

mod harness;

use diptych_conformance::{conformance_suite, hinge_suite, sharing_suite};
use harness::CouchHarness;

conformance_suite!(CouchHarness::new());
sharing_suite!(CouchHarness::new());
hinge_suite!(CouchHarness::new());
