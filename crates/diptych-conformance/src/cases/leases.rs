//! Leases: who may move a partition, for how long, and that whoever lost one cannot write.
//!
//! Time is the store's own here, since it decides between processes: a case gives leases that are over at
//! once or that outlive it, and looks until it sees what it waits for.

use super::builds::serve;
use super::partitions::{advance_under, claim_all, worker};
use crate::drive::{EVERYTHING, all_contents, build, history, on, opened};
use crate::failure::{ensure, ensure_eq};
use crate::fixtures::{Balance, Total, group, split};
use crate::{Failure, Harness, Outcome, Stores};
use diptych_query::{AdvanceError, Checkpoint, Fold, Group, Lease, Partition, Readiness, Shares, WorkerId};
use std::sync::Arc;
use std::time::Duration;

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Over before anybody looks twice.
const SHORT: Duration = Duration::from_millis(1);

/// How often a case looks for what should come to pass.
const LOOKS_MAX: usize = 100_000;

/// A whole and a split group over some history.
async fn groups(harness: &dyn Harness) -> Outcome<(Stores, Arc<Group>, Arc<Group>)> {
    let stores = harness.open(Vec::new()).await?;
    history(&stores).await?;
    let (whole, parted) = (group::<Balance>(harness), split::<Balance>(harness, 3));
    build(&stores, &whole, EVERYTHING).await?;
    stores.models.attach(&parted).await?;
    Ok((stores, whole, parted))
}

async fn claim(
    stores: &Stores,
    group: &Group,
    partition: Partition,
    worker: &WorkerId,
    lasting: Duration,
) -> Outcome<Option<Lease>> {
    Ok(stores.models.claim(group, partition, worker, lasting).await?)
}

async fn sure(stores: &Stores, group: &Group, worker: &WorkerId, lasting: Duration) -> Outcome<Lease> {
    let partition = stores.models.partitions_of(group)[0];
    let lease = claim(stores, group, partition, worker, lasting).await?;
    lease.ok_or_else(|| Failure::new(format!("{worker} was refused a lease that nobody holds")))
}

/// Claims again and again until another worker's lease is over.
async fn take_over(stores: &Stores, group: &Group, partition: Partition, by: &WorkerId) -> Outcome<Lease> {
    for _ in 0..LOOKS_MAX {
        if let Some(lease) = claim(stores, group, partition, by, LONG).await? {
            return Ok(lease);
        }
        stores.clock.advance(SHORT);
    }
    Err(Failure::new("a lease never runs out"))
}

async fn shares(
    stores: &Stores,
    group: &Arc<Group>,
    worker: &WorkerId,
    readiness: Readiness,
) -> Outcome<Shares> {
    let asked = [(Arc::clone(group), readiness)];
    let mut all = stores.models.share(worker, &asked, LONG).await?;
    ensure_eq!(all.len(), 1, "groups answered for");
    Ok(all.remove(0))
}

fn holders(shares: &Shares) -> Vec<Option<&str>> {
    shares.partitions.iter().map(|state| state.holder.as_ref().map(WorkerId::as_str)).collect()
}

pub(crate) async fn a_partition_has_one_holder(harness: &dyn Harness) -> Outcome {
    let (stores, whole, parted) = groups(harness).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    for group in [&whole, &parted] {
        let partitions = stores.models.partitions_of(group);
        ensure_eq!(partitions, group.partitions().collect::<Vec<_>>(), "the partitions of {group:?}");
        for partition in &partitions {
            let first = claim(&stores, group, *partition, &ann, LONG).await?;
            let first = first.ok_or_else(|| Failure::new("a free partition was refused"))?;
            ensure_eq!(first.partition, *partition, "what the lease is for");
            ensure_eq!(claim(&stores, group, *partition, &bob, LONG).await?, None, "bob's lease");
            let again = claim(&stores, group, *partition, &ann, LONG).await?;
            ensure!(again.is_some_and(|again| again.fence > first.fence), "ann's next lease is no later one");
        }
        let shares = shares(&stores, group, &bob, Readiness::Able).await?;
        ensure_eq!(holders(&shares), vec![Some("ann"); partitions.len()], "holders as bob sees them");
    }
    Ok(())
}

