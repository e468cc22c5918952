//! Text of generated SQL for the table of one declaration. Pure: names are quoted, values are always
//! parameters.
//!
//! Rows without a value in the sorted column come last both ways. Instead of ordering by `IS NULL`, which
//! no plain index serves, a query on such a column has two parts: the rows with a value, then the rows
//! without.

use super::rules::Rules;
use super::words;
use super::{document, money};
use diptych_core::{Fault, Value, ValueType};
use diptych_query::{ColumnSpec, Condition, Cursor, Direction, Operator, RawFind, Schema, Storage, Written};
use rusqlite::types::Value as Parameter;
use std::fmt::Write;

/// The columns that every table has beside those of its declaration.
const OWN_COLUMNS: [&str; 3] = ["tenant_id", "projection_position", "row_hash"];

/// One part of a query with its parameters, the tenant's being the first and the limit left to the caller.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// An identifier as SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL quotes it; only names from a declaration come here.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The physical columns of a declared one: money has two, the amount and the currency.
pub(crate) fn columns_of(column: &ColumnSpec) -> Vec<String> {
    match column.value_type {
        ValueType::Money => vec![quoted(column.name), quoted(&format!("{}_currency", column.name))],
        _ => vec![quoted(column.name)],
    }
}

/// All physical columns of a declaration, in its order.
pub(crate) fn all_columns(schema: &Schema) -> Vec<String> {
    schema.columns.iter().flat_map(columns_of).collect()
}

/// The physical key columns, tenant first.
pub(crate) fn key_columns(schema: &Schema) -> Vec<String> {
    let key = schema.key.iter().flat_map(|column| ordered(&schema.columns[*column]));
    std::iter::once(quoted("tenant_id")).chain(key).collect()
}

/// The physical columns in the order they compare in: money by currency, then amount.
fn ordered(column: &ColumnSpec) -> Vec<String> {
    let mut names = columns_of(column);
    names.reverse();
    names
}

/// What a column sorts and filters by: itself, or the rank of its text among the choices.
fn terms(column: &ColumnSpec) -> Vec<String> {
    if column.ranked { vec![rank_of(column)] } else { ordered(column) }
}

/// The rank of a column's text among the choices.
pub(crate) fn rank_of(column: &ColumnSpec) -> String {
    let mut rank = format!("CASE {}", quoted(column.name));
    for (number, choice) in column.choices.iter().enumerate() {
        let _ = write!(rank, " WHEN {} THEN {number}", literal(choice));
    }
    rank + " END"
}

/// A value as the parameters for [`terms`].
fn term_values(column: &ColumnSpec, value: &Value) -> Vec<Parameter> {
    match value {
        Value::Money(money) => vec![
            Parameter::Text(money.currency().as_str().to_owned()),
            Parameter::Integer(money.thousandths()),
        ],
        Value::Null => vec![Parameter::Null; terms(column).len()],
        Value::Text(text) if column.ranked => {
            let rank = column.choices.iter().position(|choice| choice == text);
            vec![Parameter::Integer(rank.map_or(-1, |rank| rank as i64))]
        }
        Value::Text(text) | Value::Json(text) => vec![Parameter::Text(text.clone())],
        Value::Integer(number) => vec![Parameter::Integer(*number)],
        Value::Bool(flag) => vec![Parameter::Integer(i64::from(*flag))],
        Value::Timestamp(time) => vec![Parameter::Integer(time.as_micros())],
        Value::Bytes(bytes) => vec![Parameter::Blob(bytes.clone())],
    }
}

/// A name that the declaration uses and the table needs for itself.
pub(crate) fn clashing_column(schema: &Schema) -> Option<String> {
    let mut seen: Vec<String> = OWN_COLUMNS.iter().map(|name| quoted(name)).collect();
    if schema.storage == Storage::Document {
        seen.push(quoted(document::COLUMN));
    }
    for column in all_columns(schema) {
        if seen.contains(&column) {
            return Some(column);
        }
        seen.push(column);
    }
    None
}

