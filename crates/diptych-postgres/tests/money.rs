//! Writes past every fold: the database itself refuses what is not money, and what no document of ours holds.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use common::Place;
use diptych_conformance::fixtures::{Priced, Sample};
use diptych_core::{MONEY_CASES, Money, MoneyFlaw};
use diptych_query::{AnyModel, Group, ModelStore, Schema, Storage, erase};
use std::sync::Arc;
use tokio_postgres::Client;

/// A table of a model in a form, and a connection beside its store.
struct Table {
    client: Client,
    name: String,
    _place: Place,
}

async fn table<M: diptych_query::Projection>(storage: Storage) -> Table {
    let place = Place::new().await;
    let store = place.open().await;
    let schema = Schema { storage, ..*M::SCHEMA };
    let model: Arc<dyn AnyModel> = diptych_conformance::fixtures::redeclared(erase::<M>(), schema);
    store.attach(&Arc::new(Group::of_one(model))).await.unwrap();
    let name = format!("diptych.{}_r1_g1", M::SCHEMA.name);
    Table { client: place.connect().await, name, _place: place }
}

/// The code of what PostgreSQL says to a statement, and the constraint or column that it names.
async fn said(client: &Client, sql: &str) -> Result<(), (String, String)> {
    client.batch_execute(sql).await.map_err(|error| {
        let said = error.as_db_error().unwrap();
        let named = said.constraint().or(said.column()).unwrap_or_default().to_owned();
        (said.code().code().to_owned(), named)
    })
}

