//! Keys that are held back, as rows. The caller owns the transaction and has locked the checkpoint that
//! covers them.

use super::attach::Attached;
use super::checkpoint::Place;
use super::rows::{Typed, position_at, time_at};
use crate::fault::{OrFault, damaged};
use crate::shared::Schema;
use crate::time::Stamp;
use diptych_core::{Currency, Fault, Money, Position, Tenant, Timestamp, Value, ValueType};
use diptych_query::{Fold, Group, Parked, RowRef};
use serde_json::{Value as Json, json};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

const SELECT: &str = "SELECT model, tenant, key, position, event, reason, parked_at FROM diptych.parked \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 ORDER BY position, model, tenant, key";
const INSERT: &str = "INSERT INTO diptych.parked \
    (group_name, revision, generation, model, tenant, key, position, event, reason, parked_at) \
    SELECT $1, $2, $3, model, tenant, key, position, event, reason, parked_at \
    FROM unnest($4, $5, $6, $7, $8, $9, $10) \
        AS given (model, tenant, key, position, event, reason, parked_at) \
    ON CONFLICT DO NOTHING";
const DELETE: &str = "DELETE FROM diptych.parked \
    WHERE group_name = $1 AND revision = $2 AND generation = $3 \
    AND (model, tenant, key) IN (SELECT * FROM unnest($4, $5, $6))";
const CLEAR: &str = "DELETE FROM diptych.parked WHERE group_name = $1 AND revision = $2 AND generation = $3";

/// Keys that are held back: the index of their table, the row, and the fact from which on.
pub(crate) type HeldBack = Vec<(usize, RowRef, Position)>;

/// The keys of a build that are held back, in order of position.
pub(crate) async fn parked(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
) -> Result<Vec<Parked>, Fault> {
    let rows = client.query_typed(&schema.sql(SELECT), &attached.place.build()).await.or_fault()?;
    let read = |row: &Row| {
        let (model, tenant): (String, String) = (row.try_get(0).or_fault()?, row.try_get(1).or_fault()?);
        let table = attached.tables.iter().find(|table| table.schema.name == model);
        let key = table.and_then(|table| read_key(table.schema, row.try_get(2).ok()?));
        let key = key.ok_or_else(|| damaged(format!("a parked key of `{model}` cannot be read")))?;
        Ok(Parked {
            model,
            row: RowRef { tenant: Tenant::from_stored(tenant), key },
            position: position_at(row, 3)?,
            event: row.try_get(4).or_fault()?,
            reason: row.try_get(5).or_fault()?,
            parked_at: time_at(row, 6)?,
        })
    };
    rows.iter().map(read).collect()
}

/// What a fold has to pass over; nothing is asked of a group that never parks.
pub(crate) async fn held_back(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
    group: &Group,
) -> Result<HeldBack, Fault> {
    if !group.may_park() {
        return Ok(Vec::new());
    }
    let index = |parked: &Parked| attached.tables.iter().position(|table| table.schema.name == parked.model);
    let parked = parked(client, schema, attached).await?;
    Ok(parked.into_iter().filter_map(|held| Some((index(&held)?, held.row, held.position))).collect())
}

/// Holds keys back in a fold, when everything is planned and before it runs.
pub(crate) fn hold(fold: &mut Fold, attached: &Attached, held_back: &HeldBack) {
    for index in 0..attached.tables.len() {
        let own = held_back.iter().filter(|(table, ..)| *table == index);
        let rows: Vec<_> = own.map(|(_, row, position)| (row.clone(), *position)).collect();
        if !rows.is_empty() {
            fold.hold(index, rows);
        }
    }
}

