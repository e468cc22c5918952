//! Row conditions in the form that stores print: types checked, constants worked out, choices between texts
//! taken apart, chains as lists. What cannot be told of every row is left alone. No SQL.

use super::{PatternPart, RowExpr, RowType, Worth, fits};
use crate::Schema;
use diptych_core::{Code, Fault, ValueType};

/// How deep expressions may lie in each other; long chains of `And` and `Or` are one step.
const ROW_EXPR_DEPTH_MAX: usize = 128;

/// A condition in the form that is printed.
#[derive(Clone, Debug)]
pub(super) enum Term {
    Literal(Worth),
    Failed(RowType),
    Column(usize),
    Rank(usize),
    Has(usize),
    Not(Box<Term>),
    Negative(Box<Term>),
    /// At least two.
    All(Vec<Term>),
    /// At least two.
    Any(Vec<Term>),
    If(Box<Term>, Box<Term>, Box<Term>),
    Compare(Comparison, Box<Term>, Box<Term>),
    Sum(char, Box<Term>, Box<Term>),
    /// One of several, all of the type of the first and none with a NUL.
    OneOf(Box<Term>, Vec<Worth>),
    /// A column of text and a pattern with at least one place for any text, and without a NUL.
    Like(usize, Vec<PatternPart>),
}

/// How two terms compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    Less,
    AtMost,
}

/// Brings a condition into the form that is printed.
pub(super) fn settled(schema: &Schema, condition: &RowExpr) -> Result<Term, Fault> {
    let (term, of) = Settling { schema }.term(condition, 0)?;
    if of == RowType::Bool { Ok(term) } else { Err(refused("an expression that is no condition")) }
}

fn refused(what: &str) -> Fault {
    Fault::permanent(Code::Internal, format!("a row rule cannot be asked for: {what}"))
}

struct Settling<'s> {
    schema: &'s Schema,
}

type Typed = (Term, RowType);

