//! What leaves a machine is encrypted, and nobody but the database that is meant is talked to. Each refusal
//! says what to do, and none says the password.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by their functions only")]

mod common;

use common::own_server::OwnServer;
use common::{Hands, deposit};
use diptych_core::{Code, Fault, Position};
use diptych_postgres::{Notify, PostgresOptions, PostgresStore};
use diptych_query::Feed;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::NoTls;

/// How long anything may take before the test says that it hangs.
const HANG: std::time::Duration = std::time::Duration::from_secs(60);

/// Every connection that the store holds, by whether it is encrypted.
const CONNECTIONS: &str = "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
    WHERE application_name = 'diptych' GROUP BY ssl";

/// The options of a store on a server, with a password in the URL that nobody may see.
fn options(url: &str, host: &str, parameters: &str, trusted: Option<&Path>) -> PostgresOptions {
    let (_, rest) = url.rsplit_once('@').unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    let url = format!("postgres://diptych:sekret@{host}:{port}/postgres?{parameters}");
    let mut options = PostgresOptions::at(url, Arc::new(Hands::new()));
    options.root_certificates = trusted.map(Path::to_owned);
    options
}

async fn refused(options: PostgresOptions) -> Fault {
    let fault = PostgresStore::open(options).await.err().unwrap();
    for text in [fault.to_string(), format!("{fault:?}")] {
        assert!(!text.contains("sekret"), "{text}");
    }
    fault
}

#[track_caller]
fn check(fault: &Fault, advice: &str) {
    assert!(fault.message().contains(advice), "{fault}");
    assert_eq!((fault.code(), fault.is_transient()), (Code::Storage, false), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_is_encrypted_and_nobody_else_is_talked_to() {
    let server = OwnServer::with_certificate_for("here");
    let (trusted, stranger) = (&*server.authorities[0], &*server.authorities[1]);
    let open = |host, parameters: &str| options(&server.url, host, parameters, Some(trusted));
    // By name and by address, by the words of this program and of others.
    for (host, parameters) in [
        ("localhost", "sslmode=require".to_owned()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("localhost", format!("sslmode=verify-full&sslrootcert={}", trusted.display())),
    ] {
        let mut options = open(host, &parameters);
        if parameters.contains("sslrootcert") {
            options.root_certificates = None;
        }
        let store = PostgresStore::open(options).await.unwrap();
        let head = store.head().await.unwrap().position().0;
        deposit(&store, &format!("c{head}"), "a", head).await.unwrap();
        assert_eq!(store.head().await.unwrap().position(), Position(head + 1));
        let (watching, connection) = tokio_postgres::connect(&server.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        // One that appends, one that reads, and one that listens, which connects in its own time.
        let since = std::time::Instant::now();
        loop {
            let rows = watching.query(CONNECTIONS, &[]).await.unwrap();
            let encrypted: Vec<(bool, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            assert!(matches!(encrypted[..], [(true, _)]), "{host} {parameters}: {encrypted:?}");
            if encrypted[0].1 >= 3 {
                break;
            }
            assert!(since.elapsed() < HANG, "{host} {parameters}: only {encrypted:?}");
        }
        store.close().await;
        // The listener's is the last to go.
        while !watching.query(CONNECTIONS, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    let other = options(&server.url, "localhost", "sslmode=require", Some(stranger));
    check(&refused(other).await, "`sslrootcert`");
    // Nobody's file: what the system trusts, which does not know this authority either.
    let system = options(&server.url, "localhost", "sslmode=require", None);
    check(&refused(system).await, "`sslrootcert`");
    // Leads to the same server under a name that its certificate does not have.
    let renamed = open("db.example", "hostaddr=127.0.0.1");
    check(&refused(renamed).await, "the certificate is not for `db.example`");
    // Every way to the database is checked, not only the first.
    let mut beside = open("localhost", "sslmode=require");
    beside.notify = Notify::At(options(&server.url, "db.example", "hostaddr=127.0.0.1", None).url);
    check(&refused(beside).await, "the certificate is not for `db.example`");
    let mut reading = open("localhost", "sslmode=require");
    reading.reader_url = Some(options(&server.url, "db.example", "hostaddr=127.0.0.1", None).url);
    check(&refused(reading).await, "the certificate is not for `db.example`");
}

#[tokio::test]
async fn the_certificate_of_another_host_is_refused() {
    let server = OwnServer::with_certificate_for("elsewhere");
    let trusted = Some(&*server.authorities[0]);
    let fault = refused(options(&server.url, "localhost", "sslmode=require", trusted)).await;
    check(&fault, "the certificate is not for `localhost`");
    // It is a good one for whom it was made for.
    let meant = options(&server.url, "elsewhere.example", "hostaddr=127.0.0.1", trusted);
    PostgresStore::open(meant).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = std::env::var("DIPTYCH_POSTGRES_URL")
        .unwrap_or_else(|_| panic!("DIPTYCH_POSTGRES_URL names no server: run `cargo xtask test`"));
    for parameters in ["sslmode=require", "sslmode=verify-full"] {
        let fault = refused(options(&server, "127.0.0.1", parameters, None)).await;
        check(&fault, "`127.0.0.1` offers no TLS");
        assert!(fault.message().contains("`sslmode=disable`"), "{fault}");
    }
    // It is required of every host that is not this machine, without a word.
    let fault = refused(options(&server, "db.example", "hostaddr=127.0.0.1", None)).await;
    check(&fault, "`db.example` offers no TLS");
}

#[tokio::test]
async fn a_file_that_holds_no_certificates_is_refused_by_its_name() {
    let missing = options("postgres://x@h:1/d", "h", "sslrootcert=/no/such/file.pem", None);
    let fault = refused(missing).await;
    assert_eq!(fault.code(), Code::ServiceInvalid);
    assert!(fault.message().contains("`/no/such/file.pem`"), "{fault}");
    let empty = format!("sslrootcert={}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let fault = refused(options("postgres://x@h:1/d", "h", &empty, None)).await;
    assert_eq!(fault.code(), Code::ServiceInvalid);
    assert!(fault.message().contains("Cargo.toml` holds no certificate"), "{fault}");
}
