//! How the rows of a table stood before each change, for later tables of its group. Facts come in the order
//! of their positions, and so do the changes.

use super::slots::Map;
use diptych_core::Position;

/// How many changes are looked through one after the other; beyond it they are found by their row.
const CHANGES_SCANNED_MAX: usize = 16;

/// The changes since it was last cleared, oldest first.
pub(super) struct History<M> {
    changes: Vec<Change<M>>,
    /// Which changes a row has had, once they are many.
    of_row: Map<usize, Vec<usize>>,
}

struct Change<M> {
    slot: usize,
    at: Position,
    before: Option<M>,
}

impl<M> Default for History<M> {
    fn default() -> Self {
        Self { changes: Vec::new(), of_row: Map::default() }
    }
}

impl<M> History<M> {
    /// Remembers the row that stood before a change at a position.
    pub(super) fn push(&mut self, slot: usize, at: Position, before: Option<M>) {
        self.changes.push(Change { slot, at, before });
        let count = self.changes.len();
        if count == CHANGES_SCANNED_MAX + 1 {
            for (number, change) in self.changes.iter().enumerate() {
                self.of_row.entry(change.slot).or_default().push(number);
            }
        } else if count > CHANGES_SCANNED_MAX {
            self.of_row.entry(slot).or_default().push(count - 1);
        }
    }

    /// The row before the first change after a position, where there is such a change.
    pub(super) fn before_next(&self, slot: usize, at: Position) -> Option<Option<&M>> {
        let next = if self.changes.len() <= CHANGES_SCANNED_MAX {
            self.changes.iter().find(|change| change.slot == slot && change.at > at)
        } else {
            let numbers = self.of_row.get(&slot)?;
            let number = numbers.get(numbers.partition_point(|number| self.changes[*number].at <= at))?;
            Some(&self.changes[*number])
        };
        next.map(|change| change.before.as_ref())
    }

    /// Forgets them.
    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.of_row.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_changes_and_many_are_found_alike() {
        for count in [1, CHANGES_SCANNED_MAX, CHANGES_SCANNED_MAX + 1, 200] {
            let mut history = History::default();
            let changes: Vec<_> = (0..count).map(|number| (number % 3, 2 * number as u64, number)).collect();
            for (slot, at, before) in &changes {
                history.push(*slot, Position(*at), (*before > 2).then_some(*before));
            }
            for slot in 0..4 {
                for at in 0..2 * count as u64 + 1 {
                    let expected = changes.iter().find(|change| change.0 == slot && change.1 > at);
                    let expected = expected.map(|change| (change.2 > 2).then_some(change.2));
                    let found = history.before_next(slot, Position(at)).map(Option::<&usize>::copied);
                    assert_eq!(found, expected, "row {slot} at {at} of {count}");
                }
            }
            history.clear();
            assert_eq!(history.before_next(0, Position(0)), None);
        }
    }
}
