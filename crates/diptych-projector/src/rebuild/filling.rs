//! Fills an empty build: the log is folded in memory, block by block, and written when it is all there or memory
//! is full. What comes after is folded in batches. Each block is a slice of its own, so that others get their
//! turn.

use crate::ahead::fold_shared;
use crate::alone::Alone;
use crate::skips::Exceptions;
use diptych_core::{Code, Fault, Position};
use diptych_query::{AdvanceError, Feed, Fold, Group, Lease, Mark, ModelStore, RawBlock};
use std::sync::Arc;

/// A build that is filled, as far as it is in memory.
pub(crate) struct Filling {
    group: Arc<Group>,
    /// One for each partition; gone while a thread has them, for good if it failed.
    folds: Alone<Vec<Fold>>,
    /// What was read while the block before was folded.
    next: Alone<Option<RawBlock>>,
    position: Position,
    positions_max: usize,
}

impl Filling {
    /// Begins with a build whose partitions all stand at the start.
    pub(crate) fn new(
        group: &Arc<Group>,
        leases: impl Iterator<Item = Option<Lease>>,
        start: Mark,
        exceptions: &Exceptions,
        positions_max: usize,
    ) -> Self {
        let folds = leases.map(|lease| {
            let mut fold = match lease {
                Some(lease) => Fold::under(group, lease, start),
                None => Fold::from_mark(group, start),
            };
            exceptions.tell(&mut fold);
            fold
        });
        let (folds, next) = (Alone::new(folds.collect()), Alone::new(None));
        Self { group: Arc::clone(group), folds, next, position: start.position(), positions_max }
    }

    /// Where it stands in memory.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// How many rows it holds.
    pub(crate) fn rows_held(&mut self) -> usize {
        self.folds.get().iter().map(Fold::rows_held).sum()
    }

    /// How many facts it has folded.
    pub(crate) fn facts(&mut self) -> u64 {
        self.folds.get().iter().map(Fold::facts).max().unwrap_or(0) as u64
    }

    /// Folds one block on another thread and reads the one after meanwhile. Answers whether the target is
    /// reached.
    pub(crate) async fn slice(
        &mut self,
        feed: &Arc<dyn Feed>,
        target: Position,
    ) -> Result<bool, AdvanceError> {
        let block = match self.next.get().take() {
            Some(block) => block,
            None => match self.read(feed, self.position, target).await? {
                Some(block) => block,
                None => return Ok(true),
            },
        };
        let through = block.through.position();
        let folds = std::mem::take(self.folds.get());
        let folding = tokio::task::spawn_blocking(move || fold_shared(folds, block));
        let (folded, next) = tokio::join!(folding, self.read(feed, through, target));
        let gone = |error| {
            AdvanceError::from(Fault::transient(Code::Internal, "the folding thread ended").because(error))
        };
        *self.folds.get() = folded.map_err(gone)??;
        let next = next?;
        let last = next.is_none();
        (self.position, *self.next.get()) = (through, next);
        Ok(through >= target || last)
    }

    async fn read(
        &self,
        feed: &Arc<dyn Feed>,
        after: Position,
        target: Position,
    ) -> Result<Option<RawBlock>, Fault> {
        let left = usize::try_from(after.lag_to(target)).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let block = feed.read_raw(after, self.group.categories(), left.min(self.positions_max)).await?;
        Ok(Some(block).filter(|block| block.through.position() > after))
    }

    /// Writes what is in memory, each partition in one transaction. Answers how many rows there were.
    pub(crate) async fn write(self, store: &dyn ModelStore) -> Result<u64, AdvanceError> {
        let mut rows = 0;
        for fold in self.folds.into_inner() {
            rows += store.advance(&self.group, fold).await?.rows as u64;
        }
        Ok(rows)
    }
}
