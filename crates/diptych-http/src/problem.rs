//! Problem documents (RFC 9457): one shape for everything that does not go well.

use crate::json::{Node, Object, typed};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use diptych_core::{Code, CommandId};
use std::sync::Arc;
use std::time::Duration;

/// What went wrong, as a caller sees it. As a response it carries itself along; the frame around all handlers
/// renders it, because only the frame knows the address that was asked.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    kind: Option<String>,
    title: Option<String>,
    detail: String,
    members: Object,
    headers: Vec<(HeaderName, HeaderValue)>,
    log: Option<String>,
    /// Where to go instead: a member's name, and an address of this service.
    link: Option<(&'static str, String)>,
}

/// A problem on its way through the middleware.
#[derive(Clone)]
pub(crate) struct Carried(pub(crate) Arc<Problem>);

impl Problem {
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            kind: None,
            title: None,
            detail: detail.into(),
            members: Object::new(),
            headers: Vec::new(),
            log: None,
            link: None,
        }
    }

    /// Gives it a type of its own, with a title that never changes with the occurrence.
    pub(crate) fn kind(mut self, kind: String, title: Option<String>) -> Self {
        self.kind = Some(kind);
        self.title = title;
        self
    }

    /// Adds a member of its own.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Node>) -> Self {
        self.members = self.members.with(name, value);
        self
    }

    /// Adds several members.
    pub(crate) fn with_all(mut self, members: Object) -> Self {
        self.members = self.members.with_all(members);
        self
    }

    /// Names the command it is about.
    pub(crate) fn command(self, id: &CommandId) -> Self {
        self.with("commandId", id.as_str()).header_text("command-id", id.as_str())
    }

    /// Says when trying again makes sense: in the header and in the body, whole seconds, at least one.
    pub(crate) fn retry_after(self, pause: Duration) -> Self {
        let seconds = pause.as_secs().max(1);
        self.with("retryAfter", seconds).header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a header unless its text cannot stand in one.
    fn header_text(self, name: &'static str, value: &str) -> Self {
        match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) => self.header(HeaderName::from_static(name), value),
            Err(_) => self,
        }
    }

    /// Adds a member that holds an address of this service, which starts with `/`.
    pub(crate) fn link(mut self, name: &'static str, address: String) -> Self {
        self.link = Some((name, address));
        self
    }

    /// Keeps what the log must know and the caller must not.
    pub(crate) fn logged(mut self, line: impl Into<String>) -> Self {
        self.log = Some(line.into());
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn log_line(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// The document about a request to `instance`, with help below `prefix`.
    pub(crate) fn document(&self, instance: &str, prefix: &str) -> String {
        let code = self.code.as_str();
        let kind = self.kind.clone();
        let title = self.title.as_deref().unwrap_or(self.code.title());
        let link = self.link.as_ref();
        let mut text = Object::new()
            .with("type", kind.unwrap_or_else(|| format!("urn:diptych:problem:{code}")))
            .with("title", title)
            .with("status", self.status.as_u16())
            .with("detail", self.detail.as_str())
            .with("instance", instance)
            .with("code", code)
            .with("help", format!("{prefix}/problems/{code}"));
        if let Some((name, address)) = link {
            text = text.with(*name, format!("{prefix}{address}"));
        }
        let mut text = text.to_text();
        // The members are borrowed, so the two objects are joined as text.
        let members = self.members.to_text();
        if members.len() > 2 {
            text.truncate(text.len() - 1);
            text.push(',');
            text.push_str(&members[1..]);
        }
        text
    }

    /// The answer to a request to `instance`.
    pub(crate) fn render(&self, instance: &str, prefix: &str) -> Response {
        let body = self.document(instance, prefix);
        let mut response = typed(self.status, "application/problem+json", body);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Carried(Arc::new(self)));
        response
    }
}

/// A message without the code at its end, which stands in a member of its own.
pub(crate) fn sentence(message: &impl ToString) -> String {
    let text = message.to_string();
    match text.rsplit_once(" (DP") {
        Some((head, tail)) if tail.len() == 5 && tail.ends_with(')') => head.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_its_members_in_order() {
        let id = CommandId::new("8e03").unwrap();
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, Code::StaleVersion, "stale")
            .with("currentVersion", 9_u64)
            .retry_after(Duration::from_millis(20))
            .command(&id);
        let golden = concat!(
            r#"{"type":"urn:diptych:problem:DP0003","#,
            r#""title":"the stream is at another version than expected","#,
            r#""status":412,"detail":"stale","instance":"/api/orders/1/cancel","code":"DP0003","#,
            r#""help":"/api/problems/DP0003","currentVersion":9,"retryAfter":1,"commandId":"8e03"}"#,
        );
        assert_eq!(problem.document("/api/orders/1/cancel", "/api"), golden);
        let response = problem.render("/orders/1/cancel", "");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["command-id"], "8e03");
    }

    #[test]
    fn a_document_without_members_of_its_own_is_whole() {
        let problem = Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "nothing")
            .kind("urn:diptych:rejection:order:order_not_found".to_owned(), Some("no such order".to_owned()));
        let golden = concat!(
            r#"{"type":"urn:diptych:rejection:order:order_not_found","title":"no such order","status":404,"#,
            r#""detail":"nothing","instance":"/","code":"DP0009","help":"/problems/DP0009"}"#,
        );
        assert_eq!(problem.document("/", ""), golden);
    }

    #[test]
    fn a_sentence_loses_its_code_and_nothing_else() {
        assert_eq!(sentence(&"too late (DP0003)"), "too late");
        assert_eq!(sentence(&"too late (DP003)"), "too late (DP003)");
        assert_eq!(sentence(&"too late (DP0003) again"), "too late (DP0003) again");
    }
}
