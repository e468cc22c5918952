//! The published suites once more, with every row kept as a document.

mod harness;

use diptych_conformance::{AsDocuments, conformance_suite, hinge_suite};
use harness::SqliteHarness;

conformance_suite!(AsDocuments(SqliteHarness::new()));
hinge_suite!(AsDocuments(SqliteHarness::new()));
