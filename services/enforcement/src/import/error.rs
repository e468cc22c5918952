//! Why a file of fines cannot be imported, with every line that stands in the way.

use diptych::core::Code;
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

/// A file that cannot be imported, or not as it is.
#[derive(Debug)]
pub struct ImportError {
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for ImportError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.what)?;
        if let Some(source) = &self.source {
            write!(out, ": {source}")?;
        }
        write!(out, " ({})", Code::ImportFailed)
    }
}

impl std::error::Error for ImportError {}

impl ImportError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    pub(crate) fn because(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Names rows in the order of the file, as many as a person will read.
    pub(crate) fn of_rows(mut rows: Vec<BadRow>) -> Self {
        rows.sort_by_key(|row| row.line);
        let named: Vec<_> = rows.iter().take(ROWS_NAMED_MAX).map(BadRow::to_string).collect();
        let more = rows.len() - named.len();
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        Self::new(format!("{}{rest}", named.join("; ")))
    }
}
