//! Who is answered: callers that prove who they are, those that do not, and those that only say it.

use super::*;
use crate::{MetricsAccess, Wire};
use diptych_core::{
    Anybody, Authenticate, Authenticated, Credentials, Everybody, Principal, Timestamp, Unauthenticated,
};

/// Knows whoever brings the name of a principal as a token, until a moment after the tests take place.
struct Named;

impl Authenticate for Named {
    fn authenticate(&self, given: Credentials<'_>, _: Timestamp) -> Result<Authenticated, Unauthenticated> {
        let name = given.bearer.ok_or_else(|| Unauthenticated::missing("the request brings no token"))?;
        let principal = Principal::from_text(name)
            .map_err(|_| Unauthenticated::refused("the token \"ran out\" at `noon` \\ gestern früh"))?;
        Ok(Authenticated { principal, until: None })
    }
}

fn served(change: impl FnOnce(&mut Wire)) -> Client {
    let (mut wire, store) = testing::wire();
    change(&mut wire);
    Client { router: crate::router(wire).unwrap(), store }
}

/// A service whose callers have to prove who they are.
fn proven() -> Client {
    served(|wire| {
        wire.authenticate = Arc::new(Named);
        wire.hosts = Hosts::Any;
    })
}

/// Who gave the commands that came to their end.
fn givers(client: &Client) -> Vec<String> {
    let records = client.store.records();
    records.iter().map(|record| format!("{}/{}", record.header.stream.tenant, record.header.actor)).collect()
}

const ANN: (&str, &str) = ("authorization", "Bearer main/ann");

#[tokio::test]
async fn only_what_says_nothing_of_anybody_is_open() {
    let client = proven();
    for path in [
        "/health/live",
        "/health/ready",
        "/docs",
        "/docs/docs.js",
        "/docs/docs.css",
        "/openapi.json",
        "/problems/DP0062",
    ] {
        assert_eq!(client.get(path, &[]).await.status, 200, "{path}");
        assert_eq!(client.send(Method::HEAD, path, &[], "").await.status, 200, "{path}");
    }
    for path in [
        "/",
        "/metrics",
        "/notes/1",
        "/note-list",
        "/note_list",
        "/note-list/1",
        "/commands/1",
        "/audit",
        "/commands/1/events",
        "/commands/1/tree",
        "/nothing",
        "/health",
        "/docs/../audit",
        "/Docs",
        "//docs",
        "/docs%2f..%2faudit",
        "/problems",
        "/openapi.json/",
    ] {
        let problem = client.get(path, &[]).await.is_problem(401, "DP0062");
        assert_eq!(problem["detail"], "the request brings no token", "{path}");
    }
}

