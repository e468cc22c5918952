//! What every service's document has in common: problems, freshness, headers, the toolkit's own addresses.

use super::{Draft, answers, path_parameter, reference};
use crate::wire::Panels;
use diptych_core::KEY_BYTES_MAX;
use serde_json::{Map, Value, json};

/// Describes the addresses that do not depend on declarations and speak JSON.
pub(super) fn describe_own(draft: &mut Draft, panels: Panels) {
    draft.tags.push(json!({ "name": "service", "description": "The service itself" }));
    let told = |description: &str, schema: Value| {
        let content = json!({ "application/json": { "schema": schema } });
        json!({ "200": { "description": description, "content": content } })
    };
    let command = json!({
        "operationId": "service.command",
        "summary": "What became of a command, and since when each read model shows it",
        "tags": ["service"],
        "parameters": [command_id(), { "$ref": "#/components/parameters/PreferWait" }],
        "responses": answers(
            told("Its status or outcome", reference("diptych.CommandOutcome")), &[400, 403, 404, 500, 503]
        ),
    });
    if panels.takes_commands() {
        draft.operation("/commands", "post", envelope());
        draft.operation("/commands/{id}", "get", command);
        describe_audit(draft, told);
        draft.operation("/commands/{id}/events", "get", events());
    }
    if panels.answers_questions() {
        draft.operation("/freshness", "get", freshness_of_models());
    }
    let home = json!({
        "operationId": "service.home",
        "summary": "What this service is, with the lag of every read model",
        "tags": ["service"],
        "responses": told("A page for browsers, JSON for programs", json!({ "type": "object" })),
    });
    draft.operation("/", "get", home);
    let mut ready = told("Able to serve", json!({ "type": "object" }));
    ready["503"] = json!({ "description": "Not able to serve, with the reasons" });
    let ready = json!({
        "operationId": "service.ready", "summary": "Whether the service can do its work",
        "tags": ["service"], "responses": ready,
    });
    draft.operation("/health/ready", "get", ready);
}

