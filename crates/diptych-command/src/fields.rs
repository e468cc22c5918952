//! Reading a command's body field by field, so that every bad field is named, not only the first.

use diptych_core::{Code, INDEXED_TEXT_BYTES_MAX};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// One field that cannot be taken as it stands.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct FieldProblem {
    /// Where, such as `lines[0].unitPrice`; empty for the body itself.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A body that does not have the command's shape: every field that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShapeError {
    /// What is wrong, at least one.
    pub problems: Vec<FieldProblem>,
    /// Whether the body is no JSON object at all.
    pub malformed: bool,
    /// The code, where it is a closer one than that of any body without its shape.
    pub code: Option<Code>,
}

impl ShapeError {
    /// A single field's problem.
    #[must_use]
    pub fn field(field: &str, reason: impl ToString) -> Self {
        let problem = FieldProblem { field: field.to_owned(), reason: reason.to_string() };
        Self { problems: vec![problem], malformed: false, code: None }
    }

    /// The same under a code of its own.
    #[must_use]
    pub fn under(self, code: Code) -> Self {
        Self { code: Some(code), ..self }
    }

    /// A body that is no JSON object.
    #[must_use]
    pub fn malformed(reason: impl ToString) -> Self {
        Self { malformed: true, ..Self::field("", reason) }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            match problem.field.as_str() {
                "" => write!(out, "{separator}{}", problem.reason)?,
                field => write!(out, "{separator}`{field}` {}", problem.reason)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ShapeError {}

/// A body being read. Derived commands take their fields from it one by one and then finish.
///
/// ```
/// use diptych_command::Fields;
/// let mut fields = Fields::parse(r#"{"reason": 7, "colour": "red"}"#).unwrap();
/// let reason: Option<String> = fields.take("reason");
/// assert!(reason.is_none());
/// let error = fields.finish().unwrap_err();
/// assert_eq!(error.problems.len(), 2);
/// ```
#[derive(Debug)]
pub struct Fields {
    raw: BTreeMap<String, Box<RawValue>>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// Opens a body whose texts have at most [`INDEXED_TEXT_BYTES_MAX`] bytes each. An empty body is `{}`.
    ///
    /// # Errors
    /// A body that is not a JSON object, or holds NUL or a longer text.
    pub fn parse(body: &str) -> Result<Self, ShapeError> {
        Self::parse_with(body, INDEXED_TEXT_BYTES_MAX)
    }

    /// Opens a body whose texts have at most `text_bytes_max` bytes each.
    ///
    /// # Errors
    /// As [`Fields::parse`].
    pub fn parse_with(body: &str, text_bytes_max: usize) -> Result<Self, ShapeError> {
        let body = if body.trim().is_empty() { "{}" } else { body };
        let raw: BTreeMap<String, Box<RawValue>> = match serde_json::from_str(body) {
            Ok(raw) => raw,
            Err(error) if body.trim_start().starts_with('{') => {
                return Err(ShapeError::malformed(format!("the body is not valid JSON: {error}")));
            }
            Err(_) => return Err(ShapeError::malformed("the body must be a JSON object")),
        };
        let mut problems = Vec::new();
        for (name, value) in &raw {
            if let Some(reason) = unfit_text(value.get(), text_bytes_max) {
                problems.push(FieldProblem { field: name.clone(), reason });
            }
        }
        Ok(Self { raw, problems })
    }

    /// Takes a field; on `None` its problem has been noted.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let Some(raw) = self.raw.remove(name) else {
            let absent = serde_json::from_str("null").ok();
            if absent.is_none() {
                self.problem(name, "is missing");
            }
            return absent;
        };
        let mut unknown = Vec::new();
        let mut json = serde_json::Deserializer::from_str(raw.get());
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
        let result = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
        for path in unknown {
            self.problem(&format!("{name}.{path}"), "is not a known property");
        }
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let path = track.path().to_string();
                let field = match path.as_str() {
                    "." => name.to_owned(),
                    path if path.starts_with('[') => format!("{name}{path}"),
                    path => format!("{name}.{path}"),
                };
                self.problem(&field, without_location(&error.to_string()));
                None
            }
        }
    }

    /// Whether the body has a property that nobody took yet.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.raw.contains_key(name)
    }

    /// Notes what is wrong with a property, for a reason that only the reader knows.
    pub fn refuse(&mut self, name: &str, reason: impl Into<String>) {
        self.problem(name, reason);
    }

    /// Ends the reading with the properties that nobody took, as the JSON text of an object, ordered by name.
    ///
    /// # Errors
    /// Everything that was wrong.
    pub fn rest(mut self) -> Result<String, ShapeError> {
        let raw = std::mem::take(&mut self.raw);
        self.finish()?;
        serde_json::to_string(&raw).map_err(ShapeError::malformed)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Everything that was wrong, and every property that nobody took.
    pub fn finish(mut self) -> Result<(), ShapeError> {
        for name in std::mem::take(&mut self.raw).into_keys() {
            self.problem(&name, "is not a known property");
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ShapeError { problems: self.problems, malformed: false, code: None })
        }
    }

    fn problem(&mut self, field: &str, reason: impl Into<String>) {
        self.problems.push(FieldProblem { field: field.to_owned(), reason: reason.into() });
    }
}

