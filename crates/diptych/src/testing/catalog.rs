//! `catalog(&service(), "catalog.json")`: the committed event catalog as a test.

use crate::Service;
use diptych_ops::Output;
use diptych_ops::Report;
use diptych_ops::catalog::check;
use std::path::Path;

/// Holds a service to its committed event catalog, as `catalog check` does: fails where stored events would
/// not be read, and where the file does not say what the code says.
#[track_caller]
pub fn catalog(service: &Service, file: impl AsRef<Path>) {
    let code = service.catalog().expect("the service must be put together rightly");
    let report = check(&code, file.as_ref(), false).expect("the catalog must be readable");
    assert!(report.is_clean(), "{}", Report::Catalog(report).render(Output::Human));
}
