//! The second fold: how facts change rows. Pure, by key.

use crate::ReadModel;
use diptych_core::{EventSet, Fact};

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
}
