//! Writes past every fold: the database itself refuses what is not money, and what no document of ours holds.

use super::*;
use crate::models::Table;
use diptych_core::{MONEY_CASES, MoneyFlaw, Timestamp, ValueType};
use diptych_query::{
    ColumnSpec, Contract, Governance, Mode, Schema, Sensitivity, Storage, Tenants, Upkeep, write_document,
};
use rusqlite::Connection;

const fn column(name: &'static str, value_type: ValueType) -> ColumnSpec {
    ColumnSpec {
        name,
        public: name,
        value_type,
        nullable: false,
        choices: &[],
        ranked: false,
        filter: true,
        sort: true,
        sensitivity: Sensitivity::Internal,
        facets: diptych_query::Facets::PLAIN,
        meaning: "",
    }
}

const ALL: &[ColumnSpec] = &[
    column("id", ValueType::Text),
    ColumnSpec { nullable: true, ..column("total", ValueType::Money) },
    column("paid", ValueType::Money),
    column("lines", ValueType::Json),
    column("count", ValueType::Integer),
    column("at", ValueType::Timestamp),
    column("open", ValueType::Bool),
    ColumnSpec { nullable: true, ..column("note", ValueType::Text) },
    column("mark", ValueType::Bytes),
];

const fn schema(storage: Storage) -> Schema {
    Schema {
        name: "sale",
        path: "",
        revision: 1,
        meaning: "",
        columns: ALL,
        key: &[0],
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
        storage,
        source: "",
        upkeep: Upkeep::DEFAULT,
        governance: Governance::NONE,
    }
}

static DOCUMENTS: Schema = schema(Storage::Document);
static COLUMNS: Schema = schema(Storage::Columns);

