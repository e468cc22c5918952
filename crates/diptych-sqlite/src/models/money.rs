//! The guard of money inside the database: what any other writer than a fold would have to get past. Pure:
//! only text of SQL.
//!
//! A money column has a constraint, and where rows are documents so has its member. Money inside of a
//! `#[json]` column has triggers, because no constraint of SQLite's looks into an array.

use super::sql::{columns_of, literal, quoted};
use diptych_core::{Currency, Money};
use diptych_query::{ColumnSpec, MoneyStep, Schema};
use std::sync::LazyLock;

/// The amount and the currency of a column: an amount that there can be, in a currency that there is.
pub(crate) fn columns_check(column: &ColumnSpec) -> String {
    let names = columns_of(column);
    let (amount, currency) = (&names[0], names.last().unwrap_or(&names[0]));
    format!(
        "({amount} IS NULL) = ({currency} IS NULL) AND ({amount} IS NULL OR {} AND {})",
        in_range(amount),
        is_currency(currency)
    )
}

/// The name of the constraint on a column's money.
pub(crate) fn constraint(schema: &Schema, column: &ColumnSpec) -> String {
    format!("{}_{}_money_check", schema.name, column.name)
}

/// That the value at a path of a JSON text is money or nothing. `path` is a path of SQLite's without quotes.
pub(crate) fn member_check(json: &str, path: &str) -> String {
    let at = |name: &str| literal(&format!("{path}.{name}"));
    let text = |name: &str| format!("json_type({json}, {}) IS 'text'", at(name));
    let (whole, amount) = (literal(path), amount_at(json, path));
    let digits = digits(&amount);
    let fractions = (1..=3).map(|places| format!("{digits} GLOB '*[0-9].{}'", "[0-9]".repeat(places)));
    let fractions: Vec<_> = std::iter::once(format!("instr({digits}, '.') = 0")).chain(fractions).collect();
    format!(
        "(coalesce(json_type({json}, {whole}), 'null') = 'null' OR json_type({json}, {whole}) = 'object' \
         AND {} AND {} AND json_remove({json} -> {whole}, '$.amount', '$.currency') = '{{}}' \
         AND {digits} GLOB '[0-9]*' AND {digits} NOT GLOB '*[^0-9.]*' AND {digits} NOT GLOB '*.*.*' \
         AND ({}) AND {} AND {})",
        text("amount"),
        text("currency"),
        fractions.join(" OR "),
        in_range(&format!("({})", thousandths(&amount))),
        is_currency(&currency_at(json, path))
    )
}

/// The amount of the money at a path.
pub(crate) fn amount_at(json: &str, path: &str) -> String {
    format!("json_extract({json}, {})", literal(&format!("{path}.amount")))
}

/// The currency of the money at a path.
pub(crate) fn currency_at(json: &str, path: &str) -> String {
    format!("json_extract({json}, {})", literal(&format!("{path}.currency")))
}

/// Thousandths of a decimal number, by its digits. One that is far too large stays so and overflows nothing.
pub(crate) fn thousandths(amount: &str) -> String {
    let digits = digits(amount);
    format!(
        "(CASE WHEN {amount} GLOB '-*' THEN -1 ELSE 1 END) * (min(CAST({digits} AS INTEGER), {UNITS_MAX}) \
         * 1000 + CASE instr({amount}, '.') WHEN 0 THEN 0 ELSE \
         CAST(substr(substr({amount}, instr({amount}, '.') + 1) || '000', 1, 3) AS INTEGER) END)"
    )
}

/// More units than any amount has.
const UNITS_MAX: i64 = 10_000_000_000_000;

fn digits(amount: &str) -> String {
    format!("substr({amount}, 1 + ({amount} GLOB '-*'))")
}

fn in_range(thousandths: &str) -> String {
    let most = Money::THOUSANDTHS_MAX;
    format!("typeof({thousandths}) = 'integer' AND {thousandths} BETWEEN -{most} AND {most}")
}

/// That a text is a currency's code: searched in one text of all, which takes no table of them for each row.
fn is_currency(currency: &str) -> String {
    static CODES: LazyLock<String> = LazyLock::new(|| {
        let codes: Vec<_> = Currency::all().map(|currency| currency.to_string()).collect();
        literal(&codes.join(" "))
    });
    format!("{currency} GLOB '[A-Z][A-Z][A-Z]' AND instr({}, {currency}) > 0", *CODES)
}

/// The triggers that refuse a row whose `#[json]` column has something else than money at a path: name,
/// statement. `number` tells the paths of a table apart.
pub(crate) fn triggers(
    table: &str,
    schema: &Schema,
    column: &ColumnSpec,
    path: &[MoneyStep],
    number: usize,
) -> [(String, String); 2] {
    let says = literal(&format!("CHECK constraint failed: {}", constraint(schema, column)));
    let (from, json, path) = walk(&format!("new.{}", quoted(column.name)), path);
    let refuse = format!("SELECT RAISE(ABORT, {says}){from} WHERE NOT {};", member_check(&json, &path));
    let trigger = |when: &str, on: &str| {
        let name = quoted(&format!("{table}_money_{number}_{when}"));
        let sql = format!("CREATE TRIGGER {name} BEFORE {on} ON {} BEGIN {refuse} END", quoted(table));
        (name, sql)
    };
    [trigger("inserted", "INSERT"), trigger("updated", &format!("UPDATE OF {}", quoted(column.name)))]
}

/// The tables of elements to go through, the JSON text of the last and the path in it.
fn walk(json: &str, path: &[MoneyStep]) -> (String, String, String) {
    let (mut from, mut json, mut at) = (String::new(), json.to_owned(), "$".to_owned());
    for (number, step) in path.iter().enumerate() {
        match step {
            MoneyStep::Member(name) => at.push_str(&format!(".\"{name}\"")),
            MoneyStep::Each | MoneyStep::Any => {
                let join = if from.is_empty() { " FROM" } else { " JOIN" };
                // Only what is JSON itself is gone into; the rest is none of the schema's.
                from.push_str(&format!("{join} json_each({json}, {}) AS e{number}", literal(&at)));
                json = format!(
                    "(CASE WHEN e{number}.type IN ('object', 'array') THEN e{number}.value \
                     ELSE json_quote(e{number}.value) END)"
                );
                "$".clone_into(&mut at);
            }
        }
    }
    (from, json, at)
}

#[cfg(test)]
mod tests;