/// Describes who did what, and what caused what.
fn describe_audit(draft: &mut Draft, told: impl Fn(&str, Value) -> Value) {
    let id = path_parameter("id", "A command's id, or an event's such as `order-42@3`");
    let tree = json!({
        "operationId": "service.tree",
        "summary": "What a command caused: events, rows touched, further commands; and what caused it",
        "tags": ["service"],
        "parameters": [id],
        "responses": answers(told("The tree", json!({ "type": "object" })), &[400, 403, 404, 500, 503]),
    });
    draft.operation("/commands/{id}/tree", "get", tree);
    let filter = |name: &str, description: &str| {
        let schema = match name {
            "outcome" => json!({ "enum": ["accepted", "rejected", "refused", "conflict", "forbidden"] }),
            "since" | "until" => json!({ "type": "string", "format": "date-time" }),
            _ => json!({ "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX }),
        };
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    };
    let mut size = filter("pageSize", "1 to 200, 50 unless it is said");
    size["schema"] = json!({ "type": "integer", "minimum": 1, "maximum": 200 });
    let audit = json!({
        "operationId": "service.audit",
        "summary": "Every command, refused ones too, newest first",
        "tags": ["service"],
        "parameters": [
            filter("actor", "Who asked"), filter("command", "The command's name"),
            filter("category", "The category of the stream"), filter("stream", "Such as `order-42`"),
            filter("outcome", "accepted, rejected, refused, conflict or forbidden"),
            filter("since", "Recorded then or later"), filter("until", "Recorded before then"),
            filter("correlationId", "The conversation"), filter("causationId", "What caused it"),
            size, { "$ref": "#/components/parameters/PageToken" },
        ],
        "responses": answers(told("A page of the audit", json!({ "type": "object" })), &[400, 403, 500, 503]),
    });
    draft.operation("/audit", "get", audit);
}

fn command_id() -> Value {
    path_parameter("id", "The command's id: its key, or the generated `Command-Id`")
}

/// Any command in one envelope.
fn envelope() -> Value {
    let named = ["IdempotencyKey", "IfMatch", "Prefer", "CorrelationId", "CausationId"];
    let parameters = named.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
    let body = json!({ "application/json": { "schema": reference("diptych.Envelope") } });
    let done = |description: &str| {
        let content = json!({ "application/json": { "schema": { "type": "object" } } });
        json!({ "description": description, "content": content })
    };
    json!({
        "operationId": "service.envelope",
        "summary": "Any command, in one envelope",
        "tags": ["service"],
        "parameters": parameters,
        "requestBody": { "required": true, "content": body },
        "responses": answers(
            json!({
                "200": done("Done, as at the command's own address"),
                "201": done("Done, and something began"),
                "202": { "$ref": "#/components/responses/Accepted" },
            }),
            &[400, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503],
        ),
    })
}

/// The stream of a command's states.
fn events() -> Value {
    let good = json!({
        "200": {
            "description": "One event for each change of state, named by the status, its data as one \
                            reads it; ends with the final one",
            "content": { "text/event-stream": { "schema": { "type": "string" } } },
        },
        "204": { "description": "`Last-Event-ID` names the final event: there is nothing to come" },
    });
    json!({
        "operationId": "service.commandEvents",
        "summary": "Follow a command until it has ended, as server-sent events",
        "tags": ["service"],
        "parameters": [command_id(), { "$ref": "#/components/parameters/LastEventId" }],
        "responses": answers(good, &[400, 403, 404, 500, 503]),
    })
}

/// The schemas that the toolkit's own answers have.
pub(super) fn add_schemas(schemas: &mut Map<String, Value>) {
    let mut add = |name: &str, schema: Value| schemas.insert(format!("diptych.{name}"), schema);
    add(
        "Token",
        json!({
            "type": "string", "pattern": "^[0-9]+\\.[0-9]+\\.[0-9a-f]{8}$", "examples": ["1.4711.00c0ffee"],
            "description": "A position of the log; opaque: pass it on as `minPosition`",
        }),
    );
    add(
        "Money",
        json!({
            "type": "object",
            "properties": {
                "amount": { "type": "string", "examples": ["39.98"] },
                "currency": { "type": "string" },
            },
            "required": ["amount", "currency"],
        }),
    );
    add("Freshness", freshness());
    add("Pending", pending());
    add("Standings", standings());
    add(
        "Health",
        json!({
            "type": "object",
            "properties": {
                "state": { "enum": [
                    "live", "catching_up", "stopped", "retrying", "older_code", "building", "rebuilding",
                    "degraded", "suspended",
                ] },
                "position": { "type": "integer" },
                "reason": { "type": "string" },
            },
            "required": ["state"],
        }),
    );
    add("AsOf", as_of());
    add("Problem", problem());
    add("CommandOutcome", outcome());
    add("Accepted", accepted());
    add(
        "Envelope",
        json!({
            "type": "object",
            "description": "Beside these: the id of the target, such as `orderId`, the fields of the \
                command's own body, and a member that names who asks, where the command declares one",
            "properties": {
                "commandId": { "type": "string", "description": "As `Idempotency-Key`" },
                "type": { "type": "string", "description": "The command's name" },
                "expectedVersion": { "type": "integer", "minimum": 0, "description": "As `If-Match`" },
            },
            "required": ["type"],
            "additionalProperties": true,
        }),
    );
}

fn as_of() -> Value {
    let time = || json!({ "type": "string", "format": "date-time" });
    json!({
        "type": "object",
        "description": "Of a past state: the last event in it, and the time that was asked for",
        "properties": {
            "version": { "type": "integer" }, "recordedAt": time(), "occurredAt": time(), "at": time(),
            "counted": { "enum": ["recordedAt", "occurredAt"], "description": "What `at` is held against" },
        },
        "required": ["version", "recordedAt", "occurredAt"],
    })
}

fn freshness() -> Value {
    json!({
        "type": "object",
        "properties": {
            "projectionPosition": { "type": "integer", "description": "All up to here is in the answer" },
            "lagSeconds": { "type": "number", "description": "Age of the first event not in the answer" },
            "lagEvents": { "type": "integer", "description": "How many events are not in the answer" },
            "asOf": { "type": ["string", "null"], "format": "date-time" },
            "caughtUpToRequestedPosition": { "type": ["boolean", "null"] },
            "token": reference("diptych.Token"),
            "stale": { "type": "boolean", "description": "Whether it is older than its contract allows" },
            "words": {
                "type": "string",
                "description": "How far behind it is, such as `30 minutes behind, last export 02:00`; UTC",
            },
        },
        "required": [
            "projectionPosition", "lagSeconds", "lagEvents", "asOf",
            "caughtUpToRequestedPosition", "token", "stale", "words",
        ],
    })
}

fn pending() -> Value {
    json!({
        "type": "object",
        "description": "A command that is under way for a row, named by the row's key beside these members",
        "properties": {
            "commandId": { "type": "string" },
            "command": { "type": ["string", "null"] },
            "status": { "enum": ["accepted", "running", "committed"] },
            "position": { "type": ["integer", "null"], "description": "Reached, it is shown" },
            "since": { "type": "string", "format": "date-time" },
            "message": { "type": "string" },
        },
        "required": ["commandId", "command", "status", "position", "since", "message"],
    })
}

fn standings() -> Value {
    let model = json!({
        "type": "object",
        "properties": {
            "model": { "type": "string" },
            "address": { "type": "string" },
            "contract": {
                "type": "object",
                "properties": {
                    "kind": { "enum": ["strong", "bounded", "eventual"] },
                    "withinSeconds": { "type": "number" },
                    "breach": { "enum": ["refuse", "flag"] },
                },
                "required": ["kind"],
            },
            "outcome": { "enum": ["reached", "timed_out", "stalled", "suspended", "epoch_changed"] },
            "reason": { "type": "string" },
            "freshness": reference("diptych.Freshness"),
            "health": reference("diptych.Health"),
        },
        "required": ["model", "address", "contract", "freshness", "health"],
    });
    json!({
        "type": "object",
        "properties": {
            "caughtUpToRequestedPosition": { "type": ["boolean", "null"] },
            "models": { "type": "array", "items": model },
            "jobs": { "type": "array", "items": job() },
        },
        "required": ["caughtUpToRequestedPosition", "models"],
    })
}

/// A scheduled job; there are none in the document of a service without any.
fn job() -> Value {
    let time = json!({ "type": ["string", "null"], "format": "date-time" });
    json!({
        "type": "object",
        "properties": {
            "job": { "type": "string" },
            "kind": { "type": "string" },
            "schedule": { "type": "string", "description": "When it is due, in UTC" },
            "state": { "enum": ["waiting", "overdue", "running"] },
            "words": { "type": "string", "description": "How it stands: `last success 02:00, next due …`" },
            "lagSeconds": { "type": "number", "description": "How long a run is due that did not happen" },
            "lastSuccessAt": time,
            "exportedThrough": { "type": "integer", "description": "Up to where the last export reaches" },
            "nextDue": time,
        },
        "required": [
            "job", "kind", "schedule", "state", "words", "lagSeconds", "lastSuccessAt", "nextDue",
        ],
    })
}

/// How models stand, with one token awaited over several.
fn freshness_of_models() -> Value {
    let shared = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let model = json!({
        "name": "model", "in": "query", "explode": true,
        "description": "Which models; every one that the caller may ask, without it",
        "schema": { "type": "array", "items": { "type": "string" } },
    });
    let content = json!({
        "application/json": { "schema": reference("diptych.Standings") },
        "text/event-stream": { "schema": { "type": "string" } },
    });
    let good = json!({ "200": {
        "description": "Each model with its freshness, health and contract, and what waiting came to",
        "content": content,
    } });
    json!({
        "operationId": "service.freshness",
        "summary": "How read models stand; with `minPosition`, one token awaited over several at once",
        "tags": ["service"],
        "parameters": [model, shared("MinPosition"), shared("Prefer")],
        "responses": answers(good, &[400, 403, 404, 500, 503]),
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457; further members depend on the code",
        "properties": {
            "type": { "type": "string", "examples": ["urn:diptych:problem:DP0003"] },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "type": "string" },
            "code": { "type": "string", "pattern": "^DP[0-9]{4}$" },
            "help": { "type": "string" },
            "commandId": { "type": "string" },
            "currentVersion": { "type": "integer" },
            "expectedVersion": { "type": "integer" },
            "retryAfter": { "type": "integer", "description": "Seconds" },
            "export": { "type": "string", "description": "Where there is no such bound (DP0065)" },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "field": { "type": "string" }, "reason": { "type": "string" } },
                    "required": ["field", "reason"],
                },
            },
        },
        "required": ["type", "title", "status", "detail", "instance", "code", "help"],
    })
}

