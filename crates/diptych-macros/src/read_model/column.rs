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
    /// The variant of `Sensitivity`.
    pub(super) sensitivity: &'static str,
    pub(super) meaning: String,
}

/// Column names that every store keeps for itself.
const RESERVED_COLUMNS: [&str; 3] = ["tenant_id", "projection_position", "row_hash"];

/// Query parameters that are not filters.
const RESERVED_PARAMETERS: [&str; 5] = ["sort", "pageSize", "pageToken", "minPosition", "maxStale"];

/// Reads a field.
pub(super) fn read(field: Field) -> Result<Column> {
    let names = names_of(&field)?;
    let marker = |name| attributes::marker(&field.attributes, name);
    let column = Column {
        key: marker("key")?,
        filter: marker("filter")?,
        sort: marker("sort")?,
        json: marker("json")?,
        sensitivity: sensitivity(&field)?,
        meaning: attributes::meaning(&field.attributes),
        sql: names.0,
        public: names.1,
        field,
    };
    check(&column)?;
    Ok(column)
}

fn check(column: &Column) -> Result<()> {
    let ident = &column.field.ident;
    let error = |message: String| Err(Error::new(ident.span(), message));
    if RESERVED_COLUMNS.contains(&column.sql.as_str()) {
        return error(format!(
            "the column name `{}` is kept for the store itself: name the field otherwise, or its column with \
             `#[column(name = \"...\")]`",
            column.sql
        ));
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
    if column.key && column.field.optional {
        return error("a key always has a value: it cannot be an `Option`".to_owned());
    }
    Ok(())
}

fn names_of(field: &Field) -> Result<(String, String)> {
    let mut sql = field.ident.to_string().trim_start_matches("r#").to_owned();
    let mut public = field.json.clone();
    attributes::read_entries(&field.attributes, "column", "name, public", |name, entry| {
        match name {
            "name" => sql = attributes::text(entry)?.value(),
            "public" => public = public_name(&attributes::text(entry)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((sql, public))
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
