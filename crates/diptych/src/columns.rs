//! What can be wrong with the columns that a decider declares of its stored state. Pure.

use crate::problems::{fits, twice};
use diptych_command::{AnyDecider, StateColumn, StateColumnKind, StateIndex};
use serde_json::Value;

/// Columns that every view of states has.
const RESERVED: [&str; 6] = ["tenant", "key", "version", "position", "updated_at", "state"];

/// The longest name of a view or an index that PostgreSQL keeps as it is, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Everything that is wrong with a decider's columns.
pub(crate) fn problems(decider: &dyn AnyDecider) -> Vec<String> {
    let (Some(stored), category) = (decider.stored(), decider.category()) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if "state_".len() + category.len() > NAME_BYTES_MAX {
        problems.push(format!("the states of `{category}` cannot be shown: its name is too long for a view"));
    }
    let names = stored.columns.iter().map(|column| column.name);
    problems.extend(
        twice(names).map(|name| format!("two columns of the state of `{category}` are called `{name}`")),
    );
    for column in stored.columns {
        let StateColumn { name, property, kind, index } = *column;
        let named = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| fits(byte) || byte == b'_');
        let long =
            index == StateIndex::Indexed && "state_.".len() + category.len() + name.len() > NAME_BYTES_MAX;
        if !named || long || RESERVED.contains(&name) {
            problems.push(format!("a column of the state of `{category}` cannot be called `{name}`"));
        }
        let plain =
            !property.is_empty() && property.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let schema = stored.schema.as_value();
        match property_of(schema, schema, property).filter(|_| plain) {
            None => problems.push(format!(
                "column `{name}` of the state of `{category}` shows `{property}`, which it does not have"
            )),
            Some(found) if !holds(schema, found, kind) => problems.push(format!(
                "column `{name}` of the state of `{category}` is {}, and `{property}` is not",
                kind_in_words(kind)
            )),
            Some(_) => {}
        }
    }
    problems
}

fn kind_in_words(kind: StateColumnKind) -> &'static str {
    match kind {
        StateColumnKind::Text => "text",
        StateColumnKind::Integer => "a whole number",
        StateColumnKind::Boolean => "true or false",
        StateColumnKind::Timestamp => "a point in time",
    }
}

/// The schema of a property, also where it belongs to one variant only.
fn property_of<'a>(root: &'a Value, schema: &'a Value, property: &str) -> Option<&'a Value> {
    let schema = resolved(root, schema);
    let own = schema.get("properties").and_then(|properties| properties.get(property));
    own.or_else(|| alternatives(schema).find_map(|variant| property_of(root, variant, property)))
}

/// Whether every value of a schema, if it has one, is of a kind.
fn holds(root: &Value, schema: &Value, kind: StateColumnKind) -> bool {
    let schema = resolved(root, schema);
    let mut variants = alternatives(schema).peekable();
    if variants.peek().is_some() {
        return variants.all(|variant| holds(root, variant, kind));
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    let format = schema.get("format").and_then(Value::as_str);
    let fits = |one: &str| match kind {
        StateColumnKind::Text => one == "string",
        StateColumnKind::Integer => one == "integer",
        StateColumnKind::Boolean => one == "boolean",
        StateColumnKind::Timestamp => one == "string" && format == Some("date-time"),
    };
    let constant = schema.get("const").is_some_and(Value::is_string) && kind == StateColumnKind::Text;
    constant || (!types.is_empty() && types.iter().all(|one| *one == "null" || fits(one)))
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten()
}

/// Follows `#/$defs/..`.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    target.and_then(|target| root.pointer(target)).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_property_is_found_and_its_kind_is_known() {
        let root = json!({
            "properties": {
                "open": { "type": "boolean" }, "at": { "type": ["string", "null"], "format": "date-time" },
                "status": { "$ref": "#/$defs/Status" }, "total": { "type": "object" },
                "owner": { "anyOf": [{ "$ref": "#/$defs/Status" }, { "type": "null" }] }
            },
            "oneOf": [{ "properties": { "size": { "type": "integer" } } }],
            "$defs": { "Status": { "type": "string", "enum": ["NEW"] } }
        });
        let check = |property: &str, kind, expected| {
            let found = property_of(&root, &root, property).map(|found| holds(&root, found, kind));
            assert_eq!(found, expected, "{property}");
        };
        check("open", StateColumnKind::Boolean, Some(true));
        check("open", StateColumnKind::Text, Some(false));
        check("at", StateColumnKind::Timestamp, Some(true));
        check("status", StateColumnKind::Text, Some(true));
        check("status", StateColumnKind::Timestamp, Some(false));
        check("owner", StateColumnKind::Text, Some(true));
        check("size", StateColumnKind::Integer, Some(true));
        check("total", StateColumnKind::Text, Some(false));
        check("missing", StateColumnKind::Text, None);
    }
}
