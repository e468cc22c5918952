//! What policies may say, what they answer, and how they are refused.

use crate::test_world::WORK;
use crate::{CategoryDeclaration, CommandDeclaration, Declarations, Policies, PolicyGuard};
use diptych_core::{Action, Authorize, Claims, PolicyAttribute, Principal, Value};
use diptych_query::{Purpose, ReadPolicy, RowRule};
use serde_json::json;

fn declarations() -> Declarations {
    let approve = CommandDeclaration {
        name: "Approve".to_owned(),
        fields: vec![PolicyAttribute::text("reason").always(), PolicyAttribute::integer("amount")],
    };
    let decision = CategoryDeclaration {
        category: "decision".to_owned(),
        view: vec![PolicyAttribute::text("teamId"), PolicyAttribute::integer("penalty").always()],
        commands: vec![approve],
    };
    Declarations { categories: vec![decision], models: vec![&WORK] }
}

fn guard(text: &str) -> Result<PolicyGuard, String> {
    let policies = Policies::from_text(text).map_err(|error| error.to_string())?;
    PolicyGuard::new(&policies, &declarations()).map_err(|error| error.to_string())
}

fn ann() -> Principal {
    let claims = Claims { teams: ["TEAM-7".to_owned()].into(), ..Claims::default() };
    Principal::new("acme", "ann").unwrap().with(claims)
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let error = guard(text).err().expect("the policies must be refused");
    for part in parts {
        assert!(error.contains(part), "{error}\nlacks {part}");
    }
}

fn approve<'a>(body: &'a str, state: Option<&'a serde_json::Value>) -> Action<'a> {
    Action::Command { category: "decision", key: "DEC-1", name: "Approve", body, state }
}