fn accepted() -> Value {
    json!({
        "type": "object",
        "properties": {
            "commandId": { "type": "string" },
            "statusUrl": { "type": "string", "description": "Where its status is told" },
            "expectedReadModelPosition": reference("diptych.Token"),
        },
        "required": ["commandId", "statusUrl"],
    })
}

fn outcome() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    json!({
        "type": "object",
        "properties": {
            "commandId": { "type": "string" },
            "status": { "enum": ["accepted", "running", "succeeded", "rejected", "failed", "refused"] },
            "command": { "type": "string" },
            "target": { "type": "object" },
            "actor": { "type": "string" },
            "correlationId": { "type": "string" },
            "causationId": { "type": "string" },
            "policyVersion": { "type": "string" },
            "occurredAt": time,
            "attempts": { "type": "integer", "description": "How often a command of the queue was begun" },
            "acceptedAt": time,
            "startedAt": time,
            "nextAttemptAt": time,
            "endedAt": time,
            "expectedReadModelPosition": reference("diptych.Token"),
            "problem": { "type": "object", "description": "What the last attempt met" },
            "recordedAt": time,
            "version": { "type": "integer" },
            "committedPosition": reference("diptych.Token"),
            "rejection": { "type": "object" },
            "refusal": { "type": "object" },
            "events": { "type": "array", "items": { "type": "object" } },
            "readModels": { "type": "array", "items": { "type": "object" } },
        },
        "required": ["commandId", "status", "command", "target", "actor", "occurredAt"],
    })
}