/// The statement that makes the table. Where SQL of the author's keeps the rows, it need not say what only a
/// fold knows.
pub(crate) fn create_table(table: &str, schema: &Schema, kept_by_sql: bool) -> String {
    let default = if kept_by_sql { " DEFAULT 0" } else { "" };
    let mut lines = vec!["\"tenant_id\" TEXT NOT NULL".to_owned()];
    for (index, column) in schema.columns.iter().enumerate() {
        lines.extend(match is_computed(schema, index) {
            true => computed_definitions(column),
            false => column_definitions(column),
        });
    }
    if schema.storage == Storage::Document {
        lines.push(document::definition(schema));
    }
    lines.push(format!("\"projection_position\" INTEGER NOT NULL{default}"));
    lines.push(format!("\"row_hash\" INTEGER NOT NULL{default}"));
    for (index, column) in schema.columns.iter().enumerate() {
        lines.extend(check_of(schema, column));
        lines.extend(money_check_of(schema, column));
        if schema.storage == Storage::Document {
            let name = match column.value_type {
                ValueType::Money => money::constraint(schema, column),
                _ => format!("{}_{}_{}_check", schema.name, column.name, document::COLUMN),
            };
            let check = document::check(column, schema.stands_beside(index));
            lines.push(format!("CONSTRAINT {} CHECK ({check})", quoted(&name)));
        }
    }
    lines.push(format!("PRIMARY KEY ({})", key_columns(schema).join(", ")));
    format!("CREATE TABLE {} (\n  {}\n) STRICT, WITHOUT ROWID", quoted(table), lines.join(",\n  "))
}

/// The statement that makes the table of deleted rows' guards.
pub(crate) fn create_tombstones(table: &str, schema: &Schema) -> String {
    let mut lines = vec!["\"tenant_id\" TEXT NOT NULL".to_owned()];
    for column in schema.key {
        lines.extend(column_definitions(&schema.columns[*column]));
    }
    lines.push("\"projection_position\" INTEGER NOT NULL".to_owned());
    lines.push(format!("PRIMARY KEY ({})", key_columns(schema).join(", ")));
    let name = quoted(&tombstones_of(table));
    format!("CREATE TABLE {name} (\n  {}\n) STRICT, WITHOUT ROWID", lines.join(",\n  "))
}

/// The name of the table of deleted rows' guards.
pub(crate) fn tombstones_of(table: &str) -> String {
    format!("{table}_tombstone")
}

/// The secondary indexes: quoted name and statement. Each ends with the key, which breaks ties.
pub(crate) fn create_indexes(table: &str, schema: &Schema) -> Vec<(String, String)> {
    let all = index_columns(table, schema).into_iter().map(|(name, columns)| {
        let name = quoted(&name);
        let sql = format!("CREATE INDEX {name} ON {} ({})", quoted(table), columns.join(", "));
        (name, sql)
    });
    all.collect()
}

fn index_columns(table: &str, schema: &Schema) -> Vec<(String, Vec<String>)> {
    let all = schema.indexes.iter().enumerate().map(|(number, index)| {
        let mut columns = vec![quoted("tenant_id")];
        for (column, direction) in index.columns {
            let suffix = if *direction == Direction::Descending { " DESC" } else { "" };
            columns.extend(terms(&schema.columns[*column]).iter().map(|term| format!("{term}{suffix}")));
        }
        for term in schema.key.iter().flat_map(|column| terms(&schema.columns[*column])) {
            if !columns.contains(&term) {
                columns.push(term);
            }
        }
        (format!("{table}_index_{}", number + 1), columns)
    });
    all.collect()
}

/// What the planner is told of the table, as `ANALYZE` would write it: many rows, of one tenant for all it
/// knows, and every further column of an index narrows. Without it SQLite takes a tenant for as narrow as a
/// filter, and reads all of a tenant's rows where an index stands ready
/// (<https://sqlite.org/fileformat2.html#stat1tab>).
pub(crate) fn statistics(table: &str, schema: &Schema) -> Vec<(String, String)> {
    const ROWS: u64 = 1_000_000;
    const ROWS_PER_VALUE: u64 = 1_000;
    let line = |columns: usize| {
        let mut left = ROWS_PER_VALUE;
        let mut text = format!("{ROWS} {ROWS}");
        for column in 2..=columns {
            let rows = if column == columns { 1 } else { left };
            let _ = write!(text, " {rows}");
            left = (left / 10).max(2);
        }
        text
    };
    let indexes = index_columns(table, schema).into_iter().map(|(name, columns)| (name, line(columns.len())));
    let primary = (table.to_owned(), line(key_columns(schema).len()));
    std::iter::once(primary).chain(indexes).collect()
}

