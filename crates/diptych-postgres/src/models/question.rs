//! Text of the query that a question is: filters, order and the place where a page goes on. Pure; values are
//! parameters.

use super::rows::{Kind, Parameter, is_storable};
use super::rules::Rules;
use super::sql::{Named, all_columns, directed, key_terms, term_kinds, terms};
use super::words;
use crate::shared::quoted;
use crate::time::Stamp;
use diptych_core::{Fault, Value};
use diptych_query::{ColumnSpec, Condition, Cursor, Direction, Operator, RawFind, Schema};
use std::borrow::Cow;

/// One part of a query with its parameters.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// Parameters as they are met, each with its number.
#[derive(Default)]
pub(super) struct Places(Vec<Parameter>);

impl Places {
    pub(super) fn of(&mut self, parameter: Parameter) -> String {
        self.0.push(parameter);
        format!("${}", self.0.len())
    }

    fn all(&mut self, parameters: Vec<Parameter>) -> Vec<String> {
        parameters.into_iter().map(|parameter| self.of(parameter)).collect()
    }
}

/// What no row fits.
const NOTHING: &str = "FALSE";

/// Where in an order a part begins.
enum Start<'c> {
    Anywhere,
    /// After a place in the order of the key alone.
    Key(&'c Cursor),
    /// After a place in the order of the sorted column, then the key.
    Sorted(&'c Cursor),
}

/// What tells one part of a query from another.
struct Asked<'c> {
    sort: Option<(&'c ColumnSpec, Direction)>,
    /// A condition that tells the rows of this part from those of others.
    given: Option<String>,
    start: Start<'c>,
}

/// A query in its parts, whose rows follow each other; each holds as many as are asked for.
///
/// # Errors
/// A row rule that cannot be asked for.
pub(crate) fn find(table: &Named, schema: &Schema, find: &RawFind) -> Result<Vec<Part>, Fault> {
    let sort = find.sort.and_then(|(column, direction)| Some((schema.columns.get(column)?, direction)));
    let after = find.after.as_ref();
    let by_key = || after.map_or(Start::Anywhere, Start::Key);
    let Some((column, direction)) = sort else {
        return Ok(vec![part(table, schema, find, Asked { sort: None, given: None, start: by_key() })?]);
    };
    let first = terms(column).into_iter().next().unwrap_or_default();
    let beyond_values = matches!(after, Some(Cursor { sorted: Some(Value::Null), .. }));
    let mut parts = Vec::new();
    if !beyond_values {
        let start = after.map_or(Start::Anywhere, Start::Sorted);
        let given = column.nullable.then(|| format!("{first} IS NOT NULL"));
        parts.push(part(table, schema, find, Asked { sort: Some((column, direction)), given, start })?);
    }
    if column.nullable {
        let start = if beyond_values { by_key() } else { Start::Anywhere };
        let given = Some(format!("{first} IS NULL"));
        // The sorted column stays in the order, although it tells these rows nothing: so its index gives it.
        parts.push(part(table, schema, find, Asked { sort: Some((column, direction)), given, start })?);
    }
    Ok(parts)
}

fn part(table: &Named, schema: &Schema, find: &RawFind, asked: Asked<'_>) -> Result<Part, Fault> {
    let mut places = Places::default();
    let tenant = places.of(Parameter::Text(Some(find.tenant.as_str().to_owned())));
    let mut conditions = vec![format!("\"tenant_id\" = {tenant}")];
    for condition in &find.conditions {
        conditions.push(fits(schema, condition, &mut places));
    }
    if !find.words.is_empty() {
        // Where nothing is searched, no row has a word.
        let asked = words::are_searched(schema).then(|| words::query(&find.words)).flatten();
        let asked = asked.map(|asked| places.of(Parameter::Text(Some(asked))));
        let fits = |place| format!("{} @@ {place}::text::tsquery", quoted(words::COLUMN));
        conditions.push(asked.map_or_else(|| NOTHING.to_owned(), fits));
    }
    conditions.extend(find.rule.print(schema, &mut Rules { places: &mut places })?);
    conditions.extend(asked.given);
    match (asked.start, asked.sort) {
        (Start::Anywhere, _) => {}
        (Start::Key(cursor), _) | (Start::Sorted(cursor), None) => {
            let given = places.all(key_values(schema, cursor));
            conditions.push(format!("{} > {}", tuple(&key_terms(schema)), tuple(&given)));
        }
        (Start::Sorted(cursor), Some((column, direction))) => {
            conditions.push(sorted_after(schema, column, direction, cursor, &mut places));
        }
    }
    let sorted = asked
        .sort
        .into_iter()
        .flat_map(|(column, direction)| terms(column).into_iter().map(move |term| directed(term, direction)));
    let order: Vec<_> = sorted.chain(key_terms(schema)).collect();
    let limit = places.of(Parameter::Integer(Some(i64::try_from(find.rows_max).unwrap_or(i64::MAX))));
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {limit}",
        all_columns(schema).join(", "),
        table.sql(),
        conditions.join(" AND "),
        order.join(", ")
    );
    Ok(Part { sql, parameters: places.0 })
}

