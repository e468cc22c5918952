//! Read models: the declaration, the rows, the typed columns.

use super::*;

/// One order as its customer sees it.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(
    name = "order_summary",
    revision = 2,
    owner = "sales",
    contract = "bounded 500ms refuse",
    default_sort = "placed_at desc",
    purpose = "customers follow their orders",
    journey = "my orders",
    freshness_target = "99% within 3s over 30d",
    runbook = "docs/runbook.md"
)]
#[index(customer, placed_at desc)]
#[index(status, total)]
#[computed(days_open: Option<i64> = Self::days_open)]
pub(crate) struct OrderSummary {
    /// Which order.
    #[key]
    order: OrderId,
    #[filter]
    #[sensitivity(personal)]
    customer: CustomerId,
    #[filter]
    status: Status,
    #[filter]
    risk: Option<Risk>,
    #[filter]
    #[column(name = "assigned_team_id", public = "teamId")]
    team: Option<String>,
    total: Money,
    #[sort]
    placed_at: Timestamp,
    #[json]
    lines: Vec<Line>,
    #[json]
    counts: Option<BTreeMap<String, i64>>,
}

impl OrderSummary {
    fn days_open(&self, now: Timestamp) -> Option<i64> {
        (self.status != Status::Cancelled).then(|| now.seconds_since(self.placed_at) as i64 / 86_400)
    }
}

/// Revenue by country and day.
#[derive(Clone, Debug, PartialEq, ReadModel)]
#[read_model(name = "sales", path = "revenue", revision = 1, owner = "finance", on_demand, tenants = all)]
struct Sales {
    #[key]
    #[filter]
    country: String,
    #[key]
    day: String,
    orders: i64,
}

fn summary() -> OrderSummary {
    OrderSummary {
        order: "42".into(),
        customer: "ann".into(),
        status: Status::Placed,
        risk: Some(Risk::High),
        team: None,
        total: Money::parse("39.98", Currency::GBP).expect("an amount"),
        placed_at: Timestamp::EPOCH,
        lines: vec![Line { unit_price: None, ..line() }],
        counts: None,
    }
}

#[test]
fn a_read_model_declares_its_promises() {
    let schema: &Schema = OrderSummary::SCHEMA;
    assert_eq!((schema.name, schema.revision), ("order_summary", 2));
    assert_eq!((schema.path, schema.segment().as_str()), ("", "order-summary"));
    assert_eq!((Sales::SCHEMA.path, Sales::SCHEMA.segment().as_str()), ("revenue", "revenue"));
    assert_eq!(schema.meaning, "One order as its customer sees it.");
    let bounded = Contract::Bounded { within: Duration::from_millis(500), breach: Breach::Refuse };
    assert_eq!((schema.mode, schema.contract, schema.tenants), (Mode::Asynchronous, bounded, Tenants::Own));
    assert_eq!(schema.default_sort, Some((6, Direction::Descending)));
    let governance = &schema.governance;
    assert_eq!((governance.owner, governance.runbook), ("sales", "docs/runbook.md"));
    assert_eq!((governance.journey, governance.correctness_target), ("my orders", "none tolerated"));
    assert_eq!((Sales::SCHEMA.mode, Sales::SCHEMA.tenants), (Mode::OnDemand, Tenants::All));
    assert_eq!((Sales::SCHEMA.contract, Sales::SCHEMA.default_sort), (Contract::Eventual, None));
}

#[test]
fn a_read_model_declares_its_columns() {
    let schema: &Schema = OrderSummary::SCHEMA;
    let columns = schema.columns.iter().map(|column| {
        let can = format!("{}{}", if column.filter { "f" } else { "" }, if column.sort { "s" } else { "" });
        (column.name, column.public, column.value_type, column.nullable, can)
    });
    let expected = [
        ("order", "order", ValueType::Text, false, "fs"),
        ("customer", "customer", ValueType::Text, false, "f"),
        ("status", "status", ValueType::Text, false, "f"),
        ("risk", "risk", ValueType::Text, true, "f"),
        ("assigned_team_id", "teamId", ValueType::Text, true, "f"),
        ("total", "total", ValueType::Money, false, ""),
        ("placed_at", "placedAt", ValueType::Timestamp, false, "s"),
        ("lines", "lines", ValueType::Json, false, ""),
        ("counts", "counts", ValueType::Json, false, ""),
    ];
    let expected =
        expected.map(|(sql, public, kind, nullable, can)| (sql, public, kind, nullable, can.to_owned()));
    assert_eq!(columns.collect::<Vec<_>>(), expected);
    assert_eq!(schema.columns[0].meaning, "Which order.");
    assert_eq!(schema.columns[1].sensitivity, Sensitivity::Personal);
    assert_eq!(schema.columns[2].choices, Status::NAMES);
    assert!(schema.columns[3].ranked && !schema.columns[2].ranked);
    let computed = &schema.computed[0];
    assert_eq!(
        (computed.public, computed.value_type, computed.nullable),
        ("daysOpen", ValueType::Integer, true)
    );
}

