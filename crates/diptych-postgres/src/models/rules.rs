//! How PostgreSQL writes the parts of a row condition. Pure: values are always parameters, each with its
//! type, since nothing is prepared that would tell it.

use super::question::Places;
use super::rows::Parameter;
use super::sql::{columns_of, rank_of};
use crate::time::Stamp;
use diptych_core::{Fault, Timestamp, ValueType};
use diptych_query::{ColumnSpec, PatternPart, RowDialect, RowType};

/// Writes conditions among others of a query.
pub(super) struct Rules<'p> {
    pub(super) places: &'p mut Places,
}

fn name(column: &ColumnSpec) -> String {
    columns_of(column).swap_remove(0)
}

impl RowDialect for Rules<'_> {
    fn truth(&self, flag: bool) -> &'static str {
        if flag { "TRUE" } else { "FALSE" }
    }

    fn failed(&self, of: RowType) -> &'static str {
        match of {
            RowType::Bool => "NULL::boolean",
            RowType::Integer => "NULL::bigint",
            RowType::Text => "NULL::text",
        }
    }

    fn integer(&mut self, number: i64) -> String {
        format!("{}::bigint", self.places.of(Parameter::Integer(Some(number))))
    }

    fn text(&mut self, text: &str) -> String {
        format!("{}::text", self.places.of(Parameter::Text(Some(text.to_owned()))))
    }

    fn column(&mut self, column: &ColumnSpec) -> String {
        match column.value_type {
            // A whole number of microseconds: the epoch comes as an exact decimal.
            ValueType::Timestamp => format!("(extract(epoch FROM {}) * 1000000)::bigint", name(column)),
            _ => name(column),
        }
    }

    fn time(&mut self, column: &ColumnSpec, micros: i64) -> Option<(String, String)> {
        if column.value_type != ValueType::Timestamp {
            return None;
        }
        let time = Timestamp::from_micros(micros).ok()?;
        Some((name(column), format!("{}::timestamptz", self.places.of(Parameter::Time(Some(Stamp(time)))))))
    }

    fn has(&mut self, column: &ColumnSpec) -> String {
        format!("({} IS NOT NULL)", name(column))
    }

    fn rank(&mut self, column: &ColumnSpec) -> String {
        format!("{}::bigint", rank_of(column))
    }

    /// In numbers of any size first: beyond 64 bits PostgreSQL would end the whole query.
    fn sum(&mut self, operator: char, left: &str, right: &str) -> String {
        format!(
            "(SELECT CASE WHEN sum.s BETWEEN -9223372036854775808 AND 9223372036854775807 THEN sum.s::bigint \
             END FROM (SELECT ({left})::numeric {operator} ({right})::numeric AS s) AS sum)"
        )
    }

    fn negative(&mut self, number: &str) -> String {
        self.sum('-', "0", number)
    }

    fn whole(&mut self, sum: String) -> String {
        sum
    }

    fn one_of_integers(&mut self, expr: &str, list: Vec<i64>) -> String {
        format!("({expr} = ANY({}::bigint[]))", self.places.of(Parameter::Integers(list)))
    }

    fn one_of_texts(&mut self, expr: &str, list: Vec<String>) -> String {
        format!("({expr} = ANY({}::text[]))", self.places.of(Parameter::Texts(list)))
    }

    fn like(&mut self, column: &ColumnSpec, pattern: &[PatternPart]) -> Result<String, Fault> {
        let mut like = String::new();
        for part in pattern {
            match part {
                PatternPart::Any => like.push('%'),
                PatternPart::Text(text) => text.chars().for_each(|letter| match letter {
                    '%' | '_' | '\\' => like.extend(['\\', letter]),
                    letter => like.push(letter),
                }),
            }
        }
        let place = self.text(&like);
        Ok(format!(r"({} LIKE {place} ESCAPE '\')", name(column)))
    }
}
