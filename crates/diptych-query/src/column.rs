//! Typed columns: the constants through which Rust code filters and sorts.

use crate::{Condition, Direction, Filter, Operator, Sort};
use diptych_core::Portable;
use std::marker::PhantomData;

/// A column of the read model `M` holding `T`, such as `OrderSummary::CUSTOMER`.
#[derive(Debug)]
pub struct Column<M, T, const FILTER: bool, const SORT: bool> {
    index: usize,
    types: PhantomData<fn() -> (M, T)>,
}

impl<M, T, const FILTER: bool, const SORT: bool> Clone for Column<M, T, FILTER, SORT> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, T, const FILTER: bool, const SORT: bool> Copy for Column<M, T, FILTER, SORT> {}

/// A column that a query may filter by.
#[diagnostic::on_unimplemented(
    message = "this column cannot be filtered by",
    note = "mark the field `#[filter]`"
)]
pub trait CanFilter {}

/// A column that a query may sort by.
#[diagnostic::on_unimplemented(
    message = "this column cannot be sorted by",
    note = "mark the field `#[sort]`"
)]
pub trait CanSort {}

// Two of each: from a single one the compiler would conclude that any column is such a one, and speak of
// types that differ instead of the mark that is missing.
impl<M, T> CanFilter for Column<M, T, true, true> {}
impl<M, T> CanFilter for Column<M, T, true, false> {}
impl<M, T> CanSort for Column<M, T, true, true> {}
impl<M, T> CanSort for Column<M, T, false, true> {}

impl<M, T: Portable, const FILTER: bool, const SORT: bool> Column<M, T, FILTER, SORT> {
    /// Names the column at an index of the declaration. Derived code calls it.
    #[must_use]
    pub const fn at(index: usize) -> Self {
        Self { index, types: PhantomData }
    }

    /// Its index in the declaration.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// Rows whose value is this one.
    pub fn eq(self, value: impl Into<T>) -> Filter<M>
    where
        Self: CanFilter,
    {
        self.condition(Operator::Equal, [value.into()])
    }

    /// Rows whose value is one of these.
    pub fn one_of(self, values: impl IntoIterator<Item = T>) -> Filter<M>
    where
        Self: CanFilter,
    {
        self.condition(Operator::Equal, values)
    }

    /// Rows whose value is below this one.
    pub fn lt(self, value: impl Into<T>) -> Filter<M>
    where
        Self: CanFilter,
    {
        self.condition(Operator::Less, [value.into()])
    }

    /// Rows whose value is at most this one.
    pub fn at_most(self, value: impl Into<T>) -> Filter<M>
    where
        Self: CanFilter,
    {
        self.condition(Operator::AtMost, [value.into()])
    }

    /// Rows whose value is above this one.
    pub fn gt(self, value: impl Into<T>) -> Filter<M>
    where
        Self: CanFilter,
    {
        self.condition(Operator::Greater, [value.into()])
    }

    /// Rows whose value is at least this one.
    pub fn at_least(self, value: impl Into<T>) -> Filter<M>
    where
        Self: CanFilter,
    {
        self.condition(Operator::AtLeast, [value.into()])
    }

    /// Smallest first.
    pub fn asc(self) -> Sort<M>
    where
        Self: CanSort,
    {
        Sort::new(self.index, Direction::Ascending)
    }

    /// Largest first; rows without a value still come last.
    pub fn desc(self) -> Sort<M>
    where
        Self: CanSort,
    {
        Sort::new(self.index, Direction::Descending)
    }

    fn condition(self, operator: Operator, values: impl IntoIterator<Item = T>) -> Filter<M> {
        let values = values.into_iter().map(|value| value.to_value()).collect();
        Filter::from(Condition { column: self.index, operator, values })
    }
}
