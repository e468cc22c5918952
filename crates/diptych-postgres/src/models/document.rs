//! The columns of a table that keeps documents: computed by the database from the document, exactly, and
//! checked against it. Pure: only text of SQL, and the parameter of a document. No number of the document
//! passes through a float, but for seconds with their six decimals, which one keeps.

use super::money;
use super::sql::{columns_of, literal};
use crate::shared::quoted;
use bytes::BytesMut;
use diptych_core::ValueType;
use diptych_query::{ColumnSpec, Schema, Storage, Written};
use std::error::Error;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

/// The column of the document.
pub(crate) const COLUMN: &str = "document";

/// The form of a time: RFC 3339 in UTC, as it is written.
const TIME: &str =
    "^(-00)?[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z$";

/// A document as a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Document(pub(crate) String);

impl ToSql for Document {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // The version of the form, then the text.
        out.extend_from_slice(&[1]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSONB);
    to_sql_checked!();
}

/// The physical columns of what is written of a row.
pub(crate) fn physical(schema: &Schema, written: Written) -> Vec<String> {
    match written {
        Written::Cell(column) => columns_of(&schema.columns[column]),
        Written::Document => vec![quoted(COLUMN)],
    }
}

/// Whether a column is computed from the document.
pub(crate) fn is_computed(schema: &Schema, column: usize) -> bool {
    schema.storage == Storage::Document && !schema.stands_beside(column)
}

/// The text of a column as an expression of other generated columns takes it: those may not name each other.
pub(crate) fn text_of(schema: &Schema, column: usize) -> String {
    let spec = &schema.columns[column];
    if is_computed(schema, column) { text_at(spec) } else { quoted(spec.name) }
}

/// The condition that the document is an object without a member that no column has.
pub(crate) fn members_check(schema: &Schema) -> String {
    let document = quoted(COLUMN);
    let names: Vec<_> = schema.columns.iter().map(|column| literal(column.public)).collect();
    format!(
        "jsonb_typeof({document}) = 'object' AND {document} - ARRAY[{}]::text[] = '{{}}'::jsonb",
        names.join(", ")
    )
}

/// How the physical columns of a declared one are computed.
pub(crate) fn computed(column: &ColumnSpec) -> Vec<String> {
    let text = text_at(column);
    match column.value_type {
        ValueType::Integer => vec![format!("({text})::bigint")],
        ValueType::Bool => vec![format!("({text})::boolean")],
        ValueType::Timestamp => vec![time(&text)],
        ValueType::Bytes => vec![format!("decode({text}, 'hex')")],
        ValueType::Text | ValueType::Json => vec![text],
        ValueType::Money => {
            vec![money::thousandths(&member(column, "amount")), member(column, "currency")]
        }
    }
}

/// The condition that the document holds a column in the form that it is computed from, and the same value as
/// the column beside it where there is one.
pub(crate) fn check(column: &ColumnSpec, beside: bool) -> String {
    let (held, text) = (json_at(column), text_at(column));
    let is = |kind: &str| format!("coalesce(jsonb_typeof({held}), 'null') IN ('{kind}', 'null')");
    let mut all = match column.value_type {
        ValueType::Json => {
            let name = quoted(column.name);
            return format!("{held} IS NOT DISTINCT FROM coalesce({name}::jsonb, 'null'::jsonb)");
        }
        ValueType::Integer => vec![is("number")],
        ValueType::Bool => vec![is("boolean")],
        ValueType::Text | ValueType::Bytes => vec![is("string")],
        ValueType::Timestamp => vec![is("string"), format!("({text}) ~ {}", literal(TIME))],
        ValueType::Money => vec![money::member_check(&held)],
    };
    if beside {
        let computed = computed(column).into_iter().zip(columns_of(column));
        all.extend(computed.map(|(computed, name)| format!("{name} IS NOT DISTINCT FROM {computed}")));
    }
    all.join(" AND ")
}

fn json_at(column: &ColumnSpec) -> String {
    format!("({} -> {})", quoted(COLUMN), literal(column.public))
}

fn text_at(column: &ColumnSpec) -> String {
    format!("({} ->> {})", quoted(COLUMN), literal(column.public))
}

fn member(column: &ColumnSpec, name: &str) -> String {
    format!("({} ->> '{name}')", json_at(column))
}

/// A time of its text, by its parts: what PostgreSQL reads as a time depends on the session. The year before
/// 1 is 1 BC, which it calls -1.
fn time(text: &str) -> String {
    let (date, hours) = (format!("split_part({text}, 'T', 1)"), format!("split_part({text}, 'T', 2)"));
    let year = format!("left({date}, -6)::int");
    format!(
        "timezone('UTC', make_timestamp({year} - ({year} < 1)::int, left(right({date}, 5), 2)::int, \
         right({date}, 2)::int, left({hours}, 2)::int, substr({hours}, 4, 2)::int, \
         rtrim(substr({hours}, 7), 'Z')::double precision))"
    )
}