fn fits(schema: &Schema, asked: &Condition, places: &mut Places) -> String {
    let Some(column) = schema.columns.get(asked.column) else {
        return NOTHING.to_owned();
    };
    let left = tuple(&terms(column));
    let operator = |operator| match operator {
        Operator::Equal => "=",
        Operator::Less => "<",
        Operator::AtMost => "<=",
        Operator::Greater => ">",
        Operator::AtLeast => ">=",
    };
    let values = asked.values.iter().filter(|value| **value != Value::Null);
    let comparable = values.filter_map(|value| without_nul(asked.operator, value));
    let given: Vec<_> = comparable
        .map(|(asked, value)| (operator(asked), tuple(&places.all(term_values(column, &value)))))
        .collect();
    match given.as_slice() {
        [] => NOTHING.to_owned(),
        [(operator, one)] => format!("{left} {operator} {one}"),
        many if asked.operator == Operator::Equal => {
            let many: Vec<_> = many.iter().map(|(_, one)| one.as_str()).collect();
            format!("{left} IN ({})", many.join(", "))
        }
        many => {
            let any: Vec<_> = many.iter().map(|(operator, one)| format!("{left} {operator} {one}")).collect();
            format!("({})", any.join(" OR "))
        }
    }
}

/// The same comparison by a text that PostgreSQL takes. No stored text holds a NUL: none equals one that
/// does, and what stands before the NUL parts those below from those above.
fn without_nul(operator: Operator, value: &Value) -> Option<(Operator, Cow<'_, Value>)> {
    let Value::Text(text) = value else { return Some((operator, Cow::Borrowed(value))) };
    if is_storable(value) {
        return Some((operator, Cow::Borrowed(value)));
    }
    let before = text.split('\0').next().unwrap_or_default();
    let operator = match operator {
        Operator::Equal => return None,
        Operator::Less | Operator::AtMost => Operator::AtMost,
        Operator::Greater | Operator::AtLeast => Operator::Greater,
    };
    Some((operator, Cow::Owned(Value::Text(before.to_owned()))))
}

/// After a place in the order of a column, then the key.
fn sorted_after(
    schema: &Schema,
    column: &ColumnSpec,
    direction: Direction,
    cursor: &Cursor,
    places: &mut Places,
) -> String {
    let mut sorted = terms(column);
    let mut given = places.all(term_values(column, cursor.sorted.as_ref().unwrap_or(&Value::Null)));
    let key = places.all(key_values(schema, cursor));
    if direction == Direction::Ascending {
        sorted.extend(key_terms(schema));
        given.extend(key);
        return format!("{} > {}", tuple(&sorted), tuple(&given));
    }
    let (left, right) = (tuple(&sorted), tuple(&given));
    let (terms, key) = (tuple(&key_terms(schema)), tuple(&key));
    // The first term repeats what the second says, so that an index can be entered at the place.
    format!("{left} <= {right} AND ({left} < {right} OR {terms} > {key})")
}

fn key_values(schema: &Schema, cursor: &Cursor) -> Vec<Parameter> {
    let columns = schema.key.iter().map(|column| &schema.columns[*column]);
    columns.zip(&cursor.key).flat_map(|(column, value)| term_values(column, value)).collect()
}

