//! JSON objects whose members keep the order in which they were written. Absent: parsing.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;

/// About as many headers as an answer has at most.
const HEADERS_EXPECTED: usize = 12;

/// A JSON object in the order of its making.
#[derive(Default, Debug)]
pub(crate) struct Object(Vec<(Cow<'static, str>, Node)>);

/// A JSON value, with ordered objects and verbatim text among its forms.
#[derive(Debug)]
pub(crate) enum Node {
    /// Any value.
    Value(Value),
    /// Text that is known to be JSON, kept byte for byte.
    Raw(Box<RawValue>),
    /// An ordered object.
    Object(Object),
    /// An array.
    List(Vec<Node>),
}

impl Object {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a member.
    pub(crate) fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Node>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// Adds a member if there is a value for it.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl Into<Node>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds the members of another object behind the own ones.
    pub(crate) fn with_all(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(held, _)| held == name)
    }

    /// The text.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("keys are texts and no value here can fail to serialize")
    }

    /// The object as an answer.
    pub(crate) fn response(&self, status: StatusCode) -> Response {
        typed(status, "application/json", self.to_text())
    }
}

impl Node {
    /// Any serializable value.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        Self::Value(serde_json::to_value(value).expect("plain data always serializes"))
    }

    /// Any serializable value, its members in the order in which it writes them.
    pub(crate) fn written(value: &impl Serialize) -> Self {
        Self::Raw(to_raw_value(value).expect("plain data always serializes"))
    }

    /// Stored JSON text, verbatim; a text that is not JSON, as a JSON text.
    pub(crate) fn verbatim(text: &str) -> Self {
        match RawValue::from_string(text.to_owned()) {
            Ok(raw) => Self::Raw(raw),
            Err(_) => Self::from(text),
        }
    }
}

/// An answer with a body of a media type.
pub(crate) fn typed(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    // Room for what the frame and the server add, so that the headers do not move while they are written.
    response.headers_mut().reserve(HEADERS_EXPECTED);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
        }
    }
}

impl From<Object> for Node {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Object>> for Node {
    fn from(objects: Vec<Object>) -> Self {
        Self::List(objects.into_iter().map(Node::Object).collect())
    }
}

macro_rules! node_from_value {
    ($($type:ty),+) => {
        $(impl From<$type> for Node {
            fn from(value: $type) -> Self {
                Self::Value(value.into())
            }
        })+
    };
}
node_from_value!(Value, &str, String, u64, u32, u16, f64, bool, Vec<String>);

impl From<Vec<Node>> for Node {
    fn from(nodes: Vec<Node>) -> Self {
        Self::List(nodes)
    }
}

impl<T: Into<Node>> From<Option<T>> for Node {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Value(Value::Null), Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_stored_json_keeps_its_bytes() {
        let object = Object::new()
            .with("b", 1_u64)
            .with("a", Node::verbatim(r#"{"z": 1.50,  "y":2}"#))
            .with("broken", Node::verbatim("{"))
            .with("none", None::<u64>)
            .with_some("absent", None::<u64>);
        assert_eq!(object.to_text(), r#"{"b":1,"a":{"z": 1.50,  "y":2},"broken":"{","none":null}"#);
    }
}