#[test]
fn what_no_policy_permits_is_forbidden() {
    let guard = guard("").unwrap();
    let forbidden = guard.authorize(&ann(), approve(r#"{"reason": "x"}"#, None)).unwrap_err();
    assert_eq!(forbidden.reason, "to give `Approve` to `decision`");
    assert!(guard.sight(&ann(), &WORK, Purpose::View).is_err());
    assert!(guard.authorize(&ann(), Action::Query { model: "work_item" }).is_err());
    for action in [
        Action::ReadAudit,
        Action::ReadCommand,
        Action::ReadAggregate { category: "decision", key: "DEC-1", state: None },
        Action::Import { category: "decision" },
        Action::QueryAllTenants { model: "work_item" },
    ] {
        assert!(guard.authorize(&ann(), action).is_err(), "{action:?}");
    }
}

#[test]
fn a_command_is_judged_by_its_own_fields_before_any_state() {
    let guard = guard(
        r#"@id("reasons") permit (principal, action == Action::"decision.Approve", resource)
           when { context.command.reason != "" && context.key like "DEC-*" };"#,
    );
    let guard = guard.unwrap();
    let permit = guard.authorize(&ann(), approve(r#"{"reason": "due"}"#, None)).unwrap();
    assert!(!permit.needs_state);
    assert_eq!(permit.policy, Some(guard.version()));
    assert!(guard.authorize(&ann(), approve(r#"{"reason": ""}"#, None)).is_err());
}

#[test]
fn a_command_is_judged_by_the_state_once_there_is_one() {
    let guard = guard(
        r#"@id("own") permit (principal, action in Action::"decision.commands", resource is Decision)
           when { resource has teamId && principal.teams.contains(resource.teamId) };
           @id("high") forbid (principal, action in Action::"commands", resource is Decision)
           when { resource.penalty > 1000 };"#,
    );
    let guard = guard.unwrap();
    let body = r#"{"reason": "due"}"#;
    assert!(guard.authorize(&ann(), approve(body, None)).unwrap().needs_state);
    let judged = |state: serde_json::Value| guard.authorize(&ann(), approve(body, Some(&state)));
    assert!(!judged(json!({ "teamId": "TEAM-7", "penalty": 3 })).unwrap().needs_state);
    assert!(judged(json!({ "teamId": "TEAM-9", "penalty": 3 })).is_err());
    assert!(judged(json!({ "teamId": "TEAM-7", "penalty": 1001 })).is_err());
    assert!(judged(json!({ "teamId": null, "penalty": 3 })).is_err());
    assert!(judged(json!({ "teamId": "TEAM-7" })).is_err(), "what is always there is missing");
}

#[test]
fn what_the_key_or_the_fields_tell_is_not_left_to_the_state() {
    let guard = guard(
        r#"@id("own") permit (principal, action in Action::"decision.commands", resource is Decision)
           when { resource has teamId && principal.teams.contains(resource.teamId) };
           @id("reasons") forbid (principal, action == Action::"decision.Approve", resource is Decision)
           when { !(principal in Role::"clerk") && context.command.reason == "" };
           @id("one") forbid (principal, action == Action::"decision.Approve", resource is Decision)
           when { !(principal in Role::"clerk") && resource == Decision::"DEC-9" };"#,
    );
    let guard = guard.unwrap();
    let asked = |principal: &Principal, key: &str, body: &str| {
        let action = Action::Command { category: "decision", key, name: "Approve", body, state: None };
        guard.authorize(principal, action).map(|permit| permit.needs_state)
    };
    let clerk = ann().with(Claims { roles: ["clerk".to_owned()].into(), ..(*ann().claims).clone() });
    for again in ["first", "again"] {
        assert_eq!(asked(&ann(), "DEC-1", r#"{"reason": "due"}"#), Ok(true), "{again}");
        assert!(asked(&ann(), "DEC-1", r#"{"reason": ""}"#).is_err(), "{again}: the fields tell");
        assert!(asked(&ann(), "DEC-9", r#"{"reason": "due"}"#).is_err(), "{again}: the key tells");
        // Of a clerk, who is known, nothing is left open but the team.
        for (key, body) in
            [("DEC-1", r#"{"reason": ""}"#), ("DEC-9", r#"{"reason": "due"}"#), ("DEC-1", "{}")]
        {
            assert_eq!(asked(&clerk, key, body), Ok(true), "{again}: {key} {body}");
        }
    }
    let nobody = Principal::new("acme", "eve").unwrap();
    assert_eq!(asked(&nobody, "DEC-1", r#"{"reason": "due"}"#), Ok(true), "no team is no reason yet");
}

#[test]
fn an_aggregate_is_judged_by_its_state_and_by_nothing_that_a_command_brings() {
    let guard = guard(
        r#"@id("own") permit (principal, action == Action::"readAggregate", resource is Decision)
           when { resource has teamId && principal.teams.contains(resource.teamId) };
           @id("drafts") permit (principal, action == Action::"readAggregate", resource is Decision)
           when { context.key like "DRAFT-*" };
           @id("heavy") forbid (principal in Role::"trainee", action == Action::"readAggregate", resource)
           when { resource is Decision && resource.penalty > 1000 };"#,
    );
    let guard = guard.unwrap();
    let read = |principal: &Principal, key: &str, state: Option<serde_json::Value>| {
        let action = Action::ReadAggregate { category: "decision", key, state: state.as_ref() };
        guard.authorize(principal, action).map(|permit| permit.needs_state)
    };
    let with = |team: &str, penalty: i64| Some(json!({ "teamId": team, "penalty": penalty }));
    assert_eq!(read(&ann(), "DEC-1", None), Ok(true), "only the state tells whose it is");
    assert_eq!(read(&ann(), "DEC-1", with("TEAM-7", 1)), Ok(false));
    assert!(read(&ann(), "DEC-1", with("TEAM-9", 1)).is_err());
    assert!(read(&ann(), "DEC-1", Some(json!({ "teamId": null, "penalty": 1 }))).is_err());
    assert_eq!(read(&ann(), "DRAFT-1", None), Ok(false), "the key alone tells");
    let nobody = Principal::new("acme", "eve").unwrap();
    assert!(read(&nobody, "DEC-1", with("TEAM-7", 1)).is_err());
    let trainee = ann().with(Claims { roles: ["trainee".to_owned()].into(), ..(*ann().claims).clone() });
    assert_eq!(read(&trainee, "DRAFT-1", None), Ok(true), "what forbids may still do so by the state");
    assert!(read(&trainee, "DRAFT-1", with("TEAM-7", 1001)).is_err());
    assert_eq!(read(&trainee, "DRAFT-1", with("TEAM-7", 1000)), Ok(false));
    let unknown = Action::ReadAggregate { category: "party", key: "P-1", state: None };
    assert_eq!(guard.authorize(&ann(), unknown).unwrap_err().reason, "to read `party`");
}

#[test]
fn a_body_without_its_shape_is_never_allowed_for_good() {
    let guard = guard(r#"@id("all") permit (principal, action, resource);"#).unwrap();
    for body in ["{}", "[]", "no json", r#"{"reason": 7}"#, r#"{"reason": "x", "amount": "many"}"#] {
        assert!(guard.authorize(&ann(), approve(body, None)).unwrap().needs_state, "{body}");
        assert!(guard.authorize(&ann(), approve(body, Some(&json!({ "penalty": 1 })))).is_err(), "{body}");
    }
}

#[test]
fn asking_by_a_value_is_judged_by_the_value() {
    let guard = guard(
        r#"@id("own-team-only") forbid (principal, action == Action::"searchBy", resource is WorkItemView)
           when { context.field == "team" && context has value
                  && !principal.teams.contains(context.value) };"#,
    );
    let guard = guard.unwrap();
    let ask = |column, value: Option<&str>| {
        let value = value.map(|text| Value::Text(text.to_owned()));
        guard.may_ask_by(&ann(), &WORK, column, value.as_ref())
    };
    assert_eq!(ask(1, Some("TEAM-7")), Ok(()));
    let reason = ask(1, Some("TEAM-9")).unwrap_err().reason;
    assert_eq!(reason, "`team` may not be asked by for `TEAM-9`");
    assert_eq!(ask(1, None), Ok(()), "sorting by a public column");
    assert!(ask(2, None).is_err(), "`title` is personal, and nothing permits it");
}

#[test]
fn a_service_without_read_models_has_policies_too() {
    let policies = Policies::from_text(r#"@id("all") permit (principal, action, resource);"#).unwrap();
    let guard = PolicyGuard::new(&policies, &Declarations { models: Vec::new(), ..declarations() }).unwrap();
    assert!(guard.authorize(&ann(), approve(r#"{"reason": "due"}"#, None)).is_ok());
}

#[test]
fn a_rule_says_no_more_than_it_must() {
    let guard = guard(
        r#"@id("own") permit (principal, action == Action::"viewRow", resource is WorkItemView)
           when { principal.clearance >= 0 && resource has team && principal.teams.contains(resource.team) };
           @id("others") permit (principal, action == Action::"viewRow", resource is WorkItemView)
           when { principal in Role::"auditor" && resource.open };"#,
    );
    let sight = guard.unwrap().sight(&ann(), &WORK, Purpose::View).unwrap();
    let RowRule::Where(sets) = &sight.rows else { panic!("{:?}", sight.rows) };
    assert_eq!(format!("{:?}", sets[0].permits), "[And(Has(1), Equal(Cell(1), Text(\"TEAM-7\")))]");
    assert!(sets[0].forbids.is_empty());
}

#[test]
fn policies_that_cannot_be_used_are_named_when_they_are_loaded() {
    refused("permit (principal, action, resource);", &["policy 1 of `policies.cedar`", "@id"]);
    refused(
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
        &["two policies are called `a`"],
    );
    refused("@id(\"a\")\npermit (principal, action, resource) when { 1 + };", &["line 2", "DP0063"]);
    refused(
        r#"@id("typo") permit (principal, action == Action::"viewRow", resource is WorkItemView)
           when { resource.taem == "x" };"#,
        &["`typo`", "`taem`"],
    );
    refused(
        r#"@id("which") permit (principal, action == Action::"viewRow", resource == WorkItemView::"1");"#,
        &["policy `which`", "not a column of the row"],
    );
    refused(
        r#"@id("early") forbid (principal, action == Action::"viewHistory", resource is Decision)
           when { resource.penalty > 3 };"#,
        &["policy `early`", "before it is read"],
    );
    refused(
        r#"@id("no-row") permit (principal, action == Action::"searchBy", resource is WorkItemView)
           when { resource.open };"#,
        &["policy `no-row`", "before there is one"],
    );
    refused(
        r#"@id("guardless") permit (principal, action == Action::"viewRow", resource is WorkItemView)
           when { resource.due > 3 };"#,
        &["guardless", "due"],
    );
}

#[test]
fn the_version_tells_policies_apart_and_not_their_layout() {
    let version = |text: &str| Policies::from_text(text).unwrap().version().0.into_owned();
    let one = version(r#"@id("a") permit (principal, action, resource) when { 1 < 2 };"#);
    let spaced = version("// why\n@id(\"a\")\npermit (principal, action, resource)\nwhen { 1 < 2 };");
    let other = version(r#"@id("a") permit (principal, action, resource) when { 1 < 3 };"#);
    let named =
        version(r#"@id("a") @version("2026-11") permit (principal, action, resource) when { 1 < 2 };"#);
    assert_eq!(one, spaced);
    assert_ne!(one, other);
    assert!(named.starts_with("2026-11+"), "{named}");
}

#[test]
fn who_is_known_otherwise_gets_another_stamp() {
    let text = r#"@id("all") permit (principal, action, resource);"#;
    let stamp = |principal: &Principal, text| {
        guard(text).unwrap().sight(principal, &WORK, Purpose::View).unwrap().stamp
    };
    let promoted = ann().with(Claims { clearance: 1, ..(*ann().claims).clone() });
    assert_eq!(stamp(&ann(), text), stamp(&ann(), text));
    assert_ne!(stamp(&ann(), text), stamp(&promoted, text));
    let other = r#"@id("all") permit (principal, action, resource) when { true };"#;
    assert_ne!(stamp(&ann(), text), stamp(&ann(), other));
}

#[test]
fn fields_of_a_command_are_read_from_its_json_schema() {
    let schema = json!({
        "type": "object",
        "properties": {
            "reason": { "type": "string" },
            "note": { "type": ["string", "null"] },
            "party": { "$ref": "#/$defs/PartyId" },
            "other": { "anyOf": [{ "$ref": "#/$defs/PartyId" }, { "type": "null" }] },
            "due": { "type": "string", "format": "date-time" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "lines": { "type": "array", "items": { "type": "object" } },
            "total": { "type": "object" },
        },
        "required": ["reason", "party", "due", "tags", "other"],
    });
    let definitions = json!({ "PartyId": { "type": "string", "maxLength": 200 } });
    let read = CommandDeclaration::from_schema("Approve", &schema, definitions.as_object().unwrap());
    let mut fields = read.fields;
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(
        fields,
        [
            PolicyAttribute::time("due").always(),
            PolicyAttribute::text("note"),
            PolicyAttribute::text("other"),
            PolicyAttribute::text("party").always(),
            PolicyAttribute::text("reason").always(),
            PolicyAttribute::texts("tags").always(),
        ]
    );
}
