//! The tables that folded before the one at hand, and what was missed in them.

use super::TableFold;
use crate::RowRef;
use std::cell::RefCell;

/// A row that was looked up and not in memory: the index of its table, and which.
pub(super) type Miss = (usize, RowRef);

/// What a look-up found.
pub(crate) enum Looked<'a, S> {
    /// The row as it stood, or that there was none.
    Known(Option<&'a S>),
    /// Nobody knows yet: the row must be loaded.
    Missing(RowRef),
}

/// The earlier tables of a group, for a table that may look rows up in them.
#[derive(Clone, Copy)]
pub struct Earlier<'a> {
    tables: &'a [Box<dyn TableFold>],
    misses: &'a RefCell<Vec<Miss>>,
}

impl<'a> Earlier<'a> {
    /// Tables that have folded what the one at hand is about to fold.
    pub(crate) fn new(tables: &'a [Box<dyn TableFold>], misses: &'a RefCell<Vec<Miss>>) -> Self {
        Self { tables, misses }
    }

    pub(crate) fn tables(&self) -> &'a [Box<dyn TableFold>] {
        self.tables
    }

    pub(crate) fn miss(&self, table: usize, row: RowRef) {
        self.misses.borrow_mut().push((table, row));
    }

    /// Whether something was missed: what a projection answered then proves nothing.
    pub(crate) fn has_missed(&self) -> bool {
        !self.misses.borrow().is_empty()
    }
}