pub(crate) fn column_definitions(column: &ColumnSpec) -> Vec<String> {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let kind = match column.value_type {
        ValueType::Integer | ValueType::Bool | ValueType::Timestamp | ValueType::Money => "INTEGER",
        ValueType::Text | ValueType::Json => "TEXT",
        ValueType::Bytes => "BLOB",
    };
    let names = columns_of(column).into_iter().zip([kind, "TEXT"]);
    names.map(|(name, kind)| format!("{name} {kind}{null}")).collect()
}

/// Whether a column is computed from the document.
fn is_computed(schema: &Schema, column: usize) -> bool {
    schema.storage == Storage::Document && !schema.stands_beside(column)
}

fn computed_definitions(column: &ColumnSpec) -> Vec<String> {
    let all = column_definitions(column).into_iter().zip(document::computed(column));
    all.map(|(definition, computed)| format!("{definition} GENERATED ALWAYS AS ({computed}) VIRTUAL"))
        .collect()
}

fn money_check_of(schema: &Schema, column: &ColumnSpec) -> Option<String> {
    let is_money = column.value_type == ValueType::Money;
    let name = || quoted(&money::constraint(schema, column));
    is_money.then(|| format!("CONSTRAINT {} CHECK ({})", name(), money::columns_check(column)))
}

fn check_of(schema: &Schema, column: &ColumnSpec) -> Option<String> {
    let allowed = match column.value_type {
        ValueType::Bool => "0, 1".to_owned(),
        _ if column.choices.is_empty() => return None,
        _ => column.choices.iter().map(|choice| literal(choice)).collect::<Vec<_>>().join(", "),
    };
    let name = quoted(&format!("{}_{}_check", schema.name, column.name));
    Some(format!("CONSTRAINT {name} CHECK ({} IN ({allowed}))", quoted(column.name)))
}

/// Inserts rows: tenant, what is written of each, guard, hash. A failure ends the transaction anyway, so
/// nothing is noted for undoing the statement alone.
pub(crate) fn insert(table: &str, schema: &Schema, rows: usize) -> String {
    let written = schema.written();
    let columns: Vec<_> = written.iter().flat_map(|written| document::physical(schema, *written)).collect();
    let marks = format!("({})", marks(columns.len() + OWN_COLUMNS.len()));
    format!(
        "INSERT OR FAIL INTO {} (\"tenant_id\", {}, \"projection_position\", \"row_hash\") VALUES {}",
        quoted(table),
        columns.join(", "),
        vec![marks; rows].join(", ")
    )
}

/// Updates what is written of a row: that, guard, hash, then tenant and key.
pub(crate) fn update(table: &str, schema: &Schema, written: &[Written]) -> String {
    let columns = written.iter().flat_map(|written| document::physical(schema, *written));
    let own = ["\"projection_position\"".to_owned(), "\"row_hash\"".to_owned()];
    let set: Vec<_> = columns.chain(own).map(|column| format!("{column} = ?")).collect();
    format!("UPDATE {} SET {} WHERE {}", quoted(table), set.join(", "), key_equals(schema))
}

/// Deletes a row or a tombstone by tenant and key.
pub(crate) fn delete(table: &str, schema: &Schema) -> String {
    format!("DELETE FROM {} WHERE {}", quoted(table), key_equals(schema))
}

/// Reads a row by tenant and key: columns, guard, hash.
pub(crate) fn select_row(table: &str, schema: &Schema) -> String {
    let columns = all_columns(schema).join(", ");
    format!(
        "SELECT {columns}, \"projection_position\", \"row_hash\" FROM {} WHERE {}",
        quoted(table),
        key_equals(schema)
    )
}

/// Reads the rows that hold a value in a column: columns, guard, hash. Parameters: tenant, the value, how
/// many at most.
pub(crate) fn select_matching(table: &str, schema: &Schema, column: usize) -> String {
    let columns = all_columns(schema).join(", ");
    let held = columns_of(&schema.columns[column]).into_iter().enumerate();
    let equal: Vec<_> = held.map(|(number, name)| format!("{name} = ?{}", number + 2)).collect();
    format!(
        "SELECT {columns}, \"projection_position\", \"row_hash\" FROM {} \
         WHERE \"tenant_id\" = ?1 AND {} LIMIT ?{}",
        quoted(table),
        equal.join(" AND "),
        equal.len() + 2
    )
}