/// The parameters that several operations share.
pub(super) fn parameters() -> Value {
    let header = |name: &str, required: bool, description: &str| {
        json!({
            "name": name, "in": "header", "required": required, "description": description,
            "schema": { "type": "string" },
        })
    };
    let query = |name: &str, schema: Value, description: &str| {
        let place = "query";
        json!({ "name": name, "in": place, "description": description, "schema": schema })
    };
    let named = |name: &str, required: bool, description: &str| {
        let mut named = header(name, required, description);
        named["schema"] = json!({ "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX });
        named
    };
    let mut version = header("If-Match", false, "Only at this version: `\"8\"`");
    version["schema"]["pattern"] = json!("^\"(version-)?[0-9]+\"$");
    let key = "Asking again with the same key and body gives the first answer and changes nothing";
    json!({
        "IdempotencyKey": named("Idempotency-Key", false, key),
        "IdempotencyKeyRequired": named("Idempotency-Key", true, key),
        "IfMatch": version,
        "IfNoneMatch": header("If-None-Match", false, "The version already held: `\"8\"`"),
        "CorrelationId": named("Correlation-Id", false, "Ties the command to a conversation"),
        "CausationId": named("Causation-Id", false, "What directly caused the command"),
        "Prefer": header(
            "Prefer", false,
            "`return=representation`: a command's events; `respond-async`: accept it now and do it later; \
             `wait=5`: wait that many seconds for `minPosition`"
        ),
        "AtVersion": query(
            "version", json!({ "type": "integer", "minimum": 1 }), "As it was at this version"
        ),
        "At": query(
            "at", json!({ "type": "string", "format": "date-time" }), "As it was recorded by then"
        ),
        "OccurredAt": query(
            "occurredAt", json!({ "type": "string", "format": "date-time" }), "As it had happened by then"
        ),
        "PreferWait": header("Prefer", false, "`wait=5`: at most that many seconds for the final status"),
        "LastEventId": header("Last-Event-ID", false, "The last event that was seen"),
        "IfNoneMatchAnswer": header("If-None-Match", false, "The `ETag` of an answer held: `W/\"..\"`"),
        "Consistency": query(
            "consistency", json!({ "type": "string", "enum": ["strong", "bounded", "eventual"] }),
            "At least this consistent; what the model promises is never loosened"
        ),
        "PageToken": query("pageToken", json!({ "type": "string" }), "Where the page before ended"),
        "MinPosition": query("minPosition", reference("diptych.Token"), "At least as fresh as this"),
        "MaxStale": query(
            "maxStale", json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            "No older than this many seconds"
        ),
    })
}

/// The headers of answers.
pub(super) fn headers() -> Value {
    let header =
        |description: &str, kind: &str| json!({ "description": description, "schema": { "type": kind } });
    json!({
        "ETag": header("The version, strong: `\"8\"`", "string"),
        "AnswerETag": header("Of this answer to this caller, weak: the same as long as it is", "string"),
        "CacheControl": header("For how long it may be used without asking again", "string"),
        "Location": header("The aggregate that began, or where a command's status is told", "string"),
        "Link": header("`rel=\"status\"`: what became of the command", "string"),
        "CommandId": header("The command's id, generated where none was sent", "string"),
        "IdempotencyReplayed": header("`true` when the command had been done before", "string"),
        "ProjectionPosition": header("`freshness.projectionPosition`", "integer"),
        "ProjectionLagSeconds": header("`freshness.lagSeconds`", "number"),
        "ProjectionLagEvents": header("`freshness.lagEvents`", "integer"),
        "ProjectionToken": header("`freshness.token`", "string"),
        "PreferenceApplied": header("The preference that was followed", "string"),
        "RetryAfter": header("Seconds until trying again makes sense", "integer"),
    })
}

/// The one shape of everything that does not go well, and that of what is done later.
pub(super) fn responses() -> Value {
    let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    json!({
        "Problem": {
            "description": "A problem document; `help` leads to the page of its code",
            "headers": { "Retry-After": header("RetryAfter") },
            "content": { "application/problem+json": { "schema": reference("diptych.Problem") } },
        },
        "Accepted": {
            "description": "With `Prefer: respond-async`: durable, and done later",
            "headers": {
                "Location": header("Location"), "Link": header("Link"), "Command-Id": header("CommandId"),
                "Preference-Applied": header("PreferenceApplied"),
                "Idempotency-Replayed": header("IdempotencyReplayed"),
            },
            "content": { "application/json": { "schema": reference("diptych.Accepted") } },
        },
    })
}
