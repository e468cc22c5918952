//! `/openapi.json`: OpenAPI 3.1, written from the same declarations that serve the requests.

mod commands;
mod models;
mod parts;
mod security;

use crate::announced::Announcements;
use crate::app::App;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// The paths and schemas of a document in the making.
struct Draft {
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    tags: Vec<Value>,
    generator: SchemaGenerator,
}

impl Draft {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            paths: Map::new(),
            schemas: Map::new(),
            tags: Vec::new(),
            generator: settings.into_generator(),
        }
    }

    /// Adds an operation to a path.
    fn operation(&mut self, path: &str, method: &str, operation: Value) {
        let entry = self.paths.entry(path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = entry {
            methods.insert(method.to_owned(), operation);
        }
    }

    /// Adds a schema under a name that holds a dot, which no Rust type's name does, and refers to it.
    fn schema(&mut self, name: String, schema: Value) -> Value {
        let reference = reference(&name);
        self.schemas.insert(name, schema);
        reference
    }
}

/// The document's text, with the stage of every read model.
pub(crate) fn document(app: &App, known: &Announcements) -> String {
    let App { wire, names, .. } = app;
    let mut draft = Draft::new();
    for decider in wire.commands.deciders().filter(|_| wire.panels.takes_commands()) {
        commands::describe(&mut draft, decider.as_ref(), names.collection(decider.category()));
    }
    for (model, group) in wire.queries.models().filter(|_| wire.panels.answers_questions()) {
        models::describe(&mut draft, model.as_ref(), wire.queries.limits());
        models::mark_stage(&mut draft, model.schema(), known, group.name());
    }
    parts::describe_own(&mut draft, wire.panels);
    let service = &wire.service;
    let Draft { paths, mut schemas, tags, mut generator } = draft;
    schemas.extend(generator.take_definitions(true));
    parts::add_schemas(&mut schemas);
    let mut info = json!({ "title": service.name, "version": service.version });
    if !service.description.is_empty() {
        info["description"] = json!(service.description);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": info,
        "servers": [{ "url": "." }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parts::parameters(),
            "headers": parts::headers(),
            "responses": parts::responses(),
        },
    });
    security::describe(&mut document, app);
    document.to_string()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A path parameter named `name`.
fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": { "type": "string", "minLength": 1, "maxLength": diptych_core::KEY_BYTES_MAX },
    })
}

/// The responses of an operation: the good ones, and the same problem document for each other status.
fn answers(good: Value, problems: &[u16]) -> Value {
    let mut all = good;
    for status in problems {
        all[status.to_string()] = json!({ "$ref": "#/components/responses/Problem" });
    }
    all
}
