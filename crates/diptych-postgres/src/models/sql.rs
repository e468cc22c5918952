//! Text of generated SQL for the table of one declaration. Pure: names are quoted, values are always
//! parameters, and a statement over many rows takes an array for each column.
//!
//! Rows without a value in the sorted column come last both ways. Instead of ordering by `IS NULL`, which
//! no plain index serves, a query on such a column has two parts: the rows with a value, then the rows
//! without.

use super::document::{self, is_computed};
use super::money;
use super::rows::{Kind, kinds_of};
use super::words;
use crate::shared::{self, quoted};
use diptych_core::ValueType;
use diptych_query::fold::ROWS_PER_FACT_MAX;
use diptych_query::{ColumnSpec, Direction, MoneyStep, Schema, Storage, Written};
use std::fmt::Write;

/// The columns that every table has beside those of its declaration.
const OWN_COLUMNS: [&str; 3] = ["tenant_id", "projection_position", "row_hash"];

/// How long a name may be: PostgreSQL cuts off the rest.
const NAME_BYTES_MAX: usize = 63;

/// How full a page is left, so that a row that changes finds room beside itself and its indexes stay as they
/// are.
const FILLFACTOR: u8 = 90;

/// A table by its name in its schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    /// The schema as SQL text writes it.
    schema: String,
    /// The name as it is.
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn new(schema: &shared::Schema, name: &str) -> Self {
        Self { schema: schema.quoted(), name: fitted(name) }
    }

    /// As SQL text writes it.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", self.schema, quoted(&self.name))
    }

    /// Another object whose name begins with this one's.
    fn beside(&self, suffix: &str) -> Self {
        Self { schema: self.schema.clone(), name: fitted(&format!("{}_{suffix}", self.name)) }
    }

    /// The table of deleted rows' guards.
    pub(crate) fn tombstones(&self) -> Self {
        self.beside("tombstone")
    }
}

/// A name that PostgreSQL keeps as it is: a long one ends in a sum of its text, so that no two become one.
fn fitted(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let sum = blake3::hash(name.as_bytes()).to_hex();
    let end = (0..=NAME_BYTES_MAX - 9).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}_{}", &name[..end], &sum[..8])
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
pub(crate) fn terms(column: &ColumnSpec) -> Vec<String> {
    if column.ranked { vec![rank_of(column)] } else { ordered(column) }
}

/// The rank of a column's text among the choices.
pub(crate) fn rank_of(column: &ColumnSpec) -> String {
    let mut rank = format!("(CASE {}", quoted(column.name));
    for (number, choice) in column.choices.iter().enumerate() {
        let _ = write!(rank, " WHEN {} THEN {number}", literal(choice));
    }
    rank + " END)"
}

/// The types of [`terms`].
pub(crate) fn term_kinds(column: &ColumnSpec) -> Vec<Kind> {
    if column.ranked {
        return vec![Kind::Rank];
    }
    let mut kinds = kinds_of(column);
    kinds.reverse();
    kinds
}

/// A name that the declaration uses and the table needs for itself, or that PostgreSQL would cut off.
pub(crate) fn clashing_column(schema: &Schema) -> Option<String> {
    let mut seen: Vec<String> = OWN_COLUMNS.iter().map(|name| quoted(name)).collect();
    if schema.storage == Storage::Document {
        seen.push(quoted(document::COLUMN));
    }
    for column in all_columns(schema) {
        if seen.contains(&column) || column.len() > NAME_BYTES_MAX + 2 {
            return Some(column);
        }
        seen.push(column);
    }
    let words = words::are_searched(schema).then(|| quoted(words::COLUMN));
    words.filter(|words| seen.contains(words))
}

