//! The second fold: how facts change rows. Pure, by key or by an indexed column, alone or beside siblings.

use crate::{CanFilter, Column, ReadModel, Siblings};
use diptych_core::{EventSet, Fact, Portable, Value};

/// Folds facts into the rows of a read model. Both functions are pure: no clock, no randomness, no I/O.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no projection",
    note = "implement `Projection`: `route` names the rows a fact touches, `project` changes one of them"
)]
pub trait Projection: ReadModel {
    /// The facts it reads.
    type Event: EventSet;

    /// Names the rows that a fact touches, in the fact's tenant.
    fn route(fact: &Fact<Self::Event>) -> Route<Self>;

    /// The row after a fact; `None` for no row. Its key must be the routed one.
    fn project(row: Option<Self>, fact: &Fact<Self::Event>) -> Option<Self>;
}

/// A projection that looks up rows of other tables of its group. Every [`Projection`] is one that looks up
/// none.
///
/// The tables that it looks at are named in the declaration, `#[read_model(.., reads(CaseTitle))]`; they fold
/// before it, under the same checkpoint.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no projection",
    note = "implement `Projection`, or `JoinedProjection` if it looks up rows of other read models"
)]
pub trait JoinedProjection: ReadModel {
    /// The facts it reads.
    type Event: EventSet;

    /// Names the rows that a fact touches, in the fact's tenant.
    fn route(fact: &Fact<Self::Event>) -> Route<Self>;

    /// The row after a fact; `None` for no row. Its key must be the routed one.
    ///
    /// It may run more than once for a fact: when it has asked for a sibling that was not in memory, that row
    /// is loaded and the facts are folded again. What it answered before is thrown away.
    fn project(row: Option<Self>, fact: &Fact<Self::Event>, siblings: &Siblings<'_, Self>) -> Option<Self>;
}

impl<P: Projection> JoinedProjection for P {
    type Event = <P as Projection>::Event;

    fn route(fact: &Fact<Self::Event>) -> Route<Self> {
        <P as Projection>::route(fact)
    }

    fn project(row: Option<Self>, fact: &Fact<Self::Event>, _: &Siblings<'_, Self>) -> Option<Self> {
        <P as Projection>::project(row, fact)
    }
}

/// The rows that a fact touches.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Route<M: ReadModel> {
    /// No row.
    None,
    /// One row.
    Key(M::Key),
    /// Several rows, which exist or are left out.
    Keys(Vec<M::Key>),
    /// Rows by what they start from where they do not exist.
    Starting(Vec<M>),
    /// Every row that holds a value in an indexed column at that moment.
    Matching {
        /// The column, by its index in the declaration.
        column: usize,
        /// What it holds.
        value: Value,
    },
    /// All of these; a row named more than once is touched once.
    All(Vec<Self>),
}

impl<M: ReadModel> Route<M> {
    /// No row.
    #[must_use]
    pub fn none() -> Self {
        Self::None
    }

    /// The row of one key.
    #[must_use]
    pub fn key(key: M::Key) -> Self {
        Self::Key(key)
    }

    /// The rows of several keys; a key named twice is touched once.
    pub fn keys(keys: impl IntoIterator<Item = M::Key>) -> Self {
        Self::Keys(keys.into_iter().collect())
    }

    /// The rows with the keys of these; `project` is given the row that exists, or else the one named here.
    /// So one fact can make several rows, such as the stock of every product of an order. A key named twice
    /// is touched once.
    pub fn starting(rows: impl IntoIterator<Item = M>) -> Self {
        Self::Starting(rows.into_iter().collect())
    }

    /// Every row whose column holds a value when the fact comes: those that are stored, and those that facts
    /// before it have made. It makes no rows. `Route::rows_where(Self::CASE, &fact.id())`. No value finds no
    /// row.
    pub fn rows_where<T: Portable, const FILTER: bool, const SORT: bool>(
        column: Column<M, T, FILTER, SORT>,
        value: &T,
    ) -> Self
    where
        Column<M, T, FILTER, SORT>: CanFilter,
    {
        Self::Matching { column: column.index(), value: value.to_value() }
    }

    /// These rows and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, route) | (route, Self::None) => route,
            (Self::All(mut routes), other) => {
                routes.push(other);
                Self::All(routes)
            }
            (one, other) => Self::All(vec![one, other]),
        }
    }

    /// Whether it may name any row.
    #[must_use]
    pub fn names_rows(&self) -> bool {
        match self {
            Self::None => false,
            Self::Key(_) | Self::Matching { .. } => true,
            Self::Keys(keys) => !keys.is_empty(),
            Self::Starting(rows) => !rows.is_empty(),
            Self::All(routes) => routes.iter().any(Self::names_rows),
        }
    }
}
