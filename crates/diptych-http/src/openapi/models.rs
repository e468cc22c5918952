//! Read models as OpenAPI operations: rows, filters, sorts, pages.

use super::{Draft, answers, path_parameter, reference};
use crate::announced::Announcements;
use diptych_core::ValueType;
use diptych_query::{AnyModel, ColumnSpec, QueryLimits, Schema, Stage};
use serde_json::{Value, json};

/// What every question to a read model may say of freshness, and of what the client holds.
const FRESHNESS: [&str; 6] =
    ["MinPosition", "MaxStale", "Consistency", "Prefer", "IfNoneMatchAnswer", "LastEventId"];

/// Describes one read model's addresses.
pub(super) fn describe(draft: &mut Draft, model: &dyn AnyModel, limits: &QueryLimits) {
    let schema = model.schema();
    let row = row_schema(draft, model);
    let tag = schema.name;
    draft
        .tags
        .push(json!({ "name": tag, "description": format!("Read model, contract: {}", schema.contract) }));
    let page = json!({
        "type": "object",
        "properties": {
            "items": { "type": "array", "items": row },
            "pending": { "type": "array", "items": reference("diptych.Pending") },
            "withheld": withheld(),
            "page": {
                "type": "object",
                "properties": { "nextPageToken": { "type": ["string", "null"] } },
                "required": ["nextPageToken"],
            },
            "freshness": reference("diptych.Freshness"),
            "health": reference("diptych.Health"),
        },
        "required": ["items", "page", "freshness", "health"],
    });
    let page = draft.schema(format!("{tag}.Page"), page);
    let mut parameters = filters(schema);
    parameters.extend(sort(schema));
    parameters.extend(paging(limits));
    parameters.extend(FRESHNESS.map(shared));
    let problems = &[400, 403, 409, 410, 500, 503];
    let ask = json!({
        "operationId": format!("{tag}.ask"),
        "summary": if schema.meaning.is_empty() { schema.name } else { schema.meaning },
        "tags": [tag],
        "parameters": parameters,
        "responses": answers(good("A page of rows that says how fresh it is", &page), problems),
    });
    draft.operation(&format!("/{}", schema.segment()), "get", ask);
    describe_row(draft, schema, &row);
    describe_export(draft, schema);
}

/// Says of a model's operations where it stands, and which are not to be built upon any more.
pub(super) fn mark_stage(draft: &mut Draft, schema: &Schema, known: &Announcements, group: &str) {
    let Some(stage) = known.stage(group) else { return };
    let deprecated = known.of(group).is_some_and(|notice| notice.deprecated_at.is_some());
    let below = format!("/{}", schema.segment());
    for (path, methods) in &mut draft.paths {
        if *path != below && !path.strip_prefix(&below).is_some_and(|rest| rest.starts_with('/')) {
            continue;
        }
        methods["get"]["x-stage"] = json!(stage.as_str());
        if deprecated || matches!(stage, Stage::Deprecated | Stage::Retired) {
            methods["get"]["deprecated"] = json!(true);
        }
    }
}

fn describe_row(draft: &mut Draft, schema: &'static Schema, row: &Value) {
    let answer = json!({
        "type": "object",
        "properties": {
            "item": row,
            "pending": { "type": "array", "items": reference("diptych.Pending") },
            "withheld": withheld(),
            "freshness": reference("diptych.Freshness"),
            "health": reference("diptych.Health"),
        },
        "required": ["item", "freshness", "health"],
    });
    let keys = schema.key.iter().map(|index| schema.columns[*index].public);
    let path: String = keys.map(|key| format!("/{{{key}}}")).collect();
    let mut parameters: Vec<_> =
        schema.key.iter().map(|index| key_parameter(&schema.columns[*index])).collect();
    parameters.extend(FRESHNESS.map(shared));
    let get = json!({
        "operationId": format!("{}.get", schema.name),
        "summary": "One row by its key",
        "tags": [schema.name],
        "parameters": parameters,
        "responses": answers(good("The row, and how fresh it is", &answer), &[400, 403, 404, 409, 500, 503]),
    });
    draft.operation(&format!("/{}{path}", schema.segment()), "get", get);
}

/// A part of a row's key in a path, as its column can hold it.
fn key_parameter(column: &ColumnSpec) -> Value {
    let mut parameter = path_parameter(column.public, "A part of the row's key");
    if column.value_type != ValueType::Text || !column.choices.is_empty() {
        parameter["schema"] = text_schema(column);
    }
    parameter
}

fn good(description: &str, schema: &Value) -> Value {
    let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    json!({ "200": {
        "description": description,
        "headers": {
            "Projection-Position": header("ProjectionPosition"),
            "Projection-Lag-Seconds": header("ProjectionLagSeconds"),
            "Projection-Lag-Events": header("ProjectionLagEvents"),
            "Projection-Token": header("ProjectionToken"),
            "ETag": header("AnswerETag"),
            "Cache-Control": header("CacheControl"),
        },
        "content": {
            "application/json": { "schema": schema },
            "text/event-stream": { "schema": {
                "type": "string",
                "description": "`snapshot`, then `changed` and `gone`; `problem`, `epoch-changed`",
            } },
        },
    }, "304": { "description": "What `If-None-Match` names still holds; its freshness is in the headers" } })
}

