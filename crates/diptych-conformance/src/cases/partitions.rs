//! A group in several partitions: each row has one owner, and the group is as far as the last of them. A
//! store that shares no work keeps one partition whatever is declared, and the promises hold all the same.

use crate::drive::{
    EVERYTHING, MAIN, all_contents, build, digest, find, history, on, opened, query, record, stream, tenant,
};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Level, OpenAccount, Party, Seat, SeatEvent, SeatKind, SeatsBy, group, split};
use crate::{Harness, Outcome, Stores};
use diptych_core::{Code, Portable, Position};
use diptych_query::{Fold, Group, Lease, Partition, Projection, RowRef, Stopped, WorkerId};
use std::time::Duration;

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Takes the lease on every partition of a group.
pub(super) async fn claim_all(stores: &Stores, group: &Group, worker: &WorkerId) -> Outcome<Vec<Lease>> {
    let mut leases = Vec::new();
    for partition in stores.models.partitions_of(group) {
        let lease = stores.models.claim(group, partition, worker, LONG).await?;
        ensure!(lease.is_some(), "{partition} of {group:?} is held by somebody");
        leases.extend(lease);
    }
    Ok(leases)
}

/// Folds one batch under a lease; answers whether the partition stands at the head.
pub(super) async fn advance_under(
    stores: &Stores,
    group: &Group,
    lease: Lease,
    positions_max: usize,
) -> Outcome<bool> {
    let checkpoint = stores.models.checkpoint_of(group, lease.partition).await?;
    let from = checkpoint.mark;
    let block = stores.feed.read(from.position(), group.categories(), positions_max).await?;
    if block.through.position() == from.position() {
        return Ok(true);
    }
    let mut fold = Fold::under(group, lease, from);
    fold.plan(&block)?;
    let advanced = stores.models.advance(group, fold).await?;
    ensure_eq!(advanced.checkpoint.mark, block.through, "{} of {group:?} after an advance", lease.partition);
    Ok(block.through.position() == block.head)
}

/// Folds everything, the partitions in turns and by batches of different sizes, so that they are apart.
async fn advance_all(stores: &Stores, group: &Group, leases: &[Lease]) -> Outcome {
    let mut done = 0;
    while done < leases.len() {
        done = 0;
        for (number, lease) in leases.iter().enumerate() {
            done += usize::from(advance_under(stores, group, *lease, 2 + 3 * number).await?);
        }
    }
    Ok(())
}

pub(super) fn worker(name: &str) -> WorkerId {
    WorkerId::new(name)
}

/// A split model over a history holds what the whole one does, digest included.
pub(super) async fn same_rows<M: Projection>(
    harness: &dyn Harness,
    stores: &Stores,
    partitions: u8,
) -> Outcome {
    let (whole, parted) = (group::<M>(harness), split::<M>(harness, partitions));
    build(stores, &whole, 7).await?;
    stores.models.attach(&parted).await?;
    let leases = claim_all(stores, &parted, &worker("w")).await?;
    advance_all(stores, &parted, &leases).await?;
    let (expected, rows) = (all_contents(stores, &whole).await?, all_contents(stores, &parted).await?);
    ensure!(!expected[0].is_empty(), "{whole:?} has no rows");
    ensure_eq!(rows, expected, "the rows of {parted:?}");
    ensure_eq!(digest(stores, &parted).await?, digest(stores, &whole).await?, "the digest of {parted:?}");
    Ok(())
}

pub(crate) async fn a_split_model_keeps_the_rows_of_a_whole_one(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    for number in 0..40 {
        on(&stores, &format!("account {number}"), &[opened("ann")]).await?;
    }
    for partitions in [2, 5] {
        same_rows::<Balance>(harness, &stores, partitions).await?;
        same_rows::<OpenAccount>(harness, &stores, partitions).await?;
        // A transfer touches two rows, often of two partitions.
        same_rows::<Party>(harness, &stores, partitions).await?;
    }
    Ok(())
}

pub(crate) async fn routes_by_column_reach_every_partition(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let hall = stream::<SeatEvent>(MAIN, "hall")?;
    let kind = |word: &str, level| SeatKind { word: Some(word.to_owned()), price: None, level };
    let (low, high) = (kind("a", Level::Low), kind("b", Level::High));
    let by = |word: &str| SeatEvent::SeatsFound { by: SeatsBy::Word(Some(word.to_owned())) };
    let events = [
        SeatEvent::SeatsMade { from: 1, count: 20, kind: low.clone() },
        by("a"),
        SeatEvent::SeatsChanged { seats: (1..=9).collect(), kind: high },
        by("a"),
        by("b"),
        SeatEvent::SeatsDropped { seats: vec![3, 12] },
        SeatEvent::SeatsFound { by: SeatsBy::Either("b".to_owned(), Level::Low) },
        SeatEvent::SeatsMade { from: 12, count: 2, kind: low },
        by("a"),
    ];
    for event in events {
        record(&stores, &hall, &[event]).await?;
    }
    same_rows::<Seat>(harness, &stores, 3).await
}

/// Four partitions over twenty accounts, the first brought to the head and the others left at the start.
async fn one_ahead(harness: &dyn Harness) -> Outcome<(Stores, std::sync::Arc<Group>, Vec<Lease>)> {
    let stores = harness.open(Vec::new()).await?;
    let parted = split::<Balance>(harness, 4);
    stores.models.attach(&parted).await?;
    for number in 0..20 {
        on(&stores, &format!("account {number}"), &[opened("ann")]).await?;
    }
    let leases = claim_all(&stores, &parted, &worker("w")).await?;
    while !advance_under(&stores, &parted, leases[0], EVERYTHING).await? {}
    Ok((stores, parted, leases))
}

