//! Requests through the service's own router, and what is read off the answers.

use crate::decisions::service;
use crate::support::Folder;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use diptych::{Config, Running};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A running service on a store of its own.
pub(crate) struct Client {
    pub(crate) running: Running,
    router: axum::Router,
    folder: Folder,
}

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The text of a header, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks a problem document and answers it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        let head = [&problem["code"], &problem["status"], &problem["help"]];
        assert_eq!(head, [&json!(code), &json!(status), &json!(format!("/problems/{code}"))]);
        problem
    }

    /// The member names of the answer, in the order in which they were written.
    pub(crate) fn members(&self) -> Vec<String> {
        let members: Vec<(String, serde_json::Value)> = ordered(&self.text);
        members.into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn token(&self) -> String {
        self.json()["committedPosition"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) async fn open() -> Self {
        Self::configured(|_| {}).await
    }

    pub(crate) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(Folder::new(), change).await
    }

    async fn at(folder: Folder, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::at(folder.path());
        change(&mut config);
        let running = service().open(config).await.unwrap();
        let router = running.router().unwrap();
        Self { running, router, folder }
    }

    /// Stops the service and opens it again on the same store.
    pub(crate) async fn reopen(self) -> Self {
        let Self { running, folder, .. } = self;
        running.stop().await.unwrap();
        Self::at(folder, |_| {}).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, text) in headers {
            request = request.header(*name, *text);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers, "").await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.send(Method::POST, path, headers, &body.to_string()).await
    }

    /// Drafts a decision of TEAM-7 that is due in so many days.
    pub(crate) async fn draft(&self, id: &str, days: u32) -> Reply {
        let due = format!("2026-07-{:02}T09:00:00Z", 1 + days);
        let fine = json!({"amount": "150.00", "currency": "GBP"});
        let body = json!({"caseId": "CASE-1", "team": "TEAM-7", "fine": fine, "dueAt": due});
        self.post(&format!("/decisions/{id}/draft"), &[], &body).await
    }
}

/// The members of an object in the order of the text, which a parsed map would lose.
fn ordered(text: &str) -> Vec<(String, Value)> {
    struct Members;

    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_map(&mut json, Members).unwrap()
}
