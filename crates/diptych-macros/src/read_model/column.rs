//! One field of a read model and its attributes.

use crate::shape::Field;
use crate::{attributes, names};
use syn::{Error, Ident, LitStr, Result};

/// A column being derived.
pub(super) struct Column {
    pub(super) field: Field,
    /// Its name in SQL.
    pub(super) sql: String,
    /// Its name on the wire.
    pub(super) public: String,
    pub(super) key: bool,
    pub(super) filter: bool,
    pub(super) sort: bool,
    pub(super) json: bool,
    pub(super) full_text: bool,
    /// Whether it is left out where it is withheld.
    pub(super) absent: bool,
    /// The widest range that may be asked for: a number, or microseconds.
    pub(super) range_max: Option<RangeMax>,
    /// The variant of `Sensitivity`.
    pub(super) sensitivity: &'static str,
    pub(super) meaning: String,
}

/// The widest range that may be asked for, as it was declared.
#[derive(Clone, Copy)]
pub(super) enum RangeMax {
    /// In the column's unit.
    Number(i64),
    /// Of a time.
    Micros(i64),
}

/// What `#[column(...)]` says.
struct Named {
    sql: String,
    public: String,
    absent: bool,
    range_max: Option<RangeMax>,
}

/// Column names that a store keeps for itself: those of every table, then the system columns of PostgreSQL
/// (its manual, section 5.6) and of SQLite (<https://sqlite.org/lang_createtable.html#rowid>).
const RESERVED_COLUMNS: [&str; 11] = [
    "tenant_id",
    "projection_position",
    "row_hash",
    "tableoid",
    "xmin",
    "cmin",
    "xmax",
    "cmax",
    "ctid",
    "rowid",
    "_rowid_",
];

/// The column of the document itself, where a row is one.
const DOCUMENT_COLUMN: &str = "document";

/// The column that counts the rows of an index of words, beside the columns of the key.
const WORDS_COLUMN: &str = "id";

/// Query parameters that are not filters.
const RESERVED_PARAMETERS: [&str; 10] = [
    "q",
    "sort",
    "pageSize",
    "pageToken",
    "minPosition",
    "maxStale",
    "consistency",
    "format",
    "model",
    "pending",
];

/// Reads a field.
pub(super) fn read(field: Field) -> Result<Column> {
    let names = names_of(&field)?;
    let marker = |name| attributes::marker(&field.attributes, name);
    let column = Column {
        key: marker("key")?,
        filter: marker("filter")?,
        sort: marker("sort")?,
        json: marker("json")?,
        full_text: marker("full_text")?,
        absent: names.absent,
        range_max: names.range_max,
        sensitivity: sensitivity(&field)?,
        meaning: attributes::meaning(&field.attributes),
        sql: names.sql,
        public: names.public,
        field,
    };
    check(&column)?;
    Ok(column)
}

fn check(column: &Column) -> Result<()> {
    let ident = &column.field.ident;
    let error = |message: String| Err(Error::new(ident.span(), message));
    if RESERVED_COLUMNS.contains(&column.sql.as_str()) {
        return Err(kept(column, "the store itself"));
    }
    if !names::is_snake(&column.sql) {
        return error(format!("the column name `{}` is not snake_case ASCII", column.sql));
    }
    let filtered = column.key || column.filter;
    if filtered && RESERVED_PARAMETERS.contains(&column.public.as_str()) {
        return error(format!(
            "`{}` is a query parameter of its own, so no filter may have that name: choose another with \
             `#[column(public = \"...\")]`",
            column.public
        ));
    }
    if column.json && (filtered || column.sort) {
        return error(
            "a `#[json]` column cannot be a key, a filter or a sort: no store compares it".to_owned(),
        );
    }
    if column.range_max.is_some() && !filtered {
        return error("`range_max` bounds what may be asked for: mark the field `#[filter]`".to_owned());
    }
    if column.absent && column.key {
        return error("a key is never withheld from whoever may see its row".to_owned());
    }
    if column.key && column.field.optional {
        return error("a key always has a value: it cannot be an `Option`".to_owned());
    }
    Ok(())
}

/// Refuses column names that the store keeps for itself because of something else that is declared.
pub(super) fn unreserved(columns: &[Column], document: bool) -> Result<()> {
    let searched = columns.iter().any(|column| column.full_text);
    for column in columns {
        if document && column.sql == DOCUMENT_COLUMN {
            return Err(kept(column, "the document itself, as the read model is declared `document`"));
        }
        if searched && column.key && column.sql == WORDS_COLUMN {
            return Err(kept(column, "the index of words, as a column is marked `#[full_text]`"));
        }
    }
    Ok(())
}

/// The error for a column name that is kept for something.
fn kept(column: &Column, what: &str) -> Error {
    let message = format!(
        "the column name `{}` is kept for {what}: name the field otherwise, or its column with \
         `#[column(name = \"...\")]`",
        column.sql
    );
    Error::new(column.field.ident.span(), message)
}

fn names_of(field: &Field) -> Result<Named> {
    let mut named = Named {
        sql: field.ident.to_string().trim_start_matches("r#").to_owned(),
        public: field.json.clone(),
        absent: false,
        range_max: None,
    };
    attributes::read_entries(
        &field.attributes,
        "column",
        "name, public, withheld, range_max",
        |name, entry| {
            match name {
                "name" => named.sql = attributes::text(entry)?.value(),
                "public" => named.public = public_name(&attributes::text(entry)?)?,
                "withheld" => named.absent = is_absent(&attributes::text(entry)?)?,
                "range_max" => named.range_max = Some(range_max(&attributes::text(entry)?)?),
                _ => return Ok(false),
            }
            Ok(true)
        },
    )?;
    Ok(named)
}

fn is_absent(text: &LitStr) -> Result<bool> {
    match text.value().as_str() {
        "masked" => Ok(false),
        "absent" => Ok(true),
        _ => Err(Error::new(text.span(), "what is withheld is `\"masked\"` or `\"absent\"`")),
    }
}

/// `"31d"`, `"12h"` for a time, `"1000"` for a number.
fn range_max(text: &LitStr) -> Result<RangeMax> {
    const UNITS: [(&str, i64); 4] =
        [("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000)];
    let value = text.value();
    let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number > 0);
    let time = UNITS.iter().find_map(|(unit, micros)| {
        number(value.strip_suffix(unit)?)?.checked_mul(*micros).map(RangeMax::Micros)
    });
    time.or_else(|| number(&value).map(RangeMax::Number)).ok_or_else(|| {
        Error::new(
            text.span(),
            "a range is a time such as `\"31d\"` or `\"12h\"`, or a number such as `\"1000\"`",
        )
    })
}

fn public_name(text: &LitStr) -> Result<String> {
    let name = text.value();
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !starts || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(Error::new(text.span(), "a public name is camelCase ASCII"));
    }
    Ok(name)
}

fn sensitivity(field: &Field) -> Result<&'static str> {
    let mut found = None;
    for attribute in field.attributes.iter().filter(|attribute| attribute.path().is_ident("sensitivity")) {
        if found.is_some() {
            return Err(Error::new_spanned(attribute, "`sensitivity` is declared twice"));
        }
        let word: Ident = attribute.parse_args()?;
        found = Some(match word.to_string().as_str() {
            "public" => "Public",
            "internal" => "Internal",
            "personal" => "Personal",
            "restricted" => "Restricted",
            other => {
                let known = "public, internal, personal, restricted";
                let message = format!("`{other}` is not known here; known are {known}");
                return Err(Error::new(word.span(), message));
            }
        });
    }
    Ok(found.unwrap_or("Public"))
}
