//! The indexes that the server keeps of rows, one for each column that is asked for: how the server makes
//! them, and between which of their keys an answer stands. Asks nothing. The server makes an index when it
//! is first asked for, and keeps it up.
//!
//! A row is in them as it stands now and as it stood before, so that whoever reads at a checkpoint finds it
//! by either. That is why they are views and not those of `_find`, in which a document has one place.

use crate::order::{NOTHING, after, beginning_of, form, id_of, turned};
use diptych_core::{Tenant, Value};
use diptych_query::{Condition, Direction, Operator, RawFind, RowRef, Schema};
use serde_json::{Value as Json, json};

/// The index of a column with its smallest values first.
const UP: &str = "up";

/// The index of a column with its largest values first.
const DOWN: &str = "down";

/// There is one of each.
const BOTH: &str = "both";

/// What sorts after every form.
const AFTER_FORMS: &str = "zz";

/// What sorts after every value's form and before that of no value.
const AFTER_VALUES: &str = "y";

/// In which orders there is an index of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ways {
    /// There is none.
    None,
    /// Smallest first.
    Up,
    /// Both ways.
    Both,
}

impl Ways {
    /// Whether there is one in this order.
    pub(crate) fn run(self, direction: Direction) -> bool {
        match direction {
            Direction::Ascending => self != Self::None,
            Direction::Descending => self == Self::Both,
        }
    }

    fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Up => Some(UP),
            Self::Both => Some(BOTH),
        }
    }
}

/// What the server runs for every document. The keys are the tenant's rows, the form of the value, and the
/// row.
const TELL: &str = r#"function (doc) {
  if (doc.table !== 'TABLE') { return; }
  var tenant = doc._id.slice(0, doc._id.indexOf('-') + 1);
  function turned(form) {
    if (form === 'NOTHING') { return form; }
    var digits = '';
    for (var i = 0; i < form.length; i++) {
      digits += '0123456789abcdef'.charAt(15 - parseInt(form.charAt(i), 16));
    }
    return digits + 'g';
  }
  function tell(order) {
    if (order) { emit([tenant, FORM, doc._id], null); }
  }
  tell(doc.order);
  var before = doc.before && doc.before.order;
  if (!doc.order || !before || doc.order['COLUMN'] !== before['COLUMN']) { tell(before); }
}"#;

/// The name of the document that has the server make the indexes of a column.
fn name_of(schema: &Schema, column: usize) -> String {
    format!("_design/rows.{}.{}", schema.name, schema.columns[column].name)
}

/// The documents that have the server make the indexes of tables.
pub(crate) fn designs(tables: &[&'static Schema]) -> Vec<Json> {
    let mut designs = Vec::new();
    for schema in tables {
        for column in 0..schema.columns.len() {
            let Some(ways) = ways_of(schema, column).as_str() else { continue };
            let name = schema.columns[column].name;
            let map = |form: &str| {
                let told = TELL.replace("FORM", form).replace("COLUMN", name).replace("TABLE", schema.name);
                json!({ "map": told.replace("NOTHING", NOTHING) })
            };
            let mut views = json!({ UP: map("order['COLUMN']") });
            if ways == BOTH {
                views[DOWN] = map("turned(order['COLUMN'])");
            }
            let id = name_of(schema, column);
            designs.push(json!({ "_id": id, "language": "javascript", "indexed": ways, "views": views }));
        }
    }
    designs
}

/// The names of the documents of all indexes that a table may have.
pub(crate) fn names(schema: &Schema) -> Vec<String> {
    (0..schema.columns.len()).map(|column| name_of(schema, column)).collect()
}

/// In which orders a database has an index of each column, by the documents of those names: what a later code
/// declares is not there.
pub(crate) fn ways(designs: &[Json]) -> Vec<Ways> {
    let ways = |design: &Json| match design["indexed"].as_str() {
        Some(BOTH) => Ways::Both,
        Some(_) => Ways::Up,
        None => Ways::None,
    };
    designs.iter().map(ways).collect()
}

fn ways_of(schema: &Schema, column: usize) -> Ways {
    let spec = &schema.columns[column];
    let begins = schema.indexes.iter().any(|index| index.columns.first().is_some_and(|(c, _)| *c == column));
    if spec.sort || schema.default_sort.is_some_and(|(sorted, _)| sorted == column) {
        Ways::Both
    } else if spec.filter || begins {
        Ways::Up
    } else {
        Ways::None
    }
}

/// Where in an index something begins or ends: before a form, after one row of it, or after all of
/// them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Bound {
    form: String,
    rows: Rows,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rows {
    None,
    Through(String),
    All,
}

/// A part of an index: rows of a tenant by one column in one direction, between two bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// Where the index is asked for in its database.
    pub(crate) path: String,
    /// Table and tenant.
    tenant: String,
    pub(crate) column: usize,
    direction: Direction,
    from: Bound,
    to: Bound,
}

impl Bound {
    fn before(form: impl Into<String>) -> Self {
        Self { form: form.into(), rows: Rows::None }
    }

