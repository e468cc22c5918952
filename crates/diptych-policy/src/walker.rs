//! From what is left of a policy, once everything but the row is known, to an expression over the row's
//! columns. What cannot be said so is refused, never guessed. Simplifies nothing, and knows no SQL.

use crate::breakage::Breakage;
use crate::vocabulary::{Attribute, View};
use cedar_policy::pst::{BinaryOp, Expr, Literal, PatternElem, UnaryOp, Var};
use diptych_query::{PatternPart, RowExpr, RowType};
use std::sync::Arc;

/// Why a policy cannot be a condition on rows, as the end of a sentence that begins with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused(pub(crate) String);

/// What is known of a request beside the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// Everything.
    All,
    /// Neither who asks nor the context: what depends on them alone is some constant of its type. Tells
    /// whether a policy can be said for anybody.
    Nothing,
}

/// Walks through one expression about rows of one read model.
#[derive(Clone, Copy)]
pub(crate) struct Walker<'a> {
    pub(crate) view: &'a View,
    pub(crate) known: Known,
    pub(crate) breakage: Option<Breakage>,
}

/// What an expression is.
enum Term {
    Scalar(RowExpr),
    Set(Vec<RowExpr>),
    /// Somebody or something with an identity; only ever compared, by Cedar itself.
    Entity,
}