#[test]
fn every_filter_has_an_index_that_begins_with_it() {
    let indexes =
        |schema: &'static Schema| -> Vec<_> { schema.indexes.iter().map(|index| index.columns).collect() };
    let (up, down) = (Direction::Ascending, Direction::Descending);
    let expected: [&[_]; 4] = [&[(1, up), (6, down)], &[(2, up), (5, up)], &[(3, up)], &[(4, up)]];
    assert_eq!(indexes(OrderSummary::SCHEMA), expected);
    assert!(indexes(Sales::SCHEMA).is_empty(), "the key begins with the filter");
}

#[test]
fn rows_and_keys_come_back_as_they_went() {
    let row = summary();
    let values = row.to_row();
    assert_eq!(values[0], Value::Text("42".into()));
    assert_eq!(values[4], Value::Null);
    assert_eq!(values[7], Value::Json(r#"[{"productId":"P1","quantity":2,"tags":[]}]"#.into()));
    assert_eq!(values[8], Value::Json("null".into()));
    assert_eq!(OrderSummary::from_row(&values).unwrap(), row);
    assert_eq!(row.clone().into_row(), values);
    assert_eq!(OrderSummary::key_values(&row.key()), [Value::Text("42".into())]);
    assert_eq!(OrderSummary::key_from_values(&values[..1]).unwrap(), row.key());
    assert_eq!(row.computed(Timestamp::EPOCH.plus(Duration::from_secs(200_000))), [Value::Integer(2)]);

    let sales = Sales { country: "UK".into(), day: "2010-12-01".into(), orders: 3 };
    let key: (String, String) = sales.key();
    assert_eq!(Sales::key_from_values(&Sales::key_values(&key)).unwrap(), key);
    assert_eq!(Sales::SCHEMA.key, [0, 1]);
    assert_eq!(Sales::from_row(&sales.to_row()).unwrap(), sales);
}

#[test]
fn a_row_of_another_shape_is_refused_by_column() {
    let error = |values: &[Value]| OrderSummary::from_row(values).unwrap_err().to_string();
    let mut values = summary().to_row();
    values[2] = Value::Text("SOLD".into());
    assert!(error(&values).starts_with("`order_summary.status` does not fit"), "{}", error(&values));
    values[2] = Value::Text("PLACED".into());
    values[7] = Value::Json("{".into());
    assert!(error(&values).starts_with("`order_summary.lines` does not fit"), "{}", error(&values));
    assert!(error(&values[..3]).contains("another number of values"));
    assert!(OrderSummary::key_from_values(&[]).is_err());
}

#[test]
fn columns_are_typed_constants() {
    let find = OrderSummary::find()
        .filter(OrderSummary::CUSTOMER.eq("ann").and(OrderSummary::STATUS.one_of([Status::Placed])))
        .filter(OrderSummary::TEAM.eq("TEAM-7").and(OrderSummary::RISK.at_least(Risk::Medium)))
        .sort(OrderSummary::PLACED_AT.desc());
    assert_ne!(find, OrderSummary::find());
    assert_eq!(OrderSummary::ORDER.index(), 0);
    assert_eq!(OrderSummary::TEAM.index(), 4);
    assert_eq!(Sales::DAY.index(), 1);
}

#[test]
fn structured_columns_are_described() {
    let mut generator = schemars::SchemaGenerator::default();
    let lines = serde_json::to_value(OrderSummary::json_schema(7, &mut generator)).unwrap();
    assert_eq!(lines["items"]["$ref"], "#/$defs/Line");
    assert!(OrderSummary::json_schema(0, &mut generator).is_none());
    assert!(Sales::json_schema(0, &mut generator).is_none());
}