pub(crate) async fn a_group_stands_where_its_last_partition_does(harness: &dyn Harness) -> Outcome {
    let (stores, parted, leases) = one_ahead(harness).await?;
    let head = stores.feed.head().await?.position();
    let alone = leases.len() == 1;
    let lowest = if alone { head } else { Position::START };
    let all = query(None, Vec::new())?;
    let schema = parted.models()[0].schema();
    let stands = |at: Position| {
        let (stores, parted, all) = (&stores, &parted, &all);
        async move {
            let checkpoint = stores.models.checkpoint(parted).await?;
            ensure_eq!(checkpoint.mark.position(), at, "where the group stands");
            ensure_eq!(stores.models.attach(parted).await?, checkpoint, "what attaching says of it");
            let found = stores.models.find(parted, schema, all, LONG).await?;
            ensure_eq!(found.checkpoint, checkpoint, "what an answer over all rows says");
            let passed = stores.models.passed_at(parted, head).await?;
            ensure_eq!(passed.is_some(), at == head, "whether the head was passed");
            Ok(())
        }
    };
    let outcome: Outcome = stands(lowest).await;
    outcome?;
    advance_all(&stores, &parted, &leases).await?;
    stands(head).await
}

pub(crate) async fn a_row_stands_where_its_own_partition_does(harness: &dyn Harness) -> Outcome {
    let (stores, parted, leases) = one_ahead(harness).await?;
    let schema = parted.models()[0].schema();
    let mut seen = 0;
    for number in 0..20 {
        let key = vec![format!("account {number}").to_value()];
        let row = RowRef { tenant: tenant(MAIN)?, key };
        let found = stores.models.get(&parted, schema, &row).await?;
        let ahead = leases[0].partition.owns(&row.tenant, &row.key);
        ensure_eq!(found.rows.len(), usize::from(ahead), "rows of {row:?}");
        let checkpoint = stores.models.checkpoint_of(&parted, owner(&stores, &parted, &row)?).await?;
        ensure_eq!(found.checkpoint, checkpoint, "the checkpoint that comes with {row:?}");
        seen += usize::from(ahead);
    }
    ensure!(seen > 0, "the first partition owns no row of twenty");
    ensure_eq!(find(&stores, &parted, &query(None, Vec::new())?).await?.len(), seen, "rows so far");
    Ok(())
}

fn owner(stores: &Stores, group: &Group, row: &RowRef) -> Outcome<Partition> {
    let owners = stores.models.partitions_of(group).into_iter();
    let owners: Vec<_> = owners.filter(|partition| partition.owns(&row.tenant, &row.key)).collect();
    ensure_eq!(owners.len(), 1, "owners of {row:?}");
    Ok(owners[0])
}

pub(crate) async fn a_partition_that_stops_shows_in_its_group(harness: &dyn Harness) -> Outcome {
    let (stores, parted, leases) = one_ahead(harness).await?;
    let Some(last) = leases.last() else { return Ok(()) };
    let stopped = Stopped { position: Position(99), reason: "it broke (DP0030)".to_owned() };
    stores.models.set_stopped(&parted, last.partition, Some(stopped.clone())).await?;
    let held = stores.models.checkpoint(&parted).await?;
    ensure_eq!(held.stopped, Some(stopped), "why the group stopped");
    let schema = parted.models()[0].schema();
    let found = stores.models.find(&parted, schema, &query(None, Vec::new())?, LONG).await?;
    ensure_eq!(found.checkpoint, held, "what an answer says of it");
    if leases.len() > 1 {
        let other = stores.models.checkpoint_of(&parted, leases[0].partition).await?;
        ensure_eq!(other.stopped, None, "the other partition");
    }
    stores.models.set_stopped(&parted, last.partition, None).await?;
    ensure_eq!(stores.models.checkpoint(&parted).await?.stopped, None, "the group when it goes on");
    Ok(())
}

pub(crate) async fn a_reset_starts_every_partition_over(harness: &dyn Harness) -> Outcome {
    let (stores, parted, leases) = one_ahead(harness).await?;
    advance_all(&stores, &parted, &leases).await?;
    let rows = all_contents(&stores, &parted).await?;
    stores.models.reset(&parted).await?;
    for lease in &leases {
        let checkpoint = stores.models.checkpoint_of(&parted, lease.partition).await?;
        ensure_eq!(checkpoint.mark.position(), Position::START, "{} after a reset", lease.partition);
    }
    ensure_eq!(all_contents(&stores, &parted).await?, vec![Vec::new()], "rows after a reset");
    advance_all(&stores, &parted, &leases).await?;
    ensure_eq!(all_contents(&stores, &parted).await?, rows, "rows when built again");
    Ok(())
}

pub(crate) async fn other_partitions_need_another_revision(harness: &dyn Harness) -> Outcome {
    let stores = harness.open(Vec::new()).await?;
    let named = |partitions| crate::fixtures::renamed::<Balance>(harness, partitions, "balance_split");
    let parted = named(2);
    stores.models.attach(&parted).await?;
    if stores.models.partitions_of(&parted).len() == 1 {
        // Where nothing is split, the declaration changes nothing.
        harness.stop(stores).await?;
        let stores = harness.open(Vec::new()).await?;
        stores.models.attach(&named(3)).await?;
        return Ok(());
    }
    harness.stop(stores).await?;
    let stores = harness.open(Vec::new()).await?;
    match stores.models.attach(&named(3)).await {
        Err(fault) => ensure_eq!(fault.code(), Code::ShapeChanged, "the refusal"),
        Ok(_) => return Err(crate::Failure::new("rows were given to other partitions unasked")),
    }
    stores.models.attach(&parted).await?;
    Ok(())
}
