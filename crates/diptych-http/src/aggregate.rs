//! `GET /{collection}/{id}`: one aggregate from the command side, current, its version a strong tag. What it
//! was before is in `history`.

use crate::app::{App, principal, private};
use crate::command::key_of;
use crate::json::{Node, Object};
use crate::model::pairs;
use crate::problem::Problem;
use crate::{error, headers, history, words};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use diptych_command::Aggregate;
use diptych_core::Code;
use diptych_query::Latency;
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;

pub(crate) async fn read(
    app: Arc<App>,
    latency: Arc<Latency>,
    category: &'static str,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let key = key_of(path)?;
    let (principal, request_headers) = (principal(&request)?, request.headers());
    if let Some(moment) = history::moment(&pairs(request.uri())?, app.wire.commands.now())? {
        return history::read(&app, &latency, (&principal, category, &key), moment, request_headers).await;
    }
    let started = Instant::now();
    let found = app.wire.commands.aggregate(&principal, category, &key, None).await;
    latency.observe(started.elapsed());
    let aggregate = found.map_err(error::of_command_side)?.ok_or_else(|| {
        let detail = format!("there is no {} `{key}`", category.replace('_', " "));
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    })?;
    let mut response = if headers::none_match(request_headers, aggregate.version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        document(category, &aggregate).response(StatusCode::OK)
    };
    response.headers_mut().insert(header::ETAG, headers::etag(aggregate.version));
    private(response.headers_mut());
    Ok(response)
}

/// Id and version first, then the state's own properties; a state that is no object stands in `state`.
pub(crate) fn document(category: &str, aggregate: &Aggregate) -> Object {
    let id = words::id_member(category);
    let mut document =
        Object::new().with(id, aggregate.stream.key.as_str()).with("version", aggregate.version.0);
    match &aggregate.state {
        Value::Object(properties) => {
            for (name, value) in properties {
                if !document.contains(name) {
                    document = document.with(name.clone(), Node::Value(value.clone()));
                }
            }
            document
        }
        other => document.with("state", Node::Value(other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{StreamId, Version};
    use serde_json::json;

    #[track_caller]
    fn check(state: Value, expected: &str) {
        let aggregate =
            Aggregate { stream: StreamId::new("decision", "DEC-1").unwrap(), version: Version(8), state };
        assert_eq!(document("decision", &aggregate).to_text(), expected);
    }

    #[test]
    fn the_state_stands_beside_id_and_version_and_never_hides_them() {
        check(
            json!({"status": "READY", "version": 3, "decisionId": "other"}),
            r#"{"decisionId":"DEC-1","version":8,"status":"READY"}"#,
        );
        check(json!("Open"), r#"{"decisionId":"DEC-1","version":8,"state":"Open"}"#);
    }
}
