//! Pure promises of the right panel: questions in text, page tokens, shapes.

mod correction;
mod fold;
mod reference;
mod world;

use crate::page::{PageKey, Place, Question};
use crate::text::key_from_text;
use crate::{
    Ask, Breach, BuildId, ColumnSpec, Contract, Cursor, Direction, Governance, IndexSpec, Mode, Operator,
    QueryError, Schema, Sensitivity, Storage, Tenants, Upkeep,
};
use diptych_core::{Principal, Value, ValueType};
use std::time::Duration;

const fn column(name: &'static str, public: &'static str, value_type: ValueType) -> ColumnSpec {
    ColumnSpec {
        name,
        public,
        value_type,
        nullable: false,
        choices: &[],
        ranked: false,
        filter: true,
        sort: true,
        sensitivity: Sensitivity::Public,
        facets: crate::Facets::PLAIN,
        meaning: "",
    }
}

pub(crate) static SCHEMA: Schema = Schema {
    name: "order_summary",
    path: "",
    revision: 1,
    meaning: "",
    columns: &[
        column("order_id", "orderId", ValueType::Text),
        ColumnSpec {
            choices: &["PLACED", "CANCELLED"],
            sort: false,
            ..column("status", "status", ValueType::Text)
        },
        column("total", "total", ValueType::Money),
        column("placed_at", "placedAt", ValueType::Timestamp),
        ColumnSpec { filter: false, sort: false, ..column("lines", "lines", ValueType::Json) },
        column("line_count", "lineCount", ValueType::Integer),
    ],
    key: &[0],
    indexes: &[IndexSpec { columns: &[(1, Direction::Ascending)] }],
    default_sort: None,
    computed: &[],
    reads: &[],
    mode: Mode::Asynchronous,
    partitions: 1,
    contract: Contract::Bounded { within: Duration::from_secs(5), breach: Breach::Flag },
    tenants: Tenants::Own,
    about: "",
    pending: false,
    storage: Storage::Columns,
    source: "",
    upkeep: Upkeep::DEFAULT,
    governance: Governance::NONE,
};

fn ask(pairs: &[(&str, &str)]) -> Result<Ask, QueryError> {
    Ask::from_text(&SCHEMA, pairs.iter().copied())
}

#[track_caller]
fn refused(pairs: &[(&str, &str)], part: &str) {
    let error = ask(pairs).expect_err("the question must be refused").to_string();
    assert!(error.contains(part), "{error}");
}

const BUILD: BuildId = BuildId { revision: 2, generation: 1 };

#[test]
fn a_filter_named_twice_means_either_value() {
    let ask = ask(&[("status", "PLACED"), ("status", "CANCELLED"), ("lineCount.gte", "2")]).unwrap();
    assert_eq!(ask.conditions.len(), 2);
    assert_eq!(ask.conditions[0].values.len(), 2);
    assert_eq!(ask.conditions[1].operator, Operator::AtLeast);
    assert_eq!(ask.conditions[1].values, [Value::Integer(2)]);
}

#[test]
fn a_question_that_cannot_be_understood_says_what_can() {
    refused(&[("colour", "red")], "orderId, status, total, placedAt, lineCount");
    refused(&[("lines", "x")], "is not a filter");
    refused(&[("status", "LOST")], "one of: PLACED, CANCELLED");
    refused(&[("lineCount", "many")], "a whole number");
    refused(&[("placedAt.lt", "yesterday")], "2026-07-07T09:00:00Z");
    refused(&[("total.gt", "10")], "39.98 GBP");
    refused(&[("sort", "status")], "orderId, total, placedAt, lineCount");
    refused(&[("pageSize", "all")], "a number of rows");
    refused(&[("minPosition", "4711")], "committedPosition");
    refused(&[("orderId", "a\0")], "NUL");
}

#[test]
fn a_key_has_as_many_segments_as_columns() {
    assert_eq!(key_from_text(&SCHEMA, &["A-1"]).unwrap(), [Value::Text("A-1".to_owned())]);
    let error = key_from_text(&SCHEMA, &["A-1", "2"]).unwrap_err().to_string();
    assert!(error.contains("1 parts: orderId"), "{error}");
}

