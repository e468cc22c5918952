//! Tokens that are forged, damaged, or made of chance. None is ever taken for somebody.

use super::signer::RSA_PUBLIC;
use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

fn by_rsa() -> Jwt {
    let file = TestFile::of(RSA_PUBLIC);
    Jwt::public_key(&file.0).unwrap()
}

#[test]
fn a_token_without_a_signature_is_nobodys() {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", "nOnE"] {
        for signature in ["", "c2lnbmVk"] {
            let token = format!("{}.{}.{signature}", part(json!({ "alg": algorithm })), part(ann()));
            refuses(&by_rsa(), &token, "names an unknown algorithm");
            refuses(&by_secret(), &token, "names an unknown algorithm");
        }
    }
    let unsigned = Signer::secret(SECRET).token("HS256", &ann());
    let (signed, _) = unsigned.rsplit_once('.').unwrap();
    refuses(&by_secret(), &format!("{signed}."), "the signature of the token is not right");
}

#[test]
fn a_public_key_is_no_secret() {
    // Whoever knows the public key signs with it as if it were a secret, and says so (RFC 8725, section 2.1).
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim_end()] {
        let token = Signer::secret(secret).token("HS256", &ann());
        refuses(&by_rsa(), &token, "by an algorithm, that is not accepted here");
    }
}

#[test]
fn another_key_signs_for_nobody_here() {
    let other = Signer::secret(SECRET.to_uppercase()).token("HS256", &ann());
    refuses(&by_secret(), &other, "the signature of the token is not right");
    let (right, wrong) = (Signer::p256(), Signer::p256());
    let file = TestFile::of(json!({ "keys": [right.jwk("a")] }).to_string());
    let jwt = Jwt::jwks(&file.0).unwrap();
    refuses(&jwt, &wrong.token_by("a", "ES256", &ann()), "the signature of the token is not right");
    refuses(&jwt, &right.token_by("b", "ES256", &ann()), "not accepted here");
}

#[test]
fn a_token_that_brings_its_own_key_is_not_believed() {
    let own = Signer::p256();
    let file = TestFile::of(json!({ "keys": [Signer::p256().jwk("a")] }).to_string());
    let jwt = Jwt::jwks(&file.0).unwrap();
    let header =
        json!({ "alg": "ES256", "kid": "a", "jwk": own.jwk("a"), "jku": "https://example.org/keys" });
    refuses(&jwt, &own.token_of(&header, &ann()), "the signature of the token is not right");
}

#[test]
fn an_extension_that_nobody_knows_is_not_passed_over() {
    let header = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    let token = Signer::secret(SECRET).token_of(&header, &ann());
    refuses(&by_secret(), &token, "asks for extensions");
}

#[test]
fn claims_of_another_token_do_not_stand_under_a_signature() {
    let signer = Signer::secret(SECRET);
    let (ann, bob) =
        (signer.token("HS256", &ann()), signer.token("HS256", &ann_with(json!({ "sub": "bob" }))));
    let part = |token: &str, index: usize| token.split('.').nth(index).unwrap().to_owned();
    let mixed = format!("{}.{}.{}", part(&ann, 0), part(&bob, 1), part(&ann, 2));
    refuses(&by_secret(), &mixed, "the signature of the token is not right");
}

#[test]
fn a_long_token_is_refused_before_it_is_read() {
    let claims = ann_with(json!({ "text": "a".repeat(7_000) }));
    refuses(&by_secret(), &Signer::secret(SECRET).token("HS256", &claims), "more than 8192 bytes");
}

#[test]
fn a_request_without_a_token_is_told_to_bring_one() {
    let refused = by_secret().authenticate(Credentials::default(), now()).unwrap_err();
    assert_eq!(refused.flaw, Flaw::Missing);
    assert!(refused.to_string().contains("Authorization: Bearer"), "{refused}");
}

#[test]
fn what_a_caller_claims_to_be_is_never_believed() {
    let claimed = Credentials { bearer: None, claimed: Some("north/ann") };
    assert_eq!(by_secret().authenticate(claimed, now()).unwrap_err().flaw, Flaw::Missing);
    let bob = Signer::secret(SECRET).token("HS256", &ann_with(json!({ "sub": "bob" })));
    let both = Credentials { bearer: Some(&bob), claimed: Some("north/ann") };
    assert_eq!(by_secret().authenticate(both, now()).unwrap().principal.actor.as_str(), "bob");
}

proptest! {
    #[test]
    fn a_token_is_right_as_a_whole_or_not_at_all(
        cut in 0usize..400,
        place in 0usize..400,
        other in 0u8..255,
    ) {
        let signer = Signer::secret(SECRET);
        let jwt = by_secret();
        let token = signer.token("HS256", &ann());
        let shorter = &token[..cut % token.len()];
        prop_assert!(ask(&jwt, shorter, now()).is_err());
        let mut bytes = token.clone().into_bytes();
        let place = place % bytes.len();
        bytes[place] = other;
        if let Ok(changed) = String::from_utf8(bytes)
            && changed != token
        {
            prop_assert!(ask(&jwt, &changed, now()).is_err());
        }
    }

    #[test]
    fn text_of_chance_is_nobody(
        text in ".{0,80}",
        parts in proptest::collection::vec("[A-Za-z0-9_-]{0,40}", 0..6),
    ) {
        prop_assert!(ask(&by_secret(), &text, now()).is_err());
        prop_assert!(ask(&by_rsa(), &parts.join("."), now()).is_err());
    }

    #[test]
    fn claims_of_chance_under_a_right_signature_never_break_the_service(
        name in "sub|tenant|exp|nbf|iss|aud|teams|roles|clearance",
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!([[]])), Just(json!(true)),
            any::<i64>().prop_map(|number| json!(number)),
            any::<f64>().prop_map(|number| json!(number)),
            ".{0,300}".prop_map(|text| json!(text)),
        ],
    ) {
        let mut claims = ann();
        claims.as_object_mut().unwrap().insert(name.clone(), value);
        let token = Signer::secret(SECRET).token("HS256", &claims);
        if let Ok(known) = ask(&by_secret(), &token, now()) {
            prop_assert!(known.until.is_some_and(|until| until > now()));
            prop_assert!(name == "tenant" || known.principal.tenant.as_str() == "north");
        }
    }
}