impl Settling<'_> {
    fn term(&self, expr: &RowExpr, depth: usize) -> Result<Typed, Fault> {
        if depth > ROW_EXPR_DEPTH_MAX {
            return Err(refused(&format!("it is more than {ROW_EXPR_DEPTH_MAX} expressions deep")));
        }
        let of = |expr: &RowExpr, wanted| self.of(expr, wanted, depth + 1);
        let compare = |comparison, left: &RowExpr, right: &RowExpr| {
            let (left, right) = (of(left, RowType::Integer)?, of(right, RowType::Integer)?);
            Ok((compared(comparison, left, right), RowType::Bool))
        };
        let sum = |operator, left: &RowExpr, right: &RowExpr| {
            let (left, right) = (of(left, RowType::Integer)?, of(right, RowType::Integer)?);
            Ok((summed(operator, left, right), RowType::Integer))
        };
        Ok(match expr {
            RowExpr::Bool(flag) => (bool(*flag), RowType::Bool),
            RowExpr::Integer(number) => (Term::Literal(Worth::Integer(*number)), RowType::Integer),
            RowExpr::Text(text) => (Term::Literal(Worth::Text(text.clone())), RowType::Text),
            RowExpr::Failed(failed) => (Term::Failed(*failed), *failed),
            RowExpr::Cell(column) => (Term::Column(*column), self.type_of(*column, expr)?),
            RowExpr::Rank(column) => (self.rank(*column)?, RowType::Integer),
            RowExpr::Has(column) => (self.has(*column)?, RowType::Bool),
            RowExpr::Not(inner) => (not(of(inner, RowType::Bool)?), RowType::Bool),
            RowExpr::Negative(inner) => (negative(of(inner, RowType::Integer)?), RowType::Integer),
            RowExpr::And(..) => (self.chain(expr, false, depth)?, RowType::Bool),
            RowExpr::Or(..) => (self.chain(expr, true, depth)?, RowType::Bool),
            RowExpr::If(test, then, otherwise) => {
                let (then, wanted) = self.term(then, depth + 1)?;
                let otherwise = of(otherwise, wanted)?;
                (choice(of(test, RowType::Bool)?, then, otherwise, wanted), wanted)
            }
            RowExpr::Equal(left, right) => {
                let (left, wanted) = self.term(left, depth + 1)?;
                (self.equal(left, of(right, wanted)?, wanted), RowType::Bool)
            }
            RowExpr::Less(left, right) => return compare(Comparison::Less, left, right),
            RowExpr::AtMost(left, right) => return compare(Comparison::AtMost, left, right),
            RowExpr::Plus(left, right) => return sum('+', left, right),
            RowExpr::Minus(left, right) => return sum('-', left, right),
            RowExpr::Times(left, right) => return sum('*', left, right),
            RowExpr::OneOf(inner, list) => {
                let (inner, wanted) = self.term(inner, depth + 1)?;
                (self.one_of(inner, &literals(list, wanted)?), RowType::Bool)
            }
            RowExpr::Like(inner, pattern) => {
                (self.like(of(inner, RowType::Text)?, &joined(pattern)), RowType::Bool)
            }
        })
    }

    fn of(&self, expr: &RowExpr, wanted: RowType, depth: usize) -> Result<Term, Fault> {
        let (term, found) = self.term(expr, depth)?;
        if found == wanted { Ok(term) } else { Err(refused("an expression of another type than its place")) }
    }

    fn type_of(&self, column: usize, expr: &RowExpr) -> Result<RowType, Fault> {
        let known = expr.row_type(self.schema);
        known.ok_or_else(|| refused(&format!("column {column}, which is not there or has no such type")))
    }

    fn rank(&self, column: usize) -> Result<Term, Fault> {
        let spec = self.schema.columns.get(column);
        let ranked = spec.filter(|spec| spec.value_type == ValueType::Text && !spec.choices.is_empty());
        ranked.map(|_| Term::Rank(column)).ok_or_else(|| refused("the rank of a column without choices"))
    }

    fn has(&self, column: usize) -> Result<Term, Fault> {
        match self.schema.columns.get(column) {
            Some(spec) if spec.nullable => Ok(Term::Has(column)),
            Some(_) => Ok(bool(true)),
            None => Err(refused("a column that is not there")),
        }
    }

    /// A chain of `And`, or of `Or`, from left to right: who ends it ends what is looked at.
    fn chain(&self, expr: &RowExpr, any: bool, depth: usize) -> Result<Term, Fault> {
        let mut left_to_do = vec![expr];
        let mut terms = Vec::new();
        while let Some(next) = left_to_do.pop() {
            match next {
                RowExpr::And(left, right) if !any => left_to_do.extend([&**right, &**left]),
                RowExpr::Or(left, right) if any => left_to_do.extend([&**right, &**left]),
                other => terms.push(self.of(other, RowType::Bool, depth + 1)?),
            }
        }
        let mut kept = Vec::new();
        for term in terms {
            match term {
                Term::Literal(Worth::Bool(flag)) if flag != any => {}
                Term::Literal(_) | Term::Failed(_) => {
                    kept.push(term);
                    break;
                }
                term => kept.push(term),
            }
        }
        Ok(match kept.len() {
            0 => bool(!any),
            1 => kept.swap_remove(0),
            _ if any => Term::Any(kept),
            _ => Term::All(kept),
        })
    }

    fn equal(&self, left: Term, right: Term, of: RowType) -> Term {
        if of != RowType::Text {
            return compared(Comparison::Equal, left, right);
        }
        each_choice(left, &|left| {
            each_choice(right.clone(), &|right| match (&left, &right) {
                (Term::Column(column), Term::Literal(Worth::Text(text)))
                | (Term::Literal(Worth::Text(text)), Term::Column(column))
                    if text.contains('\0') =>
                {
                    self.never(*column)
                }
                _ => compared(Comparison::Equal, left.clone(), right),
            })
        })
    }

    fn one_of(&self, inner: Term, list: &[Worth]) -> Term {
        each_choice(inner, &|inner| match &inner {
            Term::Failed(_) => Term::Failed(RowType::Bool),
            Term::Literal(worth) => bool(list.contains(worth)),
            _ => {
                let storable = |worth: &&Worth| !matches!(worth, Worth::Text(text) if text.contains('\0'));
                Term::OneOf(Box::new(inner), list.iter().filter(storable).cloned().collect())
            }
        })
    }

    fn like(&self, inner: Term, pattern: &[PatternPart]) -> Term {
        let nul = |part: &PatternPart| matches!(part, PatternPart::Text(text) if text.contains('\0'));
        each_choice(inner, &|inner| match (&inner, pattern) {
            (Term::Literal(Worth::Text(text)), _) => bool(fits(pattern, text)),
            (Term::Column(column), _) if pattern.iter().any(nul) => self.never(*column),
            (Term::Column(_), []) => self.equal(inner, text(""), RowType::Text),
            (Term::Column(_), [PatternPart::Text(whole)]) => self.equal(inner, text(whole), RowType::Text),
            (Term::Column(column), _) => Term::Like(*column, pattern.to_vec()),
            _ => Term::Failed(RowType::Bool),
        })
    }

    /// What is false wherever a column has a value: no stored text holds a NUL.
    fn never(&self, column: usize) -> Term {
        if !self.schema.columns[column].nullable {
            return bool(false);
        }
        choice(Term::Has(column), bool(false), Term::Failed(RowType::Bool), RowType::Bool)
    }
}

