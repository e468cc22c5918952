//! Reading attributes: lists of `name = value`, doc comments, and errors that name what is known.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::parse::Parse;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitInt, LitStr, Meta, Result};

/// Hands every entry of every `#[space(...)]` to `read`, which answers `Ok(false)` for a name it does not
/// know. `known` lists the names for the error.
pub(crate) fn read_entries(
    attributes: &[Attribute],
    space: &str,
    known: &str,
    mut read: impl FnMut(&str, &ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    let mut seen = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(space)) {
        if matches!(attribute.meta, Meta::Path(_)) {
            let message = format!("`#[{space}]` needs entries in parentheses; known are {known}");
            return Err(Error::new_spanned(attribute, message));
        }
        attribute.parse_nested_meta(|entry| {
            let name = entry.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if seen.contains(&name) {
                return Err(entry.error(format!("`{name}` is declared twice")));
            }
            if !read(&name, &entry)? {
                let message = match known {
                    "" => format!("`#[{space}(...)]` takes nothing here"),
                    _ => format!("`{name}` is not known here; known are {known}"),
                };
                return Err(Error::new_spanned(&entry.path, message));
            }
            seen.push(name);
            Ok(())
        })?;
    }
    Ok(())
}

/// Reads the value after `=`.
pub(crate) fn value<T: Parse>(entry: &ParseNestedMeta<'_>) -> Result<T> {
    entry.value()?.parse()
}

/// Reads a text after `=` that is not empty.
pub(crate) fn text(entry: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let text: LitStr = value(entry)?;
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), "must not be empty"));
    }
    Ok(text)
}

/// Reads a whole number after `=`, at least 1.
pub(crate) fn count<N>(entry: &ParseNestedMeta<'_>) -> Result<N>
where
    N: std::str::FromStr + From<u8> + PartialOrd,
    N::Err: std::fmt::Display,
{
    let number: LitInt = value(entry)?;
    let parsed: N = number.base10_parse()?;
    if parsed < N::from(1) {
        return Err(Error::new(number.span(), "must be at least 1"));
    }
    Ok(parsed)
}

/// Reads what becomes of unknown types: `"refuse"`, or `"ignore"`, which answers true.
pub(crate) fn ignores_unknown(entry: &ParseNestedMeta<'_>) -> Result<bool> {
    let word = text(entry)?;
    match word.value().as_str() {
        "ignore" => Ok(true),
        "refuse" => Ok(false),
        _ => Err(Error::new(word.span(), "`unknown` is `\"refuse\"` or `\"ignore\"`")),
    }
}

/// The first paragraph of the doc comment as one line, for catalogs and error pages.
pub(crate) fn meaning(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(doc_line);
    let mut meaning = Vec::new();
    for line in lines.flat_map(|text| text.split('\n').map(str::to_owned).collect::<Vec<_>>()) {
        match line.trim() {
            "" if meaning.is_empty() => {}
            "" => break,
            words => meaning.push(words.to_owned()),
        }
    }
    meaning.join(" ")
}

/// The doc comments alone, to be repeated on a generated type.
pub(crate) fn docs(attributes: &[Attribute]) -> Vec<&Attribute> {
    let is_doc = |attribute: &&Attribute| attribute.path().is_ident("doc");
    attributes.iter().filter(is_doc).collect()
}

/// Whether a bare marker such as `#[key]` is there.
///
/// # Errors
/// A marker with something after it.
pub(crate) fn marker(attributes: &[Attribute], name: &str) -> Result<bool> {
    let mut found = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
        attribute.meta.require_path_only()?;
        found = true;
    }
    Ok(found)
}

/// Adds an error to those collected so far.
pub(crate) fn collect(errors: &mut Option<Error>, error: Error) {
    match errors {
        Some(held) => held.combine(error),
        None => *errors = Some(error),
    }
}

/// Takes the value out of a result or notes its error.
pub(crate) fn keep<T>(errors: &mut Option<Error>, result: Result<T>) -> Option<T> {
    result.map_err(|error| collect(errors, error)).ok()
}

/// Refuses a name that was met before.
///
/// # Errors
/// The second use.
pub(crate) fn once(seen: &mut Vec<String>, name: &str, span: Span, what: &str) -> Result<()> {
    if seen.iter().any(|held| held == name) {
        return Err(Error::new(span, format!("{what} `{name}` is declared twice")));
    }
    seen.push(name.to_owned());
    Ok(())
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
