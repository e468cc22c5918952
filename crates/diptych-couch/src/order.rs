//! Forms of values that sort as ASCII text the way the values sort: identities of documents and what a server
//! may compare. No text of a row stands in them as it is, since servers order text by other rules.

use diptych_core::{Tenant, Value};
use diptych_query::{ColumnSpec, RowRef};
use std::fmt::Write;

/// What ends a part of an identity: it sorts before every digit.
const END: char = '-';

/// What sorts after [`END`] and before every digit.
const AFTER_END: char = '.';

/// What sorts after [`AFTER_END`] and before every digit.
const AFTER_TABLE: char = '/';

/// The form of no value in an identity, which comes after every value.
const NO_VALUE: &str = "~";

/// The form of no value in an index, which comes after every value, also by the Unicode Collation Algorithm,
/// by which servers order what is no identity.
pub(crate) const NOTHING: &str = "z";

/// What ends a form that is turned round: it comes after every digit and before [`NOTHING`].
const TURNED_END: char = 'g';

/// The form of a column's value in an index: forms sort as questions compare the values.
pub(crate) fn form(column: &ColumnSpec, value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::Text(name) if column.ranked => {
            let rank = column.choices.iter().position(|choice| choice == name);
            // What is no choice was written by hand; it stands after all choices.
            rank.map_or_else(|| format!("ffff{}", hex(name.as_bytes())), |rank| format!("{rank:04x}"))
        }
        other => ordered(other),
    }
}

/// A form that sorts the other way round; no value still comes last. The server makes the same.
pub(crate) fn turned(form: &str) -> String {
    if form == NOTHING {
        return form.to_owned();
    }
    let turn = |digit: char| digit.to_digit(16).and_then(|digit| char::from_digit(15 - digit, 16));
    form.chars().filter_map(turn).chain([TURNED_END]).collect()
}

/// The form of a value: of one type, forms sort as [`Value::portable_cmp`] does.
fn ordered(value: &Value) -> String {
    match value {
        Value::Null => NO_VALUE.to_owned(),
        Value::Integer(number) => biased(*number),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Text(text) | Value::Json(text) => hex(text.as_bytes()),
        Value::Timestamp(time) => biased(time.as_micros()),
        Value::Money(money) => {
            format!("{}{}", hex(money.currency().as_str().as_bytes()), biased(money.thousandths()))
        }
        Value::Bytes(bytes) => hex(bytes),
    }
}

/// The identity of a row's document: identities sort as rows do in their table.
pub(crate) fn id_of(table: usize, row: &RowRef) -> String {
    format!("{}{}", beginning_of(table, &row.tenant), key_of(&row.key))
}

/// How the identities of a tenant's rows begin, with some first values of their keys.
pub(crate) fn beginning(table: usize, tenant: &Tenant, key: &[Value]) -> String {
    format!("{}{}", beginning_of(table, tenant), key_of(key))
}

/// What sorts after every identity that begins like this and before every other.
pub(crate) fn end_of(beginning: &str) -> String {
    let mut end = beginning.to_owned();
    if end.pop() == Some(END) {
        end.push(AFTER_END);
    }
    end
}

/// Between what the identities of a table's rows are.
pub(crate) fn table_bounds(table: usize) -> (String, String) {
    (format!("t{table}{AFTER_END}"), format!("t{table}{AFTER_TABLE}"))
}

/// What sorts directly after an identity.
pub(crate) fn after(id: &str) -> String {
    format!("{id}{END}")
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// How the identities of a tenant's rows begin.
pub(crate) fn beginning_of(table: usize, tenant: &Tenant) -> String {
    format!("t{table}{AFTER_END}{}{END}", hex(tenant.as_str().as_bytes()))
}

fn key_of(key: &[Value]) -> String {
    key.iter().map(|value| format!("{}{END}", ordered(value))).collect()
}

/// Sixteen digits that sort as the number does, negative ones first.
fn biased(number: i64) -> String {
    format!("{:016x}", number.cast_unsigned() ^ (1 << 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych_core::{Currency, Money};

    fn row(tenant: &str, key: &[Value]) -> RowRef {
        RowRef { tenant: Tenant::new(tenant).expect("a tenant"), key: key.to_vec() }
    }

    #[test]
    fn identities_sort_as_rows_do() {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut rows = Vec::new();
        for tenant in ["a", "ab", "b", "z"] {
            for first in ["", "a", "a-", "ab", "ä", "b", "~"] {
                for second in [i64::MIN, -1, 0, 1, i64::MAX] {
                    rows.push(row(tenant, &[text(first), Value::Integer(second)]));
                }
            }
        }
        let mut by_id = rows.clone();
        by_id.sort_by_key(|row| id_of(3, row));
        rows.sort_by(RowRef::table_cmp);
        assert_eq!(by_id, rows);
    }

    #[test]
    fn bounds_hold_what_they_should_and_nothing_else() {
        let text = |text: &str| Value::Text(text.to_owned());
        let (a, ab) = (row("a", &[text("x"), Value::Integer(1)]), row("ab", &[text("x"), Value::Integer(1)]));
        let begins = beginning(0, &a.tenant, &[text("x")]);
        let within = |row: &RowRef| id_of(0, row) >= begins && id_of(0, row) < end_of(&begins);
        assert!(within(&a) && !within(&ab));
        assert!(!within(&row("a", &[text("xy"), Value::Integer(1)])));
        let (from, to) = table_bounds(0);
        for row in [&a, &ab] {
            assert!(id_of(0, row) > from && id_of(0, row) < to);
            assert!(after(&id_of(0, row)) > id_of(0, row));
        }
        assert!(id_of(1, &a) > to && id_of(10, &a) > to);
    }

    #[test]
    fn forms_sort_as_values_do() {
        let money =
            |amount, currency| Value::Money(Money::from_thousandths(amount, currency).expect("money"));
        let sorted =
            [money(-5, Currency::EUR), money(7, Currency::EUR), money(-9, Currency::GBP), Value::Null];
        assert!(sorted.windows(2).all(|pair| ordered(&pair[0]) < ordered(&pair[1])));
        let flags = [Value::Bool(false), Value::Bool(true)];
        assert!(ordered(&flags[0]) < ordered(&flags[1]));
    }

    #[test]
    fn turned_forms_sort_the_other_way_round_with_no_value_last() {
        let texts = ["", "a", "a\u{0}", "ab", "b", "\u{10ffff}"];
        let forms: Vec<_> = texts.iter().map(|text| ordered(&Value::Text((*text).to_owned()))).collect();
        assert!(forms.windows(2).all(|pair| pair[0] < pair[1] && turned(&pair[0]) > turned(&pair[1])));
        assert!(forms.iter().all(|form| form.as_str() < NOTHING && turned(form).as_str() < NOTHING));
        assert_eq!(turned(NOTHING), NOTHING);
    }
}
