//! The document of a row: what people and other programs read in it, and the exact row in it and before it.
//! Talks to no server.

use crate::index::Ways;
use crate::order::{form, id_of};
use crate::part::{Part, Standing, canonical, read_canonical};
use diptych_core::{Code, Currency, Fault, Money, Position, Tenant, Timestamp, Value, ValueType};
use diptych_query::{ColumnSpec, RowRef, Schema, StoredRow};
use serde_json::{Map, Value as Json, json};

/// What a value that JSON cannot say exactly stands under, in its canonical form.
const EXACT: &str = "exact";

/// The largest whole number that every reader of JSON takes for what it is (RFC 8259, section 6).
const PORTABLE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// A row as one batch left it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Version {
    /// Its columns; none for a tombstone.
    pub(crate) values: Option<Vec<Value>>,
    pub(crate) guard: u64,
    pub(crate) hash: u64,
    /// Where the batch ended.
    pub(crate) position: u64,
    pub(crate) batch: u64,
}

/// A row's document.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) rev: Option<String>,
    pub(crate) row: RowRef,
    /// The number of its partition.
    pub(crate) part: u8,
    /// Up to which batch nothing counted when it was written.
    pub(crate) floor: u64,
    pub(crate) now: Version,
    /// As the row stood before the batch that is in `now`.
    pub(crate) before: Option<Version>,
}

/// What a document says to whoever has read its partition.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Told<'a> {
    /// The row, or its tombstone.
    Version(&'a Version),
    /// There is no row.
    Nothing,
    /// More than one batch has passed since: what stood there is gone.
    Passed,
}

impl Document {
    /// What stood here where a partition stands.
    pub(crate) fn at(&self, part: &Part) -> Told<'_> {
        if self.floor > part.floor {
            return Told::Passed;
        }
        match part.standing(self.now.batch) {
            Standing::Counts => Told::Version(&self.now),
            Standing::Undone => Told::Nothing,
            Standing::Open => match &self.before {
                None => Told::Nothing,
                Some(before) => match part.standing(before.batch) {
                    Standing::Counts => Told::Version(before),
                    Standing::Undone => Told::Nothing,
                    Standing::Open => Told::Passed,
                },
            },
        }
    }

    /// A version of it as a store hands it over.
    pub(crate) fn stored(&self, version: &Version) -> StoredRow {
        let Version { values, guard, hash, .. } = version;
        StoredRow { row: self.row.clone(), values: values.clone(), guard: Position(*guard), hash: *hash }
    }

    /// The JSON that a server keeps, with what its index has of it.
    pub(crate) fn to_json(&self, schema: &Schema, indexed: &[Ways], build: &str) -> Json {
        let own = |value: &Value, column: usize| to_json(&schema.columns[column], value);
        let key = self.row.key.iter().zip(schema.key).map(|(value, column)| own(value, *column));
        let mut document = json!({
            "_id": self.id,
            "table": schema.name,
            "tenant": self.row.tenant.as_str(),
            "key": key.collect::<Vec<_>>(),
            "build": build,
            "part": self.part,
            "floor": self.floor,
            "before": self.before.as_ref().map(|before| before.to_json(schema, indexed)),
        });
        if let Some(rev) = &self.rev {
            document["_rev"] = rev.as_str().into();
        }
        let now = self.now.to_json(schema, indexed);
        if let (Json::Object(document), Json::Object(now)) = (&mut document, now) {
            document.extend(now);
        }
        document
    }

    /// Reads what a server keeps.
    pub(crate) fn read(table: usize, schema: &Schema, json: &Json) -> Result<Self, Fault> {
        let damaged = || {
            let id = json["_id"].as_str().unwrap_or("-");
            Fault::permanent(Code::Storage, format!("document `{id}` of `{}` cannot be read", schema.name))
        };
        let read = || {
            let keys = json["key"].as_array()?.iter().zip(schema.key);
            let key = keys.map(|(json, column)| from_json(&schema.columns[*column], json, None));
            let tenant = Tenant::from_stored(json["tenant"].as_str()?);
            let row = RowRef { tenant, key: key.collect::<Option<Vec<_>>>()? };
            let before = match &json["before"] {
                Json::Null => None,
                before => Some(Version::read(schema, before)?),
            };
            Some(Self {
                id: id_of(table, &row),
                rev: Some(json["_rev"].as_str()?.to_owned()),
                row,
                part: u8::try_from(json["part"].as_u64()?).ok()?,
                floor: json["floor"].as_u64()?,
                now: Version::read(schema, json)?,
                before,
            })
        };
        let document = read().ok_or_else(damaged)?;
        if json["_id"].as_str() == Some(&document.id) { Ok(document) } else { Err(damaged()) }
    }
}

