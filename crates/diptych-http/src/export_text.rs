//! The two forms of an export, as text: NDJSON, a JSON value on each line; and CSV by RFC 4180.

use crate::json::Object;
use crate::rows::{Item, text};
use crate::wire::ServiceInfo;
use diptych_core::{Value, ValueType};
use diptych_query::{ColumnSpec, ExportTotals, Freshness, RawRow, RowStream, Schema};

/// A form of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// A JSON value on each line.
    Ndjson,
    /// RFC 4180, with a header of public names.
    Csv,
}

impl Format {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// Where the rows of an export come from.
pub(crate) fn lineage(service: &ServiceInfo, schema: &Schema, freshness: &Freshness) -> Object {
    let stored = schema.columns.iter().map(|column| column_of(column.public, column.value_type));
    let computed = schema.computed.iter().map(|column| column_of(column.public, column.value_type));
    Object::new()
        .with("service", service.name.as_str())
        .with("serviceVersion", service.version.as_str())
        .with("model", schema.name)
        .with("schema", schema.shape())
        .with("position", freshness.projection_position.0)
        .with("token", freshness.token.to_string())
        .with("asOf", freshness.as_of.map(|time| time.to_string()))
        .with("lagEvents", freshness.lag_events)
        .with("columns", stored.chain(computed).collect::<Vec<_>>())
}

fn column_of(name: &'static str, value_type: ValueType) -> Object {
    Object::new().with("name", name).with("type", format!("{value_type:?}").to_lowercase())
}

/// What stands before the rows.
pub(crate) fn head(format: Format, stream: &RowStream, lineage: Object) -> String {
    match format {
        Format::Ndjson => {
            let lineage = lineage
                .with("revision", stream.build.revision)
                .with("generation", stream.build.generation)
                .with("policyVersion", stream.policy.as_ref().map(|policy| policy.0.as_ref()))
                .with("exportedAt", stream.begun_at.to_string());
            Object::new().with("lineage", lineage).to_text() + "\n"
        }
        Format::Csv => csv_header(stream.schema),
    }
}

/// Rows of an export.
pub(crate) fn rows(format: Format, schema: &Schema, rows: &[RawRow]) -> String {
    let mut out = String::new();
    for row in rows {
        match format {
            Format::Ndjson => {
                let line = text(&Item { schema, row }, schema, 1);
                let line = String::from_utf8_lossy(&line);
                // Texts escape their line breaks: one that stands here stands between values of stored JSON.
                out.push_str(&line.replace(['\n', '\r'], " "));
                out.push('\n');
            }
            Format::Csv => csv_row(schema, row, &mut out),
        }
    }
    out
}

/// What stands after the last row.
pub(crate) fn end(totals: &ExportTotals, masked: &[&'static str]) -> String {
    let masked: Vec<_> = masked.iter().map(|name| (*name).to_owned()).collect();
    let end = Object::new()
        .with("rows", totals.rows)
        .with("checksum", format!("blake3:{}", totals.checksum))
        .with_some("withheld", Some(masked).filter(|masked| !masked.is_empty()));
    Object::new().with("end", end).to_text() + "\n"
}

/// A column's type by its place among stored and computed ones.
fn types(schema: &Schema) -> impl Iterator<Item = (&'static str, ValueType)> {
    let stored = schema.columns.iter().map(|column: &ColumnSpec| (column.public, column.value_type));
    stored.chain(schema.computed.iter().map(|column| (column.public, column.value_type)))
}

fn csv_header(schema: &Schema) -> String {
    let mut fields = Vec::new();
    for (name, value_type) in types(schema) {
        if value_type == ValueType::Money {
            fields.extend([format!("{name}Amount"), format!("{name}Currency")]);
        } else {
            fields.push(name.to_owned());
        }
    }
    fields.join(",") + "\r\n"
}

fn csv_row(schema: &Schema, row: &RawRow, out: &mut String) {
    for (index, ((_, value_type), value)) in types(schema).zip(&row.values).enumerate() {
        if index > 0 {
            out.push(',');
        }
        match value {
            Value::Null if value_type == ValueType::Money => out.push(','),
            Value::Null => {}
            Value::Money(_) => {
                let json = value.to_json();
                let part = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
                csv_field(&part("amount"), out);
                out.push(',');
                csv_field(&part("currency"), out);
            }
            Value::Text(text) | Value::Json(text) => csv_field(text, out),
            value => match value.to_json() {
                serde_json::Value::String(text) => csv_field(&text, out),
                other => csv_field(&other.to_string(), out),
            },
        }
    }
    out.push_str("\r\n");
}

/// A field. One without any letter is quoted, so that it differs from no value.
fn csv_field(text: &str, out: &mut String) {
    if text.is_empty() || text.contains(['"', ',', '\r', '\n']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
        ] {
            let mut out = String::new();
            csv_field(text, &mut out);
            assert_eq!(out, expected);
        }
    }
}
