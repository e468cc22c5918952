//! The guard of money inside the database: what any other writer than a fold would have to get past. Pure:
//! only text of SQL.
//!
//! Every money column has a constraint, every member of a document that is money, and every money field
//! inside of a `#[json]` column, whose constraint is a path of SQL/JSON. Such a path takes an array of one
//! for its element, which the fold's validator does not.

use super::sql::{columns_of, literal};
use crate::shared::quoted;
use diptych_core::{Currency, Money};
use diptych_query::{ColumnSpec, MoneyStep, Schema};
use std::fmt::Write;

/// The form of an amount.
const AMOUNT: &str = "^-?[0-9]+([.][0-9]{1,3})?$";

/// The amount and the currency of a column: an amount that there can be, in a currency that there is.
pub(crate) fn columns_check(column: &ColumnSpec) -> String {
    let names = columns_of(column);
    let (amount, currency) = (&names[0], names.last().unwrap_or(&names[0]));
    let most = Money::THOUSANDTHS_MAX;
    let codes: Vec<_> = Currency::all().map(|currency| literal(currency.as_str())).collect();
    format!(
        "({amount} IS NULL) = ({currency} IS NULL) AND ({amount} IS NULL \
         OR {amount} BETWEEN -{most} AND {most} AND {currency} IN ({}))",
        codes.join(", ")
    )
}

/// The name of the constraints on a column's money, which a further one follows with a number.
pub(crate) fn constraint(schema: &Schema, column: &ColumnSpec) -> String {
    format!("{}_{}_money_check", schema.name, column.name)
}

/// That a JSON value is an object of two texts, the first an amount, or nothing.
pub(crate) fn member_check(held: &str) -> String {
    let text = |name: &str| format!("jsonb_typeof({held} -> '{name}') IS NOT DISTINCT FROM 'string'");
    format!(
        "(coalesce(jsonb_typeof({held}), 'null') = 'null' OR jsonb_typeof({held}) = 'object' \
         AND {} AND {} AND {held} - 'amount' - 'currency' = '{{}}'::jsonb AND ({held} ->> 'amount') ~ {})",
        text("amount"),
        text("currency"),
        literal(AMOUNT)
    )
}

/// Thousandths of an amount of that form; none of another, so that the guard refuses it and not the number.
pub(crate) fn thousandths(amount: &str) -> String {
    let most = Money::THOUSANDTHS_MAX;
    format!(
        "(CASE WHEN {amount} ~ {form} THEN CASE WHEN abs({amount}::numeric * 1000) <= {most} \
         THEN ({amount}::numeric * 1000)::bigint END END)",
        form = literal(AMOUNT)
    )
}

/// That a `#[json]` column holds nothing but money at a path.
pub(crate) fn inside_check(column: &ColumnSpec, path: &[MoneyStep]) -> String {
    let codes: Vec<_> = Currency::all().map(|currency| currency.to_string()).collect();
    let mut at = "lax $".to_owned();
    for step in path {
        // Writing into a text cannot fail.
        let _ = match step {
            MoneyStep::Member(name) => write!(at, ".{}", serde_json::Value::from(name.as_str())),
            MoneyStep::Each => at.write_str("[*]"),
            MoneyStep::Any => at.write_str(".*"),
        };
    }
    let bad = format!(
        "{at} ? (!(@ == null) && (!(@.type() == \"object\") || !(@.amount.type() == \"string\") \
         || !(@.currency.type() == \"string\") \
         || exists(@.keyvalue() ? (@.key != \"amount\" && @.key != \"currency\")) \
         || !(@.amount like_regex \"^-?0*({})$\") || !(@.currency like_regex \"^({})$\")))",
        amounts_up_to(Money::THOUSANDTHS_MAX),
        codes.join("|")
    );
    format!("NOT jsonb_path_exists({}::jsonb, {})", quoted(column.name), literal(&bad))
}

/// A pattern of the amounts without leading zeros that come to so many thousandths at most.
fn amounts_up_to(most: i64) -> String {
    let whole = (most / 1000).to_string();
    let mut all = vec![format!("[0-9]{{1,{}}}([.][0-9]{{1,3}})?", whole.len() - 1)];
    for (at, digit) in whole.char_indices().filter(|(_, digit)| *digit > '0') {
        let lower = char::from_u32(u32::from(digit) - 1).unwrap_or('0');
        let first = if at == 0 { '1' } else { '0' };
        if lower >= first {
            let rest = whole.len() - at - 1;
            all.push(format!("{}[{first}-{lower}][0-9]{{{rest}}}([.][0-9]{{1,3}})?", &whole[..at]));
        }
    }
    all.push(format!("{whole}([.]({}))?", fractions_up_to(most % 1000)));
    all.join("|")
}

/// A pattern of one to three decimals that come to so many thousandths at most.
fn fractions_up_to(most: i64) -> String {
    let text = format!("{most:03}");
    let mut all = vec![text.clone()];
    for places in 1..=3 {
        for at in 0..places {
            let digit = text.as_bytes()[at];
            if digit > b'0' {
                let lower = char::from(digit - 1);
                all.push(format!("{}[0-{lower}][0-9]{{{}}}", &text[..at], places - at - 1));
            }
        }
        if places < 3 {
            all.push(text[..places].to_owned());
        }
    }
    all.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_of_amounts_ends_where_the_range_does() {
        assert_eq!(
            fractions_up_to(991),
            "991|[0-8][0-9]{0}|9|[0-8][0-9]{1}|9[0-8][0-9]{0}|99|[0-8][0-9]{2}|9[0-8][0-9]{1}|99[0-0][0-9]{0}"
        );
        let amounts = amounts_up_to(Money::THOUSANDTHS_MAX);
        assert!(amounts.starts_with("[0-9]{1,12}([.][0-9]{1,3})?|[1-8][0-9]{12}"), "{amounts}");
        assert!(amounts.contains("|900[0-6][0-9]{9}"), "{amounts}");
    }
}
