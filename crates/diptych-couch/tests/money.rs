//! The server itself refuses what is no money in a money field, whoever writes past the store: the one list
//! of cases that all stores are held against.

mod harness;

use diptych_conformance::Harness;
use diptych_conformance::fixtures::{Sample, group};
use diptych_core::MONEY_CASES;
use harness::{CouchHarness, Server};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Asks the server without the store, and answers what it says.
fn ask(port: u16, method: &str, path: &str, body: &str) -> String {
    let mut server = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let length = body.len();
    write!(
        server,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .expect("it takes a request");
    let mut told = String::new();
    server.read_to_string(&mut told).expect("it answers");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_keeps_nothing_but_money_in_a_money_field() {
    let server = Server::shared();
    let harness = CouchHarness::at(&server.address("guarded_"), "guarded");
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    let sample = group::<Sample>(&harness);
    stores.models.attach(&sample).await.expect("the group is attached");
    let schema = sample.models()[0].schema();
    let field = schema.columns.iter().find(|column| column.value_type == diptych_core::ValueType::Money);
    let (table, field) = (schema.name, field.expect("a money field").public);
    let put = |number: usize, place: &str, json: &str| {
        let row = format!("{{\"{field}\":{json}}}");
        let held = if place == "row" { row } else { format!("null,\"before\":{{\"row\":{row}}}") };
        let document = format!("{{\"table\":\"{table}\",\"row\":{held}}}");
        let path = format!("/guarded_{}_r{}_g1/{place}{number}", sample.name(), sample.revision());
        ask(server.port(), "PUT", &path, &document)
    };
    let (mut taken, mut refused) = (0, 0);
    for (number, (json, expected)) in MONEY_CASES.iter().enumerate() {
        for place in ["row", "before"] {
            let told = put(number, place, json);
            let kept = told.contains("\"ok\":true");
            assert!(kept || told.contains("is not money"), "{json}: {told}");
            assert_eq!(kept, expected.is_ok(), "`{json}` in {place}: {told}");
            if kept { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 1 && refused > 10, "{taken} taken, {refused} refused");
}
