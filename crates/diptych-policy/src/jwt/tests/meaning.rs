//! What a token says: for how long, of whom, for whom, and who its bearer is.

use super::*;
use crate::ClaimNames;
use diptych_core::Claims;
use std::collections::BTreeSet;

fn token(changes: Value) -> String {
    Signer::secret(SECRET).token("HS256", &ann_with(changes))
}

fn words(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_token_holds_until_it_ends_and_a_minute_longer() {
    let jwt = by_secret();
    let token = token(json!({ "exp": NOW_SECONDS + 100 }));
    let known = ask(&jwt, &token, now()).unwrap();
    assert_eq!(known.until, Some(later(160)));
    assert!(ask(&jwt, &token, later(159)).is_ok());
    refuses_at(&jwt, &token, later(160), "the token ran out at 2026-11-28T");
    let strict = by_secret().leeway(Duration::ZERO);
    refuses_at(&strict, &token, later(100), "the token ran out at");
    let generous = by_secret().leeway(Duration::from_secs(86_400));
    refuses_at(&generous, &token, later(100 + 300), "the token ran out at");
}

#[test]
fn a_token_that_does_not_say_when_it_ends_is_refused() {
    refuses(&by_secret(), &token(json!({ "exp": null })), "does not say when it ends");
    for strange in [json!("tomorrow"), json!([1]), json!(1e300)] {
        refuses(&by_secret(), &token(json!({ "exp": strange })), "`exp` of the token is no time");
    }
    refuses(&by_secret(), &token(json!({ "exp": -1 })), "the token ran out at 1969-12-31T23:59:59Z");
}

#[test]
fn a_token_of_the_future_is_not_taken_before() {
    let early = token(json!({ "nbf": NOW_SECONDS + 61 }));
    refuses(&by_secret(), &early, "the token holds from 2026-11-28T");
    assert!(ask(&by_secret(), &early, later(1)).is_ok());
    refuses(&by_secret(), &token(json!({ "nbf": "soon" })), "`nbf` of the token is no time");
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_known() {
    let jwt = by_secret().issuer("https://login.example.org/").audience("orders");
    let right = json!({ "iss": "https://login.example.org/", "aud": ["billing", "orders"] });
    accepts(&jwt, &token(right));
    accepts(&jwt, &token(json!({ "iss": "https://login.example.org/", "aud": "orders" })));
    for iss in [json!(null), json!("https://login.example.org"), json!(["https://login.example.org/"])] {
        let token = token(json!({ "iss": iss, "aud": "orders" }));
        refuses(&jwt, &token, "is not of the issuer `https://login.example.org/`");
    }
    for aud in [json!(null), json!("order"), json!([])] {
        let token = token(json!({ "iss": "https://login.example.org/", "aud": aud }));
        refuses(&jwt, &token, "is not for the audience `orders`");
    }
    refuses(&by_secret(), &token(json!({ "aud": "billing" })), "this service is not told to be one");
}

#[test]
fn a_token_says_what_its_bearer_may_be_judged_by() {
    let said = json!({ "teams": ["north", "south"], "roles": "approver", "clearance": 2 });
    let ann = accepts(&by_secret(), &token(said));
    assert_eq!((ann.tenant.as_str(), ann.actor.as_str()), ("north", "ann"));
    let claims = Claims { teams: words(&["north", "south"]), roles: words(&["approver"]), clearance: 2 };
    assert_eq!(*ann.claims, claims);
    assert_eq!(*accepts(&by_secret(), &token(json!({}))).claims, Claims::default());
}

#[test]
fn a_clearance_may_be_a_level_that_is_known() {
    let jwt = by_secret().levels(["PUBLIC", "INTERNAL", "CONFIDENTIAL"]);
    assert_eq!(accepts(&jwt, &token(json!({ "clearance": "CONFIDENTIAL" }))).claims.clearance, 2);
    for strange in [json!("SECRET"), json!("confidential"), json!(-1), json!(1.5), json!([]), json!(5e9)] {
        refuses(&jwt, &token(json!({ "clearance": strange })), "`clearance` of the token is no rank");
    }
    refuses(&by_secret(), &token(json!({ "clearance": "INTERNAL" })), "is no rank and no level");
}

#[test]
fn a_token_without_a_tenant_is_nobodys() {
    refuses(&by_secret(), &token(json!({ "tenant": null })), "the token has no text `tenant`");
    refuses(&by_secret(), &token(json!({ "tenant": ["north"] })), "the token has no text `tenant`");
    refuses(&by_secret(), &token(json!({ "tenant": "" })), "a tenant must not be empty");
    refuses(&by_secret(), &token(json!({ "sub": null })), "the token has no text `sub`");
    refuses(&by_secret(), &token(json!({ "sub": "a".repeat(201) })), "an actor".trim_start_matches("an "));
}

#[test]
fn teams_that_are_no_texts_or_too_many_are_refused() {
    for strange in [json!([1]), json!({ "north": true }), json!(["a".repeat(201)]), json!(7)] {
        refuses(
            &by_secret(),
            &token(json!({ "teams": strange })),
            "`teams` of the token is no list of texts",
        );
    }
    let many: Vec<_> = (0..257).map(|index| index.to_string()).collect();
    refuses(&by_secret(), &token(json!({ "roles": many })), "`roles` of the token has more than 256 values");
}

#[test]
fn a_provider_may_call_its_claims_otherwise() {
    let names = ClaimNames {
        tenant: "org".to_owned(),
        teams: "groups".to_owned(),
        roles: "/realm_access/roles".to_owned(),
        clearance: "/https:~1~1example.org~1level".to_owned(),
        ..ClaimNames::default()
    };
    let said = json!({
        "tenant": "south", "org": "north", "groups": ["a"], "realm_access": { "roles": ["b"] },
        "https://example.org/level": 1,
    });
    let ann = accepts(&by_secret().claim_names(names), &token(said));
    assert_eq!(ann.tenant.as_str(), "north");
    let claims = Claims { teams: words(&["a"]), roles: words(&["b"]), clearance: 1 };
    assert_eq!(*ann.claims, claims);
}

#[test]
fn a_token_made_here_says_who_its_bearer_is() {
    let jwt = by_secret().issuer("development").audience("orders");
    let ann = Principal::from_text("north/ann;teams=a,b;roles=c;clearance=3").unwrap();
    let token = jwt.issue(&ann, now(), Duration::from_secs(600)).unwrap();
    let known = ask(&jwt, &token, now()).unwrap();
    assert_eq!(known.principal, ann);
    assert_eq!(known.until, Some(later(660)));
    let long = jwt.issue(&ann, now(), Duration::from_secs(31 * 24 * 3_600)).unwrap_err();
    assert!(long.to_string().contains("30 days at most"), "{long}");
    let file = TestFile::of(super::signer::RSA_PUBLIC);
    let public = Jwt::public_key(&file.0).unwrap().issue(&ann, now(), Duration::from_secs(600)).unwrap_err();
    assert!(public.to_string().contains("only a file of secrets can sign"), "{public}");
}
