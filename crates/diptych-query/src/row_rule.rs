//! Which rows somebody may see, as a value: typed conditions over the columns of one row. Stores print them
//! as SQL; here they are judged in memory, which says what they mean. No policy language.
//!
//! The meaning is that of Cedar (<https://docs.cedarpolicy.com/auth/authorization.html>): an expression that
//! fails, such as one that reads a column without a value, makes its whole condition count for nothing. That
//! holds for a condition that forbids as well.

mod printed;
mod settled;

pub use printed::RowDialect;

use crate::Schema;
use diptych_core::{Value, ValueType};
use std::sync::Arc;

/// Which rows may be seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum RowRule {
    /// Every one.
    #[default]
    All,
    /// None.
    Nothing,
    /// Those that at least one of several sets of conditions lets through.
    Where(Arc<[RowConditions]>),
}

/// Conditions of which one must permit a row, and none forbid it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RowConditions {
    /// What permits, at least one.
    pub permits: Vec<RowExpr>,
    /// What forbids, whatever permits.
    pub forbids: Vec<RowExpr>,
}

/// An expression over the columns of a row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RowExpr {
    /// True or false.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
    /// What always fails, in the place of a value of this type.
    Failed(RowType),
    /// What a column holds: a whole number, true or false, a text, or the microseconds of a time. Fails where
    /// the column has no value.
    Cell(usize),
    /// The place of a column's text among its choices, from 0. Fails where the column has no value.
    Rank(usize),
    /// Whether a column has a value.
    Has(usize),
    /// The opposite.
    Not(Box<RowExpr>),
    /// The number with the other sign. Fails beyond 64 bits, like the sums below.
    Negative(Box<RowExpr>),
    /// Both; the second is not looked at where the first is false.
    And(Box<RowExpr>, Box<RowExpr>),
    /// One or both; the second is not looked at where the first is true.
    Or(Box<RowExpr>, Box<RowExpr>),
    /// The second where the first is true, or else the third; the other is not looked at.
    If(Box<RowExpr>, Box<RowExpr>, Box<RowExpr>),
    /// Whether both are the same.
    Equal(Box<RowExpr>, Box<RowExpr>),
    /// Whether the first number is below the second.
    Less(Box<RowExpr>, Box<RowExpr>),
    /// Whether the first number is at most the second.
    AtMost(Box<RowExpr>, Box<RowExpr>),
    /// The sum.
    Plus(Box<RowExpr>, Box<RowExpr>),
    /// The difference.
    Minus(Box<RowExpr>, Box<RowExpr>),
    /// The product.
    Times(Box<RowExpr>, Box<RowExpr>),
    /// Whether the expression is one of these: [`RowExpr::Bool`], [`RowExpr::Integer`], [`RowExpr::Text`],
    /// all of one type. The list may be empty; the expression is looked at all the same.
    OneOf(Box<RowExpr>, Vec<RowExpr>),
    /// Whether a text is made of these parts, from its first letter to its last.
    Like(Box<RowExpr>, Vec<PatternPart>),
}

/// A part of a pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PatternPart {
    /// Exactly this text.
    Text(String),
    /// Any text, also none.
    Any,
}

/// The type of an expression.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RowType {
    /// True or false.
    Bool,
    /// A number of 64 bits with a sign.
    Integer,
    /// A text.
    Text,
}

/// An expression failed. Its condition counts for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowFailed;

/// What an expression is worth for one row.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Worth {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl RowRule {
    /// The rows of this rule and those of another.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nothing, rule) | (rule, Self::Nothing) => rule.clone(),
            (Self::Where(one), Self::Where(two)) => Self::Where(one.iter().chain(&**two).cloned().collect()),
        }
    }

    /// Whether a row, by the values of its columns, may be seen.
    #[must_use]
    pub fn admits(&self, schema: &Schema, row: &[Value]) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Where(sets) => sets.iter().any(|conditions| conditions.admit(schema, row)),
        }
    }
}

impl From<RowConditions> for RowRule {
    fn from(conditions: RowConditions) -> Self {
        Self::Where(Arc::new([conditions]))
    }
}

impl RowConditions {
    fn admit(&self, schema: &Schema, row: &[Value]) -> bool {
        let holds = |expr: &RowExpr| expr.holds(schema, row) == Ok(true);
        self.permits.iter().any(holds) && !self.forbids.iter().any(holds)
    }
}

impl RowExpr {
    /// Whether a condition holds for a row.
    ///
    /// # Errors
    /// [`RowFailed`] where it cannot be told, and where the expression is no condition.
    pub fn holds(&self, schema: &Schema, row: &[Value]) -> Result<bool, RowFailed> {
        self.worth(schema, row)?.bool()
    }

    /// The type of what it is worth; none where a column is of a type that no expression has.
    #[must_use]
    pub fn row_type(&self, schema: &Schema) -> Option<RowType> {
        Some(match self {
            Self::Integer(_)
            | Self::Rank(_)
            | Self::Negative(_)
            | Self::Plus(..)
            | Self::Minus(..)
            | Self::Times(..) => RowType::Integer,
            Self::Text(_) => RowType::Text,
            Self::Failed(failed) => *failed,
            Self::If(_, then, _) => then.row_type(schema)?,
            Self::Cell(column) => match schema.columns.get(*column)?.value_type {
                ValueType::Bool => RowType::Bool,
                ValueType::Integer | ValueType::Timestamp => RowType::Integer,
                ValueType::Text => RowType::Text,
                ValueType::Money | ValueType::Bytes | ValueType::Json => return None,
            },
            _ => RowType::Bool,
        })
    }

