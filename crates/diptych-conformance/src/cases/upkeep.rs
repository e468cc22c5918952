//! What operators and readers rely on: reset, stopping, when a position was passed, and readers that cannot
//! write.

use crate::drive::{self, EVERYTHING, build, contents, deposited, get, history, note, on, opened};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{OpenAccount, Total, group};
use crate::{Harness, Outcome, Stores};
use diptych_core::{Clock, Portable, Position, Timestamp, Value};
use diptych_query::{Group, Mend, Parked, Partition, RowRef, Stopped};
use std::time::Duration;

/// A reset empties rows, tombstones, digest and checkpoint, of that group alone; folding again restores them.
pub(crate) async fn a_reset_starts_over(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let (open, total) = (group::<OpenAccount>(harness), group::<Total>(harness));
    stores.models.attach(&open).await?;
    let first = pass(&stores, &open).await?;
    build(&stores, &total, 4).await?;
    let before = (contents(&stores, &open).await?, drive::digest(&stores, &open).await?);
    let other = contents(&stores, &total).await?;
    let start = stores.models.reset(&open).await?;
    ensure_eq!(start.mark, stores.feed.mark(Position::START).await?.unwrap_or(start.mark), "the start");
    ensure_eq!(start.mark.position(), Position::START, "the checkpoint after a reset");
    for life in 0..2 {
        ensure!(contents(&stores, &open).await?.is_empty(), "a reset group has rows in life {life}");
        ensure!(drive::digest(&stores, &open).await?.is_empty(), "a reset group has a digest in life {life}");
        ensure_eq!(contents(&stores, &total).await?, other, "the other group");
        harness.crash(stores).await?;
        stores = harness.open(Vec::new()).await?;
        let held = stores.models.attach(&open).await?;
        ensure_eq!(held.mark, start.mark, "the checkpoint in life {life}");
        stores.models.attach(&total).await?;
    }
    // On the way too: a guard that outlived the reset would hide a row until it is deleted anyway.
    ensure_eq!(pass(&stores, &open).await?, first, "the rows after each batch of the second pass");
    let after = (contents(&stores, &open).await?, drive::digest(&stores, &open).await?);
    ensure_eq!(after, before, "rows and digest after folding again");
    Ok(())
}

/// Folds everything in small batches. Answers the rows after each.
async fn pass(stores: &Stores, group: &Group) -> Outcome<Vec<Vec<(RowRef, Vec<Value>)>>> {
    let mut after_each = Vec::new();
    loop {
        let done = drive::advance_once(stores, group, 3).await?;
        after_each.push(contents(stores, group).await?);
        if done {
            return Ok(after_each);
        }
    }
}

/// Why a group stopped is kept, shown with every read, and survives; rows and checkpoint are left alone.
pub(crate) async fn a_stop_is_kept(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    let reached = build(&stores, &total, 1).await?;
    let stopped = Stopped { position: Position(3), reason: "`x` cannot be read (DP0036)".to_owned() };
    stores.models.set_stopped(&total, Partition::WHOLE, Some(stopped.clone())).await?;
    for life in 0..3 {
        let got = get(&stores, &total, "all").await?;
        ensure_eq!(got.checkpoint.stopped, Some(stopped.clone()), "why it stopped, in life {life}");
        ensure_eq!(got.checkpoint.mark, reached.mark, "where it stopped, in life {life}");
        ensure_eq!(got.rows.len(), 1, "the rows of a stopped group, in life {life}");
        if life == 0 {
            harness.stop(stores).await?;
        } else {
            harness.crash(stores).await?;
        }
        stores = harness.open(Vec::new()).await?;
        let held = stores.models.attach(&total).await?;
        ensure_eq!(held.stopped, Some(stopped.clone()), "why it stopped, when attached");
    }
    stores.models.set_stopped(&total, Partition::WHOLE, None).await?;
    ensure_eq!(stores.models.checkpoint(&total).await?.stopped, None, "after it was started again");
    Ok(())
}