/// A page key, and the page token of a question under it.
fn issued(ask: &Ask, actor: &str) -> (PageKey, String) {
    let key = PageKey::new([7; 32], None);
    let principal = Principal::new("main", actor).unwrap();
    let question = Question { schema: &SCHEMA, principal: &principal, ask };
    let cursor = Cursor { sorted: Some(Value::Integer(3)), key: vec![Value::Text("A-1".to_owned())] };
    let token = key.issue(&question, &Place { build: BUILD, cursor, walked: 50 });
    (key, token)
}

fn read(key: &PageKey, ask: &Ask, actor: &str, token: &str) -> Result<Place, QueryError> {
    let principal = Principal::new("main", actor).unwrap();
    key.read(&Question { schema: &SCHEMA, principal: &principal, ask }, token)
}

#[test]
fn a_page_token_is_good_for_its_own_question_only() {
    let question = ask(&[("status", "PLACED"), ("sort", "lineCount")]).unwrap();
    let (key, token) = issued(&question, "ann");
    let Place { build, cursor, walked } = read(&key, &question, "ann", &token).unwrap();
    assert_eq!((build, cursor.sorted, walked), (BUILD, Some(Value::Integer(3)), 50));
    let other = ask(&[("status", "CANCELLED"), ("sort", "lineCount")]).unwrap();
    let wrong = read(&key, &other, "ann", &token).unwrap_err();
    assert!(matches!(wrong, QueryError::PageToken { reason: "belongs to another question" }));
    assert!(read(&key, &question, "bob", &token).is_err(), "another principal");
}

#[test]
fn a_changed_page_token_is_refused() {
    let question = ask(&[]).unwrap();
    let (key, token) = issued(&question, "ann");
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        // The last character of the encoding may hold unused bits; a changed token must never read
        // differently.
        if let Ok(read) = read(&key, &question, "ann", &changed) {
            assert_eq!(read, self::read(&key, &question, "ann", &token).unwrap());
        }
    }
    assert!(read(&PageKey::new([8; 32], None), &question, "ann", &token).is_err(), "another key");
    assert!(
        read(&PageKey::new([8; 32], Some([7; 32])), &question, "ann", &token).is_ok(),
        "the previous key"
    );
}

#[test]
fn another_shape_has_another_fingerprint() {
    assert_eq!(SCHEMA.shape(), SCHEMA.shape());
    let columns: &'static [ColumnSpec] =
        Box::leak(Box::new([column("order_id", "orderId", ValueType::Integer)]));
    let other = Schema {
        columns,
        key: &[0],
        indexes: &[],
        upkeep: Upkeep::DEFAULT,
        governance: Governance::NONE,
        computed: &[],
        reads: &[],
        ..SCHEMA_PARTS
    };
    assert_ne!(SCHEMA.shape(), other.shape());
}

#[test]
fn an_address_follows_from_the_name_unless_declared_and_is_no_part_of_the_shape() {
    let elsewhere = Schema { path: "orders-at-a-glance", ..SCHEMA_PARTS };
    assert_eq!(
        (SCHEMA_PARTS.segment().as_str(), elsewhere.segment().as_str()),
        ("order-summary", "orders-at-a-glance")
    );
    assert_eq!(elsewhere.shape(), SCHEMA_PARTS.shape(), "another address needs no other table");
}

const SCHEMA_PARTS: Schema = Schema {
    name: "order_summary",
    path: "",
    revision: 1,
    meaning: "",
    columns: &[],
    key: &[],
    indexes: &[],
    default_sort: None,
    computed: &[],
    reads: &[],
    mode: Mode::Asynchronous,
    partitions: 1,
    contract: Contract::Eventual,
    tenants: Tenants::Own,
    about: "",
    pending: false,
    storage: Storage::Columns,
    source: "",
    upkeep: Upkeep::DEFAULT,
    governance: Governance::NONE,
};
