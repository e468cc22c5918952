//! Redelivery: a fact that comes twice, late, or after a crash leaves the same rows.

use crate::drive::{self, EVERYTHING, MAIN, build, contents, deposited, history, on, opened, redeliver};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{AccountEvent, Balance, OpenAccount, Party, Total, group};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_core::Position;
use diptych_query::{Group, ScannedRow};
use std::sync::Arc;

/// The whole log once more changes no row, no guard, no digest and no checkpoint, in blocks of any size.
pub(crate) async fn an_old_block_changes_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let head = stores.feed.head().await?.position();
    for group in models(harness) {
        build(&stores, &group, 4).await?;
        let before = state(&stores, &group).await?;
        ensure!(!before.1.is_empty(), "{group:?} has no rows to guard");
        for size in [1, 5, head.0] {
            for start in (0..head.0).step_by(usize::try_from(size).unwrap_or(1)) {
                let end = Position((start + size).min(head.0));
                again(&stores, &group, Position(start), end).await?;
            }
            ensure_eq!(state(&stores, &group).await?, before, "{group:?} after blocks of {size} again");
        }
    }
    Ok(())
}

/// Old facts one by one, the latest first, each twice.
pub(crate) async fn late_facts_change_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let head = stores.feed.head().await?.position();
    for group in models(harness) {
        build(&stores, &group, EVERYTHING).await?;
        let before = state(&stores, &group).await?;
        for position in (1..=head.0).rev() {
            for _ in 0..2 {
                again(&stores, &group, Position(position - 1), Position(position)).await?;
            }
        }
        ensure_eq!(state(&stores, &group).await?, before, "{group:?} after late facts");
    }
    Ok(())
}

/// Old facts between new ones, as a worker delivers them that does not know how far it came.
pub(crate) async fn old_facts_between_new_ones_change_nothing(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let head = stores.feed.head().await?.position();
    let clean = group::<Total>(harness);
    for group in models(harness) {
        stores.models.attach(&group).await?;
        while !drive::advance_once(&stores, &group, 3).await? {
            let reached = stores.models.checkpoint(&group).await?.mark.position();
            again(&stores, &group, Position(reached.0.saturating_sub(5)), reached).await?;
        }
        let disturbed = contents(&stores, &group).await?;
        let digest = drive::digest(&stores, &group).await?;
        stores.models.reset(&group).await?;
        drive::advance_to_head(&stores, &group, EVERYTHING).await?;
        ensure_eq!(disturbed, contents(&stores, &group).await?, "{group:?} with old facts in between");
        ensure_eq!(digest, drive::digest(&stores, &group).await?, "its digest");
    }
    let counted = drive::get(&stores, &clean, "all").await?;
    ensure_eq!(counted.checkpoint.mark.position(), head, "where the counter stands");
    Ok(())
}

/// A deleted row stays deleted when its facts come again, also after a crash.
pub(crate) async fn a_deleted_row_stays_deleted(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    on(&stores, "a", &[opened("ann"), deposited(1)?]).await?;
    on(&stores, "b", &[opened("bob")]).await?;
    on(&stores, "a", &[AccountEvent::Closed {}]).await?;
    let open = group::<OpenAccount>(harness);
    build(&stores, &open, 1).await?;
    for life in 0..2 {
        ensure!(drive::get(&stores, &open, "a").await?.rows.is_empty(), "a closed account in life {life}");
        for (after, through) in [(0, 1), (0, 2), (0, 3), (1, 2), (0, 4)] {
            again(&stores, &open, Position(after), Position(through)).await?;
            let found = drive::get(&stores, &open, "a").await?;
            ensure!(found.rows.is_empty(), "facts {after}..{through} brought a deleted row back");
        }
        ensure_eq!(contents(&stores, &open).await?.len(), 1, "the rows that are left");
        drive::digest(&stores, &open).await?;
        harness.crash(stores).await?;
        stores = harness.open(Vec::new()).await?;
        stores.models.attach(&open).await?;
    }
    Ok(())
}

/// A deleted row may come back by a new fact, and is then one row as any other.
pub(crate) async fn a_deleted_row_may_come_back(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let open = group::<OpenAccount>(harness);
    stores.models.attach(&open).await?;
    for round in 0..3 {
        let owner = format!("owner {round}");
        on(&stores, "a", &[opened(&owner), deposited(1)?]).await?;
        build(&stores, &open, 1).await?;
        let rows = drive::get(&stores, &open, "a").await?.rows;
        let held = rows.first().map(|row| row[1..].to_vec());
        let expected = vec![diptych_core::Value::Text(owner), diptych_core::Value::Integer(1)];
        ensure_eq!(held, Some(expected), "the row in round {round}");
        drive::digest(&stores, &open).await?;
        on(&stores, "a", &[AccountEvent::Closed {}]).await?;
        build(&stores, &open, EVERYTHING).await?;
        ensure!(contents(&stores, &open).await?.is_empty(), "the row outlived its account");
        ensure!(drive::digest(&stores, &open).await?.is_empty(), "the digest of no rows");
    }
    Ok(())
}

/// A crash between batches, then everything since the start again: the rows are those of one clean pass.
pub(crate) async fn redelivery_after_a_crash_changes_nothing(harness: &dyn Harness) -> Outcome {
    let mut stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for group in models(harness) {
        stores.models.attach(&group).await?;
        while !drive::advance_once(&stores, &group, 9).await? {
            harness.crash(stores).await?;
            stores = harness.open(Vec::new()).await?;
            let reached = stores.models.attach(&group).await?.mark.position();
            let before = state(&stores, &group).await?;
            again(&stores, &group, Position::START, reached).await?;
            ensure_eq!(state(&stores, &group).await?, before, "{group:?} after a crash at {reached}");
        }
        let rebuilt = contents(&stores, &group).await?;
        stores.models.reset(&group).await?;
        drive::advance_to_head(&stores, &group, EVERYTHING).await?;
        ensure_eq!(rebuilt, contents(&stores, &group).await?, "{group:?} after many crashes");
    }
    Ok(())
}

fn models(harness: &dyn Harness) -> [Arc<Group>; 4] {
    [
        group::<Total>(harness),
        group::<Balance>(harness),
        group::<Party>(harness),
        group::<OpenAccount>(harness),
    ]
}

/// Delivers a block again, which must write nothing at all.
async fn again(stores: &Stores, group: &Group, after: Position, through: Position) -> Outcome {
    match redeliver(stores, group, after, through).await? {
        Ok(0) => Ok(()),
        Ok(rows) => {
            Err(Failure::new(format!("{group:?} wrote {rows} rows for {after}..{through} of `{MAIN}` again")))
        }
        Err(error) => Err(error.into()),
    }
}

type State = (Position, Vec<ScannedRow>, Vec<(u8, i64, u128)>);

async fn state(stores: &Stores, group: &Group) -> Outcome<State> {
    let reached = stores.models.checkpoint(group).await?.mark.position();
    Ok((reached, drive::rows(stores, group).await?, drive::digest(stores, group).await?))
}
