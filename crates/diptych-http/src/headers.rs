//! Reading the headers that mean something here, by the letter of their standards: a value or a problem.

use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use diptych_core::{CausationId, Code, CommandId, CorrelationId, Version};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The idempotency key (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the command had its outcome before, and nothing was decided now.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// For whom a caller wants to be taken, in development.
pub(crate) const DEVELOPMENT_PRINCIPAL: HeaderName = HeaderName::from_static("development-principal");
/// Ties a command to a conversation.
pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("correlation-id");
/// What directly caused a command.
pub(crate) const CAUSATION_ID: HeaderName = HeaderName::from_static("causation-id");
/// How an answer should be given (RFC 7240).
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Which preferences were followed (RFC 7240).
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The key under which a command is done once, bare or as a quoted string of RFC 8941.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<CommandId>, Problem> {
    let Some(text) = single(headers, &IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    let key = if text.starts_with('"') {
        unquoted(&text).ok_or_else(|| {
            bad(&IDEMPOTENCY_KEY, "opens a quoted string that does not end as one, such as `\"8e03\"`")
        })?
    } else {
        text
    };
    let id =
        CommandId::new(key).map_err(|error| bad(&IDEMPOTENCY_KEY, &format!("is not usable: {error}")))?;
    Ok(Some(id))
}

/// The version that a command expects: `"8"` or `"version-8"` (RFC 9110, section 13.1.1).
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let Some(text) = single(headers, &header::IF_MATCH)? else {
        return Ok(None);
    };
    if text == "*" {
        let reason = "must name one version, such as `\"8\"`: `*` says only that there is \
                      something, and that is the command's own to decide";
        return Err(bad(&header::IF_MATCH, reason));
    }
    if text.contains("W/") {
        let detail = "`If-Match` compares strongly, and a weak tag never matches: send the `ETag` of \
                      `GET /{collection}/{id}`, or the version of a row as `\"8\"`";
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::WeakIfMatch, detail));
    }
    if text.contains(',') {
        return Err(bad(&header::IF_MATCH, "must name one version, not several"));
    }
    match tagged_version(&text) {
        Some(version) => Ok(Some(version)),
        None => Err(bad(&header::IF_MATCH, "must be a version in quotes: `\"8\"` or `\"version-8\"`")),
    }
}

/// Whether a client already holds this version: any tag of `If-None-Match` names it, compared weakly.
pub(crate) fn none_match(headers: &HeaderMap, version: Version) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH);
    let mut tags = tags.iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || tagged_version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(version)
    })
}

/// The conversation that a command belongs to.
pub(crate) fn correlation(headers: &HeaderMap) -> Result<Option<CorrelationId>, Problem> {
    let text = single(headers, &CORRELATION_ID)?;
    text.map(|text| CorrelationId::new(text).map_err(|error| bad(&CORRELATION_ID, &error.to_string())))
        .transpose()
}

/// What directly caused a command.
pub(crate) fn causation(headers: &HeaderMap) -> Result<Option<CausationId>, Problem> {
    let text = single(headers, &CAUSATION_ID)?;
    text.map(|text| CausationId::new(text).map_err(|error| bad(&CAUSATION_ID, &error.to_string())))
        .transpose()
}

/// What a caller would like, as far as it is known here; anything else is ignored, as RFC 7240 demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Preferences {
    /// Wait at most this long.
    pub(crate) wait: Option<Duration>,
    /// Answer with the whole representation.
    pub(crate) representation: bool,
    /// Accept now and do it later.
    pub(crate) respond_async: bool,
}

pub(crate) fn preferences(headers: &HeaderMap) -> Preferences {
    let mut found = Preferences::default();
    let lines = headers.get_all(&PREFER);
    let wishes = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    for wish in wishes {
        let wish = wish.split(';').next().unwrap_or_default();
        let (name, value) = wish.split_once('=').unwrap_or((wish, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "wait" if found.wait.is_none() => {
                found.wait = whole_number(value).map(Duration::from_secs);
            }
            "respond-async" => found.respond_async = true,
            "return" => found.representation = value.eq_ignore_ascii_case("representation"),
            _ => {}
        }
    }
    found
}

/// The wait that was granted, as `Preference-Applied` says it.
pub(crate) fn wait_applied(wait: Duration) -> Option<HeaderValue> {
    value(&format!("wait={}", wait.as_secs()))
}

/// The last event of a stream that a client has seen (HTML, server-sent events).
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("last-event-id")?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether a browser asks, which takes HTML before anything.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT);
    let mut types = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    types.any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/html")
}

/// Whether a body is announced as JSON; parameters such as a charset do not matter, JSON is always UTF-8.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The strong tag of a version.
pub(crate) fn etag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("a quoted number is a header value")
}

/// A text as a header; none when it holds what a header cannot.
pub(crate) fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// The one value of a header; none when it is absent.
fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(bad(name, "was sent more than once"));
    }
    match std::str::from_utf8(first.as_bytes()) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(_) => Err(bad(name, "is not UTF-8 text")),
    }
}

pub(crate) fn bad(name: &HeaderName, reason: &str) -> Problem {
    let detail = format!("header `{name}` {reason}");
    Problem::new(StatusCode::BAD_REQUEST, Code::BadHeader, detail)
}

/// The text of a string of RFC 8941, section 3.3.3; none when it is not one.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => out.push(letters.next().filter(|next| matches!(next, '"' | '\\'))?),
            '"' => return None,
            ' '..='~' => out.push(letter),
            _ => return None,
        }
    }
    // A lone quote is both prefix and suffix of nothing.
    (text.len() >= 2).then_some(out)
}

fn tagged_version(tag: &str) -> Option<Version> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    let digits = inner.strip_prefix("version-").unwrap_or(inner);
    whole_number(digits).map(Version)
}

/// Digits only: no sign, no space.
fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
