//! A table of changes: what was, what is, and what becomes of stored bytes.

use super::*;
use serde_json::json;

#[track_caller]
fn reads(old: Value, new: Value) {
    assert_eq!(unreadable(&old, &new), Vec::<String>::new(), "{old} to {new}");
}

#[track_caller]
fn breaks(old: Value, new: Value, reason: &str) {
    let found = unreadable(&old, &new);
    assert!(found.iter().any(|found| found.contains(reason)), "`{reason}` is not among {found:?}");
}

fn object(properties: Value, required: Value) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

#[test]
fn properties_come_and_go() {
    let text = json!({ "type": "string" });
    let one = object(json!({ "a": text }), json!(["a"]));
    let two = object(json!({ "a": text, "b": text }), json!(["a"]));
    let both = object(json!({ "a": text, "b": text }), json!(["a", "b"]));
    reads(one.clone(), two.clone());
    reads(two.clone(), one.clone());
    reads(both.clone(), two.clone());
    breaks(one.clone(), both.clone(), "`b` is required now");
    breaks(two, both, "`b` is required now");
    let mut closed = one.clone();
    closed["additionalProperties"] = json!(false);
    breaks(one, closed, "refuses unknown properties now");
}

#[test]
fn types_may_become_wider() {
    reads(json!({ "type": "integer" }), json!({ "type": "number" }));
    reads(json!({ "type": "string" }), json!({ "type": ["string", "null"] }));
    breaks(json!({ "type": ["string", "null"] }), json!({ "type": "string" }), "may be stored as null");
    breaks(json!({ "type": "number" }), json!({ "type": "integer" }), "may be stored as number");
    breaks(json!({ "type": "string" }), json!({ "type": "object" }), "may be stored as string");
    breaks(json!({}), json!({ "type": "object" }), "was of any type");
    reads(json!({ "type": "object" }), json!({}));
}

#[test]
fn vocabularies_may_grow() {
    let words = |words: Value| json!({ "type": "string", "enum": words });
    reads(words(json!(["A"])), words(json!(["A", "B"])));
    reads(words(json!(["A"])), json!({ "type": "string" }));
    breaks(words(json!(["A", "B"])), words(json!(["A"])), "may be stored as \"B\"");
    breaks(json!({ "type": "string" }), words(json!(["A"])), "was free");
    breaks(json!({ "const": "A" }), json!({ "const": "B" }), "may be stored as \"A\"");
    reads(json!({ "const": "A" }), words(json!(["A", "B"])).clone().take_type());
}

/// A vocabulary may also be written without its type.
trait TakeType {
    fn take_type(self) -> Value;
}

impl TakeType for Value {
    fn take_type(mut self) -> Value {
        self.as_object_mut().unwrap().remove("type");
        self
    }
}

#[test]
fn formats_and_bounds_may_loosen() {
    let number = |format: &str| json!({ "type": "integer", "format": format });
    reads(number("int32"), number("int64"));
    breaks(number("int64"), number("int32"), "was int64 and is int32 now");
    let time = json!({ "type": "string", "format": "date-time" });
    breaks(json!({ "type": "string" }), time.clone(), "the format of the payload was free");
    reads(time, json!({ "type": "string" }));
    let long = |most: u64| json!({ "type": "string", "maxLength": most });
    reads(long(10), long(20));
    breaks(long(20), long(10), "maxLength of the payload is 10 now");
    breaks(json!({ "type": "string" }), long(10), "stricter");
    breaks(json!({ "minimum": 0 }), json!({ "minimum": 1 }), "stricter");
    breaks(json!({}), json!({ "minimum": 0 }), "stricter");
    reads(json!({ "type": "string" }), json!({ "type": "string", "minLength": 0 }));
}

#[test]
fn what_lies_deeper_is_named_by_its_path() {
    let line = |amount: Value| {
        let items = object(json!({ "amount": amount }), json!(["amount"]));
        object(json!({ "lines": { "type": "array", "items": items } }), json!(["lines"]))
    };
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    breaks(line(text.clone()), line(number), "`lines[].amount` may be stored as string");
    reads(line(text.clone()), line(text));
}

#[test]
fn alternatives_may_be_added() {
    let variant = |name: &str, required: Value| {
        let fields = json!({ "type": { "const": name }, "at": { "type": "string" } });
        object(fields, required)
    };
    let (open, paid) = (variant("OPEN", json!(["type"])), variant("PAID", json!(["type", "at"])));
    reads(json!({ "oneOf": [open] }), json!({ "oneOf": [paid, open] }));
    breaks(json!({ "oneOf": [open, paid] }), json!({ "oneOf": [open] }), "\"PAID\"");
    let optional = |schema: &Value| json!({ "anyOf": [schema, { "type": "null" }] });
    reads(open.clone(), optional(&open));
    breaks(optional(&open), open, "may be stored as null");
    let itself = json!({ "$ref": "#/$defs/Tree" });
    reads(itself.clone(), itself.clone());
    breaks(itself, json!({ "$ref": "#/$defs/Bush" }), "another definition");
}

#[test]
fn money_is_found_wherever_it_stands() {
    let money = json!({ "type": "object", "properties": { "amount": {}, "currency": {} } });
    let lines = json!({ "type": "array", "items": object(json!({ "unitPrice": money }), json!([])) });
    let optional = json!({ "anyOf": [money, { "type": "null" }] });
    let payload = object(json!({ "total": money, "lines": lines, "paid": optional }), json!([]));
    let mut found = Vec::new();
    money_paths(&payload, "", &mut found);
    found.sort();
    assert_eq!(found, ["lines[].unitPrice", "paid", "total"]);
}
