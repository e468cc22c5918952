//! The same condition in fewer words. An expression that can fail is never dropped where its failing would
//! show.

use crate::breakage::Breakage;
use crate::walker::is_constant;
use diptych_query::{RowConditions, RowExpr, RowRule, Schema};
use std::collections::BTreeSet;

/// The columns that are known to have a value at some place of an expression.
type Guards = BTreeSet<usize>;

/// Simplifies conditions on rows of a read model.
#[derive(Clone, Copy)]
pub(crate) struct Simplifier<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) breakage: Option<Breakage>,
}

impl Simplifier<'_> {
    /// The rule that some conditions make.
    pub(crate) fn rule(&self, conditions: RowConditions) -> RowRule {
        let simple = |exprs: Vec<RowExpr>| {
            let mut simple: Vec<RowExpr> = Vec::with_capacity(exprs.len());
            for expr in exprs.into_iter().map(|expr| self.simple(expr)) {
                let counts = !matches!(expr, RowExpr::Bool(false) | RowExpr::Failed(_));
                if counts && !simple.contains(&expr) {
                    simple.push(expr);
                }
            }
            simple
        };
        let (mut permits, forbids) = (simple(conditions.permits), simple(conditions.forbids));
        if permits.is_empty() || forbids.contains(&RowExpr::Bool(true)) {
            return RowRule::Nothing;
        }
        if permits.contains(&RowExpr::Bool(true)) {
            permits = vec![RowExpr::Bool(true)];
            if forbids.is_empty() {
                return RowRule::All;
            }
        }
        RowRule::from(RowConditions { permits, forbids })
    }

    /// One condition, simpler.
    pub(crate) fn simple(&self, expr: RowExpr) -> RowExpr {
        let mut guards = Guards::new();
        if self.breakage == Some(Breakage::GuardsReachTooFar) {
            guards.extend(0..self.schema.columns.len());
        }
        self.within(expr, &guards)
    }

    fn within(&self, expr: RowExpr, guards: &Guards) -> RowExpr {
        let inner = |expr: Box<RowExpr>| Box::new(self.within(*expr, guards));
        match expr {
            RowExpr::Not(operand) => match self.within(*operand, guards) {
                RowExpr::Bool(flag) => RowExpr::Bool(!flag),
                RowExpr::Not(twice) => *twice,
                operand => RowExpr::Not(Box::new(operand)),
            },
            RowExpr::And(left, right) => self.and(*left, *right, guards),
            RowExpr::Or(left, right) => {
                let left = self.within(*left, guards);
                match (left, self.within(*right, guards)) {
                    (RowExpr::Bool(false), right) => right,
                    (RowExpr::Bool(true), _) => RowExpr::Bool(true),
                    (left, RowExpr::Bool(false)) => left,
                    (left, RowExpr::Bool(true)) if !self.fails(&left, guards) => RowExpr::Bool(true),
                    (left, right) => RowExpr::Or(Box::new(left), Box::new(right)),
                }
            }
            RowExpr::If(test, then, otherwise) => {
                let test = self.within(*test, guards);
                let then = self.within(*then, &with(guards, &test));
                let otherwise = self.within(*otherwise, guards);
                match test {
                    RowExpr::Bool(true) => then,
                    RowExpr::Bool(false) => otherwise,
                    test if then == otherwise && !self.fails(&test, guards) => then,
                    test => RowExpr::If(Box::new(test), Box::new(then), Box::new(otherwise)),
                }
            }
            RowExpr::Equal(left, right) => match (inner(left), inner(right)) {
                (left, right) if left == right && !self.fails(&left, guards) => RowExpr::Bool(true),
                (left, right) if is_constant(&left) && is_constant(&right) => RowExpr::Bool(left == right),
                (left, right) => RowExpr::Equal(left, right),
            },
            RowExpr::OneOf(sought, list) => self.one_of(*inner(sought), list, guards),
            RowExpr::Less(left, right) => RowExpr::Less(inner(left), inner(right)),
            RowExpr::AtMost(left, right) => RowExpr::AtMost(inner(left), inner(right)),
            RowExpr::Plus(left, right) => RowExpr::Plus(inner(left), inner(right)),
            RowExpr::Minus(left, right) => RowExpr::Minus(inner(left), inner(right)),
            RowExpr::Times(left, right) => RowExpr::Times(inner(left), inner(right)),
            RowExpr::Negative(operand) => RowExpr::Negative(inner(operand)),
            RowExpr::Like(text, pattern) => RowExpr::Like(inner(text), pattern),
            RowExpr::Has(column) if guards.contains(&column) => RowExpr::Bool(true),
            other => other,
        }
    }

    fn and(&self, left: RowExpr, right: RowExpr, guards: &Guards) -> RowExpr {
        let left = self.within(left, guards);
        let right = self.within(right, &with(guards, &left));
        match (left, right) {
            (RowExpr::Bool(true), right) => right,
            (RowExpr::Bool(false), _) => RowExpr::Bool(false),
            (left, RowExpr::Bool(true)) => left,
            (left, RowExpr::Bool(false)) if !self.fails(&left, guards) => RowExpr::Bool(false),
            (left, right) => RowExpr::And(Box::new(left), Box::new(right)),
        }
    }

    fn one_of(&self, sought: RowExpr, mut list: Vec<RowExpr>, guards: &Guards) -> RowExpr {
        list.sort_by(|one, other| key(one).cmp(&key(other)));
        list.dedup();
        match list.pop() {
            None if !self.fails(&sought, guards) => RowExpr::Bool(false),
            Some(last) if list.is_empty() => {
                self.within(RowExpr::Equal(Box::new(sought), Box::new(last)), guards)
            }
            last => {
                list.extend(last);
                if is_constant(&sought) {
                    return RowExpr::Bool(list.contains(&sought));
                }
                RowExpr::OneOf(Box::new(sought), list)
            }
        }
    }

    /// Whether an expression can fail where some columns are known to have a value.
    fn fails(&self, expr: &RowExpr, guards: &Guards) -> bool {
        if self.breakage == Some(Breakage::FailureSimplifiedAway) {
            return false;
        }
        let nullable = |column: &usize| self.schema.columns.get(*column).is_none_or(|spec| spec.nullable);
        match expr {
            RowExpr::Cell(column) | RowExpr::Rank(column) => nullable(column) && !guards.contains(column),
            RowExpr::Bool(_) | RowExpr::Integer(_) | RowExpr::Text(_) | RowExpr::Has(_) => false,
            RowExpr::Failed(_)
            | RowExpr::Negative(_)
            | RowExpr::Plus(..)
            | RowExpr::Minus(..)
            | RowExpr::Times(..) => true,
            RowExpr::Not(operand) | RowExpr::Like(operand, _) | RowExpr::OneOf(operand, _) => {
                self.fails(operand, guards)
            }
            RowExpr::And(left, right) => self.fails(left, guards) || self.fails(right, &with(guards, left)),
            RowExpr::Or(left, right)
            | RowExpr::Equal(left, right)
            | RowExpr::Less(left, right)
            | RowExpr::AtMost(left, right) => self.fails(left, guards) || self.fails(right, guards),
            RowExpr::If(test, then, otherwise) => {
                self.fails(test, guards)
                    || self.fails(then, &with(guards, test))
                    || self.fails(otherwise, guards)
            }
        }
    }
}