/// Holds keys back from now on, but for those that are held back already.
pub(crate) async fn insert(
    client: &Client,
    schema: &Schema,
    place: Place,
    parked: &[Parked],
) -> Result<(), Fault> {
    // A text of PostgreSQL's holds no NUL, and a panic's message may.
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    let models: Vec<_> = parked.iter().map(|parked| parked.model.as_str()).collect();
    let (tenants, keys) = cells(parked.iter().map(|parked| &parked.row));
    let positions: Vec<_> = parked.iter().map(|parked| parked.position.0.cast_signed()).collect();
    let events: Vec<_> = parked.iter().map(|parked| text(&parked.event)).collect();
    let reasons: Vec<_> = parked.iter().map(|parked| text(&parked.reason)).collect();
    let times: Vec<_> = parked.iter().map(|parked| Stamp(parked.parked_at)).collect();
    let [group, revision, generation] = place.build();
    let row: [Typed<'_>; 10] = [
        group,
        revision,
        generation,
        (&models, Type::TEXT_ARRAY),
        (&tenants, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&positions, Type::INT8_ARRAY),
        (&events, Type::TEXT_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
    ];
    client.execute_typed(&schema.sql(INSERT), &row).await.or_fault()?;
    Ok(())
}

/// Holds keys back no longer.
pub(crate) async fn heal(
    client: &Client,
    schema: &Schema,
    attached: &Attached,
    healed: &[(usize, RowRef)],
) -> Result<(), Fault> {
    let named = |(table, row): &'_ (usize, RowRef)| {
        attached.tables.get(*table).map(|table| (table.schema.name, row.clone()))
    };
    let (models, rows): (Vec<_>, Vec<_>) = healed.iter().filter_map(named).unzip();
    let (tenants, keys) = cells(rows.iter());
    let [group, revision, generation] = attached.place.build();
    let row: [Typed<'_>; 6] = [
        group,
        revision,
        generation,
        (&models, Type::TEXT_ARRAY),
        (&tenants, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
    ];
    client.execute_typed(&schema.sql(DELETE), &row).await.or_fault()?;
    Ok(())
}

/// Forgets every key of a build.
pub(crate) async fn clear(client: &Client, schema: &Schema, place: Place) -> Result<(), Fault> {
    client.execute_typed(&schema.sql(CLEAR), &place.build()).await.or_fault()?;
    Ok(())
}

fn cells<'a>(rows: impl Iterator<Item = &'a RowRef>) -> (Vec<&'a str>, Vec<String>) {
    rows.map(|row| (row.tenant.as_str(), written_key(&row.key))).unzip()
}

/// A key as the column keeps it: one text for one key, which it is found by.
fn written_key(key: &[Value]) -> String {
    let value = |value: &Value| match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Bool(flag) => json!(flag),
        Value::Text(text) | Value::Json(text) => json!(text),
        Value::Timestamp(time) => json!(time.as_micros()),
        Value::Money(money) => json!([money.thousandths(), money.currency().as_str()]),
        Value::Bytes(bytes) => json!(bytes),
    };
    Json::Array(key.iter().map(value).collect()).to_string()
}

/// Reads a key back by the types of its columns.
fn read_key(schema: &diptych_query::Schema, text: &str) -> Option<Vec<Value>> {
    let values: Vec<Json> = serde_json::from_str(text).ok()?;
    let columns = schema.key.iter().zip(&values);
    let key: Option<Vec<_>> =
        columns.map(|(column, value)| read_value(schema.columns[*column].value_type, value)).collect();
    key.filter(|_| values.len() == schema.key.len())
}

fn read_value(value_type: ValueType, value: &Json) -> Option<Value> {
    let text = || value.as_str().map(str::to_owned);
    Some(match value_type {
        _ if value.is_null() => Value::Null,
        ValueType::Integer => Value::Integer(value.as_i64()?),
        ValueType::Bool => Value::Bool(value.as_bool()?),
        ValueType::Text => Value::Text(text()?),
        ValueType::Json => Value::Json(text()?),
        ValueType::Timestamp => Value::Timestamp(Timestamp::from_stored(value.as_i64()?)),
        ValueType::Money => {
            let currency: Currency = value.get(1)?.as_str()?.parse().ok()?;
            Value::Money(Money::from_thousandths(value.get(0)?.as_i64()?, currency).ok()?)
        }
        ValueType::Bytes => {
            let byte = |byte: &Json| u8::try_from(byte.as_u64()?).ok();
            Value::Bytes(value.as_array()?.iter().map(byte).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::sql::tests::ORDER;

    #[track_caller]
    fn check(value: Value, written: &str) {
        let value_type = value.value_type().unwrap_or(ValueType::Text);
        assert_eq!(written_key(std::slice::from_ref(&value)), written);
        let read: Vec<Json> = serde_json::from_str(written).unwrap();
        assert_eq!(read_value(value_type, &read[0]), Some(value));
    }

    /// Stored: these texts never change.
    #[test]
    fn keys_of_every_type_are_written_and_read_back() {
        check(Value::Integer(i64::MIN), "[-9223372036854775808]");
        check(Value::Bool(true), "[true]");
        check(Value::Text("a\"\0".to_owned()), r#"["a\"\u0000"]"#);
        check(Value::Json("{}".to_owned()), r#"["{}"]"#);
        check(Value::Timestamp(Timestamp::from_stored(7)), "[7]");
        check(Value::Money(Money::from_thousandths(-1_500, Currency::GBP).unwrap()), r#"[[-1500,"GBP"]]"#);
        check(Value::Bytes(vec![0, 255]), "[[0,255]]");
        check(Value::Null, "[null]");
    }

    #[test]
    fn a_key_of_another_length_or_type_is_not_read() {
        let key = vec![Value::Text("o1".to_owned())];
        assert_eq!(read_key(&ORDER, &written_key(&key)), Some(key));
        for text in ["[]", r#"["o1","o2"]"#, "[1]", "{}"] {
            assert_eq!(read_key(&ORDER, text), None, "{text}");
        }
    }
}
