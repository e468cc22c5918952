//! `#[derive(ReadModel)]`: what a declaration says, checked as a whole. Reading it is in `declaration` and
//! `column`, writing the code in `generate`.

mod column;
mod declaration;
mod generate;

use crate::{attributes, names, shape};
use column::Column;
use declaration::{Computed, Declaration, Intended, Sorted};
use proc_macro2::{Ident, Span, TokenStream};
use syn::{DeriveInput, Error, Result, Visibility};

/// A read model being derived. Columns are named by their index.
struct Model<'a> {
    name: &'a Ident,
    visibility: &'a Visibility,
    meaning: String,
    declaration: Declaration,
    columns: Vec<Column>,
    key: Vec<usize>,
    indexes: Vec<Vec<(usize, bool)>>,
    default_sort: Option<(usize, bool)>,
    computed: Vec<Computed>,
}

/// Derives a read model on a struct with named fields.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let fields = shape::struct_fields(input, "ReadModel")?;
    let mut errors = None;
    let declaration = attributes::keep(&mut errors, declaration::read(input));
    let mut columns = Vec::new();
    for field in fields {
        if let Some(column) = attributes::keep(&mut errors, column::read(field)) {
            columns.push(column);
        }
    }
    let computed = attributes::keep(&mut errors, declaration::computed(input));
    let indexes = attributes::keep(&mut errors, declaration::indexes(input));
    let (Some(declaration), Some(computed), Some(declared), None) = (declaration, computed, indexes, &errors)
    else {
        return Err(
            errors.unwrap_or_else(|| Error::new(input.ident.span(), "this read model cannot be read"))
        );
    };
    distinct(&columns, &computed)?;
    column::unreserved(&columns, declaration.document)?;
    let indexes = indexes_of(&columns, &declared)?;
    intended(&columns, declaration.intended.as_ref())?;
    let default_sort = default_sort(&columns, declaration.default_sort.as_ref())?;
    let model = Model {
        name: &input.ident,
        visibility: &input.vis,
        meaning: attributes::meaning(&input.attrs),
        key: key(&columns, &input.ident)?,
        indexes,
        default_sort,
        declaration,
        columns,
        computed,
    };
    Ok(shape::enclosed(&model.generate()))
}

fn key(columns: &[Column], name: &Ident) -> Result<Vec<usize>> {
    let key: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].key).collect();
    if key.is_empty() {
        let message = "a read model needs a key: mark the field or fields that identify a row with `#[key]`";
        return Err(Error::new(name.span(), message));
    }
    Ok(key)
}

/// Refuses a difference that is intended in a column that there is not, or in the key.
fn intended(columns: &[Column], intended: Option<&Intended>) -> Result<()> {
    let Some(Intended { columns: named, span, .. }) = intended else { return Ok(()) };
    for name in named {
        let message = match columns.iter().find(|column| column.sql == *name) {
            None => format!("`intended` names `{name}`, which is no column"),
            Some(column) if column.key => format!("`intended` names `{name}`, which is part of the key"),
            Some(_) => continue,
        };
        return Err(Error::new(*span, message));
    }
    Ok(())
}

/// Refuses two columns of one name, in SQL, on the wire or among the constants.
fn distinct(columns: &[Column], computed: &[Computed]) -> Result<()> {
    let (mut sql, mut public, mut constants) = (Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        let span = column.field.ident.span();
        attributes::once(&mut sql, &column.sql, span, "the column")?;
        attributes::once(&mut public, &column.public, span, "the public name")?;
        let constant = names::screaming(&column.field.ident.to_string());
        attributes::once(&mut constants, &constant, span, "the constant")?;
    }
    for column in computed {
        attributes::once(&mut public, &column.public, column.name.span(), "the public name")?;
    }
    Ok(())
}

/// The declared indexes, and one for each filter that none of them begins with.
fn indexes_of(columns: &[Column], declared: &[Vec<Sorted>]) -> Result<Vec<Vec<(usize, bool)>>> {
    let mut indexes = Vec::new();
    for index in declared {
        let resolved: Result<Vec<_>> = index.iter().map(|sorted| resolve(columns, sorted)).collect();
        let resolved = resolved?;
        for ((column, _), sorted) in resolved.iter().zip(index) {
            if columns[*column].json {
                let message = "a `#[json]` column cannot be indexed: no store compares it";
                return Err(Error::new(sorted.column.span(), message));
            }
        }
        if indexes.contains(&resolved) {
            let span = index.first().map_or_else(Span::call_site, |sorted| sorted.column.span());
            return Err(Error::new(span, "this index is declared twice"));
        }
        indexes.push(resolved);
    }
    let key_first = columns.iter().position(|column| column.key);
    for (number, column) in columns.iter().enumerate() {
        let begins = |index: &Vec<(usize, bool)>| index.first().is_some_and(|(first, _)| *first == number);
        if column.filter && key_first != Some(number) && !indexes.iter().any(begins) {
            indexes.push(vec![(number, false)]);
        }
    }
    Ok(indexes)
}

fn default_sort(columns: &[Column], sorted: Option<&Sorted>) -> Result<Option<(usize, bool)>> {
    let Some(sorted) = sorted else { return Ok(None) };
    let (index, descending) = resolve(columns, sorted)?;
    let column = &columns[index];
    if !(column.sort || column.key) {
        let message = format!("a default order needs a sortable column: mark `{}` `#[sort]`", sorted.column);
        return Err(Error::new(sorted.column.span(), message));
    }
    Ok(Some((index, descending)))
}

fn resolve(columns: &[Column], sorted: &Sorted) -> Result<(usize, bool)> {
    let found = columns.iter().position(|column| column.field.ident == sorted.column);
    let index = found.ok_or_else(|| {
        let names: Vec<_> = columns.iter().map(|column| column.field.ident.to_string()).collect();
        let message =
            format!("`{}` is not a field of this read model; it has {}", sorted.column, names.join(", "));
        Error::new(sorted.column.span(), message)
    })?;
    Ok((index, sorted.descending))
}