impl Table {
    async fn document(&self, total: &str, discount: &str, lines: &str) -> Result<(), (String, String)> {
        let document = format!(r#"{{"name":"s1","total":{total},"discount":{discount},"lines":{lines}}}"#);
        let sql = format!(
            "DELETE FROM {name}; INSERT INTO {name} (tenant_id, name, lines, document, projection_position, \
             row_hash) VALUES ('main', 's1', '{lines}', '{document}', 1, 1)",
            name = self.name
        );
        said(&self.client, &sql).await
    }

    async fn columns(&self, total: &str, lines: &str) -> Result<(), (String, String)> {
        let sql = format!(
            "DELETE FROM {name}; INSERT INTO {name} (tenant_id, name, total, total_currency, lines, \
             projection_position, row_hash) VALUES ('main', 's1', {total}, '{lines}', 1, 1)",
            name = self.name
        );
        said(&self.client, &sql).await
    }
}

const ONE: &str = r#"{"amount":"1.50","currency":"GBP"}"#;

#[tokio::test]
async fn a_money_member_of_a_document_takes_every_case_as_the_validator_does() {
    let table = table::<Priced>(Storage::Document).await;
    for (case, expected) in MONEY_CASES {
        let done = [table.document(case, "null", "[]").await, table.document(ONE, case, "[]").await];
        for (column, done) in ["total", "discount"].into_iter().zip(done) {
            assert_eq!(done.is_ok(), expected.is_ok(), "{column}: {case}: {done:?}");
            // A constraint or, where the amount cannot be computed, the column that must have one.
            if let Err((code, named)) = done {
                let guard = code == "23514" && named.starts_with(&format!("priced_{column}_money_check"));
                let missing = code == "23502" && named.starts_with(column);
                assert!(guard || missing, "{column}: {case}: {code} {named}");
            }
        }
        if let Ok(form) = expected {
            table.document(case, case, "[]").await.unwrap();
            for column in ["total", "discount"] {
                let sql = format!("SELECT {column}, {column}_currency FROM {}", table.name);
                let row = table.client.query_one(&sql, &[]).await.unwrap();
                let currency = row.get::<_, &str>(1).parse().unwrap();
                assert_eq!(Money::from_thousandths(row.get(0), currency).unwrap().to_string(), *form);
            }
        }
    }
    assert!(table.document("null", "null", "[]").await.is_err(), "a total there must be");
}

#[tokio::test]
async fn money_inside_of_a_column_takes_every_case_as_the_validator_does() {
    let (documents, columns) =
        (table::<Priced>(Storage::Document).await, table::<Priced>(Storage::Columns).await);
    for (case, expected) in MONEY_CASES {
        // An array of one is taken for its element by the paths of SQL/JSON; the fold's validator sees it.
        if case.starts_with("[{") {
            continue;
        }
        for lines in [
            format!(r#"[{{"sku":"a"}},{{"sku":"b","unitPrice":{case}}}]"#),
            format!(r#"[{{"unitPrice":null,"taxes":{{"vat":{case}}}}}]"#),
        ] {
            let done =
                [documents.document(ONE, "null", &lines).await, columns.columns("1500, 'GBP'", &lines).await];
            for done in done {
                assert_eq!(done.is_ok(), expected.is_ok(), "{lines}: {done:?}");
                if let Err((code, named)) = done {
                    assert_eq!(code, "23514", "{lines}: {named}");
                    assert!(named.starts_with("priced_lines_money_check_"), "{lines}: {named}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_money_column_takes_no_amount_that_the_validator_refuses() {
    let table = table::<Priced>(Storage::Columns).await;
    for (case, expected) in MONEY_CASES {
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        let (Some(amount), Some(currency)) = (case["amount"].as_str(), case["currency"].as_str()) else {
            continue;
        };
        let thousandths = match expected {
            Ok(_) => Money::parse(amount, currency.parse().unwrap()).unwrap().thousandths().to_string(),
            Err(MoneyFlaw::Currency) => "1000".to_owned(),
            Err(MoneyFlaw::Range) => format!("{amount} * 1000"),
            Err(_) => continue,
        };
        let done = table.columns(&format!("{thousandths}, '{currency}'"), "[]").await;
        assert_eq!(done.is_ok(), expected.is_ok(), "{amount} {currency}: {done:?}");
    }
    for (money, taken) in [
        ("9007199254740991, 'BHD'", true),
        ("-9007199254740991, 'GBP'", true),
        ("9007199254740992, 'GBP'", false),
        ("-9223372036854775808, 'GBP'", false),
        ("39980, 'gbp'", false),
        ("39980, 'GBP '", false),
        ("39980, NULL", false),
        ("NULL, 'GBP'", false),
    ] {
        assert_eq!(table.columns(money, "[]").await.is_ok(), taken, "{money}");
    }
    let half = format!("UPDATE {} SET discount = 5", table.name);
    table.columns("5, 'GBP'", "[]").await.unwrap();
    assert!(said(&table.client, &half).await.is_err(), "half of money is none");
}

#[tokio::test]
async fn a_document_holds_its_columns_in_their_forms_and_nothing_else() {
    let table = table::<Sample>(Storage::Document).await;
    let usual = [
        ("name", r#""s1""#),
        ("number", "7"),
        ("flag", "true"),
        ("word", r#""""#),
        ("at", r#""2026-07-07T09:00:00Z""#),
        ("price", ONE),
        ("blob", r#""00ff""#),
        ("structure", "[1]"),
        ("kind", r#""PLAIN""#),
        ("level", r#""LOW""#),
    ];
    for (member, text, taken) in [
        ("name", r#""s1""#, true),
        ("name", r#""s2""#, false),
        ("other", "1", false),
        ("number", "-9223372036854775808", true),
        ("number", "9223372036854775807", true),
        ("number", "9223372036854775808", false),
        ("number", "7.5", false),
        ("number", r#""7""#, false),
        ("number", "null", false),
        ("flag", "false", true),
        ("flag", r#""true""#, false),
        ("flag", "1", false),
        ("word", r#""\u00e4""#, true),
        ("word", "5", false),
        ("level", r#""HIGHEST""#, false),
        ("blob", r#""00FF""#, true),
        ("blob", r#""00fe""#, false),
        ("structure", "[ 1 ]", true),
        ("structure", "[2]", false),
        ("maybe_number", "8", true),
        ("maybe_number", "null", true),
        ("at", r#""2026-02-30T00:00:00Z""#, false),
        ("at", r#""2026-07-07T24:00:00Z""#, false),
        ("at", r#""2026-07-07T09:00:00+02:00""#, false),
        ("at", r#""2026-07-07T09:00:00.1234567Z""#, false),
        ("at", r#""2026-07-07 09:00:00Z""#, false),
        ("at", r#""2026-07-07""#, false),
        ("at", "1783414800000000", false),
        ("at", r#""-014712-01-01T00:00:00Z""#, false),
    ] {
        let mut members: Vec<_> =
            usual.iter().map(|(name, usual)| (*name, if *name == member { text } else { usual })).collect();
        if usual.iter().all(|(name, _)| *name != member) {
            members.push((member, text));
        }
        let members: Vec<_> = members.iter().map(|(name, text)| format!("\"{name}\":{text}")).collect();
        let sql = format!(
            "DELETE FROM {name}; INSERT INTO {name} (tenant_id, name, blob, structure, document, \
             projection_position, row_hash) VALUES ('main', 's1', '\\x00ff', '[1]', '{{{members}}}', 1, 1)",
            name = table.name,
            members = members.join(",")
        );
        let done = said(&table.client, &sql).await;
        assert_eq!(done.is_ok(), taken, "`{member}`: {text}: {done:?}");
    }
}
