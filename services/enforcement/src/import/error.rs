//! Why a file of fines cannot be imported, with every line that stands in the way.

use diptych::core::{Code, Fault};
use std::fmt;

/// How many bad rows a message names; the rest it counts.
const ROWS_NAMED_MAX: usize = 20;

/// A row that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its line in the file; the header is line 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {} {}", self.line, self.reason)
    }
}

/// The fault of a file that cannot be imported, or not as it is.
pub(crate) fn failed(what: impl Into<String>) -> Fault {
    Fault::permanent(Code::ImportFailed, what)
}

/// Names rows in the order of the file, as many as a person will read.
pub(crate) fn of_rows(mut rows: Vec<BadRow>) -> Fault {
    rows.sort_by_key(|row| row.line);
    let named: Vec<_> = rows.iter().take(ROWS_NAMED_MAX).map(BadRow::to_string).collect();
    let more = rows.len() - named.len();
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    failed(format!("{}{rest}", named.join("; ")))
}
