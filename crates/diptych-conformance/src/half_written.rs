//! For stores that cannot write rows and checkpoint at once: a log that every process makes alike, batches of
//! it, and the proof that what is read is the fold of the log up to the checkpoint, whoever died meanwhile.

use crate::drive::{self, EVERYTHING};
use crate::failure::ensure_eq;
use crate::{Failure, Outcome, Stores};
use diptych_core::{Fault, Position};
use diptych_query::{AdvanceError, Fold, Group, RowRef};

/// Fills the log: the same commands with the same events, so that any process may make it again in memory.
///
/// # Errors
/// A failure of the store.
pub async fn fill(stores: &Stores) -> Outcome {
    drive::history(stores).await?;
    for round in 0..12 {
        for key in ["a", "b", "d", "e", "f"] {
            let to = if key == "d" { "e" } else { "d" };
            let deposited = drive::deposited(round + 1)?;
            drive::on(stores, key, &[deposited, drive::transferred(to, 1)?]).await?;
        }
    }
    Ok(())
}

/// Folds one batch of at most so many positions; answers whether the group stands at the head.
///
/// # Errors
/// A fault that may pass, as the outer result; everything else is a failure.
pub async fn step(stores: &Stores, group: &Group, positions_max: usize) -> Result<Outcome<bool>, Fault> {
    let checkpoint = match stores.models.checkpoint(group).await {
        Err(fault) if fault.is_transient() => return Err(fault),
        Err(fault) => return Ok(Err(fault.into())),
        Ok(checkpoint) => checkpoint,
    };
    let from = checkpoint.mark.position();
    let block = match stores.feed.read(from, group.categories(), positions_max).await {
        Ok(block) => block,
        Err(fault) => return Ok(Err(fault.into())),
    };
    if block.through.position() == from {
        return Ok(Ok(true));
    }
    let at_head = block.through.position() == block.head;
    let mut fold = Fold::new(group, &checkpoint);
    if let Err(error) = fold.plan(&block) {
        return Ok(Err(error.into()));
    }
    match stores.models.advance(group, fold).await {
        Ok(_) => Ok(Ok(at_head)),
        // A batch that died may be met once more, when it is written late.
        Err(AdvanceError::Moved { .. }) => Ok(Ok(false)),
        Err(AdvanceError::Fault(fault)) if fault.is_transient() => Err(fault),
        Err(error) => Ok(Err(Failure::new(format!("a batch was met with {error:?}")))),
    }
}

/// Proves that rows and digest of a group are the fold of the log up to its checkpoint. Answers where it
/// stands.
///
/// # Errors
/// They are not, or a failure of the store.
pub async fn is_the_fold(stores: &Stores, group: &Group) -> Outcome<Position> {
    let at = stores.models.checkpoint(group).await?.mark.position();
    let start = stores.feed.mark(Position::START).await?;
    let start = start.ok_or_else(|| Failure::new("the log has no start"))?;
    let mut fold = Fold::from_mark(group, start);
    let count = usize::try_from(at.0).unwrap_or(EVERYTHING);
    if count > 0 {
        fold.plan(&stores.feed.read(Position::START, group.categories(), count).await?)?;
    }
    fold.run()?;
    let changes = fold.changes()?;
    let actual = drive::all_contents(stores, group).await?;
    for (table, changes) in changes.into_iter().enumerate() {
        let rows = changes.rows.into_iter();
        let live = rows.filter_map(|change| Some((change.stored.row, change.stored.values?)));
        let mut expected: Vec<_> = live.collect();
        expected.sort_by(|(a, _), (b, _)| RowRef::table_cmp(a, b));
        ensure_eq!(actual[table], expected, "table {table} of {group:?} at {at}");
    }
    Ok(at)
}
