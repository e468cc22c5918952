//! However the log is cut into batches, the rows are the same.

use crate::drive::{self, EVERYTHING, build, contents, history, on, opened};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, OpenAccount, Party, Total, group};
use crate::{Harness, Outcome};
use diptych_query::{Fold, Group};
use std::sync::Arc;

/// Batches of any size leave equal rows and equal digests, and each digest is that of the rows.
pub(crate) async fn any_cut_leaves_equal_rows(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for group in models(harness) {
        build(&stores, &group, EVERYTHING).await?;
        let whole = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
        ensure!(!whole.0.is_empty(), "{group:?} has no rows");
        for size in [1, 2, 3, 7, 20] {
            stores.models.reset(&group).await?;
            drive::advance_to_head(&stores, &group, size).await?;
            let cut = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
            ensure_eq!(cut, whole, "{group:?} in batches of {size}");
        }
    }
    Ok(())
}

/// A drain in uneven batches, stopped and crashed in between, ends with the same rows.
pub(crate) async fn a_drain_may_be_interrupted(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let groups = models(harness);
    for round in 0_usize.. {
        let mut done = true;
        for group in &groups {
            stores.models.attach(group).await?;
            done &= drive::advance_once(&stores, group, 1 + round * 5 % 8).await?;
        }
        if done {
            break;
        }
        match round % 3 {
            0 => harness.crash(stores).await?,
            _ => harness.stop(stores).await?,
        }
        stores = harness.open(Vec::new()).await?;
    }
    for group in groups {
        let drained = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
        stores.models.reset(&group).await?;
        drive::advance_to_head(&stores, &group, EVERYTHING).await?;
        let whole = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
        ensure_eq!(drained, whole, "{group:?} after an interrupted drain");
    }
    Ok(())
}

/// Several blocks planned into one fold are one transaction, and count once.
pub(crate) async fn blocks_may_be_planned_together(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for group in models(harness) {
        let checkpoint = stores.models.attach(&group).await?;
        let mut fold = Fold::new(&group, &checkpoint);
        let mut after = checkpoint.mark.position();
        let head = stores.feed.head().await?;
        while after < head.position() {
            let block = stores.feed.read(after, group.categories(), 6).await?;
            fold.plan(&block)?;
            after = block.through.position();
        }
        let advanced = stores.models.advance(&group, fold).await?;
        ensure_eq!(advanced.checkpoint.mark, head, "the checkpoint of {group:?}");
        let together = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
        stores.models.reset(&group).await?;
        drive::advance_to_head(&stores, &group, 6).await?;
        let apart = (contents(&stores, &group).await?, drive::digest(&stores, &group).await?);
        ensure_eq!(together, apart, "{group:?} planned together");
    }
    Ok(())
}

/// A row that is made and deleted within one batch leaves nothing but its guard.
pub(crate) async fn a_row_may_live_within_one_batch(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let open = group::<OpenAccount>(harness);
    stores.models.attach(&open).await?;
    for round in 0..2 {
        on(&stores, "a", &[opened("ann"), AccountEvent::Closed {}]).await?;
        on(&stores, "b", &[opened("bob"), AccountEvent::Closed {}, opened("bob")]).await?;
        on(&stores, "b", &[AccountEvent::Closed {}, opened("bob again")]).await?;
        build(&stores, &open, EVERYTHING).await?;
        let rows = contents(&stores, &open).await?;
        ensure_eq!(rows.len(), 1, "the rows in round {round}");
        ensure_eq!(rows[0].1[1], diptych_core::Value::Text("bob again".into()), "the row that is left");
        drive::digest(&stores, &open).await?;
        on(&stores, "b", &[AccountEvent::Closed {}]).await?;
    }
    Ok(())
}

pub(crate) fn models(harness: &dyn Harness) -> [Arc<Group>; 4] {
    [
        group::<Total>(harness),
        group::<Balance>(harness),
        group::<Party>(harness),
        group::<OpenAccount>(harness),
    ]
}
