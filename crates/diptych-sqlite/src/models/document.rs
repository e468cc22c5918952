//! The columns of a table that keeps documents: computed from the document, exactly, and checked against it.
//! Pure: only text of SQL. No number of the document passes through a float.
//!
//! What SQLite offers for this: generated columns that no room is taken by
//! (<https://sqlite.org/gencol.html>), which are indexed, filtered and sorted by like any other.

use super::money;
use super::sql::{columns_of, literal, quoted};
use diptych_core::ValueType;
use diptych_query::{ColumnSpec, Schema, Written};

/// The column of the document.
pub(crate) const COLUMN: &str = "document";

/// The physical columns of what is written.
pub(crate) fn physical(schema: &Schema, written: Written) -> Vec<String> {
    match written {
        Written::Cell(column) => columns_of(&schema.columns[column]),
        Written::Document => vec![quoted(COLUMN)],
    }
}

/// The column of the document itself: JSON, and no member that no column has.
pub(crate) fn definition(schema: &Schema) -> String {
    let document = quoted(COLUMN);
    let paths: Vec<_> = schema.columns.iter().map(path).collect();
    let name = quoted(&format!("{}_{COLUMN}_check", schema.name));
    format!(
        "{document} TEXT NOT NULL CONSTRAINT {name} CHECK (json_valid({document}) \
         AND json_type({document}) = 'object' AND json_remove({document}, {}) = '{{}}')",
        paths.join(", ")
    )
}

/// How the physical columns of a declared one are computed.
pub(crate) fn computed(column: &ColumnSpec) -> Vec<String> {
    let held = value_at(&path(column));
    match column.value_type {
        ValueType::Timestamp => vec![micros(&held)],
        ValueType::Money => {
            let (document, path) = (quoted(COLUMN), path_of(column));
            let amount = money::amount_at(&document, &path);
            vec![money::thousandths(&amount), money::currency_at(&document, &path)]
        }
        _ => vec![held],
    }
}

/// The condition that the document holds a column in the form that it is computed from, and the same value as
/// the column beside it where there is one.
pub(crate) fn check(column: &ColumnSpec, beside: bool) -> String {
    let (path, name) = (path(column), quoted(column.name));
    let document = quoted(COLUMN);
    let (held, kind) = (value_at(&path), format!("json_type({document}, {path})"));
    let mut all = match column.value_type {
        ValueType::Json => {
            return format!("({document} -> {path}) IS coalesce(json({name}), 'null')");
        }
        ValueType::Integer => vec![is(&kind, &["integer"]), is_integer(column, beside)],
        ValueType::Bool => vec![is(&kind, &["true", "false"])],
        ValueType::Text => vec![is(&kind, &["text"])],
        ValueType::Bytes => vec![is(&kind, &["text"]), format!("upper({held}) IS {}", hex_of(&name))],
        ValueType::Timestamp => vec![is(&kind, &["text"]), is_time(&held)],
        ValueType::Money => vec![money::member_check(&document, &path_of(column))],
    };
    if beside && column.value_type != ValueType::Bytes {
        let computed = computed(column).into_iter().zip(columns_of(column));
        all.extend(computed.map(|(computed, name)| format!("{computed} IS {name}")));
    }
    all.join(" AND ")
}

fn hex_of(name: &str) -> String {
    format!("CASE WHEN {name} IS NOT NULL THEN hex({name}) END")
}

/// A number that 64 bits do not hold is no integer any more when it is computed.
fn is_integer(column: &ColumnSpec, beside: bool) -> String {
    let held = if beside { value_at(&path(column)) } else { quoted(column.name) };
    format!("typeof({held}) IN ('integer', 'null')")
}

/// That a type of JSON is one of some, or that there is no value.
fn is(kind: &str, kinds: &[&str]) -> String {
    let kinds: Vec<_> = kinds.iter().map(|kind| literal(kind)).collect();
    format!("coalesce({kind}, 'null') IN ({}, 'null')", kinds.join(", "))
}

fn path_of(column: &ColumnSpec) -> String {
    format!("$.\"{}\"", column.public)
}

fn path(column: &ColumnSpec) -> String {
    literal(&path_of(column))
}

fn value_at(path: &str) -> String {
    format!("json_extract({}, {path})", quoted(COLUMN))
}

/// Date and time of an RFC 3339 text in UTC to the second, as SQLite reads them: years before 0 are written
/// with six digits there, and with four here.
fn seconds_text(held: &str) -> String {
    format!("CASE WHEN {held} GLOB '-*' THEN '-' || substr({held}, 4, 19) ELSE substr({held}, 1, 19) END")
}

/// What follows the seconds: `Z`, or a fraction and `Z`.
fn after_seconds(held: &str) -> String {
    format!("substr({held}, CASE WHEN {held} GLOB '-*' THEN 23 ELSE 20 END)")
}

/// Microseconds since 1970 of an RFC 3339 text in UTC. The fraction is read as the whole number that it is:
/// SQLite itself keeps milliseconds.
fn micros(held: &str) -> String {
    format!(
        "unixepoch({}) * 1000000 + CAST(substr(trim({}, '.Z') || '000000', 1, 6) AS INTEGER)",
        seconds_text(held),
        after_seconds(held)
    )
}

/// SQLite takes 31 days for every month, so that what it has read is written again and compared.
fn is_time(held: &str) -> String {
    let (seconds, rest) = (seconds_text(held), after_seconds(held));
    let fractions = (1..=6).map(|digits| format!("{rest} GLOB '.{}Z'", "[0-9]".repeat(digits)));
    let rest: Vec<_> = std::iter::once(format!("{rest} = 'Z'")).chain(fractions).collect();
    format!(
        "({held} IS NULL OR ({held} NOT GLOB '-*' OR {held} GLOB '-00*') \
         AND replace(datetime({seconds}), ' ', 'T') IS ({seconds}) AND substr({held}, -1) = 'Z' AND ({}))",
        rest.join(" OR ")
    )
}