/// The statement that makes the table, with the column of words where it has one. Where SQL of the
/// author's keeps the rows, it need not say what only a fold knows.
pub(crate) fn create_table(
    table: &Named,
    schema: &Schema,
    kept_by_sql: bool,
    words: Option<String>,
) -> String {
    let default = if kept_by_sql { " DEFAULT 0" } else { "" };
    let mut lines = vec![tenant_definition()];
    for (index, column) in schema.columns.iter().enumerate() {
        lines.extend(match is_computed(schema, index) {
            true => computed_definitions(column),
            false => column_definitions(column),
        });
    }
    if schema.storage == Storage::Document {
        lines.push(format!("{} jsonb NOT NULL", quoted(document::COLUMN)));
    }
    lines.push(format!("\"projection_position\" bigint NOT NULL{default}"));
    lines.push(format!("\"row_hash\" bigint NOT NULL{default}"));
    lines.extend(words);
    for column in schema.columns {
        lines.extend(check_of(schema, column));
        if column.value_type == ValueType::Money {
            lines.push(money_check(schema, column, "", &money::columns_check(column)));
        }
    }
    if schema.storage == Storage::Document {
        lines.extend(document_checks(schema));
    }
    lines.push(format!("PRIMARY KEY ({})", key_columns(schema).join(", ")));
    format!("CREATE TABLE {} (\n  {}\n) WITH (fillfactor = {FILLFACTOR})", table.sql(), lines.join(",\n  "))
}

/// The statement that makes the table of deleted rows' guards.
pub(crate) fn create_tombstones(table: &Named, schema: &Schema) -> String {
    let mut lines = vec![tenant_definition()];
    for column in schema.key {
        lines.extend(column_definitions(&schema.columns[*column]));
    }
    lines.push("\"projection_position\" bigint NOT NULL".to_owned());
    lines.push(format!("PRIMARY KEY ({})", key_columns(schema).join(", ")));
    format!("CREATE TABLE {} (\n  {}\n)", table.tombstones().sql(), lines.join(",\n  "))
}

/// The view of a table for people, also in place of that of another one: without what only a fold needs, and
/// money as a decimal number.
pub(crate) fn create_view(view: &Named, table: &Named, schema: &Schema) -> String {
    let shown = schema.columns.iter().flat_map(|column| {
        let mut columns = columns_of(column);
        if column.value_type == ValueType::Money {
            columns[0] = format!("round({0} / 1000.0, 3) AS {0}", columns[0]);
        }
        columns
    });
    let columns: Vec<_> = std::iter::once(quoted("tenant_id")).chain(shown).collect();
    format!("CREATE OR REPLACE VIEW {} AS SELECT {} FROM {}", view.sql(), columns.join(", "), table.sql())
}

/// The secondary indexes, each made unless it is there. Each ends with the key, which breaks ties.
pub(crate) fn create_indexes(table: &Named, schema: &Schema) -> Vec<String> {
    let all = schema.indexes.iter().enumerate().map(|(number, index)| {
        let mut columns = vec![quoted("tenant_id")];
        for (column, direction) in index.columns {
            let terms = terms(&schema.columns[*column]);
            columns.extend(terms.into_iter().map(|term| directed(term, *direction)));
        }
        for term in key_terms(schema) {
            if !columns.contains(&term) {
                columns.push(term);
            }
        }
        let name = quoted(&table.beside(&format!("index_{}", number + 1)).name);
        format!("CREATE INDEX IF NOT EXISTS {name} ON {} ({})", table.sql(), columns.join(", "))
    });
    let words = words::are_searched(schema).then(|| {
        let name = quoted(&table.beside("words").name);
        format!("CREATE INDEX IF NOT EXISTS {name} ON {} USING gin ({})", table.sql(), quoted(words::COLUMN))
    });
    all.chain(words).collect()
}

/// A term in an order. Where no value stands does not matter: no query orders rows with and without one at
/// once.
pub(crate) fn directed(term: String, direction: Direction) -> String {
    match direction {
        Direction::Ascending => term,
        Direction::Descending => term + " DESC",
    }
}

fn tenant_definition() -> String {
    "\"tenant_id\" text COLLATE \"C\" NOT NULL".to_owned()
}

fn column_definitions(column: &ColumnSpec) -> Vec<String> {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let definition = |(name, kind)| {
        let kind = match kind {
            Kind::Integer | Kind::Rank => "bigint",
            Kind::Bool => "boolean",
            Kind::Text => "text COLLATE \"C\"",
            Kind::Time => "timestamptz",
            Kind::Bytes => "bytea",
            Kind::Document => "jsonb",
        };
        format!("{name} {kind}{null}")
    };
    columns_of(column).into_iter().zip(kinds_of(column)).map(definition).collect()
}

