//! Folding ahead of what is written, by stores that can tell whether anybody else has written since. Others
//! offer none, and have nothing to keep here.

use super::cuts::models;
use super::parked::{counted, facts, lenient, parked};
use crate::drive::{
    self, EVERYTHING, advance_once, advance_to_head, build, contents, deposited, history, on,
};
use crate::failure::{ensure, ensure_eq};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_query::{AdvanceError, Batch, Fold, Group, RowsAhead};
use std::collections::VecDeque;
use std::sync::Arc;

/// A fold ahead of a group, where the store has that.
struct Ahead {
    fold: Fold,
    rows: Arc<dyn RowsAhead>,
}

impl Ahead {
    async fn of(stores: &Stores, group: &Group) -> Outcome<Option<Self>> {
        let mark = stores.models.checkpoint(group).await?.mark;
        let begun = stores.models.ahead(group, Fold::lasting(group, None, mark)).await?;
        Ok(begun.map(|(fold, rows)| Self { fold, rows }))
    }

    /// Folds what follows, at most so many positions, two at once. None at the head.
    async fn fold(&mut self, stores: &Stores, group: &Group, positions_max: usize) -> Outcome<Option<Batch>> {
        let from = self.fold.through();
        let block = stores.feed.read(from.position(), group.categories(), positions_max).await?;
        if block.through == from {
            return Ok(None);
        }
        for facts in block.facts.chunks(2) {
            self.fold.plan_facts(facts, from)?;
            self.rows.drive(&mut self.fold)?;
        }
        self.fold.plan_facts(&[], block.through)?;
        Ok(Some(self.fold.take_batch()?))
    }
}

async fn write(
    stores: &Stores,
    group: &Group,
    rows: &Arc<dyn RowsAhead>,
    batch: Batch,
) -> Result<(), AdvanceError> {
    stores.models.write_ahead(group, rows, batch).await.map(drop)
}

/// Batches that are folded while those before are not written yet leave the rows that one by one leave.
pub(crate) async fn batches_folded_ahead_leave_equal_rows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for group in models(harness) {
        build(&stores, &group, EVERYTHING).await?;
        let whole = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
        for (size, unwritten_max) in [(1, 0), (1, 2), (2, 1), (5, 2)] {
            stores.models.reset(&group).await?;
            advance_once(&stores, &group, size).await?;
            let Some(mut ahead) = Ahead::of(&stores, &group).await? else { return Ok(()) };
            let mut waiting = VecDeque::new();
            loop {
                let folded = ahead.fold(&stores, &group, size).await?;
                let ended = folded.is_none();
                waiting.extend(folded);
                while waiting.len() > if ended { 0 } else { unwritten_max } {
                    let batch = waiting.pop_front().ok_or_else(|| Failure::new("no batch waits"))?;
                    let through = batch.through;
                    write(&stores, &group, &ahead.rows, batch).await?;
                    let standing = stores.models.checkpoint(&group).await?.mark;
                    ensure_eq!(standing, through, "the checkpoint of {group:?} after a batch");
                }
                if ended {
                    break;
                }
            }
            let cut = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
            ensure_eq!(cut, whole, "{group:?} by {size} positions, {unwritten_max} batches ahead");
        }
    }
    Ok(())
}

/// A batch that was folded before somebody else wrote is refused, and changes nothing; a fold that begins
/// afterwards knows what was written.
pub(crate) async fn what_others_wrote_is_not_written_over(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    let before = stores.models.checkpoint(&model).await?;
    let Some(mut ahead) = Ahead::of(&stores, &model).await? else { return Ok(()) };
    on(&stores, "a", &[deposited(1)?]).await?;
    on(&stores, "b", &[deposited(1)?]).await?;
    let batch = ahead.fold(&stores, &model, EVERYTHING).await?.ok_or_else(|| Failure::new("no batch"))?;
    stores.models.park(&model, None, &[parked(&stores, &model, "a", 4)?]).await?;
    let refused = write(&stores, &model, &ahead.rows, batch).await;
    ensure!(matches!(refused, Err(AdvanceError::Overtaken)), "after somebody else: {refused:?}");
    ensure_eq!(stores.models.checkpoint(&model).await?, before, "the checkpoint after a refused batch");
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 1)]), "after a refused batch");
    let again = Ahead::of(&stores, &model).await?;
    let mut again = again.ok_or_else(|| Failure::new("no fold ahead any more"))?;
    let batch = again.fold(&stores, &model, EVERYTHING).await?.ok_or_else(|| Failure::new("no batch"))?;
    write(&stores, &model, &again.rows, batch).await?;
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 2), ("b", 2)]), "a key that is held back");
    Ok(())
}

/// A batch that somebody else has folded meanwhile is not counted twice.
pub(crate) async fn what_others_have_folded_is_not_folded_again(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let model = lenient(&stores, harness).await?;
    let Some(mut ahead) = Ahead::of(&stores, &model).await? else { return Ok(()) };
    on(&stores, "a", &[deposited(1)?]).await?;
    let batch = ahead.fold(&stores, &model, EVERYTHING).await?.ok_or_else(|| Failure::new("no batch"))?;
    let standing = advance_to_head(&stores, &model, EVERYTHING).await?;
    let refused = write(&stores, &model, &ahead.rows, batch).await;
    let at = standing.mark.position();
    let is_moved = matches!(refused, Err(AdvanceError::Moved { checkpoint }) if checkpoint == at);
    ensure!(is_moved, "after somebody else: {refused:?}");
    ensure_eq!(facts(&stores, &model).await?, counted(&[("a", 3), ("b", 1)]), "the facts");
    Ok(())
}
