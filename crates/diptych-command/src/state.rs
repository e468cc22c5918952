//! States that are kept in rows beside the log: what a decider declares for it, and when a row is due. Knows
//! no store.
//!
//! The log stays complete either way. A row saves folding: an event-sourced decider leaves one every so many
//! events, a state-stored one with every command that appends. A row of another shape counts for nothing.

use crate::Decider;
use diptych_core::{Code, Fault, StreamRef, Version};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// A decider whose state can be kept in a row: it reads back from what it was written as.
/// `#[derive(Data)]` gives what that needs.
///
/// ```text
/// #[derive(Default, Data)]
/// struct Run { times: i64 }
///
/// impl StoredState for Run {
///     const SNAPSHOT_EVENTS: u32 = 50;
///     const COLUMNS: &'static [StateColumn] = &[StateColumn::integer("times", "times")];
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` cannot be stored",
    note = "write `impl StoredState for {Self} {{}}` on a decider with `#[derive(Data)]`"
)]
pub trait StoredState: Decider + serde::de::DeserializeOwned + JsonSchema {
    /// To be raised when `evolve` comes to mean something else while the state keeps its shape.
    const REVISION: u32 = 1;
    /// While it is event-sourced, a row is written when so many events have come since the last one; 0 for
    /// never.
    const SNAPSHOT_EVENTS: u32 = 100;
    /// The columns that people who ask by SQL find beside the JSON.
    const COLUMNS: &'static [StateColumn] = &[];
}

/// Where the state for the next decision comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Persistence {
    /// The events of the stream are folded, from a row onwards where there is one.
    #[default]
    EventSourced,
    /// A row holds the state; every command that appends writes it in the same transaction.
    StateStored,
}

impl Persistence {
    /// Both.
    pub const ALL: [Self; 2] = [Self::EventSourced, Self::StateStored];

    /// The word in configuration and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventSourced => "event-sourced",
            Self::StateStored => "state-stored",
        }
    }
}

impl fmt::Display for Persistence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Persistence {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let found = Self::ALL.into_iter().find(|persistence| persistence.as_str() == text);
        let unknown = || format!("`{text}` is not a persistence; known are event-sourced, state-stored");
        found.ok_or_else(|| Fault::permanent(Code::ServiceInvalid, unknown()))
    }
}

/// 64 bits that tell whether a stored state is of the shape that the code writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shape(pub u64);

impl Shape {
    /// BLAKE3 over the state's JSON Schema and its revision, first 64 bits. Titles and descriptions are for
    /// people and count for nothing, nor does the order of properties.
    #[must_use]
    pub fn of(schema: &Schema, revision: u32) -> Self {
        let mut text = String::new();
        canonical(schema.as_value(), &mut text);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&revision.to_le_bytes());
        hasher.update(text.as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// JSON text with properties in the order of their names.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(properties) => {
            let mut sorted: Vec<_> = properties.iter().collect();
            let for_people = |name: &str| matches!(name, "title" | "description");
            sorted.retain(|(name, value)| !(for_people(name) && value.is_string()));
            sorted.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in sorted {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// A property of a stored state that people who ask by SQL find as a column of the view `state_{category}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateColumn {
    /// The column: lower-case letters, digits and `_`.
    pub name: &'static str,
    /// The property of the state's JSON that it shows; a state without it has no value there.
    pub property: &'static str,
    /// What it holds.
    pub kind: StateColumnKind,
    /// Whether an index finds rows by it.
    pub index: StateIndex,
}

/// What a column of a stored state holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateColumnKind {
    /// A text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// True or false; 1 or 0 in the embedded store, which has no other.
    Boolean,
    /// A point in time; RFC 3339 text in the embedded store, which has no other.
    Timestamp,
}

/// Whether rows are found by a column without looking at all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateIndex {
    /// There is an index.
    Indexed,
    /// There is none.
    NotIndexed,
}

impl StateColumn {
    /// A column of text.
    #[must_use]
    pub const fn text(name: &'static str, property: &'static str) -> Self {
        Self { name, property, kind: StateColumnKind::Text, index: StateIndex::NotIndexed }
    }

    /// A column of whole numbers.
    #[must_use]
    pub const fn integer(name: &'static str, property: &'static str) -> Self {
        Self { kind: StateColumnKind::Integer, ..Self::text(name, property) }
    }

    /// A column of true and false.
    #[must_use]
    pub const fn boolean(name: &'static str, property: &'static str) -> Self {
        Self { kind: StateColumnKind::Boolean, ..Self::text(name, property) }
    }

