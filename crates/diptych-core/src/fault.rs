//! Faults: the infrastructure failed. Opaque to callers but for a code and whether to try again.

use crate::Code;
use std::error::Error;
use std::fmt;

/// An infrastructure failure: nothing the domain said, nothing a caller can mend by asking differently.
#[derive(Debug)]
pub struct Fault {
    code: Code,
    message: String,
    transient: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A failure that will not go away by itself.
    pub fn permanent(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), transient: false, source: None }
    }

    /// A failure that may pass: trying again is right.
    pub fn transient(code: Code, message: impl Into<String>) -> Self {
        Self { transient: true, ..Self::permanent(code, message) }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The code with a page of its own.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The message without its code and without its cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.message)?;
        if let Some(source) = &self.source {
            write!(out, ": {source}")?;
        }
        write!(out, " ({})", self.code)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