/// A reset clears why the group stopped.
pub(crate) async fn a_reset_clears_the_stop(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    on(&stores, "a", &[opened("ann")]).await?;
    build(&stores, &total, 1).await?;
    let (position, reason) = (Position(1), "bad".to_owned());
    stores.models.set_stopped(&total, Partition::WHOLE, Some(Stopped { position, reason })).await?;
    ensure_eq!(stores.models.reset(&total).await?.stopped, None, "what the reset answers");
    ensure_eq!(stores.models.checkpoint(&total).await?.stopped, None, "the checkpoint after a reset");
    Ok(())
}

/// When a position was passed is the time of the first advance that reached it, or nothing yet.
pub(crate) async fn the_time_of_passing_is_kept(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    stores.models.attach(&total).await?;
    let mut expected: Vec<Timestamp> = Vec::new();
    for round in 0..4 {
        on(&stores, "a", &[deposited(1)?, deposited(2)?]).await?;
        note(&stores, "n").await?;
        let head = stores.feed.head().await?.position();
        let early = stores.models.passed_at(&total, head).await?;
        ensure_eq!(early, None, "when {head} was passed, before it was");
        stores.clock.advance(Duration::from_secs(3));
        let checkpoint = drive::advance_to_head(&stores, &total, EVERYTHING).await?;
        ensure_eq!(checkpoint.updated_at, stores.clock.now(), "when the checkpoint was written");
        expected.extend([stores.clock.now(); 3]);
        for (position, time) in (1..).zip(&expected) {
            let passed = stores.models.passed_at(&total, Position(position)).await?;
            ensure_eq!(passed, Some(*time), "when {position} was passed, asked in round {round}");
        }
    }
    Ok(())
}

/// The stamp of a group's rows is another one after everything that may change them, and the same as long as
/// nothing does.
pub(crate) async fn a_stamp_tells_rows_apart(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    let total = group::<Total>(harness);
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    let at = build(&stores, &total, EVERYTHING).await?.mark.position();
    let mut seen = vec![stores.models.stamp(&total).await?];
    drive::advance_to_head(&stores, &total, EVERYTHING).await?;
    ensure_eq!(stores.models.stamp(&total).await?, seen[0], "the stamp after nothing has happened");
    let (parked_at, reason) = (stores.clock.now(), "it broke (DP0035)".to_owned());
    let row = RowRef { tenant: drive::tenant(drive::MAIN)?, key: vec!["all".to_owned().to_value()] };
    let (model, event, position) = ("total".to_owned(), "AccountOpened".to_owned(), Position(9));
    let parked = Parked { model, row: row.clone(), position, event, reason, parked_at };
    stores.models.park(&total, None, &[parked]).await?;
    seen.push(stores.models.stamp(&total).await?);
    let (changes, healed, parked) = (Vec::new(), vec![(0, row)], Vec::new());
    let mend = Mend { partition: Partition::WHOLE, lease: None, at, changes, healed, parked };
    stores.models.mend(&total, mend).await?;
    seen.push(stores.models.stamp(&total).await?);
    stores.models.reset(&total).await?;
    seen.push(stores.models.stamp(&total).await?);
    drive::advance_to_head(&stores, &total, EVERYTHING).await?;
    // Where it stood before, with rows that other code may have folded.
    seen.push(stores.models.stamp(&total).await?);
    note(&stores, "n").await?;
    drive::advance_to_head(&stores, &total, EVERYTHING).await?;
    let last = stores.models.stamp(&total).await?;
    seen.push(last);
    let begun = stores.registry.begin_build(&total, &super::builds::order("to be sure")?).await?;
    build(&stores, &total.at(begun.id), EVERYTHING).await?;
    seen.push(stores.models.stamp(&total.at(begun.id)).await?);
    let different: std::collections::HashSet<_> = seen.iter().collect();
    ensure_eq!(different.len(), seen.len(), "how many stamps there are");
    harness.stop(stores).await?;
    stores = harness.open(Vec::new()).await?;
    stores.models.attach(&total).await?;
    ensure_eq!(stores.models.stamp(&total).await?, last, "the stamp in the next life");
    Ok(())
}
