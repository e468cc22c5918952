//! Rows put together, refused and told apart.

use super::*;
use diptych_core::{DecodeError, EncodeError, EventType};

#[derive(Clone, PartialEq, Debug)]
struct Restocked(u32);

impl Event for Restocked {
    const CATEGORY: &'static str = "product";
    const OWNER: &'static str = "shop";
    const TYPES: &'static [EventType] = &[EventType { name: "Restocked", version: 2, meaning: "" }];

    fn event_type(&self) -> EventType {
        Self::TYPES[0]
    }

    fn encode(&self) -> Result<String, EncodeError> {
        Ok(self.0.to_string())
    }

    fn decode(name: &str, version: u32, payload: &str) -> Result<Option<Self>, DecodeError> {
        match (name, version) {
            ("Discontinued", _) => Ok(None),
            ("Restocked", 1 | 2) => payload
                .parse()
                .map(|quantity| Some(Self(quantity)))
                .map_err(|error| DecodeError::malformed(name, &error)),
            _ => Err(DecodeError::unknown_type(name)),
        }
    }

    fn schemas(_: &mut schemars::SchemaGenerator) -> Vec<schemars::Schema> {
        Vec::new()
    }
}

fn row(id: u64) -> OutboxRow {
    OutboxRow {
        id: SourcePosition(id),
        tenant: "main".to_owned(),
        actor: "ann".to_owned(),
        category: "product".to_owned(),
        key: "p1".to_owned(),
        event: "Restocked".to_owned(),
        schema_version: 2,
        payload: id.to_string(),
        command: "RestockProduct".to_owned(),
        command_id: Some("c1".to_owned()),
        correlation: None,
        causation: None,
        occurred_at: Timestamp::EPOCH,
    }
}

fn languages() -> Languages {
    let mut languages = Languages::default();
    languages.add::<Restocked>();
    languages
}

#[track_caller]
fn check(rows: &[OutboxRow], expected: &[&[u64]], bad: Option<(u64, &str)>) {
    let (made, refused) = arrivals(rows, &languages());
    let entries: Vec<Vec<u64>> =
        made.iter().map(|arrival| arrival.events.iter().map(|(entry, _)| entry.0).collect()).collect();
    assert_eq!(entries, expected);
    match (refused, bad) {
        (None, None) => {}
        (Some(refused), Some((id, reason))) => {
            assert_eq!(refused.id.0, id);
            assert!(refused.reason.contains(reason), "{}", refused.reason);
        }
        (refused, _) => panic!("{refused:?}"),
    }
}

#[test]
fn rows_of_one_change_arrive_together() {
    let other = OutboxRow { command_id: Some("c2".to_owned()), ..row(3) };
    check(&[row(1), row(2), other.clone(), row(4)], &[&[1, 2], &[3], &[4]], None);
    let elsewhere = OutboxRow { key: "p2".to_owned(), ..row(2) };
    check(&[row(1), elsewhere], &[&[1], &[2]], None);
    let unnamed = |id| OutboxRow { command_id: None, ..row(id) };
    check(&[unnamed(1), unnamed(2)], &[&[1], &[2]], None);
}

#[test]
fn everything_before_a_bad_row_arrives() {
    let bad = |change: fn(&mut OutboxRow)| {
        let mut row = row(2);
        change(&mut row);
        row
    };
    let cases: [(OutboxRow, &str); 6] = [
        (bad(|row| row.category = "order".to_owned()), "`order`"),
        (bad(|row| row.event = "Renamed".to_owned()), "`Renamed`"),
        (bad(|row| row.event = "Discontinued".to_owned()), "retired"),
        (bad(|row| row.payload = "many".to_owned()), "Restocked"),
        (bad(|row| row.key = String::new()), "empty"),
        (bad(|row| row.tenant = "x".repeat(201)), "200"),
    ];
    for (bad, reason) in cases {
        check(&[row(1), bad, row(3)], &[&[1]], Some((2, reason)));
    }
}

#[test]
fn the_bytes_of_an_older_version_stay_as_they_are() {
    let old = OutboxRow { schema_version: 1, payload: "007".to_owned(), ..row(1) };
    let (made, _) = arrivals(&[old], &languages());
    let bytes = NewEvent::new("Restocked", 1, "007".to_owned());
    assert_eq!(made[0].events, [(SourcePosition(1), bytes)]);
}

#[test]
fn a_print_tells_rows_apart() {
    assert_eq!(row(1).print(), row(1).print());
    assert_ne!(row(1).print(), row(2).print());
    assert_ne!(row(1).print(), OutboxRow { occurred_at: Timestamp::from_stored(1), ..row(1) }.print());
}

#[test]
fn facts_that_cannot_be_stored_are_refused() {
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    struct ProductId(String);
    impl diptych_core::Portable for ProductId {
        const TYPE: diptych_core::ValueType = diptych_core::ValueType::Text;
        fn to_value(&self) -> diptych_core::Value {
            diptych_core::Value::Text(self.0.clone())
        }
        fn from_value(_: &diptych_core::Value) -> Result<Self, DecodeError> {
            Err(DecodeError::unknown_type("id"))
        }
    }
    impl Id for ProductId {
        fn from_key(key: &str) -> Self {
            Self(key.to_owned())
        }
        fn as_str(&self) -> &str {
            &self.0
        }
    }
    let ann = Principal::new("main", "ann").unwrap();
    let id = ProductId("p1".to_owned());
    let rows = Facts::by(&ann).of(&id, [Restocked(1), Restocked(2)]).command("RestockProduct").into_rows();
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].command_id, rows[1].command_id);
    let none = Facts::by(&ann).of(&ProductId(String::new()), [Restocked(1)]).into_rows();
    assert!(none.unwrap_err().to_string().contains("DP0052"));
}
