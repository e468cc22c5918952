//! What may be kept of an answer and for how long: its tag (RFC 9110, section 8.8.3), what it varies by, and
//! how long the model's contract lets it be used without asking again (RFC 9111).

use crate::headers;
use axum::http::{HeaderMap, HeaderValue, header};
use diptych_query::{AnswerTag, Ask, Contract, Freshness, Schema};
use std::time::Duration;

/// The longest time for which an answer is used without asking again, whatever its contract says.
const REUSE_MAX: Duration = Duration::from_secs(3_600);

/// The tags under which a client holds answers. They are compared weakly, so `W/` makes no difference.
pub(crate) fn held(headers: &HeaderMap) -> Vec<AnswerTag> {
    let lines = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|line| line.to_str().ok());
    let tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    let tags = tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
    let quoted = tags.filter_map(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(AnswerTag::held).collect()
}

/// Marks an answer with what may be kept of it.
pub(crate) fn mark(
    headers: &mut HeaderMap,
    schema: &Schema,
    ask: &Ask,
    freshness: &Freshness,
    tag: Option<&AnswerTag>,
) {
    if let Some(tag) = tag.and_then(|tag| headers::value(&format!("W/\"{tag}\""))) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Accept"));
    let reuse = tag.and_then(|_| reuse(schema, ask, freshness)).map(|reuse| reuse.as_secs());
    let control = match reuse.filter(|seconds| *seconds > 0) {
        Some(seconds) => headers::value(&format!("private, max-age={seconds}")),
        None => None,
    };
    headers.insert(header::CACHE_CONTROL, control.unwrap_or(HeaderValue::from_static("private, no-cache")));
}

/// For how long an answer stays as fresh as was promised: an answer that lacks nothing newer than `lag` is at
/// most `lag + t` old after a time `t`. None where every use has to ask.
fn reuse(schema: &Schema, ask: &Ask, freshness: &Freshness) -> Option<Duration> {
    let declared = match schema.contract {
        Contract::Strong => return None,
        Contract::Bounded { within, .. } => Some(within),
        Contract::Eventual => None,
    };
    if freshness.stale || freshness.caught_up_to_requested_position == Some(false) {
        return None;
    }
    let bound = declared.into_iter().chain(ask.max_stale).min()?;
    let lag = Duration::try_from_secs_f64(freshness.lag_seconds).ok()?;
    Some(bound.checked_sub(lag)?.min(REUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{schema, token};
    use diptych_core::Position;
    use diptych_query::Breach;

    fn freshness(lag_seconds: f64, caught_up: Option<bool>) -> Freshness {
        Freshness {
            projection_position: Position(7),
            lag_seconds,
            lag_events: u64::from(lag_seconds > 0.0),
            as_of: None,
            caught_up_to_requested_position: caught_up,
            token: token(7),
            stale: false,
            words: String::new(),
        }
    }

    #[track_caller]
    fn check(contract: Contract, max_stale: Option<u64>, freshness: &Freshness, expected: &str) {
        let schema = Schema { contract, ..*schema("notes_kept") };
        let ask = Ask { max_stale: max_stale.map(Duration::from_secs), ..Ask::default() };
        let mut headers = HeaderMap::new();
        mark(&mut headers, &schema, &ask, freshness, Some(&AnswerTag::held("a")));
        assert_eq!(
            (&headers["etag"], &headers["cache-control"]),
            (&"W/\"a\"".parse().unwrap(), &expected.parse().unwrap())
        );
    }

    #[test]
    fn an_answer_is_used_again_for_as_long_as_its_bound_allows() {
        let bounded = Contract::Bounded { within: Duration::from_secs(5), breach: Breach::Flag };
        check(bounded, None, &freshness(0.0, None), "private, max-age=5");
        check(bounded, None, &freshness(1.5, None), "private, max-age=3");
        check(bounded, Some(2), &freshness(0.0, None), "private, max-age=2");
        check(Contract::Eventual, Some(60), &freshness(0.0, Some(true)), "private, max-age=60");
        for (contract, max_stale, freshness) in [
            (Contract::Strong, Some(60), freshness(0.0, Some(true))),
            (Contract::Eventual, None, freshness(0.0, None)),
            (bounded, None, freshness(4.5, None)),
            (bounded, None, freshness(7.0, None)),
            (bounded, None, freshness(0.0, Some(false))),
        ] {
            check(contract, max_stale, &freshness, "private, no-cache");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        let mut headers = HeaderMap::new();
        headers.insert("if-none-match", HeaderValue::from_static("W/\"a\", \"b\", c"));
        assert_eq!(held(&headers), [AnswerTag::held("a"), AnswerTag::held("b")]);
    }
}
