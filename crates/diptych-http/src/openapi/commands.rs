//! Commands and aggregates as OpenAPI operations.

use super::{Draft, answers, path_parameter, reference};
use crate::words;
use diptych_command::{AnyDecider, CommandType};
use serde_json::{Value, json};

/// Describes one decider's addresses.
pub(super) fn describe(draft: &mut Draft, decider: &dyn AnyDecider, collection: &str) {
    let category = decider.category();
    let owner = decider.owner();
    draft.tags.push(
        json!({ "name": category, "description": format!("Commands and aggregates, owned by {owner}") }),
    );
    let answer = command_answer(draft, decider);
    let rejected = rejected(draft, decider);
    let bodies = decider.command_schemas(&mut draft.generator);
    for (command, body) in decider.commands().iter().zip(bodies) {
        let body = draft.schema(format!("{category}.{}", command.name), body.to_value());
        let path = format!("/{collection}/{{id}}/{}", command.segment);
        draft.operation(&path, "post", post(category, command, &body, &answer, &rejected));
    }
    let aggregate = aggregate(draft, category);
    draft.operation(&format!("/{collection}/{{id}}"), "get", aggregate);
}

fn post(category: &str, command: &CommandType, body: &Value, answer: &Value, rejected: &Value) -> Value {
    let key = if command.key_required { "IdempotencyKeyRequired" } else { "IdempotencyKey" };
    let named = ["IfMatch", "Prefer", "CorrelationId", "CausationId"].map(parameter);
    let mut parameters = vec![path_parameter("id", &format!("Which {category}")), parameter(key)];
    parameters.extend(named);
    let good = |description: &str| {
        json!({
            "description": description,
            "headers": {
                "ETag": header("ETag"), "Command-Id": header("CommandId"), "Link": header("Link"),
                "Location": header("Location"), "Idempotency-Replayed": header("IdempotencyReplayed"),
            },
            "content": { "application/json": { "schema": answer } },
        })
    };
    let mut responses = answers(
        json!({
            "200": good("Done, or done before under the same key"),
            "201": good("Done, and something began"),
            "202": { "$ref": "#/components/responses/Accepted" },
        }),
        &[400, 403, 409, 412, 413, 415, 429, 500, 503],
    );
    for status in ["404", "422"] {
        responses[status] = rejected.clone();
    }
    json!({
        "operationId": format!("{category}.{}", command.name),
        "summary": summary(command.meaning, command.name),
        "tags": [category],
        "parameters": parameters,
        "requestBody": { "content": { "application/json": { "schema": body } } },
        "responses": responses,
    })
}

fn command_answer(draft: &mut Draft, decider: &dyn AnyDecider) -> Value {
    let category = decider.category();
    let id = words::id_member(category);
    let payloads = decider.event_schemas(&mut draft.generator);
    let events: Vec<_> = decider
        .events()
        .iter()
        .zip(payloads)
        .map(|(event, payload)| {
            json!({
                "type": "object",
                "description": event.meaning,
                "properties": {
                    "type": { "const": event.name },
                    "schemaVersion": { "const": event.version },
                    "version": { "type": "integer" },
                    "position": { "type": "integer" },
                    "occurredAt": { "type": "string", "format": "date-time" },
                    "data": payload.to_value(),
                },
                "required": ["type", "schemaVersion", "version", "position", "occurredAt", "data"],
            })
        })
        .collect();
    let event = draft.schema(format!("{category}.Event"), json!({ "anyOf": events }));
    let answer = json!({
        "type": "object",
        "properties": {
            &id: { "type": "string" },
            "status": { "type": "string", "description": "The state's `status`; left out where it has none" },
            "version": { "type": "integer", "minimum": 0 },
            "committedPosition": reference("diptych.Token"),
            "events": {
                "type": "array", "items": event, "description": "With `Prefer: return=representation`",
            },
        },
        "required": [&id, "version", "committedPosition"],
    });
    draft.schema(format!("{category}.CommandAnswer"), answer)
}

/// The response to a command that the domain, or the shape of its body, refuses.
fn rejected(draft: &mut Draft, decider: &dyn AnyDecider) -> Value {
    let category = decider.category();
    let data = decider.rejection_schemas(&mut draft.generator);
    let forms: Vec<_> = decider
        .rejections()
        .iter()
        .zip(data)
        .map(|(rejection, data)| {
            json!({
                "type": "object",
                "description": rejection.meaning,
                "properties": { "name": { "const": rejection.name }, "data": data.to_value() },
                "required": ["name", "data"],
            })
        })
        .collect();
    if forms.is_empty() {
        return json!({ "$ref": "#/components/responses/Problem" });
    }
    let rejection = draft.schema(format!("{category}.Rejection"), json!({ "anyOf": forms }));
    json!({
        "description": "The domain said no, or a part of the request is not as it must be",
        "content": { "application/problem+json": { "schema": {
            "allOf": [reference("diptych.Problem"), { "properties": { "rejection": rejection } }],
        } } },
    })
}

fn aggregate(draft: &mut Draft, category: &str) -> Value {
    let id = words::id_member(category);
    let state = json!({
        "type": "object",
        "description": "Id and version, and beside them the properties of the state",
        "properties": {
            &id: { "type": "string" }, "version": { "type": "integer", "minimum": 1 },
            "asOf": reference("diptych.AsOf"),
        },
        "required": [&id, "version"],
        "additionalProperties": true,
    });
    let schema = draft.schema(format!("{category}.Aggregate"), state);
    let good = json!({
        "200": {
            "description": "As it is now, from the command side",
            "headers": { "ETag": header("ETag") },
            "content": { "application/json": { "schema": schema } },
        },
        "304": { "description": "Still at the version that `If-None-Match` names" },
    });
    json!({
        "operationId": format!("{category}.read"),
        "summary": format!("One {} as it is now, or as it was", category.replace('_', " ")),
        "tags": [category],
        "parameters": [
            path_parameter("id", &format!("Which {category}")), parameter("IfNoneMatch"),
            parameter("AtVersion"), parameter("At"), parameter("OccurredAt"),
        ],
        "responses": answers(good, &[400, 403, 404, 500, 503]),
    })
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn summary(meaning: &str, name: &str) -> String {
    if meaning.is_empty() { name.to_owned() } else { meaning.to_owned() }
}
