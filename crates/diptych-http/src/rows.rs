//! Rows and their freshness as JSON, written straight from a store's values: no document is built in between.

use crate::json::Object;
use diptych_core::Value;
use diptych_query::{ColumnSpec, Freshness, Health, RawRow, Schema, Withheld};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// About as many bytes as everything but the rows takes.
const ENVELOPE_BYTES: usize = 320;

/// About as many bytes as a column takes, with its name.
const COLUMN_BYTES: usize = 48;

/// The answer to a question for one row.
#[derive(serde::Serialize)]
pub(crate) struct RowBody<'a> {
    pub(crate) item: Item<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<&'a [Object]>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub(crate) withheld: &'a [&'static str],
    pub(crate) freshness: &'a Freshness,
    pub(crate) health: &'a Health,
}

/// The answer to a question for a page of rows.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageBody<'a> {
    pub(crate) items: Vec<Item<'a>>,
    /// What is under way for the rows, where the model tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<&'a [Object]>,
    /// The columns that are without a value in some row because the caller may not see it.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub(crate) withheld: &'a [&'static str],
    pub(crate) page: PageMember<'a>,
    pub(crate) freshness: &'a Freshness,
    pub(crate) health: &'a Health,
}

/// Where the next page begins.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageMember<'a> {
    pub(crate) next_page_token: Option<&'a str>,
}

/// A row under its public names: stored columns, then computed ones. What is withheld has no value, or is
/// left out, as its column declares.
pub(crate) struct Item<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) row: &'a RawRow,
}

/// The text of an answer with `rows` rows of a model.
pub(crate) fn text(body: &impl Serialize, schema: &Schema, rows: usize) -> Vec<u8> {
    let columns = schema.columns.len() + schema.computed.len();
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + rows * columns * COLUMN_BYTES);
    serde_json::to_writer(&mut out, body).expect("keys are texts and no value here can fail to serialize");
    out
}

/// The columns that are masked in any of these rows, by their public names, in the order of the
/// declaration. A column that is left out instead is not named: that it exists is not told.
pub(crate) fn withheld<'a>(schema: &Schema, rows: impl IntoIterator<Item = &'a RawRow>) -> Vec<&'static str> {
    let mut masked: Vec<usize> = rows.into_iter().flat_map(|row| row.withheld.iter().copied()).collect();
    masked.sort_unstable();
    masked.dedup();
    let named = |index: usize| match schema.columns.get(index) {
        Some(column) if column.facets.withheld == Withheld::Absent => None,
        Some(column) => Some(column.public),
        None => schema.computed.get(index - schema.columns.len()).map(|column| column.public),
    };
    masked.into_iter().filter_map(named).collect()
}

impl Item<'_> {
    fn leaves_out(&self, index: usize) -> bool {
        let absent = |column: &ColumnSpec| column.facets.withheld == Withheld::Absent;
        self.row.withheld.contains(&index) && self.schema.columns.get(index).is_some_and(absent)
    }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = self.schema.columns.iter().map(|column| column.public);
        let computed = self.schema.computed.iter().map(|column| column.public);
        let mut map = serializer.serialize_map(None)?;
        for (index, (name, value)) in stored.chain(computed).zip(&self.row.values).enumerate() {
            if !self.leaves_out(index) {
                map.serialize_entry(name, &Column(value))?;
            }
        }
        map.end()
    }
}

/// A value in its form on the wire, which is [`Value::to_json`] with stored JSON kept byte for byte.
struct Column<'a>(&'a Value);

impl Serialize for Column<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Timestamp(time) => time.serialize(serializer),
            Value::Money(money) => money.serialize(serializer),
            Value::Bytes(_) => self.0.to_json().serialize(serializer),
            // A text that is not JSON is shown as a text, rather than not at all.
            Value::Json(text) => match serde_json::from_str::<&RawValue>(text) {
                Ok(raw) => raw.serialize(serializer),
                Err(_) => serializer.serialize_str(text),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::schema;
    use diptych_core::{Currency, Money, Position};
    use serde_json::json;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        assert_eq!(serde_json::to_string(&Column(&value)).unwrap(), expected);
    }

    #[test]
    fn every_type_of_value_has_its_form() {
        let money = Money::from_thousandths(39_980, Currency::GBP).unwrap();
        check(Value::Null, "null");
        check(Value::Integer(-7), "-7");
        check(Value::Bool(true), "true");
        check(Value::Text("a\"ä".to_owned()), r#""a\"ä""#);
        check(Value::Timestamp("2026-07-07T09:00:00.5Z".parse().unwrap()), r#""2026-07-07T09:00:00.5Z""#);
        check(Value::Money(money), r#"{"amount":"39.98","currency":"GBP"}"#);
        check(Value::Bytes(vec![0, 171]), r#""00ab""#);
        check(Value::Json(r#"{"z": 1.50,  "a":2}"#.to_owned()), r#"{"z": 1.50,  "a":2}"#);
        check(Value::Json("{".to_owned()), r#""{""#);
    }

    #[test]
    fn every_form_is_that_of_the_value_itself() {
        let time = "2026-07-07T09:00:00Z".parse().unwrap();
        for value in [Value::Null, Value::Integer(1), Value::Timestamp(time), Value::Bytes(vec![1])] {
            assert_eq!(serde_json::to_value(Column(&value)).unwrap(), value.to_json());
        }
    }

    #[test]
    fn columns_stand_under_their_public_names_in_order() {
        let values = vec![Value::Text("a/b".to_owned()), Value::Text("one".to_owned()), Value::Integer(3)];
        let row = RawRow { values, withheld: Vec::new() };
        let item = Item { schema: schema("rows"), row: &row };
        let text = String::from_utf8(text(&item, item.schema, 1)).unwrap();
        assert_eq!(text, r#"{"noteId":"a/b","text":"one","textBytes":3}"#);
    }

    #[test]
    fn a_stopped_model_says_where_and_why() {
        let health = Health::Stopped { position: Position(7), reason: "broken".to_owned() };
        let golden = r#"{"state":"stopped","position":7,"reason":"broken"}"#;
        assert_eq!(serde_json::to_string(&health).unwrap(), golden);
        let live = serde_json::to_value(Health::Live).unwrap();
        assert_eq!(live, json!({"state": "live"}));
    }
}
