//! The published suites once more, with every row kept as a document.

mod harness;

use diptych_conformance::{AsDocuments, conformance_suite, hinge_suite, sharing_suite};
use harness::PostgresHarness;

conformance_suite!(AsDocuments(PostgresHarness::new()));
sharing_suite!(AsDocuments(PostgresHarness::new()));
hinge_suite!(AsDocuments(PostgresHarness::new()));
