//! A query as a value: typed in Rust, the same value from the text of an address or a command line.

use crate::{Consistency, RowRule, Words};
use diptych_core::{Tenant, Token, Value};
use std::marker::PhantomData;
use std::time::Duration;

/// How a column compares to the values of a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// Equal to one of them.
    Equal,
    /// Below the one.
    Less,
    /// At most the one.
    AtMost,
    /// Above the one.
    Greater,
    /// At least the one.
    AtLeast,
}

/// One condition on one column. No value never fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The column's index in the declaration.
    pub column: usize,
    /// How it compares.
    pub operator: Operator,
    /// With what: any number for `Equal`, exactly one otherwise.
    pub values: Vec<Value>,
}

/// Which way a sort runs. Rows without a value come last both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// Conditions that must all hold, on the columns of `M`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter<M> {
    pub(crate) conditions: Vec<Condition>,
    model: PhantomData<fn() -> M>,
}

impl<M> From<Condition> for Filter<M> {
    fn from(condition: Condition) -> Self {
        Self { conditions: vec![condition], model: PhantomData }
    }
}

impl<M> Filter<M> {
    /// Both this and the other must hold.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.conditions.extend(other.conditions);
        self
    }
}

/// An order on the columns of `M`; ties are broken by the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort<M> {
    pub(crate) column: usize,
    pub(crate) direction: Direction,
    model: PhantomData<fn() -> M>,
}

impl<M> Sort<M> {
    pub(crate) fn new(column: usize, direction: Direction) -> Self {
        Self { column, direction, model: PhantomData }
    }
}

/// A query of the read model `M`.
#[derive(Clone, PartialEq, Debug)]
pub struct Find<M> {
    pub(crate) ask: crate::Ask,
    model: PhantomData<fn() -> M>,
}

impl<M> Default for Find<M> {
    fn default() -> Self {
        Self { ask: crate::Ask::default(), model: PhantomData }
    }
}

impl<M> Find<M> {
    /// Only rows that have all of these words in the columns declared `#[full_text]`.
    #[must_use]
    pub fn words(mut self, words: Words) -> Self {
        self.ask.words = words;
        self
    }

    /// Only rows that fit. Several filters must all fit.
    #[must_use]
    pub fn filter(mut self, filter: Filter<M>) -> Self {
        self.ask.conditions.extend(filter.conditions);
        self
    }

    /// In this order.
    #[must_use]
    pub fn sort(mut self, sort: Sort<M>) -> Self {
        self.ask.sort = Some((sort.column, sort.direction));
        self
    }

    /// At most this many rows.
    #[must_use]
    pub fn page(mut self, rows: usize) -> Self {
        self.ask.page_size = Some(rows);
        self
    }

    /// From where an earlier page ended.
    #[must_use]
    pub fn after(mut self, page_token: impl Into<String>) -> Self {
        self.ask.page_token = Some(page_token.into());
        self
    }

    /// With everything up to this position, as a command's receipt names it.
    #[must_use]
    pub fn at_least(mut self, token: Token) -> Self {
        self.ask.at_least = Some(token);
        self
    }

    /// At least this consistent, where the model promises less.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.ask.consistency = Some(consistency);
        self
    }

    /// No older than this.
    #[must_use]
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.ask.max_stale = Some(max_stale);
        self
    }

    /// Waiting at most this long for it.
    #[must_use]
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.ask.wait = Some(at_most);
        self
    }
}

/// A query as a store sees it: everything by index, the tenant and what may be seen fixed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawFind {
    /// Whose rows.
    pub tenant: Tenant,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// Which rows may be seen at all.
    pub rule: RowRule,
    /// Words that a row must have, all of them.
    pub words: Words,
    /// The order; ties are broken by the key, ascending.
    pub sort: Option<(usize, Direction)>,
    /// Rows after this place only.
    pub after: Option<Cursor>,
    /// At most this many rows.
    pub rows_max: usize,
}

/// The place of a row in an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The sorted column's value; none when sorted by key.
    pub sorted: Option<Value>,
    /// The key's values.
    pub key: Vec<Value>,
}