/// A value as the parameters for a column's terms.
pub(crate) fn term_values(column: &ColumnSpec, value: &Value) -> Vec<Parameter> {
    let one = |kind: Kind| match (kind, value) {
        (Kind::Rank, Value::Text(text)) => Parameter::Rank(Some(rank(column, text))),
        (Kind::Rank, _) => Parameter::Rank(None),
        (Kind::Integer, Value::Integer(number)) => Parameter::Integer(Some(*number)),
        (Kind::Integer, Value::Money(money)) => Parameter::Integer(Some(money.thousandths())),
        (Kind::Integer, _) => Parameter::Integer(None),
        (Kind::Text, Value::Money(money)) => Parameter::Text(Some(money.currency().as_str().to_owned())),
        (Kind::Text, Value::Text(text) | Value::Json(text)) => Parameter::Text(Some(text.clone())),
        (Kind::Text, _) => Parameter::Text(None),
        (Kind::Bool, Value::Bool(flag)) => Parameter::Bool(Some(*flag)),
        (Kind::Bool, _) => Parameter::Bool(None),
        (Kind::Time, Value::Timestamp(time)) => Parameter::Time(Some(Stamp(*time))),
        (Kind::Time, _) => Parameter::Time(None),
        (Kind::Bytes, Value::Bytes(bytes)) => Parameter::Bytes(Some(bytes.clone())),
        (Kind::Bytes, _) => Parameter::Bytes(None),
        // No column of a declaration is a document.
        (Kind::Document, _) => Parameter::Text(None),
    };
    term_kinds(column).into_iter().map(one).collect()
}

/// The place of a text among the choices; a text that is none of them comes before all.
pub(crate) fn rank(column: &ColumnSpec, text: &str) -> i32 {
    let rank = column.choices.iter().position(|choice| *choice == text);
    rank.and_then(|rank| i32::try_from(rank).ok()).unwrap_or(-1)
}