#[tokio::test]
async fn every_method_wants_a_token_where_one_is_wanted() {
    let client = proven();
    for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "STRANGE"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for path in ["/notes/1", "/notes/1/write", "/commands", "/metrics", "/nothing"] {
            let reply = client.send(method.clone(), path, &[], "").await;
            assert_eq!(reply.status, 401, "{method} {path}");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    assert!(client.store.records().is_empty());
    assert_eq!(client.post("/notes/1/write", &[ANN], r#"{"text":"a"}"#).await.status, 201);
    assert_eq!(client.get("/notes/1", &[ANN]).await.status, 200);
    assert_eq!(client.get("/nothing", &[ANN]).await.status, 404);
    assert_eq!(client.get("/metrics", &[ANN]).await.status, 200);
}

#[tokio::test]
async fn a_refused_token_is_answered_as_its_standard_says() {
    let reply = proven().get("/notes/1", &[("authorization", "bearer nobody")]).await;
    let challenge = reply.header("www-authenticate");
    let described =
        "Bearer error=\"invalid_token\", error_description=\"the token 'ran out' at 'noon' ? gestern fr?h\"";
    assert_eq!(challenge, described);
    let problem = reply.is_problem(401, "DP0062");
    assert_eq!(problem["detail"], "the token \"ran out\" at `noon` \\ gestern früh");
    assert!(reply.header("cache-control") != "public");
}

#[tokio::test]
async fn credentials_of_another_kind_are_none() {
    let client = proven();
    for given in ["Basic YW5uOmFubg==", "main/ann", "Bearer", "BearerX main/ann", ""] {
        let reply = client.get("/notes/1", &[("authorization", given)]).await;
        reply.is_problem(401, "DP0062");
    }
    let twice = [ANN, ("authorization", "Bearer main/bob")];
    let problem = client.get("/notes/1", &twice).await.is_problem(401, "DP0062");
    assert_eq!(problem["detail"], "`authorization` is given more than once");
    // Tokens in addresses end in logs.
    client.get("/notes/1?access_token=main/ann", &[]).await.is_problem(401, "DP0062");
}

#[tokio::test]
async fn every_caller_acts_for_itself_and_its_tenant() {
    let client = proven();
    let write = |who: &'static str, text: &'static str| {
        let (client, body) = (&client, json!({ "text": text }).to_string());
        async move { client.post("/notes/1/write", &[("authorization", who)], &body).await.status }
    };
    assert_eq!(write("Bearer north/ann", "north's").await, 201);
    assert_eq!(write("Bearer south/bob", "south's").await, 201);
    assert_eq!(givers(&client), ["north/ann", "south/bob"]);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_with_or_without_a_token() {
    let client = proven();
    for headers in [&[ANN, ("origin", "https://example.org")][..], &[("sec-fetch-site", "cross-site")]] {
        let reply = client.post("/notes/1/write", headers, r#"{"text":"a"}"#).await;
        reply.is_problem(403, "DP0008");
    }
    let reply = client.get("/notes/1", &[("host", "orders.example.org")]).await;
    reply.is_problem(401, "DP0062");
}

#[tokio::test]
async fn metrics_are_open_only_where_that_is_said() {
    assert_eq!(proven().get("/metrics", &[]).await.status, 401);
    let open = served(|wire| {
        wire.authenticate = Arc::new(Named);
        wire.metrics_access = MetricsAccess::Open;
    });
    assert_eq!(open.get("/metrics", &[]).await.status, 200);
    assert_eq!(open.get("/", &[]).await.status, 401);
}

#[tokio::test]
async fn a_claimed_principal_is_never_believed_where_proof_is_wanted() {
    let client = proven();
    let claimed = ("development-principal", "main/bob");
    for headers in [&[claimed][..], &[claimed, ANN]] {
        let problem = client.get("/notes/1", headers).await.is_problem(401, "DP0062");
        let said = "`development-principal` is for development on one machine, and callers have to prove";
        assert_eq!(problem["detail"], format!("{said} who they are here"));
    }
}

#[tokio::test]
async fn in_development_a_caller_may_choose_whom_it_is_taken_for_where_that_is_said() {
    let everybody = served(|_| ());
    let claimed = ("development-principal", "south/bob;teams=a;clearance=2");
    let problem = everybody.get("/notes/1", &[claimed]).await.is_problem(401, "DP0062");
    assert_eq!(problem["detail"], "the service takes everybody for the same principal");
    let anybody = served(|wire| {
        wire.authenticate = Arc::new(Anybody(Principal::new("main", "local").unwrap()));
    });
    let body = r#"{"text":"a"}"#;
    assert_eq!(anybody.post("/notes/1/write", &[claimed], body).await.status, 201);
    assert_eq!(anybody.post("/notes/1/write", &[], body).await.status, 201);
    assert_eq!(givers(&anybody), ["south/bob", "main/local"]);
    for wrong in ["bob", "south/bob;team=a", "/bob", "south/bob;clearance=high"] {
        let reply = anybody.get("/notes/1", &[("development-principal", wrong)]).await;
        reply.is_problem(401, "DP0062");
    }
    for proxy in ["forwarded", "via", "x-forwarded-for", "x-real-ip"] {
        let problem = anybody.get("/notes/1", &[claimed, (proxy, "a")]).await.is_problem(401, "DP0062");
        assert!(problem["detail"].as_str().unwrap().ends_with("and a proxy sent it on"), "{problem}");
    }
    anybody.get("/notes/1", &[claimed, ("host", "example.org")]).await.is_problem(403, "DP0008");
}

#[tokio::test]
async fn the_interface_says_which_operations_want_a_token() {
    let described = proven().get("/openapi.json", &[]).await.json();
    assert_eq!(described["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(described["security"], json!([{ "bearer": [] }]));
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(_, it)| it.is_object()) {
            let open = operation["security"] == json!([]);
            assert_ne!(open, operation["responses"]["401"].is_object(), "{method} {path}");
        }
    }
    let without =
        served(|wire| wire.authenticate = Arc::new(Everybody(Principal::new("main", "ann").unwrap())));
    let described = without.get("/openapi.json", &[]).await.json();
    assert!(described.get("security").is_none() && described["components"].get("securitySchemes").is_none());
}