fn bool(flag: bool) -> Term {
    Term::Literal(Worth::Bool(flag))
}

fn text(text: &str) -> Term {
    Term::Literal(Worth::Text(text.to_owned()))
}

fn not(inner: Term) -> Term {
    match inner {
        Term::Literal(Worth::Bool(flag)) => bool(!flag),
        Term::Failed(_) => inner,
        other => Term::Not(Box::new(other)),
    }
}

fn negative(inner: Term) -> Term {
    match inner {
        Term::Literal(Worth::Integer(number)) => number_or_failed(number.checked_neg()),
        Term::Failed(_) => inner,
        other => Term::Negative(Box::new(other)),
    }
}

fn number_or_failed(number: Option<i64>) -> Term {
    number.map_or(Term::Failed(RowType::Integer), |number| Term::Literal(Worth::Integer(number)))
}

fn summed(operator: char, left: Term, right: Term) -> Term {
    match (&left, &right) {
        (Term::Failed(_), _) | (_, Term::Failed(_)) => Term::Failed(RowType::Integer),
        (Term::Literal(Worth::Integer(a)), Term::Literal(Worth::Integer(b))) => {
            number_or_failed(match operator {
                '+' => a.checked_add(*b),
                '-' => a.checked_sub(*b),
                _ => a.checked_mul(*b),
            })
        }
        _ => Term::Sum(operator, Box::new(left), Box::new(right)),
    }
}

fn compared(comparison: Comparison, left: Term, right: Term) -> Term {
    match (&left, &right, comparison) {
        (Term::Failed(_), ..) | (_, Term::Failed(_), _) => Term::Failed(RowType::Bool),
        (Term::Literal(left), Term::Literal(right), Comparison::Equal) => bool(left == right),
        (Term::Literal(Worth::Integer(a)), Term::Literal(Worth::Integer(b)), Comparison::Less) => bool(a < b),
        (Term::Literal(Worth::Integer(a)), Term::Literal(Worth::Integer(b)), Comparison::AtMost) => {
            bool(a <= b)
        }
        _ => Term::Compare(comparison, Box::new(left), Box::new(right)),
    }
}

fn choice(test: Term, then: Term, otherwise: Term, of: RowType) -> Term {
    match test {
        Term::Literal(Worth::Bool(true)) => then,
        Term::Literal(_) => otherwise,
        Term::Failed(_) => Term::Failed(of),
        test => Term::If(Box::new(test), Box::new(then), Box::new(otherwise)),
    }
}

/// What is made of a term, made of each of its choices instead: so that what is a text is a column, a literal
/// or nothing.
fn each_choice(term: Term, make: &dyn Fn(Term) -> Term) -> Term {
    match term {
        Term::If(test, then, otherwise) => {
            choice(*test, each_choice(*then, make), each_choice(*otherwise, make), RowType::Bool)
        }
        term => make(term),
    }
}

/// The literals of a list that are of a type; others equal nothing of it.
fn literals(list: &[RowExpr], of: RowType) -> Result<Vec<Worth>, Fault> {
    let mut kept = Vec::new();
    for listed in list {
        match (listed, of) {
            (RowExpr::Bool(flag), RowType::Bool) => kept.push(Worth::Bool(*flag)),
            (RowExpr::Integer(number), RowType::Integer) => kept.push(Worth::Integer(*number)),
            (RowExpr::Text(text), RowType::Text) => kept.push(Worth::Text(text.clone())),
            (RowExpr::Bool(_) | RowExpr::Integer(_) | RowExpr::Text(_), _) => {}
            _ => return Err(refused("a list of something else than values")),
        }
    }
    Ok(kept)
}

/// A pattern in which no two parts of a kind stand beside each other, and no text is empty.
pub(super) fn joined(pattern: &[PatternPart]) -> Vec<PatternPart> {
    let mut parts: Vec<PatternPart> = Vec::new();
    for part in pattern {
        match (parts.last_mut(), part) {
            (Some(PatternPart::Any), PatternPart::Any) => {}
            (Some(PatternPart::Text(before)), PatternPart::Text(text)) => before.push_str(text),
            (_, PatternPart::Text(text)) if text.is_empty() => {}
            _ => parts.push(part.clone()),
        }
    }
    parts
}
