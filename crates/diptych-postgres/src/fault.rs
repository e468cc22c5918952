//! What PostgreSQL says, as faults: by its codes, never by its texts.

use diptych_core::{Code, Fault};
use std::io;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

/// A statement of this name is prepared already.
pub(crate) const DUPLICATE_STATEMENT: &str = "42P05";

/// Something is made of what was to be removed.
pub(crate) const DEPENDENT_OBJECTS: &str = "2BP01";

/// Turns what PostgreSQL or the network answers into what ports answer.
pub(crate) trait OrFault<T> {
    /// The same, with a fault in place of the error.
    fn or_fault(self) -> Result<T, Fault>;
}

impl<T> OrFault<T> for Result<T, Error> {
    fn or_fault(self) -> Result<T, Fault> {
        self.map_err(storage)
    }
}

/// The fault for an error of PostgreSQL or of the way there.
pub(crate) fn storage(error: Error) -> Fault {
    let fault = match error.code() {
        Some(state) => said(state),
        None if is_lost(&error) => Fault::transient(Code::Storage, "the connection to the database was lost"),
        None => Fault::permanent(Code::Storage, "the database answered in a way that was not expected"),
    };
    fault.because(error)
}

/// The fault for a code of PostgreSQL.
fn said(state: &SqlState) -> Fault {
    let transient = |message: &str| Fault::transient(Code::Storage, message);
    let permanent = |message: &str| Fault::permanent(Code::Storage, message);
    match state.code() {
        "53100" => Fault::transient(Code::StorageFull, "the database's disk is full"),
        // The client numbers the statements that it must name, and so do others through the same pooler: one
        // that was cut off may have left its own behind.
        DUPLICATE_STATEMENT => transient("the connection holds a statement of somebody else's"),
        "40001" | "40P01" | "40003" => transient("the transaction met another one; it can be tried again"),
        "55P03" => transient("another process holds a lock for too long"),
        "57014" => Fault::transient(Code::TimedOut, "the statement took longer than allowed"),
        "25P03" | "57P05" => transient("the transaction was idle for too long"),
        "57P04" | "3D000" => permanent("there is no such database"),
        "28000" | "28P01" => permanent("the database does not let this role in"),
        "42501" => permanent("the role lacks a privilege"),
        "25006" => permanent("the connection may only read"),
        code => match code.get(..2) {
            Some("08" | "57") => transient("the connection to the database was lost"),
            Some("53") => transient("the database has no resources left"),
            Some("58") => transient("the system under the database failed"),
            Some("XX") => permanent("the database is damaged"),
            Some("23") => permanent("a row breaks a rule of its table"),
            _ => permanent("the database refused a statement"),
        },
    }
}

/// Whether the error tells that the connection is gone, so that nobody knows what a running commit became.
pub(crate) fn is_lost(error: &Error) -> bool {
    if error.is_closed() {
        return true;
    }
    match error.code() {
        Some(state) => ends_the_session(state),
        None => std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<io::Error>),
    }
}

/// Whether the transaction lost against another one, so that the same once more is right.
pub(crate) fn is_a_race(error: &Error) -> bool {
    error.code().is_some_and(|state| matches!(state.code(), "40001" | "40P01"))
}

/// Codes that PostgreSQL sends as the last thing of a session.
fn ends_the_session(state: &SqlState) -> bool {
    let code = state.code();
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03")
}

/// Whether the error is about the row at hand, not about the store.
pub(crate) fn is_about_the_row(error: &Error) -> bool {
    match error.code().map(SqlState::code) {
        // Integrity, data and program limits; values that cannot be sent are no error of PostgreSQL's.
        Some(code) => matches!(code.get(..2), Some("22" | "23" | "54")),
        None => !is_lost(error),
    }
}

/// The fault for something stored that should not be there.
pub(crate) fn damaged(what: impl Into<String>) -> Fault {
    Fault::permanent(Code::Storage, what)
}

/// The fault of a store that is closed.
pub(crate) fn closed() -> Fault {
    Fault::permanent(Code::Storage, "the store is closed")
}

/// A number that is never negative, stored as PostgreSQL's `bigint`.
pub(crate) fn unsigned(row: &Row, column: usize) -> Result<u64, Fault> {
    let number: i64 = row.try_get(column).or_fault()?;
    u64::try_from(number).map_err(|_| damaged("a number below zero stands where there can be none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, expected: Code, transient: bool, ends: bool) {
        let state = SqlState::from_code(code);
        let fault = said(&state);
        assert_eq!((fault.code(), fault.is_transient()), (expected, transient), "{code}");
        assert_eq!(ends_the_session(&state), ends, "{code}");
    }

    #[test]
    fn races_and_locks_may_be_tried_again() {
        for code in ["40001", "40P01", "55P03"] {
            check(code, Code::Storage, true, false);
        }
        check("57014", Code::TimedOut, true, false);
        check(DUPLICATE_STATEMENT, Code::Storage, true, false);
    }

    #[test]
    fn a_lost_connection_may_be_tried_again_and_ends_the_session() {
        for code in ["57P01", "57P02", "57P03", "08006", "08003", "25P03"] {
            check(code, Code::Storage, true, true);
        }
    }

    #[test]
    fn a_full_disk_has_a_code_of_its_own() {
        check("53100", Code::StorageFull, true, false);
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        for code in ["42501", "28P01", "23505", "42P01", "25006", "XX001"] {
            check(code, Code::Storage, false, false);
        }
    }
}