/// The guards where a condition holds, too.
fn with(guards: &Guards, condition: &RowExpr) -> Guards {
    let mut more = guards.clone();
    proved(condition, &mut more);
    more
}

/// The columns that have a value wherever a condition holds.
fn proved(condition: &RowExpr, guards: &mut Guards) {
    match condition {
        RowExpr::Has(column) => {
            guards.insert(*column);
        }
        RowExpr::And(left, right) => {
            proved(left, guards);
            proved(right, guards);
        }
        RowExpr::Equal(left, right) | RowExpr::Less(left, right) | RowExpr::AtMost(left, right) => {
            looked_at(left, guards);
            looked_at(right, guards);
        }
        RowExpr::OneOf(inner, _) | RowExpr::Like(inner, _) => looked_at(inner, guards),
        other => looked_at(other, guards),
    }
}

/// The columns that an expression reads however it comes out: it has not failed, so they have values.
fn looked_at(expr: &RowExpr, guards: &mut Guards) {
    match expr {
        RowExpr::Cell(column) | RowExpr::Rank(column) => {
            guards.insert(*column);
        }
        RowExpr::Negative(inner) => looked_at(inner, guards),
        RowExpr::Plus(left, right) | RowExpr::Minus(left, right) | RowExpr::Times(left, right) => {
            looked_at(left, guards);
            looked_at(right, guards);
        }
        _ => {}
    }
}

/// What lists are sorted by.
fn key(expr: &RowExpr) -> (i64, &str) {
    match expr {
        RowExpr::Integer(number) => (*number, ""),
        RowExpr::Bool(flag) => (i64::from(*flag), ""),
        RowExpr::Text(text) => (0, text),
        _ => (0, ""),
    }
}
