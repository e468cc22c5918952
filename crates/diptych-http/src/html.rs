//! Text as HTML: escaping, pages around it, and the little markdown that the pages of errors use.

use crate::json::typed;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

const STYLE: &str = include_str!("assets/page.css");
const CONTENT_SECURITY_POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;

/// A text as HTML shows it, in elements and in quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// A whole page without scripts around a body that is HTML already.
pub(crate) fn page(title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    );
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    guard(
        &mut response,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    );
    response
}

/// Says what a page may load: nothing from elsewhere.
pub(crate) fn guard(response: &mut Response, policy: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
}

/// Headings, paragraphs, lists, fenced blocks and `code`: all that the pages of errors are written in.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::new();
    let mut block = Block::None;
    for line in text.lines() {
        if line.starts_with("```") {
            let next = if block == Block::Fence { Block::None } else { Block::Fence };
            block.switch(next, &mut out);
            continue;
        }
        if block == Block::Fence {
            out.push_str(&escape(line));
            out.push('\n');
        } else if let Some(title) = line.strip_prefix("# ") {
            block.switch(Block::None, &mut out);
            out.push_str(&format!("<h1>{}</h1>\n", inline(title)));
        } else if let Some(title) = line.strip_prefix("## ") {
            block.switch(Block::None, &mut out);
            out.push_str(&format!("<h2>{}</h2>\n", inline(title)));
        } else if let Some(item) = line.strip_prefix("- ") {
            block.switch(Block::List, &mut out);
            out.push_str(&format!("<li>{}\n", inline(item)));
        } else if line.trim().is_empty() {
            block.switch(Block::None, &mut out);
        } else {
            // A line goes on with the item or paragraph before it.
            let goes_on = if block == Block::List { Block::List } else { Block::Paragraph };
            block.switch(goes_on, &mut out);
            out.push_str(&inline(line.trim()));
            out.push('\n');
        }
    }
    block.switch(Block::None, &mut out);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Paragraph,
    List,
    Fence,
}

impl Block {
    fn switch(&mut self, next: Self, out: &mut String) {
        if *self == next {
            return;
        }
        out.push_str(match self {
            Self::None => "",
            Self::Paragraph => "</p>\n",
            Self::List => "</ul>\n",
            Self::Fence => "</code></pre>\n",
        });
        out.push_str(match next {
            Self::None => "",
            Self::Paragraph => "<p>",
            Self::List => "<ul>\n",
            Self::Fence => "<pre><code>",
        });
        *self = next;
    }
}

/// Escapes a line; every second part between backticks is code.
fn inline(line: &str) -> String {
    let parts: Vec<_> = line.split('`').collect();
    let paired = parts.len() % 2 == 1;
    let mut out = String::new();
    for (index, part) in parts.iter().enumerate() {
        match (paired, index % 2) {
            (true, 1) => out.push_str(&format!("<code>{}</code>", escape(part))),
            (false, 1) => out.push_str(&format!("`{}", escape(part))),
            _ if index > 0 && !paired => out.push_str(&format!("`{}", escape(part))),
            _ => out.push_str(&escape(part)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        assert_eq!(escape(r#"<a href="x">'&'</a>"#), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    }

    #[test]
    fn the_markdown_of_error_pages_reads_as_html() {
        let text =
            "# DP0003: `a` <b>\n\nOne\ntwo.\n\n- first\n  goes on\n- second\n\n```\nx < y\n```\nodd ` tick\n";
        let html = "<h1>DP0003: <code>a</code> &lt;b&gt;</h1>\n<p>One\ntwo.\n</p>\n<ul>\n<li>first\ngoes on\n\
                    <li>second\n</ul>\n<pre><code>x &lt; y\n</code></pre>\n<p>odd ` tick\n</p>\n";
        assert_eq!(markdown(text), html);
    }
}