    /// A column of points in time.
    #[must_use]
    pub const fn timestamp(name: &'static str, property: &'static str) -> Self {
        Self { kind: StateColumnKind::Timestamp, ..Self::text(name, property) }
    }

    /// The same with an index.
    #[must_use]
    pub const fn indexed(self) -> Self {
        Self { index: StateIndex::Indexed, ..self }
    }
}

/// What a decider whose state can be stored has declared, without its type.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where its state comes from.
    pub persistence: Persistence,
    /// The shape that it writes and reads.
    pub shape: Shape,
    /// How many events bring a row while it is event-sourced.
    pub snapshot_events: u32,
    /// Its columns for SQL.
    pub columns: &'static [StateColumn],
    /// The JSON Schema of the state.
    pub schema: Schema,
}

impl Stored {
    pub(crate) fn of<D: StoredState>(persistence: Persistence) -> Self {
        let schema = SchemaGenerator::default().into_root_schema_for::<D>();
        let shape = Shape::of(&schema, D::REVISION);
        let (snapshot_events, columns) = (D::SNAPSHOT_EVENTS, D::COLUMNS);
        Self { persistence, shape, snapshot_events, columns, schema }
    }

    /// Whether a command that brings its stream to `version` leaves a row, where the last one known stands
    /// at `row`.
    #[must_use]
    pub fn is_due(&self, row: Version, version: Version) -> bool {
        match self.persistence {
            Persistence::StateStored => true,
            Persistence::EventSourced => {
                let events = u64::from(self.snapshot_events);
                events > 0 && version.0.saturating_sub(row.0) >= events
            }
        }
    }
}

/// A state on its way into a row. It stands at the version that its command's events lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewState {
    /// The shape of the state.
    pub shape: Shape,
    /// The state, JSON text.
    pub state: String,
}

/// A stored state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateRow {
    /// The version of the stream that it is the state at.
    pub version: Version,
    /// The shape that it was written in, which need not be the code's.
    pub shape: Shape,
    /// The state, JSON text.
    pub state: String,
}

/// A stream of a category as an operator walks past it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamStanding {
    /// Which.
    pub stream: StreamRef,
    /// How many events it has.
    pub version: Version,
    /// The version and the shape of its row, if it has one.
    pub row: Option<(Version, Shape)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::json_schema;

    fn shape(value: Value) -> Shape {
        Shape::of(&Schema::try_from(value).unwrap(), 1)
    }

    #[test]
    fn a_shape_is_what_it_always_was() {
        let schema = json_schema!({ "type": "object", "properties": { "open": { "type": "boolean" } } });
        assert_eq!(Shape::of(&schema, 1).to_string(), "e794b721242f46e6");
    }

    #[test]
    fn words_for_people_and_the_order_of_properties_count_for_nothing() {
        let one =
            serde_json::json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": {} } });
        let other = serde_json::json!({ "title": "It", "description": "What it is.", "properties":
            { "b": { "description": "the second" }, "a": { "type": "string" } }, "type": "object" });
        assert_eq!(shape(one.clone()), shape(other));
        let renamed =
            serde_json::json!({ "type": "object", "properties": { "c": { "type": "string" }, "b": {} } });
        assert_ne!(shape(one.clone()), shape(renamed));
        let described = serde_json::json!({ "type": "object", "properties":
            { "a": { "type": "string" }, "b": {}, "description": { "type": "string" } } });
        assert_ne!(shape(one.clone()), shape(described), "a property may be called `description`");
        assert_ne!(shape(one.clone()), Shape::of(&Schema::try_from(one).unwrap(), 2));
    }

    #[test]
    fn a_row_is_due_once_enough_events_have_come_since_the_last() {
        let mut stored = Stored {
            persistence: Persistence::EventSourced,
            shape: Shape(1),
            snapshot_events: 10,
            columns: &[],
            schema: Schema::default(),
        };
        let due = |stored: &Stored, row, version| stored.is_due(Version(row), Version(version));
        assert!(!due(&stored, 0, 9) && due(&stored, 0, 10) && due(&stored, 0, 11));
        assert!(!due(&stored, 11, 20) && due(&stored, 11, 21));
        stored.snapshot_events = 0;
        assert!(!due(&stored, 0, 1_000));
        stored.persistence = Persistence::StateStored;
        assert!(due(&stored, 5, 6));
    }

    #[test]
    fn a_persistence_is_one_of_two_words() {
        for persistence in Persistence::ALL {
            assert_eq!(persistence.as_str().parse::<Persistence>().unwrap(), persistence);
        }
        assert!("snapshots".parse::<Persistence>().is_err());
    }
}
