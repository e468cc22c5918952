//! `/problems/{code}` and `/docs`: pages that ship inside the program, so that they work without a network.

use crate::command::key_of;
use crate::headers;
use crate::html;
use crate::json::typed;
use crate::problem::Problem;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use diptych_core::Code;

macro_rules! error_pages {
    ($($code:literal)+) => {
        /// Every page under docs/errors, by code.
        const ERROR_PAGES: &[(&str, &str)] =
            &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md")))),+];
    };
}

error_pages! {
    "DP0001" "DP0002" "DP0003" "DP0004" "DP0005" "DP0006" "DP0007" "DP0008" "DP0009" "DP0010"
    "DP0011" "DP0012" "DP0013" "DP0014" "DP0015" "DP0016" "DP0017" "DP0018" "DP0019" "DP0020"
    "DP0021" "DP0022" "DP0023" "DP0024" "DP0025" "DP0026" "DP0027" "DP0028"
    "DP0030" "DP0031" "DP0032" "DP0033" "DP0034" "DP0035" "DP0036" "DP0037" "DP0038"
    "DP0040" "DP0041" "DP0042" "DP0043" "DP0044" "DP0045" "DP0046" "DP0047" "DP0048" "DP0049" "DP0050"
    "DP0051" "DP0052" "DP0053" "DP0054" "DP0055" "DP0056" "DP0057" "DP0058" "DP0059" "DP0060" "DP0061"
    "DP0062" "DP0063" "DP0064" "DP0065" "DP0066" "DP0067"
    "DP0068" "DP0069" "DP0070" "DP0071"
}

/// The page of a code, markdown; none for a text that is no code.
#[must_use]
pub fn error_page(code: &str) -> Option<&'static str> {
    let page = ERROR_PAGES.iter().find(|(held, _)| held.eq_ignore_ascii_case(code));
    page.map(|(_, text)| *text)
}

pub(crate) async fn problem(
    path: Result<Path<String>, PathRejection>,
    request_headers: HeaderMap,
) -> Result<Response, Problem> {
    let code = key_of(path)?;
    let text = error_page(&code).ok_or_else(|| {
        let detail = format!("there is no code `{code}`");
        Problem::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    })?;
    if headers::wants_html(&request_headers) {
        let body = format!("<main>\n{}</main>\n", html::markdown(text));
        return Ok(html::page(&code.to_ascii_uppercase(), &body));
    }
    let mut response = typed(StatusCode::OK, "text/markdown; charset=utf-8", text);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// The page that shows the OpenAPI document and sends requests by hand.
pub(crate) async fn docs() -> Response {
    let page = include_str!("assets/docs.html");
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", page);
    html::guard(
        &mut response,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'",
    );
    response
}

pub(crate) async fn docs_script() -> Response {
    typed(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("assets/docs.js"))
}

pub(crate) async fn docs_style() -> Response {
    let style = concat!(include_str!("assets/page.css"), include_str!("assets/docs.css"));
    typed(StatusCode::OK, "text/css; charset=utf-8", style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        for code in Code::ALL {
            let page = error_page(code.as_str()).unwrap_or_else(|| panic!("{code} has no page"));
            let title = format!("# {code}: {}", code.title());
            assert_eq!(page.lines().next(), Some(title.as_str()));
            let lines = page.lines().count();
            assert!((8..=40).contains(&lines), "{code} has {lines} lines");
        }
        assert_eq!(ERROR_PAGES.len(), Code::ALL.len());
        assert_eq!(error_page("DPnone"), None);
        assert_eq!(error_page("dp0003"), error_page("DP0003"));
    }
}
