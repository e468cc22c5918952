//! A correction of a row by a person: a fact like any other, which says of which model which row has which
//! values from then on. What it may say is checked against the model's declaration.

use crate::{ColumnSpec, Corrections, Schema};
use diptych_core::{DecodeError, INDEXED_TEXT_BYTES_MAX, Money, RawFact, Timestamp, Value, ValueType};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// The category of corrections.
pub const CORRECTION: &str = "diptych_correction";

/// The stored name of a correction.
pub const ROW_CORRECTED: &str = "RowCorrected";

/// The stored version of a correction.
const ROW_CORRECTED_VERSION: u32 = 1;

/// A correction of one row, as it is stored.
///
/// ```
/// use diptych_query::Correction;
/// let text = r#"{"model":"order_summary","key":["42"],"set":{"status":"PLACED"},"reason":"clicked twice"}"#;
/// let correction: Correction = serde_json::from_str(text)?;
/// assert_eq!(serde_json::to_string(&correction)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Correction {
    /// The read model.
    pub model: String,
    /// The row's key, a value for each column of the key.
    pub key: Vec<Json>,
    /// What the columns hold from now on, by their names on the wire.
    pub set: BTreeMap<String, Json>,
    /// Why, in a sentence.
    pub reason: String,
}

/// A correction in the terms of its model.
#[derive(Clone, PartialEq, Debug)]
pub struct Corrected {
    /// The row's key.
    pub key: Vec<Value>,
    /// Columns with what they hold from now on.
    pub set: Vec<(usize, Value)>,
}

/// Why a row cannot be corrected like that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CorrectionError {
    /// Which part of the correction is wrong, such as `set.status`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for CorrectionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` {}", self.field, self.reason)
    }
}

impl std::error::Error for CorrectionError {}

fn wrong<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, CorrectionError> {
    Err(CorrectionError { field: field.into(), reason: reason.into() })
}

impl Correction {
    /// The correction that a fact is; none for other facts.
    ///
    /// # Errors
    /// A fact of its category that this code cannot read.
    pub fn of(raw: &RawFact) -> Result<Option<Self>, DecodeError> {
        if raw.stream.stream.category.as_str() != CORRECTION {
            return Ok(None);
        }
        let name = &*raw.event.name;
        match raw.event.schema_version {
            _ if name != ROW_CORRECTED => Err(DecodeError::unknown_type(name)),
            ROW_CORRECTED_VERSION => {
                let read = serde_json::from_str(&raw.payload);
                read.map(Some).map_err(|error| DecodeError::malformed(name, &error))
            }
            version => Err(DecodeError::unknown_version(name, version)),
        }
    }

    /// Holds it against the declaration of its model.
    ///
    /// # Errors
    /// A model that takes no corrections, a column that there is not or that is part of the key, a value that
    /// does not fit, nothing to set, or no reason.
    pub fn check(&self, schema: &Schema) -> Result<Corrected, CorrectionError> {
        if schema.upkeep.corrections == Corrections::Refused {
            return wrong("model", "takes no corrections: it does not declare `corrections`");
        }
        if self.reason.trim().is_empty() {
            return wrong("reason", "must say why");
        }
        if self.set.is_empty() {
            return wrong("set", "must name a column");
        }
        let key = self.key_of(schema)?;
        let mut set = Vec::with_capacity(self.set.len());
        for (name, json) in &self.set {
            let field = format!("set.{name}");
            let Some(column) = schema.column(name) else {
                let own = schema.columns.iter().enumerate().filter(|(index, _)| !schema.key.contains(index));
                let names: Vec<_> = own.map(|(_, column)| column.public).collect();
                return wrong(field, format!("is no column; there are: {}", names.join(", ")));
            };
            if schema.key.contains(&column) {
                return wrong(field, "is part of the key, which names the row and stays");
            }
            match value_from_json(&schema.columns[column], json) {
                Ok(value) => set.push((column, value)),
                Err(reason) => return wrong(field, reason),
            }
        }
        Ok(Corrected { key, set })
    }

    /// The row's key in the terms of its model.
    ///
    /// # Errors
    /// Another number of values than the key has columns, or one that does not fit.
    pub(crate) fn key_of(&self, schema: &Schema) -> Result<Vec<Value>, CorrectionError> {
        if self.key.len() != schema.key.len() {
            let names: Vec<_> = schema.key.iter().map(|column| schema.columns[*column].public).collect();
            return wrong("key", format!("must have a value for each of: {}", names.join(", ")));
        }
        let parts = schema.key.iter().zip(&self.key);
        let key: Result<Vec<_>, _> =
            parts.map(|(column, json)| value_from_json(&schema.columns[*column], json)).collect();
        key.or_else(|reason| wrong("key", reason))
    }

    /// What it sets in the terms of a model, which may be declared otherwise since: a column that is gone
    /// has nothing to be set.
    pub(crate) fn set_of(&self, schema: &Schema) -> Result<Vec<(usize, Value)>, CorrectionError> {
        let known = self.set.iter().filter_map(|(name, json)| Some((schema.column(name)?, name, json)));
        let own = known.filter(|(column, _, _)| !schema.key.contains(column));
        own.map(|(column, name, json)| match value_from_json(&schema.columns[column], json) {
            Ok(value) => Ok((column, value)),
            Err(reason) => wrong(format!("set.{name}"), reason),
        })
        .collect()
    }
}

/// The value that a JSON form stands for in a column.
pub(crate) fn value_from_json(column: &ColumnSpec, json: &Json) -> Result<Value, String> {
    if json.is_null() {
        return if column.nullable { Ok(Value::Null) } else { Err("must hold a value".to_owned()) };
    }
    let must = |what: &str| format!("must be {what}");
    let text = |what: &str| json.as_str().ok_or_else(|| must(what));
    match column.value_type {
        ValueType::Integer => json.as_i64().map(Value::Integer).ok_or_else(|| must("a whole number")),
        ValueType::Bool => json.as_bool().map(Value::Bool).ok_or_else(|| must("true or false")),
        ValueType::Text => {
            let text = text("a text")?;
            if text.contains('\0') || text.len() > INDEXED_TEXT_BYTES_MAX {
                return Err(format!("must be a text of at most {INDEXED_TEXT_BYTES_MAX} bytes without NUL"));
            }
            if !column.choices.is_empty() && !column.choices.contains(&text) {
                return Err(must(&format!("one of: {}", column.choices.join(", "))));
            }
            Ok(Value::Text(text.to_owned()))
        }
        ValueType::Timestamp => {
            let what = "a time such as `2026-07-07T09:00:00Z`";
            text(what)?.parse::<Timestamp>().map(Value::Timestamp).map_err(|_| must(what))
        }
        ValueType::Money => {
            let what = "money such as `{\"amount\": \"39.98\", \"currency\": \"GBP\"}`";
            Money::deserialize(json).map(Value::Money).map_err(|_| must(what))
        }
        ValueType::Bytes => {
            let what = "bytes as hexadecimal digits";
            crate::document::bytes(text(what)?).map(Value::Bytes).ok_or_else(|| must(what))
        }
        ValueType::Json => Ok(Value::Json(json.to_string())),
    }
}