/// The members of a document that no case is about.
const MEMBERS: [(&str, &str); 9] = [
    ("id", r#""s1""#),
    ("total", "null"),
    ("paid", r#"{"amount":"1.50","currency":"GBP"}"#),
    ("lines", "[]"),
    ("count", "7"),
    ("at", r#""2026-07-07T09:00:00Z""#),
    ("open", "true"),
    ("note", "null"),
    ("mark", r#""00ff""#),
];

fn table(schema: &'static Schema) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    let table = Table::new(schema, "sale".to_owned()).unwrap();
    table.create(&connection).unwrap();
    let path = [MoneyStep::Each, MoneyStep::Member("unitPrice".to_owned())];
    let taxes = [MoneyStep::Each, MoneyStep::Member("taxes".to_owned()), MoneyStep::Any];
    for (number, path) in [&path[..], &taxes[..]].into_iter().enumerate() {
        for (_, trigger) in triggers("sale", schema, &schema.columns[3], path, number) {
            connection.execute_batch(&trigger).unwrap();
        }
    }
    connection
}

/// Writes a document with one member in place of the usual one, past every code of ours.
fn written(connection: &Connection, member: &str, text: &str) -> rusqlite::Result<()> {
    let members = MEMBERS.map(|(name, usual)| (name, if name == member { text } else { usual }));
    let lines = members[3].1;
    let mut members: Vec<_> = members.iter().map(|(name, text)| format!("\"{name}\":{text}")).collect();
    if MEMBERS.iter().all(|(name, _)| *name != member) {
        members.push(format!("\"{member}\":{text}"));
    }
    let document = format!("{{{}}}", members.join(","));
    connection.execute("DELETE FROM sale", [])?;
    let insert = "INSERT INTO sale (tenant_id, id, lines, mark, document, projection_position, row_hash) \
        VALUES ('main', 's1', ?1, x'00ff', ?2, 1, 1)";
    connection.execute(insert, (lines, &document)).map(|_| ())
}

#[track_caller]
fn check(connection: &Connection, member: &str, text: &str, taken: bool) {
    let done = written(connection, member, text);
    assert_eq!(done.is_ok(), taken, "`{member}`: {text}: {done:?}");
}

#[test]
fn a_money_member_of_a_document_takes_every_case_as_the_validator_does() {
    let connection = table(&DOCUMENTS);
    for (case, expected) in MONEY_CASES {
        for member in ["total", "paid"] {
            check(&connection, member, case, expected.is_ok());
            if let Ok(form) = expected {
                let columns = format!("SELECT {member}, {member}_currency FROM sale");
                let held: (i64, String) =
                    connection.query_row(&columns, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                let money = Money::from_thousandths(held.0, held.1.parse().unwrap()).unwrap();
                assert_eq!(money.to_string(), *form);
            }
        }
    }
    check(&connection, "total", "null", true);
    check(&connection, "paid", "null", false);
}

#[test]
fn money_inside_of_a_column_takes_every_case_as_the_validator_does() {
    for schema in [&DOCUMENTS, &COLUMNS] {
        let connection = table(schema);
        for (case, expected) in MONEY_CASES {
            for lines in [
                format!(r#"[{{"sku":"a"}},{{"sku":"b","unitPrice":{case}}}]"#),
                format!(r#"[{{"unitPrice":null,"taxes":{{"vat":{case}}}}}]"#),
            ] {
                let done = match schema.storage {
                    Storage::Document => written(&connection, "lines", &lines),
                    Storage::Columns => columns_written(&connection, "1500, 'GBP'", &lines),
                };
                assert_eq!(done.is_ok(), expected.is_ok(), "{lines}: {done:?}");
                let named = |error: rusqlite::Error| error.to_string().contains("sale_lines_money_check");
                assert!(done.map_or_else(named, |()| true), "{lines}");
            }
        }
    }
}

fn columns_written(connection: &Connection, paid: &str, lines: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sale", [])?;
    let insert = format!(
        "INSERT INTO sale (tenant_id, id, paid, paid_currency, lines, count, at, open, mark, \
         projection_position, row_hash) VALUES ('main', 's1', {paid}, ?1, 7, 0, 1, x'00', 1, 1)"
    );
    connection.execute(&insert, [lines]).map(|_| ())
}

#[test]
fn a_money_column_takes_no_amount_that_the_validator_refuses() {
    let connection = table(&COLUMNS);
    let insert =
        |amount: &str, currency: &str| columns_written(&connection, &format!("{amount}, {currency}"), "[]");
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
        let done = insert(&thousandths, &literal(currency));
        assert_eq!(done.is_ok(), expected.is_ok(), "{amount} {currency}: {done:?}");
    }
    for (amount, currency, taken) in [
        ("39980", "'GBP'", true),
        ("9007199254740991", "'BHD'", true),
        ("-9007199254740991", "'GBP'", true),
        ("9007199254740992", "'GBP'", false),
        ("-9007199254740992", "'GBP'", false),
        ("9223372036854775807", "'GBP'", false),
        ("39.98", "'GBP'", false),
        ("1000.1", "'GBP'", false),
        ("'39.98'", "'GBP'", false),
        ("39980", "'gbp'", false),
        ("39980", "'XYZ'", false),
        ("39980", "'P G'", false),
        ("39980", "'GBP EUR'", false),
        ("39980", "''", false),
        ("39980", "NULL", false),
        ("NULL", "'GBP'", false),
        ("x'27'", "'GBP'", false),
    ] {
        assert_eq!(insert(amount, currency).is_ok(), taken, "{amount} {currency}");
    }
    let half = connection.execute("UPDATE sale SET total = 5", []);
    assert!(half.is_err() || connection.changes() == 0, "half of money is none");
}

#[test]
fn a_document_holds_its_columns_in_their_forms_and_nothing_else() {
    let connection = table(&DOCUMENTS);
    for (member, text, taken) in [
        ("id", r#""s1""#, true),
        ("id", r#""s2""#, false),
        ("other", "1", false),
        ("count", "-9223372036854775808", true),
        ("count", "9223372036854775807", true),
        ("count", "9223372036854775808", false),
        ("count", "7.0", false),
        ("count", r#""7""#, false),
        ("count", "null", false),
        ("open", "false", true),
        ("open", "1", false),
        ("open", r#""true""#, false),
        ("note", r#""\u00e4""#, true),
        ("note", "5", false),
        ("mark", r#""00FF""#, true),
        ("mark", r#""00fe""#, false),
        ("mark", "255", false),
        ("lines", r#"[ { "b" : 1.0, "a": [] } ]"#, true),
        ("at", r#""2026-02-30T00:00:00Z""#, false),
        ("at", r#""2026-07-07T24:00:00Z""#, false),
        ("at", r#""2026-07-07T09:00:00+02:00""#, false),
        ("at", r#""2026-07-07T09:00:00.1234567Z""#, false),
        ("at", r#""2026-07-07 09:00:00Z""#, false),
        ("at", r#""2026-07-07""#, false),
        ("at", "1783414800000000", false),
        ("at", r#""-014712-01-01T00:00:00Z""#, false),
    ] {
        check(&connection, member, text, taken);
    }
    check(&connection, "count", "7", true);
    let other = connection.execute("UPDATE sale SET lines = '[1]'", []);
    assert!(other.is_err(), "lines beside another document");
}

#[test]
fn times_are_computed_to_the_microsecond() {
    let connection = table(&DOCUMENTS);
    for text in [
        "-004712-01-01T00:00:00Z",
        "-000001-12-31T23:59:59.999999Z",
        "0000-02-29T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00.000001Z",
        "2000-02-29T12:34:56.1Z",
        "9999-12-30T22:00:00Z",
    ] {
        check(&connection, "at", &format!("\"{text}\""), true);
        let at: i64 = connection.query_row("SELECT at FROM sale", [], |row| row.get(0)).unwrap();
        assert_eq!(at, text.parse::<Timestamp>().unwrap().as_micros(), "{text}");
    }
}

#[test]
fn what_we_write_is_what_a_person_expects() {
    use diptych_core::{Currency, Value};
    let money = Money::parse("39.98", Currency::GBP).unwrap();
    let values = [
        Value::Text("s\"1".to_owned()),
        Value::Null,
        Value::Money(money),
        Value::Json("[{\"sku\":\"a\"}]".to_owned()),
        Value::Integer(i64::MIN),
        Value::Timestamp("2026-07-07T09:00:00.5Z".parse().unwrap()),
        Value::Bool(true),
        Value::Text(String::new()),
        Value::Bytes(vec![0, 171]),
    ];
    let expected = concat!(
        r#"{"id":"s\"1","total":null,"paid":{"amount":"39.98","currency":"GBP"},"lines":[{"sku":"a"}],"#,
        r#""count":-9223372036854775808,"at":"2026-07-07T09:00:00.5Z","open":true,"note":"","mark":"00ab"}"#
    );
    assert_eq!(write_document(&DOCUMENTS, &values), expected);
}
