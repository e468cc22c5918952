//! Rows of two builds side by side, in the order of their table. Pure.

use super::sides::{Pair, whole};
use super::{BuildDifference, TableCompared};
use diptych_query::{RowRef, ScannedRow};
use std::cmp::Ordering;
use std::collections::HashSet;

/// The differences that are named, those that were not declared before those that were.
pub(crate) struct Named {
    most: usize,
    declared: Vec<BuildDifference>,
    undeclared: Vec<BuildDifference>,
}

impl Named {
    pub(crate) fn at_most(most: usize) -> Self {
        Self { most, declared: Vec::new(), undeclared: Vec::new() }
    }

    pub(crate) fn add(&mut self, difference: BuildDifference) {
        let list = if difference.declared { &mut self.declared } else { &mut self.undeclared };
        if list.len() < self.most {
            list.push(difference);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<BuildDifference> {
        let mut all = std::mem::take(&mut self.undeclared);
        all.append(&mut self.declared);
        all.truncate(self.most);
        all
    }
}

/// Rows that are not compared.
#[derive(Default)]
pub(crate) struct LeftOut {
    /// Their keys are parked on either side.
    pub(crate) parked: HashSet<RowRef>,
    /// Facts that only the new build has taken name them.
    pub(crate) newer: HashSet<RowRef>,
}

/// The last row up to which two pages can be compared, given whether each goes on after its end.
pub(crate) fn common_end(
    old: &[ScannedRow],
    new: &[ScannedRow],
    old_goes_on: bool,
    new_goes_on: bool,
) -> Option<RowRef> {
    let end = |rows: &[ScannedRow], goes_on: bool| {
        goes_on.then(|| rows.last().map(|row| row.row.clone())).flatten()
    };
    match (end(old, old_goes_on), end(new, new_goes_on)) {
        (Some(a), Some(b)) => Some(if a.table_cmp(&b).is_le() { a } else { b }),
        (one, other) => one.or(other),
    }
}

/// Compares the rows of a page up to an end.
pub(crate) fn compare_page(
    pair: &Pair,
    old: &[ScannedRow],
    new: &[ScannedRow],
    end: Option<&RowRef>,
    left_out: &LeftOut,
    table: &mut TableCompared,
    named: &mut Named,
) {
    let within = |row: &&ScannedRow| end.is_none_or(|end| row.row.table_cmp(end).is_le());
    let mut old = old.iter().take_while(within).peekable();
    let mut new = new.iter().take_while(within).peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) => a.row.table_cmp(&b.row),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        compare_row(pair, before, after, left_out, table, named);
    }
}

fn compare_row(
    pair: &Pair,
    before: Option<&ScannedRow>,
    after: Option<&ScannedRow>,
    left_out: &LeftOut,
    table: &mut TableCompared,
    named: &mut Named,
) {
    let Some(row) = before.or(after).map(|row| &row.row) else { return };
    if left_out.parked.contains(row) {
        table.parked += 1;
        return;
    }
    if left_out.newer.contains(row) {
        table.newer += 1;
        return;
    }
    let values = |row: Option<&ScannedRow>| row.and_then(|row| row.values.clone());
    let found = differences(pair, row, values(before).as_deref(), values(after).as_deref());
    match found.iter().map(|difference| difference.declared).reduce(|all, one| all && one) {
        None => return,
        Some(true) => table.declared += 1,
        Some(false) => table.undeclared += 1,
    }
    found.into_iter().for_each(|difference| named.add(difference));
}

/// In what two versions of a row differ.
pub(crate) fn differences(
    pair: &Pair,
    row: &RowRef,
    before: Option<&[diptych_core::Value]>,
    after: Option<&[diptych_core::Value]>,
) -> Vec<BuildDifference> {
    let named = |column: Option<&str>, before, after, declared| BuildDifference {
        table: pair.new.name.to_owned(),
        tenant: row.tenant.clone(),
        key: row.key.iter().map(diptych_core::Value::to_json).collect(),
        column: column.map(str::to_owned),
        before,
        after,
        declared,
    };
    let nothing = serde_json::Value::Null;
    match (before, after) {
        (Some(before), Some(after)) => {
            let columns = pair.differing(before, after);
            let columns = columns.map(|(column, before, after, declared)| {
                named(Some(column), before.to_json(), after.to_json(), declared)
            });
            columns.collect()
        }
        (Some(before), None) => {
            vec![named(None, whole(pair.old, before), nothing, pair.intended.rows_removed)]
        }
        (None, Some(after)) => vec![named(None, nothing, whole(pair.new, after), pair.intended.rows_added)],
        (None, None) => Vec::new(),
    }
}
