//! How callers prove who they are, in the description: only where they have to.

use crate::app::App;
use crate::caller::is_open;
use serde_json::{Value, json};

/// The name of the scheme in the document.
const SCHEME: &str = "bearer";

/// Marks every operation that wants a token, and says what it answers without one.
pub(super) fn describe(document: &mut Value, app: &App) {
    if !app.wire.authenticate.is_proof() {
        return;
    }
    document["components"]["securitySchemes"] = json!({ SCHEME: {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "A token that says who asks, of which tenant (RFC 6750, RFC 7519).",
    } });
    document["security"] = json!([{ SCHEME: [] }]);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            if !operation.is_object() {
                continue;
            }
            if is_open(app, path) {
                operation["security"] = json!([]);
            } else {
                operation["responses"]["401"] = json!({ "$ref": "#/components/responses/Problem" });
            }
        }
    }
}
