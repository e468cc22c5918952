//! Whether bytes that fit one JSON Schema fit another one: readers tolerate unknown properties, so what
//! counts is whether everything that may be stored is still read. Pure.

use serde_json::Value;

/// Keywords below which a number of the old schema may not lie, and above.
const LOWER: &[&str] = &["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const UPPER: &[&str] = &["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];

/// Formats of whole numbers, each of which holds those before it.
const INTEGERS: &[&[&str]] =
    &[&["int8", "int16", "int32", "int64"], &["uint8", "uint16", "uint32", "uint64"]];

/// Why bytes that fit `old` would not be read under `new`, each with the path of the property; nothing when
/// they all would.
pub(super) fn unreadable(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    narrower(old, new, "", &mut found);
    found
}

fn narrower(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    if old == new || *new == Value::Bool(true) {
        return;
    }
    if old.get("$ref").is_some() || new.get("$ref").is_some() {
        if old.get("$ref") != new.get("$ref") {
            found.push(format!("{} refers to another definition", place(path)));
        }
        return;
    }
    let (old_choices, new_choices) = (choices(old), choices(new));
    if old_choices.is_some() || new_choices.is_some() {
        let old_choices = old_choices.unwrap_or_else(|| vec![old]);
        let new_choices = new_choices.unwrap_or_else(|| vec![new]);
        return every_choice(&old_choices, &new_choices, path, found);
    }
    types(old, new, path, found);
    values(old, new, path, found);
    formats(old, new, path, found);
    bounds(old, new, path, found);
    properties(old, new, path, found);
    items(old, new, path, found);
}

/// The alternatives of a union.
fn choices(schema: &Value) -> Option<Vec<&Value>> {
    let all = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    Some(all.as_array()?.iter().collect())
}

/// Whatever one of the old alternatives allowed, one of the new ones must.
fn every_choice(old: &[&Value], new: &[&Value], path: &str, found: &mut Vec<String>) {
    for choice in old {
        let tries = new.iter().map(|candidate| {
            let mut reasons = Vec::new();
            narrower(choice, candidate, path, &mut reasons);
            reasons
        });
        // The alternative that fits best is the one that was meant.
        let best =
            tries.min_by_key(Vec::len).unwrap_or_else(|| vec![format!("{} allows nothing", place(path))]);
        found.extend(best);
    }
}

fn types(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let names = |schema: &Value| -> Option<Vec<String>> {
        match schema.get("type")? {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(several) => {
                Some(several.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => None,
        }
    };
    let Some(new) = names(new) else { return };
    let Some(old) = names(old) else {
        found.push(format!("{} was of any type and is {} now", place(path), new.join(" or ")));
        return;
    };
    let reads =
        |name: &String| new.contains(name) || (name == "integer" && new.iter().any(|n| n == "number"));
    for lost in old.iter().filter(|name| !reads(name)) {
        found.push(format!("{} may be stored as {lost} and is {} now", place(path), new.join(" or ")));
    }
}

/// `enum` and `const`, which is an `enum` of one.
fn values(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let allowed = |schema: &Value| -> Option<Vec<Value>> {
        let several = schema.get("enum").and_then(Value::as_array).cloned();
        several.or_else(|| schema.get("const").map(|one| vec![one.clone()]))
    };
    let Some(new) = allowed(new) else { return };
    let Some(old) = allowed(old) else {
        found.push(format!("{} was free and may only be one of a few values now", place(path)));
        return;
    };
    for lost in old.iter().filter(|value| !new.contains(value)) {
        found.push(format!("{} may be stored as {lost}, which is not allowed any more", place(path)));
    }
}

fn formats(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    for keyword in ["format", "pattern"] {
        let (Some(after), before) = (new[keyword].as_str(), old[keyword].as_str()) else { continue };
        let wider = |row: &&[&str]| {
            let at = |name: Option<&str>| row.iter().position(|held| Some(*held) == name);
            at(before).is_some_and(|before| at(Some(after)).is_some_and(|after| before <= after))
        };
        if before != Some(after) && !INTEGERS.iter().any(wider) {
            let before = before.unwrap_or("free");
            found.push(format!("the {keyword} of {} was {before} and is {after} now", place(path)));
        }
    }
}

fn bounds(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let lower = LOWER.iter().map(|keyword| (*keyword, 1.0));
    for (keyword, sign) in lower.chain(UPPER.iter().map(|keyword| (*keyword, -1.0))) {
        let Some(after) = new[keyword].as_f64() else { continue };
        let before = old[keyword].as_f64();
        let is_stricter = match before {
            Some(before) => after * sign > before * sign,
            None => !(sign > 0.0 && after <= 0.0 && !keyword.ends_with("imum")),
        };
        if is_stricter {
            found.push(format!("{keyword} of {} is {after} now, which is stricter", place(path)));
        }
    }
    if new["uniqueItems"] == true && old["uniqueItems"] != true {
        found.push(format!("{} may hold the same twice and must not now", place(path)));
    }
}

fn properties(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let required = |schema: &Value| -> Vec<String> {
        let names = schema["required"].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let was_required = required(old);
    for name in required(new).into_iter().filter(|name| !was_required.contains(name)) {
        found.push(format!("{} is required now, and stored events may lack it", place(&joined(path, &name))));
    }
    let Some(before) = old["properties"].as_object() else { return };
    for (name, schema) in before {
        let path = joined(path, name);
        match new["properties"].get(name) {
            Some(after) => narrower(schema, after, &path, found),
            // Unknown properties are tolerated, unless the reader says otherwise.
            None if new["additionalProperties"] == false => {
                found.push(format!("{} is refused now", place(&path)));
            }
            None => {}
        }
    }
    let (before, after) = (&old["additionalProperties"], &new["additionalProperties"]);
    if *after == false && *before != false {
        found.push(format!("{} refuses unknown properties now", place(path)));
    } else if after.is_object() {
        narrower(before, after, &joined(path, "*"), found);
    }
}

fn items(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(after) = new.get("items") {
        match old.get("items") {
            Some(before) => narrower(before, after, &format!("{path}[]"), found),
            None if old["type"] == "array" => {
                narrower(&Value::Bool(true), after, &format!("{path}[]"), found);
            }
            None => {}
        }
    }
    if old.get("prefixItems") != new.get("prefixItems") {
        found.push(format!("the items of {} are others now", place(path)));
    }
}

/// Where money stands in a payload.
pub(super) fn money_paths(schema: &Value, path: &str, into: &mut Vec<String>) {
    let fields = schema["properties"].as_object();
    let is_money = fields.is_some_and(|fields| {
        fields.len() == 2 && fields.contains_key("amount") && fields.contains_key("currency")
    });
    if is_money {
        if !into.iter().any(|held| held == path) {
            into.push(path.to_owned());
        }
        return;
    }
    for (name, field) in fields.into_iter().flatten() {
        money_paths(field, &joined(path, name), into);
    }
    for choice in choices(schema).into_iter().flatten() {
        money_paths(choice, path, into);
    }
    if let Some(items) = schema.get("items") {
        money_paths(items, &format!("{path}[]"), into);
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn place(path: &str) -> String {
    if path.is_empty() { "the payload".to_owned() } else { format!("`{path}`") }
}

#[cfg(test)]
mod tests;
