//! Row conditions as SQL: what both databases share. How a value, a column or a pattern is written is the
//! database's; values are never part of the text.
//!
//! No value stands for what failed. In SQL `NULL AND FALSE` is false, though, where a condition whose first
//! part failed has failed as a whole: `AND` and `OR` are written as they are only where the left side cannot
//! fail, or where it does not matter whether a condition fails or is false.

use super::settled::{Comparison, Term, settled};
use super::{PatternPart, RowConditions, RowRule, RowType, Worth};
use crate::{ColumnSpec, Schema};
use diptych_core::Fault;

/// How a database writes the parts of a condition. Every answer is an expression that can stand beside any
/// operator.
pub trait RowDialect {
    /// True or false.
    fn truth(&self, flag: bool) -> &'static str;

    /// What has failed, in the place of a value of a type.
    fn failed(&self, of: RowType) -> &'static str;

    /// A number, as a parameter.
    fn integer(&mut self, number: i64) -> String;

    /// A text without NUL, as a parameter.
    fn text(&mut self, text: &str) -> String;

    /// What a column holds: a number, a truth, a text, or the microseconds of a time.
    fn column(&mut self, column: &ColumnSpec) -> String;

    /// A column of times beside a number of microseconds, both as something that an index serves. None where
    /// the column is of microseconds anyway, or no time is so far away.
    fn time(&mut self, column: &ColumnSpec, micros: i64) -> Option<(String, String)> {
        let _ = (column, micros);
        None
    }

    /// Whether a column has a value.
    fn has(&mut self, column: &ColumnSpec) -> String;

    /// The place of a column's text among its choices.
    fn rank(&mut self, column: &ColumnSpec) -> String;

    /// A sum, a difference or a product (`+`, `-`, `*`) of numbers; no value, or no whole number, beyond 64
    /// bits.
    fn sum(&mut self, operator: char, left: &str, right: &str) -> String;

    /// The number with the other sign; no value, or no whole number, beyond 64 bits.
    fn negative(&mut self, number: &str) -> String;

    /// What a sum is worth where it is compared: no value where it is no whole number.
    fn whole(&mut self, sum: String) -> String;

    /// Whether an expression is one of some numbers, at least two.
    fn one_of_integers(&mut self, expr: &str, list: Vec<i64>) -> String;

    /// Whether an expression is one of some texts, at least two, without NUL.
    fn one_of_texts(&mut self, expr: &str, list: Vec<String>) -> String;

    /// Whether a column's text is made of these parts: at least one of any text, none with a NUL.
    ///
    /// # Errors
    /// A pattern that the database does not take.
    fn like(&mut self, column: &ColumnSpec, pattern: &[PatternPart]) -> Result<String, Fault>;
}

impl RowRule {
    /// The rule as a condition in SQL; none where every row fits.
    ///
    /// # Errors
    /// A rule that cannot be asked for: one whose types do not fit, or that is too deep.
    pub fn print(&self, schema: &Schema, dialect: &mut dyn RowDialect) -> Result<Option<String>, Fault> {
        let sets = match self {
            Self::All => return Ok(None),
            Self::Nothing => return Ok(Some(dialect.truth(false).to_owned())),
            Self::Where(sets) => sets,
        };
        let mut printing = Printing { schema, dialect };
        let sets = sets.iter().map(|conditions| printing.conditions(conditions));
        let sets = sets.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(printing.balanced(&sets, " OR ")))
    }
}

/// Columns that are known to have a value.
type Known = Vec<usize>;

struct Printing<'p> {
    schema: &'p Schema,
    dialect: &'p mut dyn RowDialect,
}

