//! Which keys are taken from a file, which algorithms go with them, and what happens when the file changes.

use super::signer::RSA_PUBLIC;
use super::*;
use diptych_core::Code;

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[track_caller]
fn file_refused(opened: Result<Jwt, diptych_core::Fault>, words: &str) {
    let fault = opened.expect_err(words);
    assert_eq!(fault.code(), Code::AuthenticationInvalid);
    assert!(fault.to_string().contains(words), "{fault}");
}

#[test]
fn every_algorithm_is_checked_with_the_key_it_is_for() {
    let (rsa, p256, p384, ed) = (Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed());
    let file = TestFile::of(set(&[rsa.jwk("r"), p256.jwk("p"), p384.jwk("q"), ed.jwk("e")]));
    let jwt = Jwt::jwks(&file.0).unwrap();
    for (signer, id, algorithms) in [
        (&rsa, "r", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&p256, "p", &["ES256"]),
        (&p384, "q", &["ES384"]),
        (&ed, "e", &["EdDSA"]),
    ] {
        for algorithm in algorithms {
            assert_eq!(accepts(&jwt, &signer.token_by(id, algorithm, &ann())).actor.as_str(), "ann");
            // A token that names no key is tried with those that fit its algorithm.
            assert_eq!(accepts(&jwt, &signer.token(algorithm, &ann())).actor.as_str(), "ann");
        }
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        accepts(&by_secret(), &Signer::secret(SECRET).token(algorithm, &ann()));
    }
}

#[test]
fn a_secret_is_used_only_with_hashes_it_is_long_enough_for() {
    let short = &SECRET[..32];
    let file = TestFile::of(format!("{short}\n"));
    let jwt = Jwt::secret(&file.0).unwrap();
    accepts(&jwt, &Signer::secret(short).token("HS256", &ann()));
    refuses(&jwt, &Signer::secret(short).token("HS384", &ann()), "not accepted here");
    refuses(&jwt, &Signer::secret(short).token("HS512", &ann()), "not accepted here");
}

#[test]
fn public_keys_are_read_from_pem() {
    let file = TestFile::of(RSA_PUBLIC);
    let jwt = Jwt::public_key(&file.0).unwrap();
    accepts(&jwt, &Signer::rsa().token("RS256", &ann()));
    accepts(&jwt, &Signer::rsa().token("PS384", &ann()));
    refuses(&jwt, &Signer::p256().token("ES256", &ann()), "not accepted here");
}