/// Reads a tombstone's guard by tenant and key.
pub(crate) fn select_tombstone(table: &str, schema: &Schema) -> String {
    let name = quoted(&tombstones_of(table));
    format!("SELECT \"projection_position\" FROM {name} WHERE {}", key_equals(schema))
}

/// Writes a tombstone: tenant and key, then guard.
pub(crate) fn upsert_tombstone(table: &str, schema: &Schema) -> String {
    let keys = key_columns(schema);
    format!(
        "INSERT INTO {} ({keys}, \"projection_position\") VALUES ({}) \
         ON CONFLICT ({keys}) DO UPDATE SET \"projection_position\" = excluded.\"projection_position\"",
        quoted(&tombstones_of(table)),
        marks(keys.len() + 1),
        keys = keys.join(", "),
    )
}

/// Reads the checkpoint and the row of one key in one statement, which is one snapshot. Parameters: group,
/// revision, generation, tenant, key.
pub(crate) fn select_with_checkpoint(table: &str, schema: &Schema, checkpoint: &str) -> String {
    let columns: Vec<_> = all_columns(schema).iter().map(|column| format!("held.{column}")).collect();
    let mut numbered = key_columns(schema);
    for (column, number) in numbered.iter_mut().zip(4..) {
        *column = format!("held.{column} = ?{number}");
    }
    format!(
        "SELECT {checkpoint}, held.\"tenant_id\", {} FROM checkpoint LEFT JOIN {} AS held ON {} \
         WHERE checkpoint.group_name = ?1 AND checkpoint.revision = ?2 AND checkpoint.generation = ?3",
        columns.join(", "),
        quoted(table),
        numbered.join(" AND ")
    )
}

/// Reads rows of all tenants in order of tenant and key: tenant, columns, guard, hash. After a row, if one
/// is given; the limit is the last parameter.
pub(crate) fn scan(table: &str, schema: &Schema, after: bool) -> String {
    let keys = key_columns(schema);
    let place =
        if after { format!(" WHERE ({}) > ({})", keys.join(", "), marks(keys.len())) } else { String::new() };
    format!(
        "SELECT \"tenant_id\", {}, \"projection_position\", \"row_hash\" FROM {}{place} ORDER BY {} LIMIT ?",
        all_columns(schema).join(", "),
        quoted(table),
        keys.join(", ")
    )
}

/// A query in its parts, to be run one after the other until there are enough rows.
///
/// # Errors
/// A row rule that cannot be asked for.
pub(crate) fn find(table: &str, schema: &Schema, find: &RawFind) -> Result<Vec<Part>, Fault> {
    let sort = find.sort.and_then(|(column, direction)| Some((schema.columns.get(column)?, direction)));
    let Some((column, direction)) = sort else {
        let place = find.after.as_ref().map(|cursor| key_after(schema, cursor));
        return Ok(vec![part(table, schema, find, &[], None, place)?]);
    };
    let first = terms(column).into_iter().next().unwrap_or_default();
    let beyond_values = matches!(&find.after, Some(Cursor { sorted: Some(Value::Null), .. }));
    let mut parts = Vec::new();
    if !beyond_values {
        let place = find.after.as_ref().map(|cursor| sorted_after(schema, column, direction, cursor));
        let given = column.nullable.then(|| format!("{first} IS NOT NULL"));
        let order: Vec<_> = terms(column).into_iter().map(|term| (term, direction)).collect();
        parts.push(part(table, schema, find, &order, given, place)?);
    }
    if column.nullable {
        let place = find.after.as_ref().filter(|_| beyond_values).map(|cursor| key_after(schema, cursor));
        parts.push(part(table, schema, find, &[], Some(format!("{first} IS NULL")), place)?);
    }
    Ok(parts)
}

type Place = (String, Vec<Parameter>);

