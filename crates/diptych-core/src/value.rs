//! Portable values: what every store can keep in a column, with the same order everywhere.

use crate::{Money, Timestamp};
use std::cmp::Ordering;

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValueType {
    /// A signed 64-bit integer.
    Integer,
    /// True or false.
    Bool,
    /// UTF-8 text without NUL, ordered by bytes.
    Text,
    /// Microseconds since 1970, UTC.
    Timestamp,
    /// Thousandths and a currency.
    Money,
    /// Raw bytes.
    Bytes,
    /// JSON text, kept as written; not filterable.
    Json,
}

/// A value of a column.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// True or false.
    Bool(bool),
    /// UTF-8 text without NUL.
    Text(String),
    /// A point in time.
    Timestamp(Timestamp),
    /// An amount.
    Money(Money),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// JSON text.
    Json(String),
}

impl Value {
    /// The type, none for no value.
    #[must_use]
    pub fn value_type(&self) -> Option<ValueType> {
        Some(match self {
            Self::Null => return None,
            Self::Integer(_) => ValueType::Integer,
            Self::Bool(_) => ValueType::Bool,
            Self::Text(_) => ValueType::Text,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::Money(_) => ValueType::Money,
            Self::Bytes(_) => ValueType::Bytes,
            Self::Json(_) => ValueType::Json,
        })
    }

    /// Appends a form that no other value has: a tag, and a length where the length varies. Digests and page
    /// tokens are made of it, so it never changes.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        let mut tagged = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Null => tagged(0, &[]),
            Self::Integer(number) => tagged(1, &number.to_le_bytes()),
            Self::Bool(flag) => tagged(2, &[u8::from(*flag)]),
            Self::Text(text) => tagged(3, text.as_bytes()),
            Self::Timestamp(time) => tagged(4, &time.as_micros().to_le_bytes()),
            Self::Money(money) => {
                let mut bytes = money.thousandths().to_le_bytes().to_vec();
                bytes.extend_from_slice(money.currency().as_str().as_bytes());
                tagged(5, &bytes);
            }
            Self::Bytes(bytes) => tagged(6, bytes),
            Self::Json(text) => tagged(7, text.as_bytes()),
        }
    }

    /// Reads one canonical form off the front of `bytes`; `None` when there is none.
    #[must_use]
    pub fn read_canonical(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (tag, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let text = || String::from_utf8(body.to_vec()).ok();
        let number = || Some(i64::from_le_bytes(body.try_into().ok()?));
        let value = match tag {
            0 => Self::Null,
            1 => Self::Integer(number()?),
            2 => Self::Bool(body == [1]),
            3 => Self::Text(text()?),
            4 => Self::Timestamp(Timestamp::from_stored(number()?)),
            5 => {
                let (amount, currency) = body.split_first_chunk::<8>()?;
                let currency = std::str::from_utf8(currency).ok()?.parse().ok()?;
                Self::Money(Money::from_thousandths(i64::from_le_bytes(*amount), currency).ok()?)
            }
            6 => Self::Bytes(body.to_vec()),
            7 => Self::Json(text()?),
            _ => return None,
        };
        Some((value, rest))
    }

    /// The JSON form on the wire.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Integer(number) => (*number).into(),
            Self::Bool(flag) => (*flag).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Timestamp(time) => time.to_string().into(),
            Self::Money(money) => {
                serde_json::json!({ "amount": money.amount(), "currency": money.currency().as_str() })
            }
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            Self::Json(text) => serde_json::from_str(text).unwrap_or(serde_json::Value::Null),
        }
    }

    /// The order that every store sorts by: values of one type by that type, no value after every value.
    /// Money orders by currency, then amount.
    #[must_use]
    pub fn portable_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) | (Self::Json(a), Self::Json(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Money(a), Self::Money(b)) => {
                (a.currency(), a.thousandths()).cmp(&(b.currency(), b.thousandths()))
            }
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (a, b) => a.type_rank().cmp(&b.type_rank()),
        }
    }

    fn type_rank(&self) -> u8 {
        self.value_type().map_or(u8::MAX, |kind| kind as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_values_share_a_canonical_form() {
        let canonical = |values: &[Value]| {
            let mut out = Vec::new();
            values.iter().for_each(|value| value.write_canonical(&mut out));
            out
        };
        let text = |text: &str| Value::Text(text.to_owned());
        assert_ne!(canonical(&[text("ab"), text("c")]), canonical(&[text("a"), text("bc")]));
        assert_ne!(canonical(&[Value::Null]), canonical(&[text("")]));
        assert_ne!(canonical(&[Value::Integer(1)]), canonical(&[Value::Bool(true)]));
    }

    #[test]
    fn a_canonical_form_reads_back() {
        let money = Money::from_thousandths(-39_980, crate::Currency::GBP).unwrap();
        let values = [
            Value::Null,
            Value::Integer(-7),
            Value::Bool(true),
            Value::Text("ä".into()),
            Value::Money(money),
        ];
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.write_canonical(&mut bytes));
        let mut rest = bytes.as_slice();
        for value in &values {
            let (read, after) = Value::read_canonical(rest).unwrap();
            assert_eq!(&read, value);
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn no_value_sorts_last() {
        assert_eq!(Value::Null.portable_cmp(&Value::Integer(i64::MAX)), Ordering::Greater);
    }
}