impl Version {
    fn to_json(&self, schema: &Schema, indexed: &[Ways]) -> Json {
        let (mut row, mut texts, mut order) = (Json::Null, Map::new(), Map::new());
        if let Some(values) = &self.values {
            let mut columns = Map::new();
            for (column, value) in schema.columns.iter().zip(values) {
                columns.insert(column.public.to_owned(), to_json(column, value));
                if let (Value::Json(text), true) = (value, column.value_type == ValueType::Json) {
                    texts.insert(column.public.to_owned(), text.as_str().into());
                }
            }
            row = Json::Object(columns);
            let told = schema.columns.iter().zip(values).zip(indexed);
            let told = told.filter(|(_, ways)| **ways != Ways::None);
            order = told
                .map(|((column, value), _)| (column.name.to_owned(), form(column, value).into()))
                .collect();
        }
        let mut json = json!({
            "row": row,
            "guard": self.guard,
            "hash": format!("{:016x}", self.hash),
            "position": self.position,
            "batch": self.batch,
        });
        if !texts.is_empty() {
            json["texts"] = Json::Object(texts);
        }
        if !order.is_empty() {
            json["order"] = Json::Object(order);
        }
        json
    }

    fn read(schema: &Schema, json: &Json) -> Option<Self> {
        // What somebody made unreadable by hand is read as no value, so that it is found and put right as any
        // other edit is.
        let value = |column: &ColumnSpec| {
            let text = json["texts"][column.public].as_str();
            from_json(column, &json["row"][column.public], text).unwrap_or(Value::Null)
        };
        let held = (!json["row"].is_null()).then_some(schema.columns.iter());
        let values = held.map(|columns| columns.map(value).collect());
        Some(Self {
            values,
            guard: json["guard"].as_u64()?,
            hash: u64::from_str_radix(json["hash"].as_str()?, 16).ok()?,
            position: json["position"].as_u64()?,
            batch: json["batch"].as_u64()?,
        })
    }
}

/// The JSON of a value as people expect it, where that says it exactly.
fn to_json(column: &ColumnSpec, value: &Value) -> Json {
    let plain = match value {
        Value::Integer(number) if number.unsigned_abs() > PORTABLE_INTEGER_MAX => number.to_string().into(),
        Value::Json(text) => match serde_json::from_str(text) {
            Ok(nested) if is_portable(&nested) => nested,
            _ => text.as_str().into(),
        },
        other => other.to_json(),
    };
    let text = if let Value::Json(text) = value { Some(text.as_str()) } else { None };
    match from_json(column, &plain, text) {
        Some(read) if read == *value => plain,
        _ => json!({ EXACT: canonical(std::slice::from_ref(value)) }),
    }
}

/// The value of such a JSON. Somebody may have edited it: what is no value of the column's type is none, and
/// what differs from the row's hash is found by whoever looks at that.
fn from_json(column: &ColumnSpec, json: &Json, text: Option<&str>) -> Option<Value> {
    if column.value_type == ValueType::Json {
        return match text {
            Some(text) if says_the_same(json, text) => Some(Value::Json(text.to_owned())),
            _ if json.is_null() => Some(Value::Null),
            _ => Some(Value::Json(json.to_string())),
        };
    }
    match json {
        Json::Null => return Some(Value::Null),
        Json::Object(fields) if fields.len() == 1 && fields.contains_key(EXACT) => {
            let [value] = <[Value; 1]>::try_from(read_canonical(fields[EXACT].as_str()?)?).ok()?;
            return Some(value);
        }
        _ => {}
    }
    Some(match column.value_type {
        ValueType::Integer => match json.as_str() {
            Some(text) => Value::Integer(text.parse().ok()?),
            None => Value::Integer(json.as_i64()?),
        },
        ValueType::Bool => Value::Bool(json.as_bool()?),
        ValueType::Text | ValueType::Json => Value::Text(json.as_str()?.to_owned()),
        ValueType::Timestamp => Value::Timestamp(json.as_str()?.parse::<Timestamp>().ok()?),
        ValueType::Money => {
            let currency: Currency = json["currency"].as_str()?.parse().ok()?;
            Value::Money(Money::parse(json["amount"].as_str()?, currency).ok()?)
        }
        ValueType::Bytes => {
            let text = json.as_str()?;
            let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
            Value::Bytes((0..text.len()).step_by(2).map(digits).collect::<Option<Vec<_>>>()?)
        }
    })
}

/// Whether what stands in a document is what the text beside it says.
fn says_the_same(json: &Json, text: &str) -> bool {
    match serde_json::from_str::<Json>(text) {
        Ok(nested) if is_portable(&nested) => same(json, &nested),
        _ => json.as_str() == Some(text),
    }
}

/// Whether every reader of JSON takes its numbers for what they are.
fn is_portable(json: &Json) -> bool {
    match json {
        Json::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            whole.is_none_or(|whole| whole <= PORTABLE_INTEGER_MAX)
        }
        Json::Array(items) => items.iter().all(is_portable),
        Json::Object(fields) => fields.values().all(is_portable),
        _ => true,
    }
}

/// Whether two values are the same to a reader who keeps neither the order of fields nor how a number is
/// written.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            let equal = |(name, held): (&String, &Json)| b.get(name).is_some_and(|other| same(held, other));
            a.len() == b.len() && a.iter().all(equal)
        }
        _ => a == b,
    }
}