    fn behind(form: impl Into<String>) -> Self {
        Self { form: form.into(), rows: Rows::All }
    }
}

impl Span {
    /// All rows of a tenant by a column.
    fn whole(table: usize, schema: &Schema, tenant: &Tenant, column: usize, direction: Direction) -> Self {
        let way = if direction == Direction::Ascending { UP } else { DOWN };
        let path = format!("{}/_view/{way}", name_of(schema, column));
        let tenant = beginning_of(table, tenant);
        let (from, to) = (Bound::before(""), Bound::before(AFTER_FORMS));
        Self { path, tenant, column, direction, from, to }
    }

    /// The rows of a tenant that hold one value in a column, by their keys.
    pub(crate) fn holding(
        table: usize,
        schema: &Schema,
        tenant: &Tenant,
        column: usize,
        value: &Value,
    ) -> Self {
        let form = form(&schema.columns[column], value);
        let whole = Self::whole(table, schema, tenant, column, Direction::Ascending);
        Self { from: Bound::before(form.clone()), to: Bound::behind(form), ..whole }
    }

    /// The rows by a column that may fit what a question says of it, after where its page before ended if the
    /// question is sorted so.
    pub(crate) fn asked(
        table: usize,
        schema: &Schema,
        find: &RawFind,
        (column, direction): (usize, Direction),
    ) -> Self {
        let mut span = Self::whole(table, schema, &find.tenant, column, direction);
        for condition in find.conditions.iter().filter(|condition| condition.column == column) {
            span.narrow(schema, condition);
        }
        if let (Some(cursor), Some(sort)) = (&find.after, find.sort)
            && sort == (column, direction)
        {
            let form = span.form_of(schema, cursor.sorted.as_ref().unwrap_or(&Value::Null));
            span.go_on_after(Bound { form, rows: Rows::Through(id_at(table, find, &cursor.key)) });
        }
        span
    }

    /// The same after a row of the same value.
    pub(crate) fn after_key(mut self, table: usize, find: &RawFind) -> Self {
        if let Some(cursor) = &find.after {
            let bound =
                Bound { form: self.from.form.clone(), rows: Rows::Through(id_at(table, find, &cursor.key)) };
            self.go_on_after(bound);
        }
        self
    }

    /// The form under which the index has a value here.
    pub(crate) fn form_of(&self, schema: &Schema, value: &Value) -> String {
        let form = form(&schema.columns[self.column], value);
        if self.direction == Direction::Ascending { form } else { turned(&form) }
    }

    /// Goes on after a row.
    pub(crate) fn go_on(&mut self, form: &str, id: &str) {
        self.go_on_after(Bound { form: form.to_owned(), rows: Rows::Through(id.to_owned()) });
    }

    /// The keys that it begins and ends with; none where nothing can be between them.
    pub(crate) fn keys(&self) -> Option<(Json, Json)> {
        let key = |bound: &Bound| match &bound.rows {
            Rows::None => json!([self.tenant, bound.form]),
            Rows::Through(id) => json!([self.tenant, bound.form, after(id)]),
            // Servers order objects after every text.
            Rows::All => json!([self.tenant, bound.form, {}]),
        };
        (self.from < self.to).then(|| (key(&self.from), key(&self.to)))
    }

    fn go_on_after(&mut self, bound: Bound) {
        if bound > self.from {
            self.from = bound;
        }
    }

    /// Narrows it to what a condition lets through: one value or more that no other can stand outside of.
    fn narrow(&mut self, schema: &Schema, condition: &Condition) {
        let values = condition.values.iter().filter(|value| **value != Value::Null);
        let mut forms: Vec<_> = values.map(|value| self.form_of(schema, value)).collect();
        forms.sort_unstable();
        let (Some(first), Some(last)) = (forms.first(), forms.last()) else {
            // No value fits.
            self.to = self.from.clone();
            return;
        };
        let up = self.direction == Direction::Ascending;
        let (from, to) = match condition.operator {
            Operator::Equal => (Bound::before(first), Bound::behind(last)),
            Operator::Less if up => (Bound::before(""), Bound::before(last)),
            Operator::AtMost if up => (Bound::before(""), Bound::behind(last)),
            Operator::Greater if up => (Bound::behind(first), Bound::before(AFTER_VALUES)),
            Operator::AtLeast if up => (Bound::before(first), Bound::before(AFTER_VALUES)),
            Operator::Less => (Bound::behind(first), Bound::before(AFTER_VALUES)),
            Operator::AtMost => (Bound::before(first), Bound::before(AFTER_VALUES)),
            Operator::Greater => (Bound::before(""), Bound::before(last)),
            Operator::AtLeast => (Bound::before(""), Bound::behind(last)),
        };
        self.from = from.max(self.from.clone());
        self.to = to.min(self.to.clone());
    }
}

fn id_at(table: usize, find: &RawFind, key: &[Value]) -> String {
    id_of(table, &RowRef { tenant: find.tenant.clone(), key: key.to_vec() })
}
