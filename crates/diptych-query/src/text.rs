//! Questions in text: what an address, a command line or an agent writes, turned into the same value as
//! typed code.

use crate::correction::value_from_json;
use crate::{Ask, Condition, Direction, Operator, QueryError, Schema, Words};
use diptych_core::{Money, Timestamp, Value, ValueType};
use std::time::Duration;

impl Ask {
    /// Reads a question from pairs of text: `status=PLACED`, `total.gte=10 GBP`, `sort=-placedAt`,
    /// `q=words`, `pageSize=20`, `pageToken`, `minPosition`, `maxStale=5` (seconds), `consistency=strong`.
    /// A filter named several times means any of its values.
    ///
    /// # Errors
    /// A parameter that the model does not know or a value that does not fit, with what would.
    pub fn from_text<'a>(
        schema: &'static Schema,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, QueryError> {
        let mut ask = Self::default();
        for (name, text) in pairs {
            match name {
                "sort" => ask.sort = Some(sort(schema, text)?),
                "pageSize" => {
                    let size =
                        text.parse().map_err(|_| QueryError::parameter(name, "must be a number of rows"))?;
                    ask.page_size = Some(size);
                }
                "q" => ask.words = words(schema, text)?,
                "pageToken" => ask.page_token = Some(text.to_owned()),
                "minPosition" => {
                    let token =
                        text.parse().map_err(|error| QueryError::Token { reason: format!("{error}") })?;
                    ask.at_least = Some(token);
                }
                "maxStale" => {
                    let seconds: u32 = text
                        .parse()
                        .map_err(|_| QueryError::parameter(name, "must be a whole number of seconds"))?;
                    ask.max_stale = Some(Duration::from_secs(seconds.into()));
                }
                "consistency" => {
                    ask.consistency =
                        Some(text.parse().map_err(|reason: &str| QueryError::parameter(name, reason))?);
                }
                _ => add_condition(&mut ask, schema, name, text)?,
            }
        }
        Ok(ask)
    }
}

/// Reads the key of a row from the segments of an address.
///
/// # Errors
/// Another number of segments than the key has columns, or a text that does not fit its column.
pub fn key_from_text(schema: &'static Schema, segments: &[&str]) -> Result<Vec<Value>, QueryError> {
    if segments.len() != schema.key.len() {
        let names: Vec<_> = schema.key.iter().map(|index| schema.columns[*index].public).collect();
        let reason = format!("must have {} parts: {}", names.len(), names.join("/"));
        return Err(QueryError::parameter("key", reason));
    }
    let columns = schema.key.iter().zip(segments);
    columns
        .map(|(column, text)| value_from_text(schema, *column, schema.columns[*column].public, text))
        .collect()
}

fn words(schema: &'static Schema, text: &str) -> Result<Words, QueryError> {
    if schema.columns.iter().any(|column| column.facets.full_text) {
        return Words::parse(text);
    }
    Err(QueryError::parameter("q", "is not a filter of this read model: none of its columns is searched"))
}

fn add_condition(ask: &mut Ask, schema: &'static Schema, name: &str, text: &str) -> Result<(), QueryError> {
    let (public, operator) = match name.rsplit_once('.') {
        Some((public, "lt")) => (public, Operator::Less),
        Some((public, "lte")) => (public, Operator::AtMost),
        Some((public, "gt")) => (public, Operator::Greater),
        Some((public, "gte")) => (public, Operator::AtLeast),
        _ => (name, Operator::Equal),
    };
    let column = schema.column(public).filter(|column| schema.columns[*column].filter);
    let column = column.ok_or_else(|| QueryError::parameter(name, unknown_filter(schema)))?;
    let value = value_from_text(schema, column, name, text)?;
    let equal = |held: &&mut Condition| held.column == column && held.operator == Operator::Equal;
    match ask.conditions.iter_mut().find(equal) {
        Some(held) if operator == Operator::Equal => held.values.push(value),
        _ => ask.conditions.push(Condition { column, operator, values: vec![value] }),
    }
    Ok(())
}

fn unknown_filter(schema: &'static Schema) -> String {
    let filters: Vec<_> =
        schema.columns.iter().filter(|column| column.filter).map(|column| column.public).collect();
    let sorts = "sort, pageSize, pageToken, minPosition, maxStale, consistency";
    format!("is not a filter of this read model; it has: {}; and: {sorts}", filters.join(", "))
}

fn sort(schema: &'static Schema, text: &str) -> Result<(usize, Direction), QueryError> {
    let (public, direction) = match text.strip_prefix('-') {
        Some(public) => (public, Direction::Descending),
        None => (text, Direction::Ascending),
    };
    let column = schema.column(public).filter(|column| schema.columns[*column].sort);
    let column = column.ok_or_else(|| {
        let sorts: Vec<_> =
            schema.columns.iter().filter(|column| column.sort).map(|column| column.public).collect();
        QueryError::parameter(
            "sort",
            format!("must be one of: {}; with `-` in front for descending", sorts.join(", ")),
        )
    })?;
    Ok((column, direction))
}

fn value_from_text(
    schema: &'static Schema,
    column: usize,
    name: &str,
    text: &str,
) -> Result<Value, QueryError> {
    let spec = &schema.columns[column];
    let wrong = |what: &str| QueryError::parameter(name, format!("must be {what}"));
    if text.contains('\0') {
        return Err(wrong("text without NUL"));
    }
    if !spec.choices.is_empty() {
        if !spec.choices.contains(&text) {
            return Err(wrong(&format!("one of: {}", spec.choices.join(", "))));
        }
        return Ok(Value::Text(text.to_owned()));
    }
    match spec.value_type {
        ValueType::Integer => text.parse().map(Value::Integer).map_err(|_| wrong("a whole number")),
        ValueType::Bool => text.parse().map(Value::Bool).map_err(|_| wrong("true or false")),
        ValueType::Text => Ok(Value::Text(text.to_owned())),
        ValueType::Timestamp => {
            let time: Result<Timestamp, _> = text.parse();
            time.map(Value::Timestamp).map_err(|_| wrong("a time such as 2026-07-07T09:00:00Z"))
        }
        ValueType::Money => money(text).ok_or_else(|| wrong("an amount and a currency such as `39.98 GBP`")),
        ValueType::Bytes | ValueType::Json => Err(wrong("left out: this column cannot be compared")),
    }
}

fn money(text: &str) -> Option<Value> {
    let (amount, currency) = text.split_once(' ')?;
    Money::parse(amount, currency.parse().ok()?).ok().map(Value::Money)
}

impl Schema {
    /// The key of a row from JSON as [`Value::to_json`] writes it; none where its columns cannot hold that.
    #[must_use]
    pub fn key_from_json(&self, key: &[serde_json::Value]) -> Option<Vec<Value>> {
        if key.len() != self.key.len() {
            return None;
        }
        let columns = self.key.iter().map(|column| self.columns.get(*column));
        columns.zip(key).map(|(column, json)| value_from_json(column?, json).ok()).collect()
    }
}