#[test]
fn keys_that_are_of_no_use_are_named() {
    let of = |text: &str| TestFile::of(text).0.clone();
    file_refused(Jwt::jwks(of("none")), "cannot be read");
    for (text, words) in [
        ("hello", "is no JSON"),
        ("[]", "is no set of keys"),
        (r#"{"keys":[]}"#, "it is empty"),
        (r#"{"keys":[{"kid":"a","kty":"RSA"}]}"#, "key `a` is of a kind that is not known here"),
    ] {
        let file = TestFile::of(text);
        file_refused(Jwt::jwks(&file.0), words);
    }
    let mut encrypting = Signer::rsa().jwk("b");
    encrypting["use"] = json!("enc");
    let mut strange = Signer::rsa().jwk("c");
    strange["alg"] = json!("ES256");
    let mut unknown = Signer::p256().jwk("d");
    unknown["alg"] = json!("ES256K");
    let mut signing = Signer::ed().jwk("e");
    signing["key_ops"] = json!(["sign"]);
    for (key, words) in [
        (encrypting, "key `b` is not for signatures"),
        (strange, "key `c` names an algorithm that does not fit it"),
        (unknown, "key `d` names an algorithm that is not known here"),
        (signing, "key `e` is not for checking signatures"),
        (Signer::secret(SECRET).jwk("f"), "key `f` is a secret"),
    ] {
        let file = TestFile::of(set(&[key]));
        file_refused(Jwt::jwks(&file.0), words);
    }
    for (text, words) in [
        ("hello", "it is empty"),
        (include_str!("keys/rsa-private.pem"), "holds a private key"),
        (include_str!("keys/rsa-1024-public.pem"), "has less than 2048 bits"),
        (include_str!("keys/p521-public.pem"), "is on a curve that is not known here"),
    ] {
        let file = TestFile::of(text);
        file_refused(Jwt::public_key(&file.0), words);
    }
    for (text, words) in [("", "it is empty"), ("password\n", "holds a secret of less than 32 bytes")] {
        let file = TestFile::of(text);
        file_refused(Jwt::secret(&file.0), words);
    }
    let large = TestFile::of(vec![b'a'; 300 * 1024]);
    file_refused(Jwt::secret(&large.0), "has more than 262144 bytes");
}

#[test]
fn a_key_of_no_use_does_not_make_the_others_useless() {
    let mut encrypting = Signer::rsa().jwk("enc");
    encrypting["use"] = json!("enc");
    let p256 = Signer::p256();
    let file = TestFile::of(set(&[encrypting, json!({ "kty": "AKP", "kid": "new" }), p256.jwk("sig")]));
    let jwt = Jwt::jwks(&file.0).unwrap();
    accepts(&jwt, &p256.token_by("sig", "ES256", &ann()));
    refuses(&jwt, &Signer::rsa().token_by("enc", "RS256", &ann()), "not accepted here");
}

#[test]
fn a_key_that_names_its_algorithm_is_used_with_no_other() {
    let mut rsa = Signer::rsa().jwk("r");
    rsa["alg"] = json!("PS256");
    let file = TestFile::of(set(&[rsa]));
    let jwt = Jwt::jwks(&file.0).unwrap();
    accepts(&jwt, &Signer::rsa().token_by("r", "PS256", &ann()));
    refuses(&jwt, &Signer::rsa().token_by("r", "RS256", &ann()), "not accepted here");
}

#[test]
fn a_new_key_is_found_at_once_and_an_old_one_gone_within_seconds() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let file = TestFile::of(set(&[old.jwk("2025")]));
    let jwt = Jwt::jwks(&file.0).unwrap();
    let (by_old, by_new) = (old.token_by("2025", "ES256", &ann()), new.token_by("2026", "ES256", &ann()));
    accepts(&jwt, &by_old);
    refuses_at(&jwt, &by_new, later(2), "not accepted here");
    file.write(set(&[old.jwk("2025"), new.jwk("2026")]));
    // Looked for less than a second ago: strangers cannot make the service read its file all the time.
    refuses_at(&jwt, &by_new, later(2), "not accepted here");
    assert!(ask(&jwt, &by_new, later(3)).is_ok());
    assert!(ask(&jwt, &by_old, later(3)).is_ok());
    file.write(set(&[new.jwk("2026")]));
    assert!(ask(&jwt, &by_old, later(4)).is_ok(), "the file is looked at every five seconds only");
    refuses_at(&jwt, &by_old, later(8), "not accepted here");
    assert!(ask(&jwt, &by_new, later(8)).is_ok());
}

#[test]
fn a_file_that_breaks_leaves_the_keys_in_force_that_were_read_last() {
    let key = Signer::p256();
    let file = TestFile::of(set(&[key.jwk("a")]));
    let jwt = Jwt::jwks(&file.0).unwrap();
    let token = key.token_by("a", "ES256", &ann());
    for (at, broken) in [(10, r#"{"keys":["#), (20, r#"{"keys":[]}"#)] {
        file.write(broken);
        assert!(ask(&jwt, &token, later(at)).is_ok());
    }
    std::fs::remove_file(&file.0).unwrap();
    assert!(ask(&jwt, &token, later(30)).is_ok());
    file.write(set(&[Signer::p256().jwk("b")]));
    refuses_at(&jwt, &token, later(40), "not accepted here");
}

#[test]
fn a_secret_is_rotated_by_a_second_line() {
    let new = SECRET.to_uppercase();
    let file = TestFile::of(SECRET);
    let jwt = Jwt::secret(&file.0).unwrap();
    let by_old = Signer::secret(SECRET).token("HS256", &ann());
    let by_new = Signer::secret(&new).token("HS256", &ann());
    accepts(&jwt, &by_old);
    refuses(&jwt, &by_new, "the signature of the token is not right");
    file.write(format!("{new}\n{SECRET}\n"));
    assert!(ask(&jwt, &by_old, later(6)).is_ok() && ask(&jwt, &by_new, later(6)).is_ok());
    let issued =
        jwt.issue(&Principal::new("north", "ann").unwrap(), later(6), Duration::from_secs(60)).unwrap();
    file.write(&new);
    assert!(ask(&jwt, &issued, later(12)).is_ok(), "the first secret is the one that signs");
    refuses_at(&jwt, &by_old, later(12), "the signature of the token is not right");
}

#[test]
fn nothing_of_a_key_is_ever_shown() {
    let shown = format!("{:?}", by_secret());
    assert!(shown.contains("Secret") && !shown.contains("horse"), "{shown}");
    let shown =
        format!("{:?}", super::super::keys::parse(SECRET.as_bytes(), super::super::keys::Format::Secret));
    assert!(shown.contains("a secret") && !shown.contains("horse") && !shown.contains("104"), "{shown}");
}
