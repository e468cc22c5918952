//! A table of changes to a service, each with what the comparison says of it.

use super::FindingKind::{Breaking, Stale};
use super::*;
use crate::catalog::{Consumer, DeciderEntry, ModelEntry, ReadEntry, RejectionEntry};
use serde_json::json;
use std::collections::BTreeMap;

fn event(name: &str, version: u32) -> EventEntry {
    EventEntry {
        category: "order".into(),
        name: name.into(),
        version,
        earlier_versions: (1..version).collect(),
        meaning: String::new(),
        owner: "sales".into(),
        money: Vec::new(),
        producers: vec!["order".into()],
        consumers: vec![Consumer { model: "queue".into(), owner: "shop".into(), group: "queue".into() }],
        schema: json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] }),
    }
}

fn catalog() -> Catalog {
    let rejection = RejectionEntry {
        name: "too_late".into(),
        kind: "refused".into(),
        meaning: String::new(),
        schema: json!({ "type": "object" }),
    };
    let reads =
        ReadEntry { category: "order".into(), types: vec!["Placed".into()], unknown: "ignore".into() };
    Catalog {
        format: 1,
        service: "shop".into(),
        events: vec![event("Cancelled", 2), event("Placed", 1)],
        retired: vec!["order/Noted".into()],
        deciders: vec![DeciderEntry {
            category: "order".into(),
            owner: "sales".into(),
            commands: Vec::new(),
            rejections: vec![rejection],
        }],
        models: vec![ModelEntry {
            name: "queue".into(),
            revision: 1,
            owner: "shop".into(),
            group: "queue".into(),
            reads: vec![reads],
        }],
        definitions: BTreeMap::new(),
        events_without_owner: Vec::new(),
        events_without_consumer: Vec::new(),
    }
}

/// What a change of code makes of the committed catalog.
#[track_caller]
fn check(change: impl FnOnce(&mut Catalog), expected: &[(FindingKind, &str)]) {
    let mut code = catalog();
    change(&mut code);
    let findings = compare(&catalog(), &code);
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, (kind, what)) in findings.iter().zip(expected) {
        assert_eq!(finding.kind, *kind, "{finding:?}");
        assert!(finding.what.contains(what), "`{what}` is not in {finding:?}");
        assert!(!finding.mend.is_empty());
    }
}

#[test]
fn the_same_is_the_same() {
    check(|_| {}, &[]);
}

#[test]
fn a_type_that_is_gone_must_be_retired() {
    let gone = |code: &mut Catalog| {
        code.events.pop();
    };
    check(gone, &[(Breaking, "its type was removed")]);
    let retired = |code: &mut Catalog| {
        code.events.pop();
        code.retired.push("order/Placed".into());
    };
    check(retired, &[(Stale, "the file does not say")]);
    check(|code| code.retired.clear(), &[(Breaking, "not declared retired any more")]);
    let without_decider = |code: &mut Catalog| {
        (code.events, code.deciders) = (Vec::new(), Vec::new());
    };
    check(without_decider, &[(Breaking, "its decider was removed"), (Breaking, "its decider was removed")]);
}

#[test]
fn versions_only_rise_and_earlier_ones_are_read_for_ever() {
    check(|code| code.events[0] = event("Cancelled", 1), &[(Breaking, "its version was 2 and is 1")]);
    check(|code| code.events[0] = event("Cancelled", 3), &[(Stale, "`order/Cancelled` changed")]);
    let no_upcast = |code: &mut Catalog| {
        code.events[1] = EventEntry { earlier_versions: Vec::new(), ..event("Placed", 2) };
    };
    check(no_upcast, &[(Breaking, "raised to 2 without an upcast")]);
    check(|code| code.events[0].earlier_versions.clear(), &[(Breaking, "version 1 is not read any more")]);
}

#[test]
fn a_schema_changes_only_so_that_old_bytes_are_read() {
    let required = |code: &mut Catalog| code.events[1].schema["required"] = json!(["a", "b"]);
    check(required, &[(Breaking, "`b` is required now")]);
    let optional = |code: &mut Catalog| code.events[1].schema["properties"]["b"] = json!({});
    check(optional, &[(Stale, "`order/Placed` changed")]);
    let with_version = |code: &mut Catalog| {
        code.events[1] = event("Placed", 2);
        code.events[1].schema["required"] = json!(["a", "b"]);
    };
    check(with_version, &[(Stale, "`order/Placed` changed")]);
}

#[test]
fn findings_say_for_whom() {
    let mut code = catalog();
    code.events.pop();
    let found = compare(&catalog(), &code);
    assert_eq!(found[0].affects, ["decider `order`", "`queue` (shop)"]);
    assert_eq!(found[0].subject, "order/Placed");
    assert!(found[0].mend.contains("retired = \"Placed\""), "{found:?}");
}

#[test]
fn owners_do_not_leave() {
    check(|code| code.events[1].owner.clear(), &[(Breaking, "nobody answers for it any more")]);
    check(|code| code.events[1].owner = "others".into(), &[(Stale, "`order/Placed` changed")]);
}

#[test]
fn the_ledger_keeps_rejections() {
    let removed = |code: &mut Catalog| code.deciders[0].rejections.clear();
    check(removed, &[(Breaking, "the rejection was removed")]);
    let narrowed = |code: &mut Catalog| code.deciders[0].rejections[0].schema["required"] = json!(["why"]);
    check(narrowed, &[(Breaking, "`why` is required now")]);
}

#[test]
fn what_is_new_makes_the_file_stale() {
    check(|code| code.events.push(event("Refunded", 1)), &[(Stale, "`order/Refunded` is new")]);
    check(|code| code.events[0].consumers.clear(), &[(Stale, "`order/Cancelled` changed")]);
    check(|code| code.models.clear(), &[(Stale, "read models changed")]);
}

#[test]
fn events_that_nobody_owns_or_reads_are_warned_of() {
    let mut code = catalog();
    code.events_without_owner = vec!["order/Placed".into()];
    code.events_without_consumer = vec!["order/Cancelled".into()];
    let warned: Vec<_> = warnings(&code).into_iter().map(|warning| (warning.subject, warning.what)).collect();
    let expected = [("order/Placed", "nobody answers for it"), ("order/Cancelled", "no read model reads it")];
    assert_eq!(warned, expected.map(|(subject, what)| (subject.to_owned(), what.to_owned())));
}
