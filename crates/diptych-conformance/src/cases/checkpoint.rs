//! Rows, guards, digest and checkpoint: one transaction, or nothing.

use crate::drive::{
    self, EVERYTHING, QUERY_MAX, advance_once, advance_to_head, build, contents, deposited, get, history,
    note, on, opened, query, renamed,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Fragile, NextRevision, OtherShape, Sample, Total, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::{Code, Fingerprint, Position};
use diptych_query::{AdvanceError, Categories, Fold, FoldErrorKind, Group, Mark};

/// What an advance answers, the checkpoint, and the snapshot of every read say the same.
pub(crate) async fn rows_and_checkpoint_move_together(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    let start = stores.models.attach(&total).await?;
    ensure_eq!(start.mark, marked(&stores, 0).await?, "the checkpoint of a new group");
    ensure_eq!(start.stopped, None, "why a new group stopped");
    for position in 1..=5_u64 {
        on(&stores, "a", &[deposited(1)?]).await?;
        advance_once(&stores, &total, 1).await?;
        let expected = marked(&stores, position).await?;
        let got = get(&stores, &total, "all").await?;
        ensure_eq!(got.checkpoint.mark, expected, "the checkpoint that a row is read with");
        let facts = got.rows.first().map(|row| row[1].clone());
        let whole = i64::try_from(position).map(diptych_core::Value::Integer).ok();
        ensure_eq!(facts, whole, "the facts counted up to the checkpoint");
        let schema = total.models()[0].schema();
        let find = query(None, Vec::new())?;
        let found = stores.models.find(&total, schema, &find, QUERY_MAX).await?;
        ensure_eq!(found, got, "rows found and row got");
        let checkpoint = stores.models.checkpoint(&total).await?;
        ensure_eq!(checkpoint, got.checkpoint, "the checkpoint by itself");
        drive::digest(&stores, &total).await?;
    }
    Ok(())
}

/// A fold that fails at its last fact leaves rows, digest and checkpoint where they were.
pub(crate) async fn a_failing_fold_leaves_nothing(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let fragile = group::<Fragile>(harness);
    on(&stores, "a", &[opened("ann")]).await?;
    on(&stores, "b", &[opened("bob")]).await?;
    build(&stores, &fragile, EVERYTHING).await?;
    let before = snapshot(&stores, &fragile).await?;
    on(&stores, "a", &[deposited(1)?, renamed("fine")]).await?;
    on(&stores, "b", &[deposited(1)?, renamed(Fragile::BREAKS)]).await?;
    on(&stores, "c", &[opened("eve")]).await?;
    for life in 0..2 {
        let checkpoint = stores.models.checkpoint(&fragile).await?;
        let position = checkpoint.mark.position();
        let block = stores.feed.read(position, fragile.categories(), EVERYTHING).await?;
        let mut fold = Fold::new(&fragile, &checkpoint);
        fold.plan(&block)?;
        let error = match stores.models.advance(&fragile, fold).await {
            Err(AdvanceError::Fold(error)) => error,
            other => return Err(Failure::new(format!("a failing fold answered {other:?}"))),
        };
        ensure_eq!(error.position, Position(6), "the fact that failed");
        ensure!(matches!(error.kind, FoldErrorKind::KeyChanged { .. }), "how it failed: {error:?}");
        ensure_eq!(snapshot(&stores, &fragile).await?, before, "rows and checkpoint after a failure");
        if life == 0 {
            harness.crash(stores).await?;
            stores = harness.open(Vec::new()).await?;
            stores.models.attach(&fragile).await?;
        }
    }
    Ok(())
}

/// Whoever folds from where the checkpoint is not any more is told where it is, and changes nothing.
pub(crate) async fn a_moved_checkpoint_refuses_the_fold(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    on(&stores, "a", &[opened("ann"), deposited(1)?, deposited(2)?]).await?;
    let start = stores.models.attach(&total).await?;
    let planned = |from, count| {
        let (stores, total) = (&stores, &total);
        async move {
            let mut fold = Fold::from_mark(total, marked(stores, from).await?);
            let block = stores.feed.read(Position(from), total.categories(), count).await?;
            fold.plan(&block)?;
            Ok::<_, Failure>(fold)
        }
    };
    let (first, twin) = (planned(0, 2).await?, planned(0, 3).await?);
    let ahead = stores.models.advance(&total, planned(2, 1).await?).await;
    ensure!(matches!(ahead, Err(AdvanceError::Moved { checkpoint: Position(0) })), "ahead: {ahead:?}");
    ensure_eq!(stores.models.checkpoint(&total).await?.mark, start.mark, "the checkpoint after");
    stores.models.advance(&total, first).await?;
    let before = snapshot(&stores, &total).await?;
    let behind = stores.models.advance(&total, twin).await;
    ensure!(matches!(behind, Err(AdvanceError::Moved { checkpoint: Position(2) })), "behind: {behind:?}");
    ensure_eq!(snapshot(&stores, &total).await?, before, "rows after a refused fold");
    advance_to_head(&stores, &total, 10).await?;
    let got = get(&stores, &total, "all").await?;
    ensure_eq!(got.rows[0][1], diptych_core::Value::Integer(3), "the facts counted");
    Ok(())
}

/// A checkpoint passes over facts that the group does not read, with and without any that it does.
pub(crate) async fn a_checkpoint_passes_over_foreign_facts(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    stores.models.attach(&total).await?;
    for round in 1..=3_u64 {
        note(&stores, "n").await?;
        note(&stores, "n").await?;
        on(&stores, "a", &[deposited(1)?]).await?;
        note(&stores, "n").await?;
        let checkpoint = advance_to_head(&stores, &total, 2).await?;
        ensure_eq!(checkpoint.mark, marked(&stores, round * 4).await?, "the checkpoint after foreign facts");
        let got = get(&stores, &total, "all").await?;
        let facts = i64::try_from(round).map(diptych_core::Value::Integer).ok();
        ensure_eq!(got.rows.first().map(|row| row[1].clone()), facts, "the facts counted");
    }
    Ok(())
}

/// Each group has a checkpoint of its own.
pub(crate) async fn groups_move_alone(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let (total, balance) = (group::<Total>(harness), group::<Balance>(harness));
    build(&stores, &total, 5).await?;
    let still = stores.models.attach(&balance).await?;
    ensure_eq!(still.mark.position(), Position::START, "the checkpoint of the other group");
    ensure!(contents(&stores, &balance).await?.is_empty(), "the other group has rows");
    let before = snapshot(&stores, &total).await?;
    build(&stores, &balance, 5).await?;
    ensure_eq!(snapshot(&stores, &total).await?, before, "the first group after the second moved");
    Ok(())
}

/// Rows and checkpoint survive a crash together: the rows are the fold of the log up to the checkpoint.
pub(crate) async fn rows_survive_with_their_checkpoint(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let (total, balance) = (group::<Total>(harness), group::<Balance>(harness));
    for life in 0..4 {
        for group in [&total, &balance] {
            stores.models.attach(group).await?;
            advance_once(&stores, group, 7).await?;
        }
        let before = [snapshot(&stores, &total).await?, snapshot(&stores, &balance).await?];
        if life == 2 {
            harness.stop(stores).await?;
        } else {
            harness.crash(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
        stores.models.attach(&total).await?;
        let mark = stores.models.attach(&balance).await?.mark;
        ensure_eq!(mark, before[1].0, "the checkpoint that attaching answers");
        let after = [snapshot(&stores, &total).await?, snapshot(&stores, &balance).await?];
        ensure_eq!(after, before, "rows and checkpoints in life {}", life + 2);
        drive::digest(&stores, &balance).await?;
    }
    let counted = get(&stores, &total, "all").await?;
    let wanted = counted.checkpoint.mark.position();
    let count = usize::try_from(wanted.0).unwrap_or(EVERYTHING);
    let block = stores.feed.read(Position::START, total.categories(), count).await?;
    let own = block.facts.iter().filter(|fact| fact.stream.tenant.as_str() == drive::MAIN);
    let facts = i64::try_from(own.count()).map(diptych_core::Value::Integer).ok();
    ensure_eq!(counted.rows.first().map(|row| row[1].clone()), facts, "facts counted up to {wanted}");
    Ok(())
}

/// Tables of another shape under the same revision are refused, and what is there is left alone.
pub(crate) async fn another_shape_is_refused(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    let total = group::<Total>(harness);
    build(&stores, &total, EVERYTHING).await?;
    let before = snapshot(&stores, &total).await?;
    harness.stop(stores).await?;
    stores = harness.open(Vec::new()).await?;
    match stores.models.attach(&group::<OtherShape>(harness)).await {
        Err(fault) if fault.code() == Code::ShapeChanged => {}
        other => return Err(Failure::new(format!("another shape was met with {other:?}"))),
    }
    stores.models.attach(&total).await?;
    ensure_eq!(snapshot(&stores, &total).await?, before, "the rows after the refusal");
    Ok(())
}

/// Another revision starts over, beside the one that was there.
pub(crate) async fn another_revision_starts_over(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    let (total, next) = (group::<Total>(harness), group::<NextRevision>(harness));
    build(&stores, &total, EVERYTHING).await?;
    harness.stop(stores).await?;
    stores = harness.open(Vec::new()).await?;
    let start = stores.models.attach(&next).await?;
    ensure_eq!(start.mark.position(), Position::START, "the checkpoint of a new revision");
    ensure!(contents(&stores, &next).await?.is_empty(), "a new revision has rows");
    build(&stores, &next, EVERYTHING).await?;
    let rows = contents(&stores, &next).await?;
    ensure_eq!(rows.len(), 1, "the rows of the new revision");
    ensure_eq!(rows[0].1[1], diptych_core::Value::Bool(true), "the column of the new revision");
    Ok(())
}

/// A checkpoint that is no entry of this log is refused, at once or when the group is attached; never
/// clamped.
pub(crate) async fn a_foreign_checkpoint_is_refused(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let (total, sample) = (group::<Total>(harness), group::<Sample>(harness));
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    let mut foreign = stores.feed.head().await?;
    let mut beyond = foreign;
    foreign.token.fingerprint = Fingerprint(!foreign.token.fingerprint.0);
    beyond.token.position = Position(1_000);
    for (group, mark) in [(&total, foreign), (&sample, beyond)] {
        let checkpoint = stores.models.attach(group).await?;
        let mut fold = Fold::new(group, &checkpoint);
        fold.plan_facts(&[], mark)?;
        let fault = match stores.models.advance(group, fold).await {
            Err(AdvanceError::Fault(fault)) => fault,
            Err(other) => return Err(Failure::new(format!("a foreign mark was met with {other:?}"))),
            Ok(_) => {
                harness.stop(stores).await?;
                stores = harness.open(Vec::new()).await?;
                match stores.models.attach(group).await {
                    Err(fault) => fault,
                    Ok(held) => return Err(Failure::new(format!("a foreign log was taken: {held:?}"))),
                }
            }
        };
        ensure_eq!(fault.code(), Code::LogDiffers, "the code of {fault}");
    }
    Ok(())
}

/// A reader that is ahead of the log is told so.
pub(crate) async fn a_reader_beyond_the_head_is_told(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann")]).await?;
    match stores.feed.read(Position(2), &Categories::All, 10).await {
        Err(fault) if fault.code() == Code::LogDiffers => Ok(()),
        other => Err(Failure::new(format!("reading after 2 of 1 was met with {other:?}"))),
    }
}

async fn marked(stores: &Stores, position: u64) -> Outcome<Mark> {
    let mark = stores.feed.mark(Position(position)).await?;
    mark.ok_or_else(|| Failure::new(format!("the log has no mark at {position}")))
}

type Snapshot = (Mark, Vec<diptych_query::ScannedRow>, Vec<(u8, i64, u128)>);

async fn snapshot(stores: &Stores, group: &Group) -> Outcome<Snapshot> {
    let mark = stores.models.checkpoint(group).await?.mark;
    Ok((mark, drive::rows(stores, group).await?, drive::digest(stores, group).await?))
}
