//! `catalog write` and `catalog check`: the file that is committed, and the code beside it.

use super::{CATALOG_FORMAT, Catalog, Finding, FindingKind, compare, warnings};
use crate::ActionError;
use diptych_core::{Code, Fault};
use serde::Serialize;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Where the catalog is, unless it is said.
pub const CATALOG_FILE: &str = "catalog.json";

/// What `catalog write` does with a committed file that the code breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacing {
    /// It stays, and the differences are told.
    Compatible,
    /// It is replaced: somebody has looked at the differences.
    Anything,
}

/// What became of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogReport {
    /// The file.
    pub file: String,
    /// How many event types the code has.
    pub events: usize,
    /// Whether the file was written.
    pub written: bool,
    /// In what the file and the code differ.
    pub findings: Vec<Finding>,
    /// What is worth a look.
    pub warnings: Vec<Finding>,
    /// Whether a warning counts as an error.
    pub strict: bool,
}

impl CatalogReport {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && (!self.strict || self.warnings.is_empty())
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { file, events, .. } = self;
        let breaking = self.findings.iter().any(|finding| finding.kind == FindingKind::Breaking);
        let verdict = match (self.written, breaking) {
            (true, _) => "is written",
            (false, true) => "and the code are INCOMPATIBLE",
            (false, false) if self.findings.is_empty() => "says what the code says",
            (false, false) => "is STALE",
        };
        let mut text = format!("{file} {verdict}: {events} event types");
        for Finding { kind, subject, what, affects, mend } in self.findings.iter().chain(&self.warnings) {
            let word = match kind {
                FindingKind::Breaking => "BREAKS",
                FindingKind::Stale => "stale",
                FindingKind::Warning => "warning",
            };
            let _ = write!(text, "\n  {word}: {subject}: {what}");
            if !affects.is_empty() {
                let _ = write!(text, "\n    for {}", affects.join(", "));
            }
            let _ = write!(text, "\n    {mend}");
        }
        if breaking {
            let _ = write!(text, "\n{} tells more", Code::CatalogDiffers);
        }
        text
    }
}

/// Compares the committed file with the code. A file that is missing is stale.
///
/// # Errors
/// A file that cannot be read or is no catalog.
pub fn check(code: &Catalog, file: &Path, strict: bool) -> Result<CatalogReport, ActionError> {
    let findings = match read(file)? {
        Some(committed) => compare(&committed, code),
        None => vec![Finding {
            kind: FindingKind::Stale,
            subject: code.service.clone(),
            what: format!("there is no `{}`", file.display()),
            affects: Vec::new(),
            mend: "run `catalog write` and commit the file".to_owned(),
        }],
    };
    Ok(report(code, file, findings, strict))
}

/// Writes the file. One that the code breaks is replaced only where that is said.
///
/// # Errors
/// A file that cannot be read or written, or is no catalog.
pub fn write(code: &Catalog, file: &Path, replacing: Replacing) -> Result<CatalogReport, ActionError> {
    let mut findings = match (replacing, read(file)) {
        (Replacing::Anything, _) | (_, Ok(None)) => Vec::new(),
        (Replacing::Compatible, Ok(Some(committed))) => compare(&committed, code),
        (Replacing::Compatible, Err(error)) => return Err(error),
    };
    findings.retain(|finding| finding.kind == FindingKind::Breaking);
    if !findings.is_empty() {
        return Ok(report(code, file, findings, false));
    }
    fs::write(file, code.to_text()).map_err(|error| {
        let message = format!("`{}` cannot be written", file.display());
        Fault::permanent(Code::CatalogDiffers, message).because(error)
    })?;
    Ok(CatalogReport { written: true, ..report(code, file, Vec::new(), false) })
}

fn report(code: &Catalog, file: &Path, findings: Vec<Finding>, strict: bool) -> CatalogReport {
    CatalogReport {
        file: file.display().to_string(),
        events: code.events.len(),
        written: false,
        findings,
        warnings: warnings(code),
        strict,
    }
}

fn read(file: &Path) -> Result<Option<Catalog>, ActionError> {
    let bad = |error: Box<dyn std::error::Error + Send + Sync>| {
        let message =
            format!("`{}` is no catalog of this program; `catalog write` makes one", file.display());
        Fault::permanent(Code::CatalogDiffers, message).because(error)
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.into()).into()),
    };
    let catalog: Catalog = serde_json::from_str(&text).map_err(|error| bad(error.into()))?;
    if catalog.format != CATALOG_FORMAT {
        return Err(bad(format!("it has form {}, known is {CATALOG_FORMAT}", catalog.format).into()).into());
    }
    Ok(Some(catalog))
}