/// The message without the line and column of a fragment that the caller never sees as such.
fn without_location(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(head, _)| head).to_owned()
}

/// Whether no text inside a body is longer than allowed or holds NUL.
pub(crate) fn texts_fit(body: &str, text_bytes_max: usize) -> bool {
    unfit_text(body, text_bytes_max).is_none()
}

/// Why the texts inside a JSON fragment cannot be stored, if they cannot: one is too long or holds NUL.
fn unfit_text(json: &str, text_bytes_max: usize) -> Option<String> {
    let bytes = json.as_bytes();
    let mut index = 0;
    while let Some(offset) = bytes[index..].iter().position(|byte| *byte == b'"') {
        let start = index + offset + 1;
        let mut end = start;
        let mut nul = false;
        while end < bytes.len() && bytes[end] != b'"' {
            let escaped = bytes[end] == b'\\';
            nul |= escaped && bytes[end..].starts_with(b"\\u0000");
            end += if escaped { 2 } else { 1 };
        }
        if end - start > text_bytes_max {
            return Some(format!("holds a text of more than {text_bytes_max} bytes"));
        }
        if nul {
            return Some("holds the character NUL, which no store keeps".to_owned());
        }
        index = (end + 1).min(bytes.len());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        #[allow(dead_code, reason = "only its shape matters here")]
        unit_price: i64,
    }

    #[track_caller]
    fn check(body: &str, expected: &[(&str, &str)]) {
        let problems = match Fields::parse(body) {
            Err(error) => error.problems,
            Ok(mut fields) => {
                let _: Option<String> = fields.take("reason");
                let _: Option<Option<i64>> = fields.take("note");
                let _: Option<Vec<Line>> = fields.take("lines");
                fields.finish().map_or_else(|error| error.problems, |()| Vec::new())
            }
        };
        let got: Vec<_> = problems.iter().map(|p| (p.field.as_str(), p.reason.as_str())).collect();
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for ((field, reason), (expected_field, part)) in got.iter().zip(expected) {
            assert_eq!(field, expected_field);
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        check(r#"{"reason":"r","lines":[]}"#, &[]);
        check(r#"{"lines":[{"unitPrice":1}]}"#, &[("reason", "is missing")]);
        check(
            r#"{"reason":1,"lines":[{"unitPrice":"x"}],"colour":2}"#,
            &[
                ("reason", "invalid type"),
                ("lines[0].unitPrice", "invalid type"),
                ("colour", "not a known property"),
            ],
        );
        check(
            r#"{"reason":"r","lines":[{"unitPrice":1,"tax":2}]}"#,
            &[("lines.0.tax", "not a known property")],
        );
        check("[]", &[("", "must be a JSON object")]);
        check("{", &[("", "not valid JSON")]);
        check(r#"{"reason":"a\u0000b","lines":[]}"#, &[("reason", "NUL")]);
        check(r#"{"reason":"a\\u0000b","lines":[]}"#, &[]);
        let long = format!(r#"{{"reason":"{}","lines":[]}}"#, "x".repeat(1_001));
        check(&long, &[("reason", "more than 1000 bytes")]);
    }
}