impl Walker<'_> {
    /// A condition on a row.
    pub(crate) fn condition(&self, expr: &Expr) -> Result<RowExpr, Refused> {
        self.scalar(expr, RowType::Bool)
    }

    fn scalar(&self, expr: &Expr, expected: RowType) -> Result<RowExpr, Refused> {
        match self.term(expr, expected)? {
            Term::Scalar(scalar) => Ok(scalar),
            Term::Set(_) => Err(Refused(format!("uses `{expr}` as if it were one value"))),
            Term::Entity => Err(Refused(format!("compares `{expr}` itself, not a column of the row"))),
        }
    }

    fn set(&self, expr: &Expr) -> Result<Vec<RowExpr>, Refused> {
        match self.term(expr, RowType::Text)? {
            Term::Set(items) => Ok(items),
            _ => Err(Refused(format!("asks what `{expr}` contains, which is no set that is known"))),
        }
    }

    fn term(&self, expr: &Expr, expected: RowType) -> Result<Term, Refused> {
        if self.known == Known::Nothing && !reads_row(expr) {
            return constant(expr, expected);
        }
        let scalar = match expr {
            Expr::Literal(Literal::Bool(flag)) => RowExpr::Bool(*flag),
            Expr::Literal(Literal::Long(number)) => RowExpr::Integer(*number),
            Expr::Literal(Literal::String(text)) => RowExpr::Text(text.to_string()),
            Expr::Literal(Literal::EntityUID(_)) | Expr::Var(_) => return Ok(Term::Entity),
            Expr::ResidualError if self.broken(Breakage::FailureIsFalse) => RowExpr::Bool(false),
            Expr::ResidualError => RowExpr::Failed(expected),
            Expr::GetAttr { expr: of, attr } => self.attribute(of, attr)?,
            Expr::HasAttr { expr: of, attrs } if attrs.len() == 1 => self.has(of, attrs.first())?,
            Expr::UnaryOp { op, expr: inner } => self.unary(*op, inner)?,
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right)?,
            Expr::Like { expr: inner, pattern } => {
                RowExpr::Like(Box::new(self.scalar(inner, RowType::Text)?), self.pattern(pattern))
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                let (mut then, mut otherwise) =
                    (self.scalar(then_expr, expected)?, self.scalar(else_expr, expected)?);
                if self.broken(Breakage::BranchesSwapped) {
                    std::mem::swap(&mut then, &mut otherwise);
                }
                let test = self.scalar(cond, RowType::Bool)?;
                RowExpr::If(Box::new(test), Box::new(then), Box::new(otherwise))
            }
            Expr::Set(items) => return self.items(items),
            other => return Err(Refused(format!("uses `{other}`, which no condition on rows can say"))),
        };
        Ok(Term::Scalar(scalar))
    }

    fn items(&self, items: &[Arc<Expr>]) -> Result<Term, Refused> {
        let mut scalars = Vec::with_capacity(items.len());
        for item in items {
            match self.term(item, RowType::Text)? {
                Term::Scalar(scalar) => scalars.push(scalar),
                Term::Entity => return Ok(Term::Entity),
                Term::Set(_) => return Err(Refused(format!("has a set within a set, `{item}`"))),
            }
        }
        Ok(Term::Set(scalars))
    }

    fn attribute(&self, of: &Expr, name: &str) -> Result<RowExpr, Refused> {
        let attribute = self.named(of, name)?;
        Ok(match attribute {
            Attribute::Column(column) => RowExpr::Cell(column),
            Attribute::Rank(column) => RowExpr::Rank(column),
        })
    }

    fn has(&self, of: &Expr, name: &str) -> Result<RowExpr, Refused> {
        let (Attribute::Column(column) | Attribute::Rank(column)) = self.named(of, name)?;
        let always = !self.view.schema.columns[column].nullable || self.broken(Breakage::HasAlways);
        Ok(if always { RowExpr::Bool(true) } else { RowExpr::Has(column) })
    }

    fn named(&self, of: &Expr, name: &str) -> Result<Attribute, Refused> {
        let known = match of {
            Expr::Var(Var::Resource) => self.view.attributes.get(name).copied(),
            _ => None,
        };
        let model = self.view.schema.name;
        known.ok_or_else(|| Refused(format!("reads `{of}.{name}`, which no column of `{model}` holds")))
    }

    fn unary(&self, op: UnaryOp, inner: &Expr) -> Result<RowExpr, Refused> {
        Ok(match op {
            UnaryOp::Not => RowExpr::Not(Box::new(self.scalar(inner, RowType::Bool)?)),
            UnaryOp::Neg => RowExpr::Negative(Box::new(self.scalar(inner, RowType::Integer)?)),
            UnaryOp::IsEmpty => {
                let items = self.set(inner)?;
                let empty = RowExpr::Bool(items.is_empty());
                self.after_all(&items, empty)
            }
            other => return Err(Refused(format!("uses `{other}`, which no condition on rows can say"))),
        })
    }

    fn binary(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<RowExpr, Refused> {
        use BinaryOp as Op;
        let both =
            |kind: RowType| Ok((Box::new(self.scalar(left, kind)?), Box::new(self.scalar(right, kind)?)));
        let not = |expr: RowExpr| RowExpr::Not(Box::new(expr));
        Ok(match op {
            Op::And | Op::Or => {
                let (mut left, mut right) = both(RowType::Bool)?;
                if self.broken(Breakage::OperandsSwapped) {
                    std::mem::swap(&mut left, &mut right);
                }
                if op == Op::And { RowExpr::And(left, right) } else { RowExpr::Or(left, right) }
            }
            Op::Eq => self.equal(left, right)?,
            Op::NotEq => not(self.equal(left, right)?),
            Op::Less | Op::GreaterEq | Op::LessEq | Op::Greater => {
                let (left, right) = both(RowType::Integer)?;
                let strict = matches!(op, Op::Less | Op::GreaterEq) || self.broken(Breakage::AtMostIsLess);
                let below = if strict { RowExpr::Less(left, right) } else { RowExpr::AtMost(left, right) };
                if matches!(op, Op::GreaterEq | Op::Greater) { not(below) } else { below }
            }
            Op::Add | Op::Sub | Op::Mul => {
                let (left, right) = both(RowType::Integer)?;
                match op {
                    Op::Add => RowExpr::Plus(left, right),
                    Op::Sub => RowExpr::Minus(left, right),
                    _ => RowExpr::Times(left, right),
                }
            }
            Op::Contains => {
                let items = self.set(left)?;
                let kind = kind_of(&items, self.view).unwrap_or(RowType::Text);
                let sought = self.scalar(right, kind)?;
                self.after_all(&items, one_of(sought, &items))
            }
            Op::ContainsAll | Op::ContainsAny => {
                let (within, sought) = (self.set(left)?, self.set(right)?);
                let each = sought.iter().map(|one| one_of(one.clone(), &within));
                let all = op == Op::ContainsAll;
                let found = each.reduce(|so_far, next| {
                    let (so_far, next) = (Box::new(so_far), Box::new(next));
                    if all { RowExpr::And(so_far, next) } else { RowExpr::Or(so_far, next) }
                });
                let found = found.unwrap_or(RowExpr::Bool(all));
                let everything: Vec<_> = within.into_iter().chain(sought).collect();
                self.after_all(&everything, found)
            }
            other => return Err(Refused(format!("uses `{other}` on rows, which no condition can say"))),
        })
    }

    fn equal(&self, left: &Expr, right: &Expr) -> Result<RowExpr, Refused> {
        let first = self.scalar(left, RowType::Text)?;
        let kind = first.row_type(self.view.schema).unwrap_or(RowType::Text);
        let second = self.scalar(right, kind)?;
        let first = match (first, second.row_type(self.view.schema)) {
            (RowExpr::Failed(_), Some(kind)) => RowExpr::Failed(kind),
            (first, _) => first,
        };
        Ok(RowExpr::Equal(Box::new(first), Box::new(second)))
    }

    /// Says something of a set after every item of it has been looked at, as Cedar looks at all of them: one
    /// that fails fails the whole.
    fn after_all(&self, items: &[RowExpr], said: RowExpr) -> RowExpr {
        if self.broken(Breakage::ItemsNotLookedAt) {
            return said;
        }
        let looked_at = items.iter().filter(|item| !is_constant(item));
        looked_at.rev().fold(said, |said, item| {
            let itself = RowExpr::Equal(Box::new(item.clone()), Box::new(item.clone()));
            RowExpr::And(Box::new(itself), Box::new(said))
        })
    }

    fn pattern(&self, pattern: &[PatternElem]) -> Vec<PatternPart> {
        let mut parts: Vec<PatternPart> = Vec::new();
        for element in pattern {
            match (element, parts.last_mut()) {
                (PatternElem::Wildcard, Some(PatternPart::Any)) => {}
                (PatternElem::Wildcard, _) => parts.push(PatternPart::Any),
                (PatternElem::Char('*'), _) if self.broken(Breakage::StarIsWild) => {
                    parts.push(PatternPart::Any);
                }
                (PatternElem::Char(letter), Some(PatternPart::Text(text))) => text.push(*letter),
                (PatternElem::Char(letter), _) => parts.push(PatternPart::Text(letter.to_string())),
            }
        }
        parts
    }

    fn broken(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }
}

