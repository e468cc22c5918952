//! The document is whole: every reference leads somewhere, and every operation has a name of its own.

use crate::announced::Announcements;
use crate::tests as testing;
use serde_json::Value;
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::from_str(&super::document(&testing::app(), &Announcements::default())).unwrap()
}

fn walk(node: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match node {
        Value::Object(members) => {
            for (name, value) in members {
                visit(name, value);
                walk(value, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = BTreeSet::new();
    walk(&document, &mut |name, value| {
        if let ("$ref", Value::String(target)) = (name, value) {
            references.insert(target.clone());
        }
    });
    assert!(references.len() > 20, "{references:?}");
    for target in references {
        let pointer = target.strip_prefix('#').expect("references stay inside the document");
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_its_path_parameters() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let declared: BTreeSet<_> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect();
            let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(declared, named.map(str::to_owned).collect(), "{path}");
        }
    }
    let expected = [
        "note.Write",
        "note.Close",
        "note.read",
        "note_list.ask",
        "note_list.get",
        "note_list.export",
        "service.command",
        "service.freshness",
    ];
    for id in expected {
        assert!(ids.contains(id), "{id} is missing of {ids:?}");
    }
}

#[test]
fn the_declarations_stand_in_the_document() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let ask = &document["paths"]["/note-list"]["get"]["parameters"];
    let names: Vec<_> = ask.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["text", "sort", "pageSize"]);
    let answer = &document["components"]["schemas"]["note.CommandAnswer"]["required"];
    assert_eq!(answer, &serde_json::json!(["noteId", "version", "committedPosition"]));
    let key = &document["paths"]["/notes/{id}/close"]["post"]["parameters"][1]["$ref"];
    assert_eq!(key, "#/components/parameters/IdempotencyKeyRequired");
}
