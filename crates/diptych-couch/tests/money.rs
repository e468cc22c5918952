//! The server itself refuses what is no money in a money field, whoever writes past the store: the one list
//! of cases that all stores are held against.

mod harness;

use diptych_conformance::Harness;
use diptych_conformance::fixtures::{Priced, Sample, group};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_keeps_nothing_but_money_where_a_schema_says_money_inside_of_a_column() {
    let server = Server::shared();
    let harness = CouchHarness::at(&server.address("inside_"), "inside");
    let stores = harness.open(Vec::new()).await.expect("the store opens");
    let priced = group::<Priced>(&harness);
    stores.models.attach(&priced).await.expect("the group is attached");
    let table = priced.models()[0].schema().name;
    let mut number = 0;
    let mut put = |version: &str| {
        number += 1;
        let path = format!("/inside_{}_r{}_g1/{number}", priced.name(), priced.revision());
        let now = ask(server.port(), "PUT", &path, &format!(r#"{{"table":"{table}",{version}}}"#));
        let before = format!(r#"{{"table":"{table}","row":null,"before":{{{version}}}}}"#);
        let before = ask(server.port(), "PUT", &format!("{path}_before"), &before);
        let kept = now.contains("\"ok\":true");
        assert_eq!(kept, before.contains("\"ok\":true"), "{version}: {now} {before}");
        assert!(kept || now.contains("is not money"), "{version}: {now}");
        (kept, now)
    };
    // A number that no server keeps: then the column stands in its row as text.
    let large = "9007199254740993";
    let (mut taken, mut refused) = (0, 0);
    for (case, expected) in MONEY_CASES {
        for (field, lines) in [
            ("lines[].unitPrice", format!(r#"[{{"sku":"a"}},{{"sku":"b","unitPrice":{case}}}]"#)),
            ("lines[].taxes.vat", format!(r#"[{{"unitPrice":null,"taxes":{{"vat":{case}}}}}]"#)),
            ("lines[].unitPrice", format!(r#"[{{"sku":{large},"unitPrice":{case}}}]"#)),
        ] {
            let text = serde_json::Value::from(lines.as_str()).to_string();
            let held = if lines.contains(large) { &text } else { &lines };
            let (kept, told) = put(&format!(r#""row":{{"lines":{held}}},"texts":{{"lines":{text}}}"#));
            assert_eq!(kept, expected.is_ok(), "{lines}: {told}");
            assert!(kept || told.contains(&format!("`{field}` is not money")), "{lines}: {told}");
            if kept { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 3 && refused > 30, "{taken} taken, {refused} refused");
    // The rest is none of its business, as it is none of the validator's.
    for lines in ["null", "1.5", r#""none""#, r#"{"unitPrice":1}"#, r#"[{"note":{"unitPrice":1}},[]]"#] {
        let (kept, told) = put(&format!(r#""row":{{"lines":{lines}}}"#));
        assert!(kept, "{lines}: {told}");
    }
    // What is no JSON stands beside the row, too, and so may a text that only looks like lines.
    for text in [r#""[{""#, r#""none""#] {
        let (kept, told) = put(&format!(r#""row":{{"lines":{text}}},"texts":{{"lines":{text}}}"#));
        assert!(kept, "{text}: {told}");
    }
    let looks = r#""[{\"unitPrice\":1}]""#;
    assert!(put(&format!(r#""row":{{"lines":{looks}}},"texts":{{"lines":"\"other\""}}"#)).0);
}
