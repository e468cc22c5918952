//! The text of generated SQL, and that it means what it says.

use super::*;
use diptych_core::{Currency, Money, Tenant};
use diptych_query::{
    Contract, Facets, Governance, IndexSpec, Mode, RowConditions, RowExpr, RowRule, Sensitivity, Storage,
    Tenants, Upkeep, Words,
};

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

static ORDER: Schema = Schema {
    name: "order_summary",
    revision: 1,
    meaning: "",
    columns: &[
        column("order_id", ValueType::Text),
        column("customer", ValueType::Text),
        column("total", ValueType::Money),
        column("placed_at", ValueType::Timestamp),
        ColumnSpec { nullable: true, ..column("due_at", ValueType::Timestamp) },
        ColumnSpec { choices: &["LOW", "HIGH"], ranked: true, ..column("risk", ValueType::Text) },
        column("open", ValueType::Bool),
    ],
    key: &[0],
    indexes: &[
        IndexSpec { columns: &[(1, Direction::Ascending), (3, Direction::Descending)] },
        IndexSpec { columns: &[(4, Direction::Ascending)] },
        IndexSpec { columns: &[(5, Direction::Descending)] },
    ],
    default_sort: None,
    computed: &[],
    path: "",
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

const COLUMNS: &str =
    r#""order_id", "customer", "total", "total_currency", "placed_at", "due_at", "risk", "open""#;
const RANK: &str = r#"CASE "risk" WHEN 'LOW' THEN 0 WHEN 'HIGH' THEN 1 END"#;

fn asked(conditions: Vec<Condition>, sort: Option<(usize, Direction)>, after: Option<Cursor>) -> RawFind {
    RawFind {
        rule: diptych_query::RowRule::All,
        words: diptych_query::Words::default(),
        tenant: Tenant::new("main").unwrap(),
        conditions,
        sort,
        after,
        rows_max: 20,
    }
}

fn equal(column: usize, value: Value) -> Condition {
    Condition { column, operator: Operator::Equal, values: vec![value] }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[track_caller]
fn check(find: &RawFind, expected: &[&str]) {
    let parts = super::find("order_summary", &ORDER, find).unwrap();
    let tails: Vec<_> = parts
        .iter()
        .map(|part| {
            let head = format!(r#"SELECT {COLUMNS} FROM "order_summary" WHERE "tenant_id" = ?"#);
            part.sql.strip_prefix(&head).expect("every query begins alike").to_owned()
        })
        .collect();
    assert_eq!(tails, expected);
    for part in &parts {
        assert_eq!(part.sql.matches('?').count(), part.parameters.len() + 1, "{}", part.sql);
    }
}

fn at(sorted: Option<Value>) -> Option<Cursor> {
    Some(Cursor { sorted, key: vec![text("o1")] })
}

#[test]
fn a_query_without_a_sort_goes_by_key() {
    check(&asked(vec![], None, None), &[r#" ORDER BY "order_id" LIMIT ?"#]);
    let expected = r#" AND "order_id" > ? ORDER BY "order_id" LIMIT ?"#;
    check(&asked(vec![], None, at(None)), &[expected]);
}

#[test]
fn a_descending_page_enters_the_index_at_its_place() {
    let find = asked(
        vec![equal(1, text("ann"))],
        Some((3, Direction::Descending)),
        at(Some(Value::Timestamp(diptych_core::Timestamp::EPOCH))),
    );
    let expected = concat!(
        r#" AND "customer" = ? AND "placed_at" <= ? AND ("placed_at" < ? OR "order_id" > ?)"#,
        r#" ORDER BY "placed_at" DESC, "order_id" LIMIT ?"#
    );
    check(&find, &[expected]);
}

#[test]
fn rows_without_a_value_are_a_part_of_their_own_and_come_last() {
    let with_values = r#" AND "due_at" IS NOT NULL ORDER BY "due_at" DESC, "order_id" LIMIT ?"#;
    let without = r#" AND "due_at" IS NULL ORDER BY "order_id" LIMIT ?"#;
    check(&asked(vec![], Some((4, Direction::Descending)), None), &[with_values, without]);
    let beyond = r#" AND "due_at" IS NULL AND "order_id" > ? ORDER BY "order_id" LIMIT ?"#;
    check(&asked(vec![], Some((4, Direction::Ascending)), at(Some(Value::Null))), &[beyond]);
}

#[test]
fn a_ranked_text_sorts_and_filters_by_its_rank() {
    let find = asked(vec![equal(5, text("HIGH"))], Some((5, Direction::Ascending)), None);
    let expected = format!(r#" AND {RANK} = ? ORDER BY {RANK}, "order_id" LIMIT ?"#);
    check(&find, &[&expected]);
    let parts = super::find("order_summary", &ORDER, &find).unwrap();
    assert_eq!(parts[0].parameters[1], Parameter::Integer(1));
}

#[test]
fn money_sorts_by_currency_then_amount() {
    let money = Money::from_thousandths(39_980, Currency::GBP).unwrap();
    let find = asked(vec![], Some((2, Direction::Ascending)), at(Some(Value::Money(money))));
    let expected = concat!(
        r#" AND ("total_currency", "total", "order_id") > (?, ?, ?)"#,
        r#" ORDER BY "total_currency", "total", "order_id" LIMIT ?"#
    );
    check(&find, &[expected]);
}

#[test]
fn no_value_fits_no_condition_and_several_values_are_a_list() {
    check(&asked(vec![equal(1, Value::Null)], None, None), &[r#" AND 0 ORDER BY "order_id" LIMIT ?"#]);
    let several = Condition {
        column: 1,
        operator: Operator::Equal,
        values: vec![text("ann"), Value::Null, text("bob")],
    };
    let expected = r#" AND "customer" IN (?, ?) ORDER BY "order_id" LIMIT ?"#;
    check(&asked(vec![several], None, None), &[expected]);
}

#[test]
fn the_declared_orders_need_no_sorting_step() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let table = crate::models::Table::new(&ORDER, "order_summary".to_owned()).unwrap();
    table.create(&connection).unwrap();
    let ann = || vec![equal(1, text("ann"))];
    let time = || at(Some(Value::Timestamp(diptych_core::Timestamp::EPOCH)));
    for (find, index) in [
        (asked(vec![], None, at(None)), "PRIMARY KEY"),
        (asked(ann(), Some((3, Direction::Descending)), None), "index_1"),
        (asked(ann(), Some((3, Direction::Descending)), time()), "index_1"),
        (asked(ann(), None, None), "index_1"),
        (asked(vec![equal(5, text("HIGH"))], None, None), "index_3"),
        (asked(vec![], Some((4, Direction::Ascending)), None), "index_2"),
        (asked(vec![], Some((4, Direction::Ascending)), time()), "index_2"),
        (asked(vec![], Some((4, Direction::Ascending)), at(Some(Value::Null))), "index_2"),
        (asked(vec![], Some((5, Direction::Descending)), None), "index_3"),
        (asked(vec![], Some((5, Direction::Descending)), at(Some(text("HIGH")))), "index_3"),
    ] {
        for (sql, plan) in plans(&connection, &ORDER, &find) {
            let sorted = find.sort.is_some() || index != "index_1";
            assert!(!sorted || !plan.contains("TEMP B-TREE"), "{plan}\n{sql}");
            assert!(plan.contains(index) && plan.contains("SEARCH"), "{plan}\n{sql}");
        }
    }
}

/// How SQLite goes about each part of a question: the part, and its plan.
fn plans(connection: &rusqlite::Connection, schema: &Schema, find: &RawFind) -> Vec<(String, String)> {
    let parts = super::find("order_summary", schema, find).unwrap();
    let plan = |part: Part| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", part.sql)).unwrap();
        let limit = std::iter::once(Parameter::Integer(20));
        let parameters = rusqlite::params_from_iter(part.parameters.into_iter().chain(limit));
        let plan: Vec<String> =
            statement.query_map(parameters, |row| row.get(3)).unwrap().collect::<Result<_, _>>().unwrap();
        (part.sql, plan.join("; "))
    };
    parts.into_iter().map(plan).collect()
}

fn ruled(permit: RowExpr) -> RawFind {
    let rule = RowRule::Where([RowConditions { permits: vec![permit], forbids: Vec::new() }].into());
    RawFind { rule, ..asked(vec![], None, None) }
}

#[test]
fn a_row_rule_on_an_indexed_column_is_answered_by_its_index() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let table = crate::models::Table::new(&ORDER, "order_summary".to_owned()).unwrap();
    table.create(&connection).unwrap();
    let text = |text: &str| RowExpr::Text(text.to_owned());
    let own = RowExpr::OneOf(Box::new(RowExpr::Cell(1)), vec![text("ann"), text("bob")]);
    let one = RowExpr::OneOf(Box::new(RowExpr::Cell(1)), vec![text("ann")]);
    let since = RowExpr::AtMost(Box::new(RowExpr::Integer(7)), Box::new(RowExpr::Cell(4)));
    let and = |left: &RowExpr, right: &RowExpr| RowExpr::And(left.clone().into(), right.clone().into());
    let open = RowExpr::Cell(6);
    let by_customer = "index_1 (tenant_id=? AND customer=?)";
    // For a range among rows in another order nobody knows whether its index is worth it.
    let by_due = Some((4, Direction::Ascending));
    for (permit, sort, index) in [
        (&own, None, by_customer),
        (&one, None, by_customer),
        (&and(&own, &open), None, by_customer),
        (&and(&open, &one), None, by_customer),
        (&one, Some((3, Direction::Descending)), by_customer),
        (&and(&RowExpr::Has(4), &since), by_due, "index_2 (tenant_id=? AND due_at>?)"),
    ] {
        let find = RawFind { sort, ..ruled(permit.clone()) };
        let (sql, plan) = plans(&connection, &ORDER, &find).swap_remove(0);
        assert!(plan.contains(index) && plan.contains("SEARCH"), "{permit:?}\n{plan}\n{sql}");
    }
    // What no index serves is looked at row by row, of the one tenant.
    for (sql, plan) in plans(&connection, &ORDER, &ruled(open)) {
        assert!(plan.contains("PRIMARY KEY (tenant_id=?)"), "{plan}\n{sql}");
    }
}

#[test]
fn words_are_found_by_their_index_and_rows_by_their_keys() {
    static SEARCHED: Schema = Schema {
        name: "order_summary",
        columns: &[
            column("order_id", ValueType::Text),
            ColumnSpec {
                facets: Facets { full_text: true, ..Facets::PLAIN },
                ..column("note", ValueType::Text)
            },
        ],
        ..copy()
    };
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let table = crate::models::Table::new(&SEARCHED, "order_summary".to_owned()).unwrap();
    table.create(&connection).unwrap();
    let words = Words::parse("unlicensed trad*").unwrap();
    for sort in [None, Some((1, Direction::Ascending))] {
        let find = RawFind { words: words.clone(), ..asked(vec![], sort, None) };
        for (sql, plan) in plans(&connection, &SEARCHED, &find) {
            assert!(plan.contains("order_summary_words VIRTUAL TABLE INDEX"), "{plan}\n{sql}");
            let by_key = "SEARCH order_summary USING PRIMARY KEY (tenant_id=? AND order_id=?)";
            assert!(plan.contains(by_key), "{plan}\n{sql}");
        }
    }
}

#[test]
fn a_table_is_typed_named_and_checked() {
    let sql = create_table("order_summary", &ORDER, false);
    assert!(sql.contains(r#""total" INTEGER NOT NULL,"#), "{sql}");
    assert!(sql.contains(r#""total_currency" TEXT NOT NULL,"#), "{sql}");
    assert!(sql.contains(r#""due_at" INTEGER,"#), "{sql}");
    assert!(
        sql.contains(r#"CONSTRAINT "order_summary_risk_check" CHECK ("risk" IN ('LOW', 'HIGH'))"#),
        "{sql}"
    );
    assert!(sql.contains(r#"CONSTRAINT "order_summary_open_check" CHECK ("open" IN (0, 1))"#), "{sql}");
    assert!(
        sql.ends_with(
            r#"PRIMARY KEY ("tenant_id", "order_id")
) STRICT, WITHOUT ROWID"#
        ),
        "{sql}"
    );
}

#[test]
fn a_name_that_the_table_needs_is_noticed() {
    static CLASH: Schema = Schema {
        columns: &[column("id", ValueType::Text), column("row_hash", ValueType::Integer)],
        indexes: &[],
        ..copy()
    };
    assert_eq!(clashing_column(&CLASH), Some(r#""row_hash""#.to_owned()));
    assert_eq!(clashing_column(&ORDER), None);
}

const fn copy() -> Schema {
    Schema {
        name: "clash",
        revision: 1,
        meaning: "",
        columns: &[],
        key: &[0],
        indexes: &[],
        default_sort: None,
        computed: &[],
        path: "",
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
    }
}

#[test]
fn names_are_quoted_whatever_they_hold() {
    assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
    assert_eq!(literal("it's"), "'it''s'");
}