impl Printing<'_> {
    fn conditions(&mut self, conditions: &RowConditions) -> Result<String, Fault> {
        let mut permits = Vec::new();
        for permit in &conditions.permits {
            match settled(self.schema, permit)? {
                Term::Failed(_) | Term::Literal(Worth::Bool(false)) => {}
                term => permits.push(self.term(&term, &Vec::new(), true)?),
            }
        }
        let mut all = vec![self.balanced(&permits, " OR ")];
        for forbid in &conditions.forbids {
            match settled(self.schema, forbid)? {
                Term::Failed(_) | Term::Literal(Worth::Bool(false)) => {}
                term => all.push(format!("({} IS NOT TRUE)", self.term(&term, &Vec::new(), true)?)),
            }
        }
        Ok(self.balanced(&all, " AND "))
    }

    /// Joined in pairs of pairs, so that no text is deeper than it needs to be: databases have a limit.
    fn balanced(&self, parts: &[String], operator: &str) -> String {
        match parts {
            [] => self.dialect.truth(operator == " AND ").to_owned(),
            [one] => one.clone(),
            parts => {
                let (left, right) = parts.split_at(parts.len() / 2);
                format!("({}{operator}{})", self.balanced(left, operator), self.balanced(right, operator))
            }
        }
    }

    /// A term, with the columns that are known to have a value. `truth_only`: whether it does not matter if
    /// it fails or is false.
    fn term(&mut self, term: &Term, known: &Known, truth_only: bool) -> Result<String, Fault> {
        let columns = self.schema.columns;
        Ok(match term {
            Term::Literal(Worth::Bool(flag)) => self.dialect.truth(*flag).to_owned(),
            Term::Literal(Worth::Integer(number)) => self.dialect.integer(*number),
            Term::Literal(Worth::Text(text)) => self.dialect.text(text),
            Term::Failed(of) => self.dialect.failed(*of).to_owned(),
            Term::Column(column) => self.dialect.column(&columns[*column]),
            Term::Rank(column) => self.dialect.rank(&columns[*column]),
            Term::Has(column) => self.dialect.has(&columns[*column]),
            Term::Not(inner) => format!("(NOT {})", self.term(inner, known, false)?),
            Term::Negative(inner) => {
                let number = self.term(inner, known, false)?;
                self.dialect.negative(&number)
            }
            Term::All(terms) => self.chain(terms, known, truth_only, false)?,
            Term::Any(terms) => self.chain(terms, known, truth_only, true)?,
            Term::If(test, then, otherwise) => {
                let (met, unmet) = (joined(known, when(test, true)), joined(known, when(test, false)));
                let tested = self.term(test, known, false)?;
                let (then, otherwise) =
                    (self.term(then, &met, truth_only)?, self.term(otherwise, &unmet, truth_only)?);
                if self.fails(test, known) {
                    let (yes, no) = (self.dialect.truth(true), self.dialect.truth(false));
                    format!("(CASE {tested} WHEN {yes} THEN {then} WHEN {no} THEN {otherwise} END)")
                } else {
                    format!("(CASE WHEN {tested} THEN {then} ELSE {otherwise} END)")
                }
            }
            Term::Compare(comparison, left, right) => self.comparison(*comparison, left, right, known)?,
            Term::Sum(operator, left, right) => {
                let (left, right) = (self.term(left, known, false)?, self.term(right, known, false)?);
                self.dialect.sum(*operator, &left, &right)
            }
            Term::OneOf(inner, list) => self.one_of(inner, list, known, truth_only)?,
            Term::Like(column, pattern) => self.dialect.like(&columns[*column], pattern)?,
        })
    }

    /// A chain from left to right. It may be halved anywhere: that changes nothing of what is looked at.
    fn chain(&mut self, terms: &[Term], known: &Known, truth_only: bool, any: bool) -> Result<String, Fault> {
        let [one] = terms else {
            let (left, right) = terms.split_at(terms.len() / 2);
            let fails = left_fails(self, left, known, any);
            // INVARIANT: in an `AND` of which only the truth counts, a failed part is as good as a false one.
            let plain = !fails || (truth_only && !any);
            let after = joined(known, all_when(left, !any));
            let tested = self.chain(left, known, truth_only && !any, any)?;
            let rest = self.chain(right, &after, truth_only, any)?;
            let (yes, no) = (self.dialect.truth(true), self.dialect.truth(false));
            return Ok(match (plain, any) {
                (true, true) => format!("({tested} OR {rest})"),
                (true, false) => format!("({tested} AND {rest})"),
                (false, true) => format!("(CASE {tested} WHEN {yes} THEN {yes} WHEN {no} THEN {rest} END)"),
                (false, false) => format!("(CASE {tested} WHEN {yes} THEN {rest} WHEN {no} THEN {no} END)"),
            });
        };
        self.term(one, known, truth_only)
    }

    fn comparison(
        &mut self,
        comparison: Comparison,
        left: &Term,
        right: &Term,
        known: &Known,
    ) -> Result<String, Fault> {
        let operator = match comparison {
            Comparison::Equal => "=",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
        };
        let columns = self.schema.columns;
        let by_time = match (left, right) {
            (Term::Column(column), Term::Literal(Worth::Integer(micros))) => {
                self.dialect.time(&columns[*column], *micros)
            }
            (Term::Literal(Worth::Integer(micros)), Term::Column(column)) => {
                self.dialect.time(&columns[*column], *micros).map(|(column, time)| (time, column))
            }
            _ => None,
        };
        if let Some((left, right)) = by_time {
            return Ok(format!("({left} {operator} {right})"));
        }
        Ok(format!("({} {operator} {})", self.operand(left, known)?, self.operand(right, known)?))
    }

    /// A term where it is compared.
    fn operand(&mut self, term: &Term, known: &Known) -> Result<String, Fault> {
        let text = self.term(term, known, false)?;
        Ok(if has_sum(term) { self.dialect.whole(text) } else { text })
    }

    fn one_of(
        &mut self,
        inner: &Term,
        list: &[Worth],
        known: &Known,
        truth_only: bool,
    ) -> Result<String, Fault> {
        let no = self.dialect.truth(false);
        match list {
            [] if truth_only || !self.fails(inner, known) => Ok(no.to_owned()),
            [] => {
                let failed = self.dialect.failed(RowType::Bool);
                let operand = self.operand(inner, known)?;
                Ok(format!("(CASE WHEN {operand} IS NULL THEN {failed} ELSE {no} END)"))
            }
            [one] => self.comparison(Comparison::Equal, inner, &Term::Literal(one.clone()), known),
            [Worth::Bool(first), rest @ ..] => {
                let both = rest.iter().any(|worth| *worth != Worth::Bool(*first));
                let operand = self.operand(inner, known)?;
                // Of both it is one, unless it fails.
                let right = if both { operand.clone() } else { self.dialect.truth(*first).to_owned() };
                Ok(format!("({operand} = {right})"))
            }
            list => {
                let operand = self.operand(inner, known)?;
                let (mut numbers, mut texts) = (Vec::new(), Vec::new());
                for worth in list {
                    match worth {
                        Worth::Integer(number) => numbers.push(*number),
                        Worth::Text(text) => texts.push(text.clone()),
                        Worth::Bool(_) => {}
                    }
                }
                Ok(if texts.is_empty() {
                    self.dialect.one_of_integers(&operand, numbers)
                } else {
                    self.dialect.one_of_texts(&operand, texts)
                })
            }
        }
    }

    /// Whether a term may fail where some columns are known to have a value.
    fn fails(&self, term: &Term, known: &Known) -> bool {
        match term {
            Term::Literal(_) | Term::Has(_) => false,
            Term::Failed(_) | Term::Negative(_) | Term::Sum(..) => true,
            Term::Column(column) | Term::Rank(column) | Term::Like(column, _) => {
                self.schema.columns[*column].nullable && !known.contains(column)
            }
            Term::Not(inner) | Term::OneOf(inner, _) => self.fails(inner, known),
            Term::Compare(_, left, right) => self.fails(left, known) || self.fails(right, known),
            Term::All(terms) => left_fails(self, terms, known, false),
            Term::Any(terms) => left_fails(self, terms, known, true),
            Term::If(test, then, otherwise) => {
                self.fails(test, known)
                    || self.fails(then, &joined(known, when(test, true)))
                    || self.fails(otherwise, &joined(known, when(test, false)))
            }
        }
    }
}

