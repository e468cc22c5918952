//! Pages of a service's own: HTML for people at `/{segment}/{key}`, beside the JSON for programs. They ask
//! the right panel on behalf of whoever looks, and nothing else. Absent on purpose: scripts, anything loaded
//! from elsewhere, and a way to write text into a page unescaped.

use crate::app::{App, framed, private};
use crate::command::key_of;
use crate::error;
use crate::html::{self, escape};
use crate::model::pairs;
use crate::problem::Problem;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use diptych_core::{BoxFuture, Code, Principal};
use diptych_query::{Latency, Queries, QueryError};
use std::sync::Arc;
use std::time::Instant;

/// A page of a service's own, one for each key below its address.
pub trait OwnPage: Send + Sync + 'static {
    /// The first segment of its address, such as `statements` for `/statements/{key}`: of a-z, 0-9, `-`, `_`.
    fn segment(&self) -> &'static str;

    /// Writes the page; none where there is nothing of that key, which is answered by 404.
    ///
    /// # Errors
    /// What the right panel answered instead; it becomes the problem document of any other question.
    fn write<'a>(&'a self, asked: &'a AskedPage) -> BoxFuture<'a, Result<Option<Html>, QueryError>>;
}

/// What is asked of a page, and by whom.
pub struct AskedPage {
    /// What the address names below its segment.
    pub key: String,
    /// On whose behalf questions are asked: row rules and withheld fields apply as anywhere.
    pub principal: Principal,
    /// The right panel.
    pub queries: Arc<Queries>,
    /// Where the service is nested, such as `/api`: addresses in the page begin with it.
    pub prefix: String,
    /// What stands behind `?`, in its order.
    pub parameters: Vec<(String, String)>,
}

impl AskedPage {
    /// What a parameter says, where it is there.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(held, _)| held == name).map(|(_, text)| text.as_str())
    }

    /// Refuses parameters that the page does not know, so that a misspelt one is noticed.
    ///
    /// # Errors
    /// The first of them.
    pub fn knows(&self, names: &[&str]) -> Result<(), QueryError> {
        match self.parameters.iter().find(|(held, _)| !names.contains(&held.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(QueryError::Parameter {
                name: name.clone(),
                reason: format!("is not known here; known are {}", names.join(", ")),
            }),
        }
    }
}

/// A page as it is written: elements with names from the code, texts and attributes from anywhere. All that
/// comes from anywhere is escaped.
///
/// ```
/// use diptych_http::Html;
/// let mut page = Html::titled("Statement");
/// page.element("h1", &[], "Tom & <Co>").open("p", &[("class", "soft")]).text("empty").close("p");
/// assert_eq!(page.body(), "<h1>Tom &amp; &lt;Co&gt;</h1>\n<p class=\"soft\">empty</p>\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html {
    title: String,
    body: String,
}

impl Html {
    /// An empty page with what stands in the browser's tab.
    #[must_use]
    pub fn titled(title: impl Into<String>) -> Self {
        Self { title: title.into(), body: String::new() }
    }

    /// Begins an element.
    pub fn open(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.body.push('<');
        self.body.push_str(name);
        for (attribute, text) in attributes {
            for part in [" ", attribute, "=\"", &escape(text), "\""] {
                self.body.push_str(part);
            }
        }
        self.body.push('>');
        self
    }

    /// Writes a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.body.push_str(&escape(text));
        self
    }

    /// Ends an element.
    pub fn close(&mut self, name: &'static str) -> &mut Self {
        for part in ["</", name, ">\n"] {
            self.body.push_str(part);
        }
        self
    }

    /// Writes a whole element that holds a text.
    pub fn element(
        &mut self,
        name: &'static str,
        attributes: &[(&'static str, &str)],
        text: &str,
    ) -> &mut Self {
        self.open(name, attributes).text(text).close(name)
    }

    /// What stands between `<body>` and `</body>`.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// Answers a page.
pub(crate) async fn read(
    app: Arc<App>,
    page: Arc<dyn OwnPage>,
    latency: Arc<Latency>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let framed = framed(&request);
    let asked = AskedPage {
        key: key_of(path)?,
        principal: framed.principal()?,
        queries: Arc::clone(&app.wire.queries),
        prefix: framed.prefix,
        parameters: pairs(request.uri())?,
    };
    let written = page.write(&asked).await;
    latency.observe(started.elapsed());
    let written = written.map_err(error::of_query)?.ok_or_else(|| {
        let detail = format!("there is nothing of `{}` at `/{}`", asked.key, page.segment());
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    })?;
    let mut response = html::page(&written.title, &written.body);
    private(response.headers_mut());
    Ok(response)
}