/// Everything that fits and may be carried away, as it comes.
fn describe_export(draft: &mut Draft, schema: &'static Schema) {
    let mut parameters = filters(schema);
    parameters.push(json!({
        "name": "format", "in": "query", "description": "The form; without it `Accept` says it",
        "schema": { "type": "string", "enum": ["ndjson", "csv"], "default": "ndjson" },
    }));
    parameters.extend(["MinPosition", "MaxStale", "Consistency", "Prefer"].map(shared));
    let text = json!({ "schema": { "type": "string" } });
    let good = json!({ "200": {
        "description": "The rows of one moment. NDJSON: `{\"lineage\": ..}`, the rows, `{\"end\": {\"rows\", \
                        \"checksum\"}}`. CSV: the lineage in `Export-*` headers, rows and checksum in \
                        trailers. An export that breaks has no end",
        "content": { "application/x-ndjson": text, "text/csv": text },
    } });
    let get = json!({
        "operationId": format!("{}.export", schema.name),
        "summary": "Every row that fits, with where it comes from and a checksum",
        "tags": [schema.name],
        "parameters": parameters,
        "responses": answers(good, &[400, 403, 409, 500, 503]),
    });
    draft.operation(&format!("/exports/{}", schema.segment()), "get", get);
}

fn withheld() -> Value {
    json!({
        "type": "array", "items": { "type": "string" },
        "description": "Columns that have no value in some row because the caller may not see it",
    })
}

fn row_schema(draft: &mut Draft, model: &dyn AnyModel) -> Value {
    let schema = model.schema();
    let mut properties = serde_json::Map::new();
    for (index, column) in schema.columns.iter().enumerate() {
        let json = model.json_schema(index, &mut draft.generator);
        let mut value = json.map_or_else(|| column_schema(column), schemars::Schema::to_value);
        if !column.meaning.is_empty()
            && let Value::Object(members) = &mut value
        {
            members.insert("description".to_owned(), json!(column.meaning));
        }
        properties.insert(column.public.to_owned(), value);
    }
    for computed in schema.computed {
        let value = nullable(value_schema(computed.value_type), computed.nullable);
        properties.insert(computed.public.to_owned(), value);
    }
    let required: Vec<_> = properties.keys().cloned().collect();
    let row = json!({ "type": "object", "properties": properties, "required": required });
    draft.schema(format!("{}.Row", schema.name), row)
}

fn column_schema(column: &ColumnSpec) -> Value {
    let mut value = value_schema(column.value_type);
    if !column.choices.is_empty() {
        value["enum"] = json!(column.choices);
    }
    nullable(value, column.nullable)
}

fn nullable(value: Value, nullable: bool) -> Value {
    if nullable { json!({ "anyOf": [value, { "type": "null" }] }) } else { value }
}

fn value_schema(kind: ValueType) -> Value {
    match kind {
        ValueType::Integer => json!({ "type": "integer", "format": "int64" }),
        ValueType::Bool => json!({ "type": "boolean" }),
        ValueType::Text => json!({ "type": "string" }),
        ValueType::Timestamp => json!({ "type": "string", "format": "date-time" }),
        ValueType::Money => reference("diptych.Money"),
        ValueType::Bytes => json!({ "type": "string", "pattern": "^([0-9a-f]{2})*$" }),
        ValueType::Json => json!({}),
    }
}

/// How a value is written in an address.
fn text_schema(column: &ColumnSpec) -> Value {
    match column.value_type {
        ValueType::Money => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,3})? [A-Z]{3}$" }),
        _ if !column.choices.is_empty() => json!({ "type": "string", "enum": column.choices }),
        kind => value_schema(kind),
    }
}

fn filters(schema: &'static Schema) -> Vec<Value> {
    let mut all = Vec::new();
    for column in schema.columns.iter().filter(|column| column.filter) {
        let text = text_schema(column);
        all.push(json!({
            "name": column.public, "in": "query", "explode": true,
            "description": "Only rows with this value; several mean any of them",
            "schema": { "type": "array", "items": text },
        }));
        let ordered =
            matches!(column.value_type, ValueType::Integer | ValueType::Timestamp | ValueType::Money);
        if !ordered {
            continue;
        }
        let bounds = [("lt", "below"), ("lte", "at most"), ("gt", "above"), ("gte", "at least")];
        for (suffix, word) in bounds {
            all.push(json!({
                "name": format!("{}.{suffix}", column.public), "in": "query",
                "description": format!("Only rows whose value is {word} this one"),
                "schema": text,
            }));
        }
    }
    all
}

fn sort(schema: &'static Schema) -> Option<Value> {
    let sorts = schema.columns.iter().filter(|column| column.sort);
    let choices: Vec<_> =
        sorts.flat_map(|column| [column.public.to_owned(), format!("-{}", column.public)]).collect();
    (!choices.is_empty()).then(|| {
        json!({
            "name": "sort", "in": "query",
            "description": "The order, descending with `-`; ties are broken by the key",
            "schema": { "type": "string", "enum": choices },
        })
    })
}

fn paging(limits: &QueryLimits) -> [Value; 2] {
    let size = json!({
        "name": "pageSize", "in": "query", "description": "At most this many rows",
        "schema": {
            "type": "integer", "minimum": 1,
            "maximum": limits.page_rows_max, "default": limits.page_rows_default,
        },
    });
    [size, shared("PageToken")]
}

fn shared(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}
