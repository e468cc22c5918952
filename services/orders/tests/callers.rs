//! Who may use the real binary: this machine as it is, anybody with a token, and how tokens are made and
//! tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::folder::Folder;
use support::http::Client;
use support::server::{Server, run, said};

/// Makes a secret, and its path as text.
async fn secret(folder: &Folder) -> String {
    let file = folder.path().join("secret").to_str().unwrap().to_owned();
    let made = run(&folder.store(), &["token", "secret", &file]).await;
    assert!(made.status.success(), "{}", said(&made));
    file
}

async fn token(store: &Path, secret: &str, arguments: &[&str]) -> String {
    let issue = [&["token", "issue", "--jwt-secret", secret], arguments].concat();
    let made = run(store, &issue).await;
    assert!(made.status.success(), "{}", said(&made));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn order() -> Value {
    let mut address = json!({ "street": "1 High St", "city": "Leeds", "state": "", "zip": "LS1" });
    address["country"] = json!("United Kingdom");
    let price = json!({ "amount": "19.99", "currency": "GBP" });
    json!({
        "customerId": "ann", "shippingAddress": address,
        "lines": [{ "productId": "lamp", "name": null, "quantity": 2, "unitPrice": price }],
    })
}

#[tokio::test]
async fn a_service_with_keys_answers_tokens_only_and_writes_none_of_them_down() {
    let folder = Folder::new("tokens");
    let (store, secret) = (folder.store(), secret(&folder).await);
    let ann = token(&store, &secret, &["--tenant", "north", "--actor", "ann", "--teams", "a,b"]).await;
    let mut before = Vec::new();
    let keys = ["--jwt-secret", &secret];
    let server = Server::start_telling(&store, &keys, &mut before, Some("trace")).await;
    assert!(!before.join("\n").contains("DEVELOPMENT"), "{before:#?}");
    let mut client = Client::to(server.address);
    client.post("/orders/1/place", &[], &order()).await.unwrap().expect(401);
    client.get("/health/live", &[]).await.unwrap().expect(200);
    let bearer = format!("Bearer {ann}");
    let authorized = [("authorization", bearer.as_str())];
    client.post("/orders/1/place", &authorized, &order()).await.unwrap().expect(201);
    let tampered = format!("Bearer {}x", &ann);
    client.get("/orders/1", &[("authorization", &tampered)]).await.unwrap().expect(401);
    let audit = client.get("/audit", &authorized).await.unwrap().expect(200);
    assert_eq!(audit["items"][0]["actor"], "ann", "{audit}");
    server.terminate().await;
    let (status, mut told) = server.ended().await;
    assert!(status.success(), "{told:#?}");
    told.extend(before);
    let told = told.join("\n");
    assert!(told.contains("/orders/1/place"), "the log tells of requests: {told}");
    for part in ann.split('.') {
        assert!(!told.contains(part), "a part of a token is in the log");
    }
    let secret = std::fs::read_to_string(&secret).unwrap();
    assert!(!told.contains(secret.trim()));
}

#[tokio::test]
async fn development_says_loudly_who_everybody_is_and_lets_policies_be_tried() {
    let folder = Folder::new("development");
    let mut said = Vec::new();
    let arguments = ["--principal", "north/ann;teams=a;clearance=2", "--any-principal"];
    let server = Server::start_telling(&folder.store(), &arguments, &mut said, None).await;
    let said = said.join("\n");
    let warning = "DEVELOPMENT: no caller proves who it is. Everybody on this machine is \
                   north/ann;teams=a;clearance=2, or whom `Development-Principal` names";
    assert!(said.contains(warning), "{said}");
    assert!(said.contains("--jwks FILE"), "{said}");
    let mut client = Client::to(server.address);
    client.post("/orders/1/place", &[], &order()).await.unwrap().expect(201);
    let bob = [("development-principal", "south/bob")];
    client.get("/orders/1", &bob).await.unwrap().expect(404);
    client.get("/orders/1", &[]).await.unwrap().expect(200);
    server.terminate().await;
    assert!(server.ended().await.0.success());
}

#[tokio::test]
async fn other_machines_are_served_only_with_proof() {
    let folder = Folder::new("reach");
    let (store, secret) = (folder.store(), secret(&folder).await);
    let refused = run(&store, &["serve", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("--jwks FILE") && said(&refused).contains("(DP0041)"),
        "{}",
        said(&refused)
    );
    let refused = run(&store, &["serve", "--listen", "0.0.0.0:0", "--any-principal"]).await;
    assert!(said(&refused).contains("(DP0041)"), "{}", said(&refused));
    let mut child =
        support::server::start(&store, &["serve", "--listen", "0.0.0.0:0", "--jwt-secret", &secret]);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().await.unwrap();
}

#[tokio::test]
async fn keys_that_cannot_be_used_keep_the_service_from_starting() {
    let folder = Folder::new("keys");
    let (store, secret) = (folder.store(), secret(&folder).await);
    let weak = folder.path().join("weak");
    std::fs::write(&weak, "password").unwrap();
    let weak = weak.to_str().unwrap();
    for (arguments, words) in [
        (&["--jwks", "missing.json"][..], "`missing.json` cannot be read"),
        (&["--jwt-secret", weak], "holds a secret of less than 32 bytes"),
        (&["--jwks", &secret], "is no JSON"),
        (&["--jwks", &secret, "--jwt-secret", &secret], "`--jwks` and `--jwt-secret` exclude each other"),
        (&["--jwt-issuer", "me"], "and no keys of tokens: name `--jwks`"),
        (&["--jwt-secret", &secret, "--any-principal"], "are for development"),
        (&["--jwt-secret", &secret, "--principal", "a/b"], "are for development"),
    ] {
        let refused = run(&store, &[&["serve"], arguments].concat()).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let said = said(&refused);
        assert!(said.contains(words) && said.contains("(DP0066)"), "{said}");
    }
    let again = run(&store, &["token", "secret", &secret]).await;
    assert!(said(&again).contains("cannot be written"), "a secret is never overwritten: {}", said(&again));
    let nobody = run(&store, &["token", "issue"]).await;
    assert!(said(&nobody).contains("name the secret that signs"), "{}", said(&nobody));
    assert!(!store.exists(), "making tokens and failing to start touch no store");
}
