//! How much a question may ask for: rows of a page, rows walked page by page, the width of a range. Whoever
//! wants more wants an export, and is pointed there.

use super::{Ask, Queries, QueryLimits};
use crate::{Condition, Operator, QueryError, Schema};
use diptych_core::{Value, ValueType};

impl Queries {
    /// How many rows a page may have.
    pub(super) fn page_rows(&self, schema: &'static Schema, ask: &Ask) -> Result<usize, QueryError> {
        let QueryLimits { page_rows_default, page_rows_max, .. } = self.limits;
        let rows = ask.page_size.unwrap_or(page_rows_default);
        if rows == 0 {
            return Err(QueryError::parameter("pageSize", format!("must be between 1 and {page_rows_max}")));
        }
        if rows > page_rows_max {
            let reason = format!("`pageSize` is {rows}, at most {page_rows_max} rows are answered at once");
            return Err(QueryError::Unbounded { reason, model: schema.name });
        }
        self.bound_values(ask)?;
        bound_ranges(schema, &ask.conditions)?;
        Ok(rows)
    }

    /// Refuses a condition with more values than a statement should have.
    pub(super) fn bound_values(&self, ask: &Ask) -> Result<(), QueryError> {
        let values_max = self.limits.condition_values_max;
        if ask.conditions.iter().any(|condition| condition.values.len() > values_max) {
            return Err(QueryError::parameter("filter", format!("has more than {values_max} values")));
        }
        Ok(())
    }

    /// How many rows will have been walked through with this page, after so many before it.
    pub(super) fn walked(
        &self,
        schema: &'static Schema,
        before: u64,
        rows: usize,
    ) -> Result<u64, QueryError> {
        let most = self.limits.walk_rows_max;
        if before >= most {
            let reason =
                format!("{before} rows have been walked through page by page, at most {most} may be");
            return Err(QueryError::Unbounded { reason, model: schema.name });
        }
        Ok(before.saturating_add(rows as u64))
    }
}

/// A column that declares how wide a range may be is asked for by ranges that are bounded on both sides, and
/// no wider.
fn bound_ranges(schema: &'static Schema, conditions: &[Condition]) -> Result<(), QueryError> {
    for condition in conditions.iter().filter(|condition| condition.operator != Operator::Equal) {
        let Some(spec) = schema.columns.get(condition.column) else { continue };
        let Some(range_max) = spec.facets.range_max else { continue };
        let of_column = conditions.iter().filter(|other| other.column == condition.column);
        let (mut from, mut to) = (None::<i64>, None::<i64>);
        for bound in of_column {
            let Some(number) = bound.values.first().and_then(number) else { continue };
            match bound.operator {
                Operator::Greater | Operator::AtLeast => from = from.max(Some(number)),
                Operator::Less | Operator::AtMost => to = Some(to.map_or(number, |to| to.min(number))),
                Operator::Equal => {}
            }
        }
        let (public, most) = (spec.public, width_in_words(spec.value_type, range_max));
        let reason = match (from, to) {
            (Some(from), Some(to)) if to.saturating_sub(from) <= range_max => continue,
            (Some(_), Some(_)) => format!("the range of `{public}` is wider than {most}"),
            _ => format!(
                "a range of `{public}` must be bounded on both sides, by `{public}.gte` and `{public}.lt`, \
                 and at most {most} wide"
            ),
        };
        return Err(QueryError::Unbounded { reason, model: schema.name });
    }
    Ok(())
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Timestamp(time) => Some(time.as_micros()),
        _ => None,
    }
}

fn width_in_words(value_type: ValueType, width: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    match value_type {
        ValueType::Timestamp if width % DAY == 0 => format!("{} days", width / DAY),
        ValueType::Timestamp => format!("{} s", width / 1_000_000),
        _ => width.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::SCHEMA;
    use crate::{ColumnSpec, Facets, Sensitivity};

    const MONTH: i64 = 31 * 86_400_000_000;

    /// The orders, which may be asked for by at most a month.
    fn by_month() -> &'static Schema {
        let columns = SCHEMA.columns.iter().map(|column| ColumnSpec {
            name: column.name,
            public: column.public,
            value_type: column.value_type,
            nullable: column.nullable,
            choices: column.choices,
            ranked: column.ranked,
            filter: column.filter,
            sort: column.sort,
            sensitivity: Sensitivity::Public,
            facets: Facets { range_max: (column.name == "placed_at").then_some(MONTH), ..Facets::PLAIN },
            meaning: column.meaning,
        });
        let columns: &'static [ColumnSpec] = Vec::leak(columns.collect());
        Box::leak(Box::new(Schema { columns, ..SCHEMA }))
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: Result<(), &str>) {
        let schema = by_month();
        let ask = Ask::from_text(schema, pairs.iter().copied()).unwrap();
        let found = bound_ranges(schema, &ask.conditions).map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_range_is_bounded_on_both_sides_and_no_wider_than_declared() {
        let from = ("placedAt.gte", "2026-07-01T00:00:00Z");
        check(&[from, ("placedAt.lt", "2026-08-01T00:00:00Z")], Ok(()));
        check(&[from, ("placedAt.lt", "2026-08-02T00:00:00Z")], Err("wider than 31 days"));
        check(&[from], Err("bounded on both sides"));
        check(&[("placedAt.lte", "2026-08-01T00:00:00Z")], Err("bounded on both sides"));
        check(&[("placedAt", "2026-08-01T00:00:00Z"), ("lineCount.gte", "2")], Ok(()));
        // The tighter of two bounds is the bound.
        let wide = ("placedAt.lt", "2030-01-01T00:00:00Z");
        check(&[from, wide, ("placedAt.lt", "2026-07-02T00:00:00Z")], Ok(()));
    }
}
