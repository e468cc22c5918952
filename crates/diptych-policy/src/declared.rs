//! What a service declares, as far as policies may speak of it. Plain descriptions: this crate knows no
//! decider.

use diptych_core::{AttributeKind, PolicyAttribute};
use diptych_query::Schema;
use serde_json::Value as Json;
use std::borrow::Cow;

/// Everything of a service that policies may speak of.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// The categories of the deciders.
    pub categories: Vec<CategoryDeclaration>,
    /// The read models.
    pub models: Vec<&'static Schema>,
}

/// A decider, as policies see it.
#[derive(Clone, Debug)]
pub struct CategoryDeclaration {
    /// The category of its streams.
    pub category: String,
    /// What it offers of its state.
    pub view: Vec<PolicyAttribute>,
    /// Its commands.
    pub commands: Vec<CommandDeclaration>,
}

/// A command, as policies see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandDeclaration {
    /// Its name, such as `Approve`.
    pub name: String,
    /// The fields of its body that policies may judge by: texts, numbers, flags, times and lists of texts.
    pub fields: Vec<PolicyAttribute>,
}

impl CommandDeclaration {
    /// Reads the fields of a command from the JSON Schema of its body; `definitions` are what the schema
    /// refers to by `#/…/NAME`, by name. Fields of other types are left out.
    #[must_use]
    pub fn from_schema(name: &str, schema: &Json, definitions: &serde_json::Map<String, Json>) -> Self {
        let schema = resolved(schema, definitions);
        let required = |field: &str| {
            let required = schema["required"].as_array().into_iter().flatten();
            required.into_iter().any(|name| name.as_str() == Some(field))
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        let fields = properties.filter_map(|(field, kind)| {
            let (kind, nullable) = kind_of(kind, definitions)?;
            let always = required(field) && !nullable;
            Some(PolicyAttribute { name: Cow::Owned(field.clone()), kind, always })
        });
        Self { name: name.to_owned(), fields: fields.collect() }
    }
}

/// How many references are followed from one schema to the next, so that circles end.
const REFERENCES_MAX: usize = 16;

fn resolved<'a>(mut schema: &'a Json, definitions: &'a serde_json::Map<String, Json>) -> &'a Json {
    for _ in 0..REFERENCES_MAX {
        let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        match name.and_then(|name| definitions.get(name)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// The kind of a field, and whether it may be null.
fn kind_of(schema: &Json, definitions: &serde_json::Map<String, Json>) -> Option<(AttributeKind, bool)> {
    let schema = resolved(schema, definitions);
    for choice in ["anyOf", "oneOf"] {
        let Some(choices) = schema[choice].as_array() else { continue };
        let is_null = |one: &&Json| one["type"] == "null";
        let nullable = choices.iter().any(|one| is_null(&one));
        let mut kinds = choices.iter().filter(|one| !is_null(one)).map(|one| kind_of(one, definitions));
        let first = kinds.next()??;
        return kinds.all(|kind| kind == Some(first)).then_some((first.0, first.1 || nullable));
    }
    let (mut words, mut nullable) = (Vec::new(), false);
    match &schema["type"] {
        Json::String(word) => words.push(word.as_str()),
        Json::Array(types) => words.extend(types.iter().filter_map(Json::as_str)),
        _ if schema["const"].is_string() => words.push("string"),
        _ => return None,
    }
    words.retain(|word| {
        nullable |= *word == "null";
        *word != "null"
    });
    let kind = match words.as_slice() {
        ["string"] if schema["format"] == "date-time" => AttributeKind::Time,
        ["string"] => AttributeKind::Text,
        ["integer"] => AttributeKind::Integer,
        ["boolean"] => AttributeKind::Bool,
        ["array"] => match kind_of(&schema["items"], definitions)? {
            (AttributeKind::Text, false) => AttributeKind::Texts,
            _ => return None,
        },
        _ => return None,
    };
    Some((kind, nullable))
}
