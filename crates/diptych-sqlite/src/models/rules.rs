//! How SQLite writes the parts of a row condition. Pure: values are always parameters, numbered, since one
//! may stand in the text twice.

use super::sql::{quoted, rank_of};
use diptych_core::{Code, Fault};
use diptych_query::{ColumnSpec, PatternPart, RowDialect, RowType};
use rusqlite::types::Value as Parameter;

/// The longest pattern that SQLite takes (`SQLITE_MAX_LIKE_PATTERN_LENGTH`).
const PATTERN_BYTES_MAX: usize = 50_000;

/// From how many values on a list is one parameter: a statement takes some 32,000 at most.
const LIST_PARAMETERS_MAX: usize = 16;

/// Writes conditions whose parameters come after some others.
pub(super) struct Rules<'p> {
    pub(super) parameters: &'p mut Vec<Parameter>,
}

impl Rules<'_> {
    fn place(&mut self, parameter: Parameter) -> String {
        self.parameters.push(parameter);
        format!("?{}", self.parameters.len())
    }

    fn one_of(&mut self, expr: &str, list: Vec<Parameter>, json: impl FnOnce() -> String) -> String {
        if list.len() > LIST_PARAMETERS_MAX {
            let all = self.place(Parameter::Text(json()));
            return format!("({expr} IN (SELECT value FROM json_each({all})))");
        }
        let places: Vec<_> = list.into_iter().map(|parameter| self.place(parameter)).collect();
        format!("({expr} IN ({}))", places.join(", "))
    }
}

impl RowDialect for Rules<'_> {
    fn truth(&self, flag: bool) -> &'static str {
        if flag { "1" } else { "0" }
    }

    fn failed(&self, _: RowType) -> &'static str {
        "NULL"
    }

    fn integer(&mut self, number: i64) -> String {
        self.place(Parameter::Integer(number))
    }

    fn text(&mut self, text: &str) -> String {
        self.place(Parameter::Text(text.to_owned()))
    }

    fn column(&mut self, column: &ColumnSpec) -> String {
        quoted(column.name)
    }

    fn has(&mut self, column: &ColumnSpec) -> String {
        format!("({} IS NOT NULL)", quoted(column.name))
    }

    fn rank(&mut self, column: &ColumnSpec) -> String {
        format!("({})", rank_of(column))
    }

    /// Beyond 64 bits SQLite goes on with a number that is no whole one, and stays with it.
    fn sum(&mut self, operator: char, left: &str, right: &str) -> String {
        format!("({left} {operator} {right})")
    }

    fn negative(&mut self, number: &str) -> String {
        format!("(- {number})")
    }

    fn whole(&mut self, sum: String) -> String {
        format!("(CASE typeof({sum}) WHEN 'integer' THEN {sum} END)")
    }

    fn one_of_integers(&mut self, expr: &str, list: Vec<i64>) -> String {
        let json = || serde_json::Value::from(list.clone()).to_string();
        self.one_of(expr, list.iter().copied().map(Parameter::Integer).collect(), json)
    }

    fn one_of_texts(&mut self, expr: &str, list: Vec<String>) -> String {
        let json = || serde_json::Value::from(list.clone()).to_string();
        self.one_of(expr, list.iter().cloned().map(Parameter::Text).collect(), json)
    }

    /// By GLOB: unlike LIKE, it does not take `a` for `A`.
    fn like(&mut self, column: &ColumnSpec, pattern: &[PatternPart]) -> Result<String, Fault> {
        let mut glob = String::new();
        for part in pattern {
            match part {
                PatternPart::Any => glob.push('*'),
                PatternPart::Text(text) => text.chars().for_each(|letter| match letter {
                    '*' | '?' | '[' => glob.extend(['[', letter, ']']),
                    letter => glob.push(letter),
                }),
            }
        }
        if glob.len() > PATTERN_BYTES_MAX {
            let message = format!("a row rule has a pattern of more than {PATTERN_BYTES_MAX} bytes");
            return Err(Fault::permanent(Code::Internal, message));
        }
        let place = self.place(Parameter::Text(glob));
        Ok(format!("({} GLOB {place})", quoted(column.name)))
    }
}