/// Whether a chain may fail, each part where those before it let it be looked at.
fn left_fails(printing: &Printing<'_>, terms: &[Term], known: &Known, any: bool) -> bool {
    let mut known = known.clone();
    terms.iter().any(|term| {
        let fails = printing.fails(term, &known);
        known.extend(when(term, !any));
        fails
    })
}

fn joined(known: &Known, more: Known) -> Known {
    known.iter().copied().chain(more).collect()
}

/// The columns that have a value where every one of some terms is true, or false.
fn all_when(terms: &[Term], flag: bool) -> Known {
    terms.iter().flat_map(|term| when(term, flag)).collect()
}

/// The columns that have a value where a term is true, or false.
fn when(term: &Term, flag: bool) -> Known {
    match term {
        Term::Has(column) if flag => vec![*column],
        Term::Not(inner) => when(inner, !flag),
        Term::All(terms) if flag => all_when(terms, true),
        Term::Any(terms) if !flag => all_when(terms, false),
        _ => Vec::new(),
    }
}

/// Whether a number is made of a sum somewhere.
fn has_sum(term: &Term) -> bool {
    match term {
        Term::Sum(..) | Term::Negative(_) => true,
        Term::If(_, then, otherwise) => has_sum(then) || has_sum(otherwise),
        _ => false,
    }
}