fn part(
    table: &str,
    schema: &Schema,
    find: &RawFind,
    order: &[(String, Direction)],
    given: Option<String>,
    place: Option<Place>,
) -> Result<Part, Fault> {
    let mut conditions = vec!["\"tenant_id\" = ?".to_owned()];
    let mut parameters = vec![Parameter::Text(find.tenant.as_str().to_owned())];
    for asked in &find.conditions {
        let (text, values) = condition(schema, asked);
        conditions.push(text);
        parameters.extend(values);
    }
    if !find.words.is_empty() {
        let place = format!("?{}", parameters.len() + 1);
        match words::condition(table, schema, &find.words, &place) {
            Some((text, asked)) => {
                conditions.push(text);
                parameters.push(Parameter::Text(asked));
            }
            // Nothing is searched, so that no row has a word.
            None => conditions.push("0".to_owned()),
        }
    }
    conditions.extend(find.rule.print(schema, &mut Rules { parameters: &mut parameters })?);
    conditions.extend(given);
    if let Some((text, values)) = place {
        conditions.push(text);
        parameters.extend(values);
    }
    let sorted = order.iter().map(|(term, direction)| match direction {
        Direction::Ascending => term.clone(),
        Direction::Descending => format!("{term} DESC"),
    });
    let order: Vec<_> = sorted.chain(key_terms(schema)).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT ?",
        all_columns(schema).join(", "),
        quoted(table),
        conditions.join(" AND "),
        order.join(", ")
    );
    Ok(Part { sql, parameters })
}

fn condition(schema: &Schema, asked: &Condition) -> Place {
    let nothing = || ("0".to_owned(), Vec::new());
    let Some(column) = schema.columns.get(asked.column) else {
        return nothing();
    };
    let values: Vec<_> = asked.values.iter().filter(|value| **value != Value::Null).collect();
    if values.is_empty() {
        return nothing();
    }
    let terms = terms(column);
    let left = tuple(&terms);
    let right = tuple(&vec!["?".to_owned(); terms.len()]);
    let parameters = values.iter().flat_map(|value| term_values(column, value)).collect();
    let operator = match asked.operator {
        Operator::Equal if values.len() > 1 && terms.len() == 1 => {
            return (format!("{left} IN ({})", marks(values.len())), parameters);
        }
        Operator::Equal => "=",
        Operator::Less => "<",
        Operator::AtMost => "<=",
        Operator::Greater => ">",
        Operator::AtLeast => ">=",
    };
    let one = format!("{left} {operator} {right}");
    let text = if values.len() == 1 { one } else { format!("({})", vec![one; values.len()].join(" OR ")) };
    (text, parameters)
}

/// After a place in the order of the key alone.
fn key_after(schema: &Schema, cursor: &Cursor) -> Place {
    let (terms, values) = key_place(schema, cursor);
    (format!("{} > {}", tuple(&terms), tuple(&vec!["?".to_owned(); terms.len()])), values)
}

/// After a place in the order of a column, then the key.
fn sorted_after(schema: &Schema, column: &ColumnSpec, direction: Direction, cursor: &Cursor) -> Place {
    let mut sorted = terms(column);
    let mut values = term_values(column, cursor.sorted.as_ref().unwrap_or(&Value::Null));
    let (key, key_values) = key_place(schema, cursor);
    if direction == Direction::Ascending {
        sorted.extend(key);
        values.extend(key_values);
        let places = tuple(&vec!["?".to_owned(); sorted.len()]);
        return (format!("{} > {places}", tuple(&sorted)), values);
    }
    let (left, right) = (tuple(&sorted), tuple(&vec!["?".to_owned(); sorted.len()]));
    let (key, places) = (tuple(&key), tuple(&vec!["?".to_owned(); key.len()]));
    // The first term repeats what the second says, so that an index can be entered at the place.
    let text = format!("{left} <= {right} AND ({left} < {right} OR {key} > {places})");
    let parameters = [values.clone(), values, key_values].concat();
    (text, parameters)
}

fn key_place(schema: &Schema, cursor: &Cursor) -> (Vec<String>, Vec<Parameter>) {
    let columns = schema.key.iter().map(|column| &schema.columns[*column]);
    let values = columns.zip(&cursor.key).flat_map(|(column, value)| term_values(column, value));
    (key_terms(schema), values.collect())
}

fn key_terms(schema: &Schema) -> Vec<String> {
    schema.key.iter().flat_map(|column| terms(&schema.columns[*column])).collect()
}

fn key_equals(schema: &Schema) -> String {
    let columns = key_columns(schema);
    let equal: Vec<_> = columns.iter().map(|column| format!("{column} = ?")).collect();
    equal.join(" AND ")
}

fn tuple(terms: &[String]) -> String {
    match terms {
        [one] => one.clone(),
        many => format!("({})", many.join(", ")),
    }
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

#[cfg(test)]
mod tests;
