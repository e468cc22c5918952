//! Examples made from a JSON Schema, as many as it takes to meet each choice once. Knows the keywords that
//! our derives write, and guesses at nothing: who asks tries what comes out.

use serde_json::{Map, Value, json};

/// At most so many examples of one type: enough for the vocabularies that people write by hand.
const SAMPLES_MAX: usize = 12;

/// How deep an example goes into itself.
const DEPTH_MAX: usize = 6;

/// One example: which of several choices, and whether what may be left out is there.
#[derive(Clone, Copy)]
struct Turn {
    number: usize,
    optional: Optional,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Optional {
    There,
    LeftOut,
}

/// Examples of a schema whose references lead into the definitions, each once.
pub(super) fn samples(schema: &Value, definitions: &Map<String, Value>) -> Vec<Value> {
    let mut samples = Vec::new();
    for number in 0..SAMPLES_MAX {
        for optional in [Optional::There, Optional::LeftOut] {
            let sample = sample(schema, definitions, Turn { number, optional }, 0);
            if number == 0 || optional == Optional::There {
                samples.push(sample);
            }
        }
    }
    let mut seen: Vec<Value> = Vec::new();
    samples.retain(|sample| {
        let new = !seen.contains(sample);
        if new {
            seen.push(sample.clone());
        }
        new
    });
    samples
}

fn sample(schema: &Value, definitions: &Map<String, Value>, turn: Turn, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        return sample(&definitions.get(name).cloned().unwrap_or_default(), definitions, turn, depth + 1);
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    for choices in ["enum", "oneOf", "anyOf"] {
        let Some(all) = schema[choices].as_array().filter(|all| !all.is_empty()) else { continue };
        // No value is what is left out.
        let is_null = |choice: &&Value| choice.is_null() || choice["type"] == "null";
        if turn.optional == Optional::LeftOut && all.iter().any(|choice| is_null(&choice)) {
            return Value::Null;
        }
        let real: Vec<_> = all.iter().filter(|choice| !is_null(choice)).collect();
        let choice = real.get(turn.number % real.len().max(1)).copied().unwrap_or(&Value::Null);
        return match choices {
            "enum" => choice.clone(),
            _ => sample(choice, definitions, turn, depth + 1),
        };
    }
    match type_of(schema, turn) {
        "object" => object(schema, definitions, turn, depth),
        "array" => array(schema, definitions, turn, depth),
        "string" => text(schema),
        "integer" => json!(schema["minimum"].as_i64().unwrap_or_default().max(1)),
        "number" => json!(1.5),
        "boolean" => json!(turn.number.is_multiple_of(2)),
        _ => Value::Null,
    }
}

/// The type; of several, the first that is a value.
fn type_of(schema: &Value, turn: Turn) -> &str {
    match &schema["type"] {
        Value::String(one) => one,
        Value::Array(several) => {
            let names: Vec<_> = several.iter().filter_map(Value::as_str).collect();
            if turn.optional == Optional::LeftOut && names.contains(&"null") {
                return "null";
            }
            names.into_iter().find(|name| *name != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ => "null",
    }
}

fn object(schema: &Value, definitions: &Map<String, Value>, turn: Turn, depth: usize) -> Value {
    let required = schema["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|held| held == name));
    let mut fields = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if is_required(name) || turn.optional == Optional::There {
            fields.insert(name.clone(), sample(field, definitions, turn, depth + 1));
        }
    }
    let others = &schema["additionalProperties"];
    if others.is_object() && turn.optional == Optional::There {
        fields.insert("example".to_owned(), sample(others, definitions, turn, depth + 1));
    }
    Value::Object(fields)
}

fn array(schema: &Value, definitions: &Map<String, Value>, turn: Turn, depth: usize) -> Value {
    let least = schema["minItems"].as_u64().unwrap_or(0).min(16);
    let count = if turn.optional == Optional::There { least.max(1) } else { least };
    let items = match schema["prefixItems"].as_array() {
        Some(items) => items.iter().collect(),
        None => vec![&schema["items"]; usize::try_from(count).unwrap_or_default()],
    };
    items.into_iter().map(|item| sample(item, definitions, turn, depth + 1)).collect()
}

fn text(schema: &Value) -> Value {
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match (schema["format"].as_str(), pattern) {
        (Some("date-time"), _) => json!("2026-07-07T09:00:00Z"),
        (Some("date"), _) => json!("2026-07-07"),
        (Some("uuid"), _) => json!("018f3c5e-7b1a-7cc0-8000-000000000001"),
        // The two texts of money.
        (_, "^[A-Z]{3}$") => json!("GBP"),
        (_, pattern) if pattern.starts_with("^-?[0-9]+") => json!("19.99"),
        _ => json!("example"),
    }
}
