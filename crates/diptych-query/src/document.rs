//! A row as one JSON document and back, for every store that keeps documents: each column by its public name,
//! in the order of the declaration, in the form that it has on the wire. Pure; knows no store.
//!
//! Exact: what is read is what was written, for every value of every type. A `#[json]` column goes in as its
//! text stands, so that it comes out so wherever a document is kept as text, but for white space around it.

use crate::{ColumnSpec, Schema, Storage};
use diptych_core::{Money, Timestamp, Value, ValueType};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;
use thiserror::Error;

/// Why a document is not a row of its model.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// It is not an object.
    #[error("the document is not a JSON object")]
    NotAnObject,
    /// It has a member that the declaration does not know.
    #[error("the document has a member `{member}` that no column has")]
    Unknown {
        /// The member.
        member: String,
    },
    /// A member is missing or not of its column's type.
    #[error("member `{member}` {reason}")]
    Member {
        /// The member.
        member: &'static str,
        /// What it should be.
        reason: String,
    },
}

/// The document of a row's values.
///
/// A `#[json]` column must hold JSON; a store that looks refuses the document otherwise.
#[must_use]
pub fn write_document(schema: &Schema, values: &[Value]) -> String {
    let mut out = String::with_capacity(values.len() * MEMBER_BYTES);
    for (column, value) in schema.columns.iter().zip(values) {
        out.push(if out.is_empty() { '{' } else { ',' });
        write_text(&mut out, column.public);
        out.push(':');
        write_value(&mut out, value);
    }
    if out.is_empty() { "{}".to_owned() } else { out + "}" }
}

/// About how long a member is.
const MEMBER_BYTES: usize = 32;

fn write_value(out: &mut String, value: &Value) {
    // Writing into a text cannot fail.
    let _ = match value {
        Value::Null => out.write_str("null"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Bool(flag) => write!(out, "{flag}"),
        Value::Json(text) => out.write_str(text),
        Value::Money(money) => {
            write!(out, r#"{{"amount":"{}","currency":"{}"}}"#, money.amount(), money.currency())
        }
        Value::Timestamp(time) => write!(out, "\"{time}\""),
        Value::Text(text) => {
            write_text(out, text);
            Ok(())
        }
        Value::Bytes(bytes) => {
            out.push('"');
            bytes.iter().for_each(|byte| {
                let _ = write!(out, "{byte:02x}");
            });
            out.write_str("\"")
        }
    };
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// The values of a document, in the order of the declaration. A member without a value may be left out.
///
/// # Errors
/// Whatever [`write_document`] would not have written: a member too many or too few, another type, a number
/// in a money field.
pub fn read_document(schema: &Schema, text: &str) -> Result<Vec<Value>, DocumentError> {
    let mut members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|_| DocumentError::NotAnObject)?;
    let values: Result<Vec<Value>, DocumentError> = schema
        .columns
        .iter()
        .map(|column| {
            let held = members.remove(column.public);
            read_value(column, held.map(RawValue::get))
                .map_err(|reason| DocumentError::Member { member: column.public, reason })
        })
        .collect();
    match members.into_keys().next() {
        Some(member) => Err(DocumentError::Unknown { member }),
        None => values,
    }
}

fn read_value(column: &ColumnSpec, held: Option<&str>) -> Result<Value, String> {
    let held = match held {
        // The text `null` of a `#[json]` column is a value where the column must have one.
        Some("null") | None if column.nullable => return Ok(Value::Null),
        None => return Err("is missing".to_owned()),
        Some(held) => held,
    };
    match column.value_type {
        ValueType::Integer => read::<i64>(held, "a whole number").map(Value::Integer),
        ValueType::Bool => read(held, "true or false").map(Value::Bool),
        ValueType::Timestamp => {
            read::<Timestamp>(held, "a time such as `2026-07-07T09:00:00Z`").map(Value::Timestamp)
        }
        ValueType::Money => serde_json::from_str::<Money>(held)
            .map(Value::Money)
            .map_err(|error| format!("is not money: {error}")),
        ValueType::Json => Ok(Value::Json(held.to_owned())),
        ValueType::Bytes => {
            let what = "bytes as hexadecimal digits";
            bytes(&read::<String>(held, what)?).map(Value::Bytes).ok_or_else(|| must(what))
        }
        ValueType::Text => {
            let text: String = read(held, "a text")?;
            if column.choices.is_empty() || column.choices.contains(&text.as_str()) {
                return Ok(Value::Text(text));
            }
            Err(must(&format!("one of: {}", column.choices.join(", "))))
        }
    }
}

fn must(what: &str) -> String {
    format!("must be {what}")
}

fn read<T: DeserializeOwned>(held: &str, what: &str) -> Result<T, String> {
    serde_json::from_str(held).map_err(|_| must(what))
}

/// Bytes of lower or upper case hexadecimal digits.
pub(crate) fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// One thing that a store writes of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// A column of the declaration, by its index.
    Cell(usize),
    /// The document of all columns.
    Document,
}

impl Schema {
    /// What a database writes of a row: every column, or the document after those that stand beside it.
    #[must_use]
    pub fn written(&self) -> Vec<Written> {
        let columns = 0..self.columns.len();
        match self.storage {
            Storage::Columns => columns.map(Written::Cell).collect(),
            Storage::Document => {
                let beside = columns.filter(|column| self.stands_beside(*column)).map(Written::Cell);
                beside.chain([Written::Document]).collect()
            }
        }
    }

    /// Whether a store that keeps documents has a column beside the document, too: those of the key, by which
    /// a row is found, and those whose text a document does not keep byte by byte in every database.
    #[must_use]
    pub fn stands_beside(&self, column: usize) -> bool {
        let kept = |spec: &ColumnSpec| matches!(spec.value_type, ValueType::Json | ValueType::Bytes);
        self.key.contains(&column) || self.columns.get(column).is_some_and(kept)
    }
}
