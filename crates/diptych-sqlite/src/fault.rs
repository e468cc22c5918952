//! What SQLite says, as faults: by its codes, never by its texts.

use diptych_core::{Code, Fault};
use rusqlite::ErrorCode;

/// Turns what SQLite or the file system answers into what ports answer.
pub(crate) trait OrFault<T> {
    /// The same, with a fault in place of the error.
    fn or_fault(self) -> Result<T, Fault>;
}

impl<T> OrFault<T> for rusqlite::Result<T> {
    fn or_fault(self) -> Result<T, Fault> {
        self.map_err(storage)
    }
}

impl<T> OrFault<T> for std::io::Result<T> {
    fn or_fault(self) -> Result<T, Fault> {
        self.map_err(file)
    }
}

/// The fault for an error of SQLite.
pub(crate) fn storage(error: rusqlite::Error) -> Fault {
    let fault = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            Fault::transient(Code::StorageFull, "the disk has no room for the store")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Fault::transient(Code::Storage, "another process holds the store")
        }
        Some(ErrorCode::OperationInterrupted) => {
            Fault::transient(Code::TimedOut, "the query took longer than allowed")
        }
        Some(ErrorCode::SystemIoFailure) => {
            Fault::transient(Code::Storage, "the disk under the store failed")
        }
        Some(ErrorCode::OutOfMemory) => Fault::transient(Code::Storage, "the store has no memory left"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Fault::permanent(Code::Storage, "the store's file is damaged")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            Fault::permanent(Code::Storage, "the store's file cannot be opened or written")
        }
        Some(ErrorCode::ConstraintViolation) => {
            Fault::permanent(Code::Storage, "a row breaks a rule of its table")
        }
        _ => Fault::permanent(Code::Storage, "the store refused a statement"),
    };
    fault.because(error)
}

/// Whether the error is about the row at hand, not about the store.
pub(crate) fn is_about_the_row(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

/// The fault for something stored that should not be there.
pub(crate) fn damaged(what: impl Into<String>) -> Fault {
    Fault::permanent(Code::Storage, what)
}

fn file(error: std::io::Error) -> Fault {
    let fault = if error.kind() == std::io::ErrorKind::StorageFull {
        Fault::transient(Code::StorageFull, "the disk has no room for the store")
    } else {
        Fault::permanent(Code::Storage, "the store's directory cannot be used")
    };
    fault.because(error)
}