pub(crate) async fn racing_workers_take_each_partition_once(harness: &dyn Harness) -> Outcome {
    let (stores, _, parted) = groups(harness).await?;
    let other = harness.open(Vec::new()).await?;
    other.models.attach(&parted).await?;
    let tasks = (0..12).map(|number| {
        let stores = if number % 2 == 0 { stores.clone() } else { other.clone() };
        let (parted, me) = (Arc::clone(&parted), worker(&format!("worker {number}")));
        tokio::spawn(async move {
            let mut taken = 0;
            for partition in parted.partitions() {
                taken += usize::from(stores.models.claim(&parted, partition, &me, LONG).await?.is_some());
            }
            Ok::<_, diptych_core::Fault>(taken)
        })
    });
    let mut taken = 0;
    for task in tasks.collect::<Vec<_>>() {
        taken += task.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    ensure_eq!(taken, parted.partitions().count(), "leases given");
    Ok(())
}

pub(crate) async fn a_lease_runs_out_and_is_taken_over(harness: &dyn Harness) -> Outcome {
    let (stores, whole, _) = groups(harness).await?;
    let lease = sure(&stores, &whole, &worker("ann"), SHORT).await?;
    let next = take_over(&stores, &whole, lease.partition, &worker("bob")).await?;
    ensure!(next.fence > lease.fence, "the next lease is no later one");
    ensure_eq!(claim(&stores, &whole, lease.partition, &worker("ann"), LONG).await?, None, "ann's next");
    Ok(())
}

pub(crate) async fn what_was_folded_under_an_older_lease_is_refused(harness: &dyn Harness) -> Outcome {
    let (stores, _, parted) = groups(harness).await?;
    let lease = sure(&stores, &parted, &worker("ann"), SHORT).await?;
    let before = stores.models.checkpoint_of(&parted, lease.partition).await?;
    // Planned while the lease was good, and finished after the process has slept for long.
    let fold = planned(&stores, &parted, lease, &before).await?;
    let next = take_over(&stores, &parted, lease.partition, &worker("bob")).await?;
    match stores.models.advance(&parted, fold).await {
        Err(AdvanceError::Fenced) => {}
        other => return Err(Failure::new(format!("an older lease was taken for good: {other:?}"))),
    }
    ensure_eq!(stores.models.checkpoint_of(&parted, lease.partition).await?, before, "the checkpoint");
    ensure_eq!(all_contents(&stores, &parted).await?, vec![Vec::new()], "rows");
    stores.models.advance(&parted, planned(&stores, &parted, next, &before).await?).await?;
    // A lease that nobody has followed is good however long it is over: time does not decide who writes.
    let late = sure(&stores, &parted, &worker("bob"), SHORT).await?;
    on(&stores, "a", &[opened("again")]).await?;
    stores.clock.advance(LONG);
    ensure!(advance_under(&stores, &parted, late, EVERYTHING).await?, "bob does not reach the head");
    Ok(())
}

async fn planned(stores: &Stores, group: &Group, lease: Lease, from: &Checkpoint) -> Outcome<Fold> {
    let block = stores.feed.read(from.mark.position(), group.categories(), EVERYTHING).await?;
    let mut fold = Fold::under(group, lease, from.mark);
    fold.plan(&block)?;
    Ok(fold)
}

pub(crate) async fn a_fold_of_everything_is_refused_where_the_work_is_split(
    harness: &dyn Harness,
) -> Outcome {
    let (stores, _, parted) = groups(harness).await?;
    let checkpoint = stores.models.checkpoint(&parted).await?;
    let block = stores.feed.read(checkpoint.mark.position(), parted.categories(), EVERYTHING).await?;
    let mut fold = Fold::new(&parted, &checkpoint);
    fold.plan(&block)?;
    ensure!(stores.models.advance(&parted, fold).await.is_err(), "rows of every partition were taken");
    ensure_eq!(stores.models.checkpoint(&parted).await?, checkpoint, "the checkpoint");
    ensure_eq!(all_contents(&stores, &parted).await?, vec![Vec::new()], "rows");
    Ok(())
}

pub(crate) async fn signs_of_life_prolong_a_lease(harness: &dyn Harness) -> Outcome {
    let (stores, whole, _) = groups(harness).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    let lease = sure(&stores, &whole, &ann, LONG).await?;
    // The last sign decides, in either direction; only the shorter one can be waited for.
    let asked = [(Arc::clone(&whole), Readiness::Able)];
    stores.models.share(&ann, &asked, LONG).await?;
    ensure_eq!(claim(&stores, &whole, lease.partition, &bob, LONG).await?, None, "bob's lease");
    stores.models.share(&ann, &asked, SHORT).await?;
    take_over(&stores, &whole, lease.partition, &bob).await?;
    Ok(())
}

pub(crate) async fn a_lease_that_nobody_has_followed_is_prolonged_late(harness: &dyn Harness) -> Outcome {
    let (stores, whole, _) = groups(harness).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    let lease = sure(&stores, &whole, &ann, SHORT).await?;
    let mut looks = 0;
    while holders(&shares(&stores, &whole, &bob, Readiness::Able).await?) != [None] {
        looks += 1;
        ensure!(looks < LOOKS_MAX, "a lease never runs out");
        stores.clock.advance(SHORT);
    }
    let seen = shares(&stores, &whole, &ann, Readiness::Able).await?;
    ensure_eq!(holders(&seen), [Some("ann")], "the holder after ann's late sign of life");
    ensure_eq!(claim(&stores, &whole, lease.partition, &bob, LONG).await?, None, "bob's lease");
    on(&stores, "a", &[opened("again")]).await?;
    ensure!(advance_under(&stores, &whole, lease, EVERYTHING).await?, "ann does not reach the head");
    Ok(())
}

pub(crate) async fn who_looks_sees_which_lease_is_the_newest(harness: &dyn Harness) -> Outcome {
    let (stores, whole, parted) = groups(harness).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    let seen = async |group: &Arc<Group>, partition: Partition| {
        let shares = shares(&stores, group, &bob, Readiness::Able).await?;
        let state = shares.partitions.iter().find(|state| state.partition == partition);
        state.map(|state| state.fence).ok_or_else(|| Failure::new(format!("{partition} is not told")))
    };
    for group in [&whole, &parted] {
        for partition in stores.models.partitions_of(group) {
            let first = claim(&stores, group, partition, &ann, SHORT).await?;
            let first = first.ok_or_else(|| Failure::new("a free partition was refused"))?;
            ensure_eq!(seen(group, partition).await?, first.fence, "the fence of the first lease");
            let next = take_over(&stores, group, partition, &bob).await?;
            ensure_eq!(seen(group, partition).await?, next.fence, "the fence of the next lease");
        }
    }
    Ok(())
}

pub(crate) async fn a_build_that_begins_to_serve_ends_the_leases_on_it(harness: &dyn Harness) -> Outcome {
    let (stores, whole, _) = groups(harness).await?;
    let ann = worker("ann");
    let lease = sure(&stores, &whole, &ann, LONG).await?;
    serve(&stores, &whole).await?;
    let shares = shares(&stores, &whole, &ann, Readiness::Able).await?;
    ensure_eq!(holders(&shares), [None], "the holder after the switch");
    ensure!(shares.partitions[0].fence != lease.fence, "ann cannot see that her lease is over");
    let again = claim(&stores, &whole, lease.partition, &ann, LONG).await?;
    ensure!(again.is_some_and(|again| again.fence > lease.fence), "ann's next lease is no later one");
    Ok(())
}

pub(crate) async fn a_lease_that_is_given_back_is_free(harness: &dyn Harness) -> Outcome {
    let (stores, whole, _) = groups(harness).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    let first = sure(&stores, &whole, &ann, LONG).await?;
    stores.models.release(&whole, first).await?;
    let second = sure(&stores, &whole, &bob, LONG).await?;
    ensure!(second.fence > first.fence, "the next lease is no later one");
    // Ann says it again, too late: the lease is bob's now.
    stores.models.release(&whole, first).await?;
    ensure_eq!(claim(&stores, &whole, first.partition, &ann, LONG).await?, None, "ann's next lease");
    Ok(())
}

pub(crate) async fn workers_see_who_else_could(harness: &dyn Harness) -> Outcome {
    let (stores, whole, _) = groups(harness).await?;
    let other = group::<Total>(harness);
    stores.models.attach(&other).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    let named = |shares: &Shares| shares.workers.iter().map(WorkerId::to_string).collect::<Vec<_>>();
    ensure_eq!(named(&shares(&stores, &whole, &ann, Readiness::Able).await?), ["ann"], "alone");
    shares(&stores, &other, &bob, Readiness::Able).await?;
    ensure_eq!(named(&shares(&stores, &whole, &ann, Readiness::Able).await?), ["ann"], "bob has others");
    let seen = shares(&stores, &whole, &bob, Readiness::Able).await?;
    ensure_eq!(named(&seen), ["ann", "bob"], "when bob would move it too");
    let seen = shares(&stores, &whole, &bob, Readiness::Unable).await?;
    ensure_eq!(named(&seen), ["ann"], "when bob can no longer");
    shares(&stores, &whole, &bob, Readiness::Able).await?;
    stores.models.leave(&bob).await?;
    ensure_eq!(named(&shares(&stores, &whole, &ann, Readiness::Able).await?), ["ann"], "when bob has left");
    let asked = [(Arc::clone(&whole), Readiness::Able)];
    stores.models.share(&bob, &asked, SHORT).await?;
    for _ in 0..LOOKS_MAX {
        if named(&shares(&stores, &whole, &ann, Readiness::Able).await?) == ["ann"] {
            return Ok(());
        }
        stores.clock.advance(SHORT);
    }
    Err(Failure::new("a worker without a sign of life never goes away"))
}

pub(crate) async fn a_partition_goes_on_where_the_one_before_stood(harness: &dyn Harness) -> Outcome {
    let (stores, whole, parted) = groups(harness).await?;
    let (ann, bob) = (worker("ann"), worker("bob"));
    for lease in claim_all(&stores, &parted, &ann).await? {
        advance_under(&stores, &parted, lease, 4).await?;
        stores.models.release(&parted, lease).await?;
    }
    // Another process, which knows only what is stored.
    let other = harness.open(Vec::new()).await?;
    other.models.attach(&parted).await?;
    for lease in claim_all(&other, &parted, &bob).await? {
        while !advance_under(&other, &parted, lease, 5).await? {}
    }
    let rows = all_contents(&other, &parted).await?;
    ensure_eq!(rows, all_contents(&stores, &whole).await?, "rows that two processes made");
    Ok(())
}