/// Whether an expression is among others, of which those that are constants make a list.
fn one_of(sought: RowExpr, items: &[RowExpr]) -> RowExpr {
    let (constants, others): (Vec<_>, Vec<_>) = items.iter().cloned().partition(is_constant);
    let listed = RowExpr::OneOf(Box::new(sought.clone()), constants);
    others.into_iter().fold(listed, |so_far, item| {
        let same = RowExpr::Equal(Box::new(sought.clone()), Box::new(item));
        RowExpr::Or(Box::new(so_far), Box::new(same))
    })
}

pub(crate) fn is_constant(expr: &RowExpr) -> bool {
    matches!(expr, RowExpr::Bool(_) | RowExpr::Integer(_) | RowExpr::Text(_))
}

fn kind_of(items: &[RowExpr], view: &View) -> Option<RowType> {
    items.iter().find_map(|item| item.row_type(view.schema))
}

/// Whether an expression speaks of the row.
pub(crate) fn reads_row(expr: &Expr) -> bool {
    match expr {
        Expr::Var(var) => *var == Var::Resource,
        _ => parts(expr).into_iter().any(reads_row),
    }
}

/// Whether an expression reads an attribute of the resource, as opposed to which one it is.
pub(crate) fn reads_attribute(expr: &Expr) -> bool {
    match expr {
        Expr::GetAttr { expr: of, .. } | Expr::HasAttr { expr: of, .. } if reads_row(of) => true,
        _ => parts(expr).into_iter().any(reads_attribute),
    }
}

/// Whether an expression asks for attributes of the resource and for nothing else that is not known yet:
/// neither which one it is, nor what is said in the context.
pub(crate) fn asks_state_alone(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) => true,
        Expr::GetAttr { expr: of, .. } | Expr::HasAttr { expr: of, .. }
            if matches!(**of, Expr::Var(Var::Resource)) =>
        {
            true
        }
        Expr::GetAttr { .. }
        | Expr::HasAttr { .. }
        | Expr::UnaryOp { .. }
        | Expr::BinaryOp { .. }
        | Expr::Like { .. }
        | Expr::Is { .. }
        | Expr::IfThenElse { .. }
        | Expr::Set(_)
        | Expr::Record(_) => parts(expr).into_iter().all(asks_state_alone),
        _ => false,
    }
}

fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. } => vec![expr],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Is { expr, in_expr, .. } => std::iter::once(&**expr).chain(in_expr.as_deref()).collect(),
        Expr::IfThenElse { cond, then_expr, else_expr } => vec![cond, then_expr, else_expr],
        Expr::Set(items) => items.iter().map(|item| &**item).collect(),
        Expr::Record(fields) => fields.values().map(|field| &**field).collect(),
        _ => Vec::new(),
    }
}

/// Some constant in the place of an expression that does not speak of the row.
fn constant(expr: &Expr, expected: RowType) -> Result<Term, Refused> {
    use RowType::{Bool, Integer, Text};
    let kind = match expr {
        Expr::Literal(Literal::Bool(_)) | Expr::HasAttr { .. } | Expr::Like { .. } | Expr::Is { .. } => Bool,
        Expr::Literal(Literal::Long(_)) => Integer,
        Expr::Literal(Literal::String(_)) => Text,
        Expr::Literal(Literal::EntityUID(_)) | Expr::Var(_) => return Ok(Term::Entity),
        Expr::ResidualError => expected,
        Expr::GetAttr { attr, .. } => match attr.as_str() {
            "teams" | "roles" => return Ok(Term::Set(vec![RowExpr::Text(String::new())])),
            "clearance" | "sensitivityRank" | "number" => Integer,
            _ => Text,
        },
        Expr::UnaryOp { op: UnaryOp::Not | UnaryOp::IsEmpty, .. } => Bool,
        Expr::UnaryOp { op: UnaryOp::Neg, .. } => Integer,
        Expr::BinaryOp { op: BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul, .. } => Integer,
        Expr::BinaryOp { .. } => Bool,
        Expr::IfThenElse { then_expr, .. } => return constant(then_expr, expected),
        Expr::Set(items) => {
            let mut scalars = Vec::new();
            for item in items {
                match constant(item, Text)? {
                    Term::Scalar(scalar) => scalars.push(scalar),
                    _ => return Ok(Term::Entity),
                }
            }
            return Ok(Term::Set(scalars));
        }
        other => return Err(Refused(format!("uses `{other}`, which no condition on rows can say"))),
    };
    Ok(Term::Scalar(match kind {
        Bool => RowExpr::Bool(true),
        Integer => RowExpr::Integer(0),
        Text => RowExpr::Text(String::new()),
    }))
}