fn computed_definitions(column: &ColumnSpec) -> Vec<String> {
    let all = column_definitions(column).into_iter().zip(document::computed(column));
    all.map(|(definition, computed)| format!("{definition} GENERATED ALWAYS AS ({computed}) STORED"))
        .collect()
}

/// A constraint that guards money. What it says ends with a number where it is not the first.
fn money_check(schema: &Schema, column: &ColumnSpec, number: &str, check: &str) -> String {
    let name = quoted(&fitted(&format!("{}{number}", money::constraint(schema, column))));
    format!("CONSTRAINT {name} CHECK ({check})")
}

/// The statement that has a table guard the money inside of a `#[json]` column.
pub(crate) fn guard_inside(
    table: &Named,
    schema: &Schema,
    (number, column, path): (usize, usize, &[MoneyStep]),
) -> String {
    let column = &schema.columns[column];
    let check = money_check(schema, column, &format!("_{number}"), &money::inside_check(column, path));
    format!("ALTER TABLE {} ADD {check}", table.sql())
}

/// The names of the constraints that guard a column's money.
pub(crate) fn guards_of(schema: &Schema, column: &ColumnSpec, inside: usize) -> Vec<String> {
    let name = money::constraint(schema, column);
    let numbered = (0..inside).map(|number| fitted(&format!("{name}_{number}")));
    [fitted(&name), fitted(&format!("{name}_document"))].into_iter().chain(numbered).collect()
}

fn document_checks(schema: &Schema) -> Vec<String> {
    let named = |name: String, check| format!("CONSTRAINT {} CHECK ({check})", quoted(&fitted(&name)));
    let members = named(format!("{}_document_check", schema.name), document::members_check(schema));
    let columns = schema.columns.iter().enumerate().map(|(index, column)| {
        let check = document::check(column, schema.stands_beside(index));
        if column.value_type == ValueType::Money {
            return money_check(schema, column, "_document", &check);
        }
        named(format!("{}_{}_document_check", schema.name, column.name), check)
    });
    std::iter::once(members).chain(columns).collect()
}

fn check_of(schema: &Schema, column: &ColumnSpec) -> Option<String> {
    if column.choices.is_empty() {
        return None;
    }
    let allowed: Vec<_> = column.choices.iter().map(|choice| literal(choice)).collect();
    let name = quoted(&fitted(&format!("{}_{}_check", schema.name, column.name)));
    Some(format!("CONSTRAINT {name} CHECK ({} IN ({}))", quoted(column.name), allowed.join(", ")))
}

/// Inserts rows: arrays of tenants, of what is written of them, of guards and of hashes.
pub(crate) fn insert(table: &Named, schema: &Schema) -> String {
    let columns = written_columns(schema);
    format!(
        "INSERT INTO {} ({}) SELECT * FROM unnest({})",
        table.sql(),
        columns.join(", "),
        places(1, columns.len())
    )
}

/// Takes rows as a binary stream, with the columns of [`insert`].
pub(crate) fn copy(table: &Named, schema: &Schema) -> String {
    format!("COPY {} ({}) FROM STDIN (FORMAT binary)", table.sql(), written_columns(schema).join(", "))
}

/// The physical columns that whoever writes a row names: tenant, what is written of it, guard, hash.
fn written_columns(schema: &Schema) -> Vec<String> {
    let written = schema.written();
    with_own(written.into_iter().flat_map(|written| document::physical(schema, written)))
}

/// All physical columns of a table: tenant, declaration, guard, hash.
fn row_columns(schema: &Schema) -> Vec<String> {
    with_own(all_columns(schema).into_iter())
}

fn with_own(columns: impl Iterator<Item = String>) -> Vec<String> {
    let [tenant, guard, hash] = OWN_COLUMNS.map(quoted);
    std::iter::once(tenant).chain(columns).chain([guard, hash]).collect()
}

