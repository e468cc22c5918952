//! What a question means, said once in Rust: which rows fit it and in which order. For stores without a
//! language of their own, and for what the language of another cannot say. Reads nothing.

use crate::{ColumnSpec, Condition, Direction, Operator, RawFind, Schema};
use diptych_core::Value;
use std::cmp::Ordering;

impl RawFind {
    /// Whether a row fits: conditions, rule and words. Whose row it is, and where the page begins, is not
    /// looked at.
    #[must_use]
    pub fn fits(&self, schema: &Schema, row: &[Value]) -> bool {
        self.conditions.iter().all(|condition| fits(schema, condition, row))
            && self.rule.admits(schema, row)
            && self.words.fit(schema, row)
    }

    /// The order of two rows: by the sorted column, no value last both ways, then by key.
    #[must_use]
    pub fn compare(&self, schema: &Schema, a: &[Value], b: &[Value]) -> Ordering {
        in_order(schema, self.sort, &place(self, schema, a), &place(self, schema, b))
    }

    /// Whether a row stands after the place where the page before ended.
    #[must_use]
    pub fn is_beyond(&self, schema: &Schema, row: &[Value]) -> bool {
        let Some(after) = &self.after else { return true };
        let after = (after.sorted.as_ref(), after.key.iter().collect());
        in_order(schema, self.sort, &place(self, schema, row), &after).is_gt()
    }
}

/// The sorted column's value and the key.
type Place<'a> = (Option<&'a Value>, Vec<&'a Value>);

fn place<'a>(find: &RawFind, schema: &Schema, row: &'a [Value]) -> Place<'a> {
    let sorted = find.sort.map(|(column, _)| &row[column]);
    (sorted, schema.key.iter().map(|column| &row[*column]).collect())
}

/// Whether a row fits a condition. No value never fits.
fn fits(schema: &Schema, condition: &Condition, row: &[Value]) -> bool {
    let held = &row[condition.column];
    let column = &schema.columns[condition.column];
    let admits = |order: Ordering| match condition.operator {
        Operator::Equal => order.is_eq(),
        Operator::Less => order.is_lt(),
        Operator::AtMost => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::AtLeast => order.is_ge(),
    };
    let comparable = |value: &&Value| **value != Value::Null && *held != Value::Null;
    let mut values = condition.values.iter().filter(comparable);
    values.any(|value| admits(compare(column, held, value)))
}

fn in_order(
    schema: &Schema,
    sort: Option<(usize, Direction)>,
    (a, a_key): &Place<'_>,
    (b, b_key): &Place<'_>,
) -> Ordering {
    let sorted = match (sort, a, b) {
        (Some((column, direction)), Some(a), Some(b)) => {
            let order = compare(&schema.columns[column], a, b);
            let reversed = direction == Direction::Descending && **a != Value::Null && **b != Value::Null;
            if reversed { order.reverse() } else { order }
        }
        _ => Ordering::Equal,
    };
    let columns = schema.key.iter().map(|column| &schema.columns[*column]);
    let mut keys = columns.zip(a_key.iter().zip(b_key));
    let by_key = keys.find_map(|(column, (a, b))| Some(compare(column, a, b)).filter(|order| order.is_ne()));
    sorted.then(by_key.unwrap_or(Ordering::Equal))
}

/// The order of two values of a column: by rank where it is ranked, otherwise the portable one.
fn compare(column: &ColumnSpec, a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Text(name) if column.ranked => column.choices.iter().position(|choice| choice == name),
        _ => None,
    };
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.portable_cmp(b),
    }
}
