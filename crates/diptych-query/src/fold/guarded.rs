//! Running code of the projection's author, which may panic.

use super::{FoldError, FoldErrorKind};
use diptych_core::RawFact;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs user code over facts; a panic names the fact it happened at.
pub(super) fn guarded(
    facts: &dyn Fn(usize) -> Option<Arc<RawFact>>,
    run: &mut dyn FnMut(&mut usize) -> Result<(), FoldError>,
) -> Result<(), FoldError> {
    let mut cursor = 0;
    match catch_unwind(AssertUnwindSafe(|| run(&mut cursor))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            let kind = FoldErrorKind::Panicked { message };
            Err(match facts(cursor) {
                Some(raw) => FoldError::at(&raw, kind),
                None => FoldError::of_no_fact(kind),
            })
        }
    }
}