/// The types of [`insert`]'s columns.
pub(crate) fn row_kinds(schema: &Schema) -> Vec<Kind> {
    let written = schema.written().into_iter().flat_map(|written| match written {
        Written::Cell(column) => kinds_of(&schema.columns[column]),
        Written::Document => vec![Kind::Document],
    });
    std::iter::once(Kind::Text).chain(written).chain([Kind::Integer, Kind::Integer]).collect()
}

/// What an update sets: what is written and the key does not hold.
pub(crate) fn settable(schema: &Schema) -> Vec<Written> {
    let mut written = schema.written();
    written.retain(|written| !matches!(written, Written::Cell(column) if schema.key.contains(column)));
    written
}

/// Updates rows: arrays of each physical column that is set, of guards and hashes, then of tenants and keys.
/// PostgreSQL itself leaves an index alone whose columns are as before.
pub(crate) fn update(table: &Named, schema: &Schema) -> String {
    let columns = settable(schema).into_iter().flat_map(|written| document::physical(schema, written));
    let own = [quoted("projection_position"), quoted("row_hash")];
    let set: Vec<_> = columns.chain(own).enumerate().collect();
    let count = set.len();
    let set: Vec<_> = set.into_iter().map(|(at, column)| format!("{column} = given.v{at}")).collect();
    let names: Vec<_> = (0..count).map(|at| format!("v{at}")).chain(key_names(schema)).collect();
    format!(
        "UPDATE {} AS held SET {} FROM unnest({}) AS given ({}) WHERE {}",
        table.sql(),
        set.join(", "),
        places(1, names.len()),
        names.join(", "),
        same_key(schema)
    )
}

/// Deletes rows or tombstones: arrays of tenants and keys.
pub(crate) fn delete(table: &Named, schema: &Schema) -> String {
    format!("DELETE FROM {} AS held USING {} WHERE {}", table.sql(), given_keys(schema), same_key(schema))
}

/// Writes tombstones: arrays of tenants and keys, then of guards.
pub(crate) fn upsert_tombstones(table: &Named, schema: &Schema) -> String {
    let keys = key_columns(schema);
    format!(
        "INSERT INTO {} ({keys}, \"projection_position\") SELECT * FROM unnest({}) \
         ON CONFLICT ({keys}) DO UPDATE SET \"projection_position\" = excluded.\"projection_position\"",
        table.tombstones().sql(),
        places(1, keys.len() + 1),
        keys = keys.join(", "),
    )
}

/// Forgets tombstones whose guard is at or below a position.
pub(crate) fn sweep_tombstones(table: &Named) -> String {
    format!("DELETE FROM {} WHERE \"projection_position\" <= $1", table.tombstones().sql())
}

/// Reads rows: arrays of tenants and keys. Columns: tenant, declaration, guard, hash.
pub(crate) fn select_rows(table: &Named, schema: &Schema) -> String {
    format!(
        "SELECT {} FROM {} JOIN {} AS held ON {}",
        held_columns(schema),
        given_keys(schema),
        table.sql(),
        same_key(schema)
    )
}

/// Reads tombstones: arrays of tenants and keys. Columns: tenant, key, guard.
pub(crate) fn select_tombstones(table: &Named, schema: &Schema) -> String {
    let columns: Vec<_> = key_columns(schema).iter().map(|column| format!("held.{column}")).collect();
    format!(
        "SELECT {}, held.\"projection_position\" FROM {} JOIN {} AS held ON {}",
        columns.join(", "),
        given_keys(schema),
        table.tombstones().sql(),
        same_key(schema)
    )
}

/// Reads the rows that hold one of some values in a column: arrays of tenants and of the column's terms. No
/// more of each than it takes to see that they are too many.
pub(crate) fn select_matching(table: &Named, schema: &Schema, column: usize) -> String {
    let terms = held_terms(&schema.columns[column]);
    let equal = terms.iter().enumerate().map(|(at, term)| format!("{term} = given.k{}", at + 1));
    matching(table, schema, &equal.collect::<Vec<_>>(), terms.len() + 1)
}

