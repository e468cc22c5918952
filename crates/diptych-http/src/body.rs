//! Reading a request's body inside its limits: text or a problem.

use crate::headers;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use diptych_core::Code;

/// The body as text, empty when there is none. The router's body limit has been set before.
pub(crate) async fn json_text(request: Request, bytes_max: usize) -> Result<String, Problem> {
    let is_json = headers::is_json(request.headers());
    let bytes = Bytes::from_request(request, &()).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("the body has more than {bytes_max} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, detail)
                .with("bytesMax", bytes_max as u64)
        } else {
            Problem::new(StatusCode::BAD_REQUEST, Code::Malformed, "the body did not arrive whole")
        }
    })?;
    if !bytes.is_empty() && !is_json {
        let detail = "a body must come with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::MediaType, detail));
    }
    String::from_utf8(bytes.into())
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, Code::Malformed, "the body is not UTF-8 text"))
}