    fn worth(&self, schema: &Schema, row: &[Value]) -> Result<Worth, RowFailed> {
        let of = |expr: &Self| expr.worth(schema, row);
        let numbers = |left: &Self, right: &Self| Ok((of(left)?.integer()?, of(right)?.integer()?));
        let sum = |value: Option<i64>| value.map(Worth::Integer).ok_or(RowFailed);
        Ok(match self {
            Self::Bool(flag) => Worth::Bool(*flag),
            Self::Integer(number) => Worth::Integer(*number),
            Self::Text(text) => Worth::Text(text.clone()),
            Self::Failed(_) => return Err(RowFailed),
            Self::Cell(column) => held(row, *column)?,
            Self::Rank(column) => Worth::Integer(rank(schema, row, *column)?),
            Self::Has(column) => Worth::Bool(row.get(*column).is_some_and(|value| *value != Value::Null)),
            Self::Not(inner) => Worth::Bool(!of(inner)?.bool()?),
            Self::Negative(inner) => return sum(of(inner)?.integer()?.checked_neg()),
            Self::And(left, right) => Worth::Bool(of(left)?.bool()? && of(right)?.bool()?),
            Self::Or(left, right) => Worth::Bool(of(left)?.bool()? || of(right)?.bool()?),
            Self::If(test, then, otherwise) => of(if of(test)?.bool()? { then } else { otherwise })?,
            Self::Equal(left, right) => Worth::Bool(of(left)? == of(right)?),
            Self::Less(left, right) => numbers(left, right).map(|(left, right)| Worth::Bool(left < right))?,
            Self::AtMost(left, right) => {
                numbers(left, right).map(|(left, right)| Worth::Bool(left <= right))?
            }
            Self::Plus(left, right) => {
                return numbers(left, right).and_then(|(left, right)| sum(left.checked_add(right)));
            }
            Self::Minus(left, right) => {
                return numbers(left, right).and_then(|(left, right)| sum(left.checked_sub(right)));
            }
            Self::Times(left, right) => {
                return numbers(left, right).and_then(|(left, right)| sum(left.checked_mul(right)));
            }
            Self::OneOf(inner, list) => {
                let worth = of(inner)?;
                let same = |listed: &Self| of(listed).is_ok_and(|listed| listed == worth);
                Worth::Bool(list.iter().any(same))
            }
            Self::Like(inner, pattern) => Worth::Bool(fits(&settled::joined(pattern), &of(inner)?.text()?)),
        })
    }
}

impl Worth {
    fn bool(&self) -> Result<bool, RowFailed> {
        if let Self::Bool(flag) = self { Ok(*flag) } else { Err(RowFailed) }
    }

    fn integer(&self) -> Result<i64, RowFailed> {
        if let Self::Integer(number) = self { Ok(*number) } else { Err(RowFailed) }
    }

    fn text(self) -> Result<String, RowFailed> {
        if let Self::Text(text) = self { Ok(text) } else { Err(RowFailed) }
    }
}

fn held(row: &[Value], column: usize) -> Result<Worth, RowFailed> {
    match row.get(column) {
        Some(Value::Bool(flag)) => Ok(Worth::Bool(*flag)),
        Some(Value::Integer(number)) => Ok(Worth::Integer(*number)),
        Some(Value::Timestamp(time)) => Ok(Worth::Integer(time.as_micros())),
        Some(Value::Text(text)) => Ok(Worth::Text(text.clone())),
        _ => Err(RowFailed),
    }
}

fn rank(schema: &Schema, row: &[Value], column: usize) -> Result<i64, RowFailed> {
    let (Some(spec), Some(Value::Text(text))) = (schema.columns.get(column), row.get(column)) else {
        return Err(RowFailed);
    };
    let place = spec.choices.iter().position(|choice| choice == text);
    place.and_then(|place| i64::try_from(place).ok()).ok_or(RowFailed)
}

/// Whether a text is made of the parts of a pattern, no two texts of which stand beside each other. Between
/// two places for any text, the earliest match of what stands there is as good as any later one.
fn fits(pattern: &[PatternPart], text: &str) -> bool {
    let mut rest = text;
    let mut anywhere = false;
    for (index, part) in pattern.iter().enumerate() {
        match part {
            PatternPart::Any => anywhere = true,
            PatternPart::Text(fixed) if !anywhere => match rest.strip_prefix(fixed.as_str()) {
                Some(after) => rest = after,
                None => return false,
            },
            // The last part must stand at the end, wherever else it stands.
            PatternPart::Text(fixed) if index + 1 == pattern.len() => return rest.ends_with(fixed.as_str()),
            PatternPart::Text(fixed) => match rest.find(fixed.as_str()) {
                Some(at) => {
                    rest = &rest[at + fixed.len()..];
                    anywhere = false;
                }
                None => return false,
            },
        }
    }
    anywhere || rest.is_empty()
}

#[cfg(test)]
mod tests;