fn tuple(terms: &[String]) -> String {
    match terms {
        [one] => one.clone(),
        many => format!("({})", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::sql::tests::ORDER;
    use crate::shared;
    use diptych_core::{Currency, Money, Tenant, Timestamp};

    const COLUMNS: &str =
        r#""order_id", "customer", "total", "total_currency", "placed_at", "due_at", "risk", "open""#;
    const RANK: &str = r#"(CASE "risk" WHEN 'LOW' THEN 0 WHEN 'HIGH' THEN 1 END)"#;

    fn asked(conditions: Vec<Condition>, sort: Option<(usize, Direction)>, after: Option<Cursor>) -> RawFind {
        RawFind {
            rule: diptych_query::RowRule::All,
            words: diptych_query::Words::default(),
            tenant: Tenant::new("main").unwrap(),
            conditions,
            sort,
            after,
            rows_max: 20,
        }
    }

    fn equal(column: usize, value: Value) -> Condition {
        Condition { column, operator: Operator::Equal, values: vec![value] }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn at(sorted: Option<Value>) -> Option<Cursor> {
        Some(Cursor { sorted, key: vec![text("o1")] })
    }

    #[track_caller]
    fn check(find: &RawFind, expected: &[&str]) {
        let table = Named::new(&shared::Schema::new("diptych"), "t");
        let parts = super::find(&table, &ORDER, find).unwrap();
        let head = format!(r#"SELECT {COLUMNS} FROM "diptych"."t" WHERE "tenant_id" = $1"#);
        let tail = |part: &Part| part.sql.strip_prefix(&head).expect("every query begins alike").to_owned();
        let tails: Vec<_> = parts.iter().map(tail).collect();
        assert_eq!(tails, expected);
        for part in &parts {
            let last = part.parameters.len();
            assert!(part.sql.contains(&format!("${last}")), "{}", part.sql);
            assert!(!part.sql.contains(&format!("${}", last + 1)), "{}", part.sql);
        }
    }

    #[test]
    fn a_query_without_a_sort_goes_by_key() {
        check(&asked(vec![], None, None), &[r#" ORDER BY "order_id" LIMIT $2"#]);
        check(&asked(vec![], None, at(None)), &[r#" AND "order_id" > $2 ORDER BY "order_id" LIMIT $3"#]);
    }

    #[test]
    fn a_descending_page_enters_the_index_at_its_place() {
        let place = at(Some(Value::Timestamp(Timestamp::EPOCH)));
        let find = asked(vec![equal(1, text("ann"))], Some((3, Direction::Descending)), place);
        let expected = concat!(
            r#" AND "customer" = $2 AND "placed_at" <= $3 AND ("placed_at" < $3 OR "order_id" > $4)"#,
            r#" ORDER BY "placed_at" DESC, "order_id" LIMIT $5"#
        );
        check(&find, &[expected]);
    }

    #[test]
    fn rows_without_a_value_are_a_part_of_their_own_and_come_last() {
        let order = r#"ORDER BY "due_at" DESC, "order_id" LIMIT $2"#;
        let with_values = format!(r#" AND "due_at" IS NOT NULL {order}"#);
        let without = format!(r#" AND "due_at" IS NULL {order}"#);
        check(&asked(vec![], Some((4, Direction::Descending)), None), &[&with_values, &without]);
        let beyond = r#" AND "due_at" IS NULL AND "order_id" > $2 ORDER BY "due_at", "order_id" LIMIT $3"#;
        check(&asked(vec![], Some((4, Direction::Ascending)), at(Some(Value::Null))), &[beyond]);
    }

    #[test]
    fn a_row_rule_is_written_so_that_an_index_may_serve_it() {
        use diptych_query::{RowConditions, RowExpr, RowRule};
        let (cell, number) = (RowExpr::Cell, RowExpr::Integer);
        let texts = |texts: &[&str]| texts.iter().map(|text| RowExpr::Text((*text).to_owned())).collect();
        let one_of = |list: &[&str]| RowExpr::OneOf(Box::new(cell(1)), texts(list));
        let since = RowExpr::AtMost(Box::new(number(7)), Box::new(cell(4)));
        let due = RowExpr::And(Box::new(RowExpr::Has(4)), Box::new(since));
        for (permits, expected) in [
            (vec![one_of(&["ann"])], r#"("customer" = $2::text)"#),
            (vec![one_of(&["ann", "bob"])], r#"("customer" = ANY($2::text[]))"#),
            (vec![due.clone()], r#"(("due_at" IS NOT NULL) AND ($2::timestamptz <= "due_at"))"#),
            (
                vec![one_of(&["ann"]), due],
                concat!(
                    r#"(("customer" = $2::text) OR "#,
                    r#"(("due_at" IS NOT NULL) AND ($3::timestamptz <= "due_at")))"#
                ),
            ),
        ] {
            let rule = RowRule::Where([RowConditions { permits, forbids: Vec::new() }].into());
            let find = RawFind { rule, ..asked(vec![], None, None) };
            let last = if expected.contains("$3") { 4 } else { 3 };
            check(&find, &[&format!(r#" AND {expected} ORDER BY "order_id" LIMIT ${last}"#)]);
        }
    }

    #[test]
    fn a_ranked_text_sorts_and_filters_by_its_rank() {
        let find = asked(vec![equal(5, text("HIGH"))], Some((5, Direction::Ascending)), None);
        let expected = format!(r#" AND {RANK} = $2 ORDER BY {RANK}, "order_id" LIMIT $3"#);
        check(&find, &[&expected]);
        let values = term_values(&ORDER.columns[5], &text("HIGH"));
        assert_eq!(values, [Parameter::Rank(Some(1))]);
    }

    #[test]
    fn money_sorts_by_currency_then_amount() {
        let money = Money::from_thousandths(39_980, Currency::GBP).unwrap();
        let find = asked(vec![], Some((2, Direction::Ascending)), at(Some(Value::Money(money))));
        let expected = concat!(
            r#" AND ("total_currency", "total", "order_id") > ($2, $3, $4)"#,
            r#" ORDER BY "total_currency", "total", "order_id" LIMIT $5"#
        );
        check(&find, &[expected]);
    }

    #[test]
    fn no_value_fits_no_condition_and_several_values_are_a_list() {
        check(
            &asked(vec![equal(1, Value::Null)], None, None),
            &[r#" AND FALSE ORDER BY "order_id" LIMIT $2"#],
        );
        let values = vec![text("ann"), Value::Null, text("bob")];
        let several = Condition { column: 1, operator: Operator::Equal, values };
        let expected = r#" AND "customer" IN ($2, $3) ORDER BY "order_id" LIMIT $4"#;
        check(&asked(vec![several], None, None), &[expected]);
    }

    #[test]
    fn a_text_with_nul_is_compared_by_what_stands_before_it() {
        let asked_by =
            |operator| asked(vec![Condition { column: 1, operator, values: vec![text("a\0b")] }], None, None);
        check(&asked_by(Operator::Equal), &[r#" AND FALSE ORDER BY "order_id" LIMIT $2"#]);
        let below = r#" AND "customer" <= $2 ORDER BY "order_id" LIMIT $3"#;
        let above = r#" AND "customer" > $2 ORDER BY "order_id" LIMIT $3"#;
        for (operator, expected) in [
            (Operator::Less, below),
            (Operator::AtMost, below),
            (Operator::Greater, above),
            (Operator::AtLeast, above),
        ] {
            check(&asked_by(operator), &[expected]);
        }
    }
}
