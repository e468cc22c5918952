//! Tokens of every algorithm, right and wrong, against files of keys that come, go and break. The RSA key
//! lies beside this file and is known to everybody.

mod forged;
mod keys;
mod meaning;
mod signer;

use super::Jwt;
use diptych_core::{Authenticate, Authenticated, Credentials, Flaw, Principal, Timestamp, Unauthenticated};
use serde_json::{Value, json};
use signer::Signer;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A secret of 64 bytes, long enough for every hash.
const SECRET: &str = "correct-horse-battery-staple-correct-horse-battery-staple-12345!";

/// When the tests take place: 2026-11-28T20:00:00Z.
const NOW_SECONDS: i64 = 1_795_896_000;

fn now() -> Timestamp {
    Timestamp::from_stored(NOW_SECONDS * 1_000_000)
}

fn later(seconds: u64) -> Timestamp {
    now().plus(Duration::from_secs(seconds))
}

/// A file that is gone with the test.
struct TestFile(PathBuf);

impl TestFile {
    fn of(text: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("diptych-keys-{}-{count}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // A test may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An authentication by the secret.
fn by_secret() -> Jwt {
    let file = TestFile::of(SECRET);
    Jwt::secret(&file.0).unwrap()
}

/// What a token of Ann says that holds for an hour.
fn ann() -> Value {
    json!({ "sub": "ann", "tenant": "north", "exp": NOW_SECONDS + 3_600 })
}

/// The same with other or further claims; null takes one out.
fn ann_with(changes: Value) -> Value {
    let mut claims = ann();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn ask(jwt: &Jwt, token: &str, now: Timestamp) -> Result<Authenticated, Unauthenticated> {
    jwt.authenticate(Credentials { bearer: Some(token), claimed: None }, now)
}

#[track_caller]
fn accepts(jwt: &Jwt, token: &str) -> Principal {
    ask(jwt, token, now()).unwrap().principal
}

/// The token is refused for a reason that holds these words and no part of the token.
#[track_caller]
fn refuses(jwt: &Jwt, token: &str, words: &str) {
    refuses_at(jwt, token, now(), words);
}

#[track_caller]
fn refuses_at(jwt: &Jwt, token: &str, now: Timestamp, words: &str) {
    let refused = ask(jwt, token, now).expect_err(words);
    assert_eq!(refused.flaw, Flaw::Refused);
    assert!(refused.reason.contains(words), "{refused}");
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!refused.reason.contains(part), "{refused}");
    }
}
