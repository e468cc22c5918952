//! Headers in every form that clients send, and the ones that must be refused.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, text) in pairs {
        map.append(*name, HeaderValue::from_bytes(text.as_bytes()).unwrap());
    }
    map
}

#[track_caller]
fn check_key(texts: &[&str], expected: Result<Option<&str>, Code>) {
    let pairs: Vec<_> = texts.iter().map(|text| ("idempotency-key", *text)).collect();
    let got = idempotency_key(&headers(&pairs)).map_err(|problem| problem.code());
    let got = got.as_ref().map(|key| key.as_ref().map(CommandId::as_str)).map_err(|code| *code);
    assert_eq!(got, expected);
}

#[test]
fn a_key_is_the_same_bare_and_quoted() {
    check_key(&[], Ok(None));
    check_key(&["8e03-01"], Ok(Some("8e03-01")));
    check_key(&[r#""8e03-01""#], Ok(Some("8e03-01")));
    check_key(&[r#""a\"b\\c""#], Ok(Some(r#"a"b\c"#)));
    check_key(&["schlüssel"], Ok(Some("schlüssel")));
    check_key(&[""], Err(Code::BadHeader));
    check_key(&["\""], Err(Code::BadHeader));
    check_key(&[r#""""#], Err(Code::BadHeader));
    check_key(&[r#""open"#], Err(Code::BadHeader));
    check_key(&[r#""a"b""#], Err(Code::BadHeader));
    check_key(&[r#""a\n""#], Err(Code::BadHeader));
    check_key(&["one", "two"], Err(Code::BadHeader));
    check_key(&[&"x".repeat(200)], Ok(Some(&"x".repeat(200))));
    check_key(&[&"x".repeat(201)], Err(Code::BadHeader));
}

#[track_caller]
fn check_match(text: &str, expected: Result<u64, Code>) {
    let got = if_match(&headers(&[("if-match", text)])).map_err(|problem| problem.code());
    assert_eq!(got, expected.map(|version| Some(Version(version))), "{text}");
}

#[test]
fn a_version_is_expected_strongly_or_not_at_all() {
    assert_eq!(if_match(&headers(&[])).unwrap(), None);
    check_match("\"8\"", Ok(8));
    check_match("\"version-8\"", Ok(8));
    check_match("\"0\"", Ok(0));
    check_match("W/\"8\"", Err(Code::WeakIfMatch));
    for garbage in
        ["8", "*", "\"\"", "\"-8\"", "\"+8\"", "\"eight\"", "\"8\", \"9\"", "\"99999999999999999999\""]
    {
        check_match(garbage, Err(Code::BadHeader));
    }
    let twice = headers(&[("if-match", "\"8\""), ("if-match", "\"9\"")]);
    assert!(if_match(&twice).is_err());
}

#[test]
fn a_client_that_holds_the_version_is_recognized() {
    let holds = |text: &str| none_match(&headers(&[("if-none-match", text)]), Version(8));
    assert!(holds("\"8\"") && holds("W/\"8\"") && holds("\"7\", \"8\"") && holds("*"));
    assert!(!holds("\"7\"") && !holds("8") && !holds(""));
    assert!(!none_match(&HeaderMap::new(), Version(8)));
}

#[track_caller]
fn check_prefer(lines: &[&str], expected: Preferences) {
    let pairs: Vec<_> = lines.iter().map(|line| ("prefer", *line)).collect();
    assert_eq!(preferences(&headers(&pairs)), expected, "{lines:?}");
}

#[test]
fn known_preferences_are_found_and_others_are_ignored() {
    let none = Preferences::default();
    let wait = Preferences { wait: Some(Duration::from_secs(5)), ..none };
    check_prefer(&[], none);
    check_prefer(&["wait=5"], wait);
    let both = Preferences { representation: true, ..wait };
    check_prefer(&["Wait = \"5\"; strict, return=representation"], both);
    let later = Preferences { respond_async: true, ..none };
    check_prefer(&["Respond-Async"], later);
    let whole = Preferences { representation: true, ..later };
    check_prefer(&["respond-async", "return=representation"], whole);
    check_prefer(&["wait=5", "wait=9"], wait);
    check_prefer(&["wait=soon, return=minimal, respond-async-ish"], none);
}

#[test]
fn only_json_is_json() {
    let json = |kind: &str| is_json(&headers(&[("content-type", kind)]));
    assert!(json("application/json") && json("Application/JSON; charset=utf-8"));
    assert!(!json("text/plain") && !json("application/jsonp") && !is_json(&HeaderMap::new()));
}

#[test]
fn a_browser_asks_for_html() {
    let html = |kind: &str| wants_html(&headers(&[("accept", kind)]));
    assert!(html("text/html,application/xhtml+xml;q=0.9"));
    assert!(!html("*/*") && !html("application/json"));
}