/// Reads the rows that hold no value in a column: an array of tenants.
pub(crate) fn select_without(table: &Named, schema: &Schema, column: usize) -> String {
    let terms = held_terms(&schema.columns[column]);
    matching(table, schema, &[format!("{} IS NULL", terms[0])], 1)
}

fn matching(table: &Named, schema: &Schema, conditions: &[String], arrays: usize) -> String {
    let names: Vec<_> = (0..arrays).map(|at| format!("k{at}")).collect();
    format!(
        "SELECT found.* FROM unnest({}) AS given ({}) CROSS JOIN LATERAL (SELECT {} FROM {} AS held \
         WHERE held.\"tenant_id\" = given.k0 AND {} LIMIT {}) AS found",
        places(1, arrays),
        names.join(", "),
        held_columns(schema),
        table.sql(),
        conditions.join(" AND "),
        ROWS_PER_FACT_MAX + 1
    )
}

/// The terms of a column of the table that a statement calls `held`.
fn held_terms(column: &ColumnSpec) -> Vec<String> {
    // No other table of those statements has a column of a declaration, so a rank finds its own.
    if column.ranked {
        terms(column)
    } else {
        ordered(column).iter().map(|name| format!("held.{name}")).collect()
    }
}

/// Reads rows of all tenants in order of tenant and key: tenant, columns, guard, hash. After a row, if one
/// is given; the limit is the last parameter.
pub(crate) fn scan(table: &Named, schema: &Schema, after: bool) -> String {
    let keys = key_columns(schema);
    let (place, limit) = match after {
        true => (format!(" WHERE ({}) > ({})", keys.join(", "), places(1, keys.len())), keys.len() + 1),
        false => (String::new(), 1),
    };
    format!(
        "SELECT {} FROM {} AS held{place} ORDER BY {} LIMIT ${limit}",
        held_columns(schema),
        table.sql(),
        keys.join(", ")
    )
}

/// Reads the checkpoint and the row of one key in one statement, which is one snapshot. Parameters: group,
/// revision, generation, tenant, key. Columns: the checkpoint's, tenant, declaration.
pub(crate) fn select_with_checkpoint(table: &Named, schema: &Schema, checkpoint: &str) -> String {
    let columns: Vec<_> = all_columns(schema).iter().map(|column| format!("held.{column}")).collect();
    let keys = key_columns(schema).into_iter().zip(5..);
    let equal: Vec<_> = keys.map(|(column, number)| format!("held.{column} = ${number}")).collect();
    format!(
        "SELECT {checkpoint}, held.\"tenant_id\", {} FROM {}.checkpoint LEFT JOIN {} AS held ON {} \
         WHERE checkpoint.group_name = $1 AND checkpoint.revision = $2 AND checkpoint.generation = $3 \
         AND checkpoint.partition = $4",
        columns.join(", "),
        table.schema,
        table.sql(),
        equal.join(" AND ")
    )
}

/// The terms of the key.
pub(crate) fn key_terms(schema: &Schema) -> Vec<String> {
    schema.key.iter().flat_map(|column| terms(&schema.columns[*column])).collect()
}

fn held_columns(schema: &Schema) -> String {
    let columns: Vec<_> = row_columns(schema).iter().map(|column| format!("held.{column}")).collect();
    columns.join(", ")
}

fn key_names(schema: &Schema) -> Vec<String> {
    (0..key_columns(schema).len()).map(|at| format!("k{at}")).collect()
}

fn given_keys(schema: &Schema) -> String {
    let names = key_names(schema);
    format!("unnest({}) AS given ({})", places(1, names.len()), names.join(", "))
}

fn same_key(schema: &Schema) -> String {
    let keys = key_columns(schema).into_iter().enumerate();
    let equal: Vec<_> = keys.map(|(at, column)| format!("held.{column} = given.k{at}")).collect();
    equal.join(" AND ")
}

fn places(from: usize, count: usize) -> String {
    let all: Vec<_> = (from..from + count).map(|number| format!("${number}")).collect();
    all.join(", ")
}

#[cfg(test)]
pub(crate) mod tests;
