//! Keeps a process's share of the work: gives signs of life, claims partitions and gives them back, and has a
//! worker for each that it holds. What should change hands is decided in `shares`.

use crate::feeds::Feeds;
use crate::follower::ProjectorLimits;
use crate::shares::{Moves, Own, Share, moves};
use crate::worker::{Ended, Part, work_under};
use diptych_core::Position;
use diptych_query::{
    Group, Health, Lease, ModelStore, Partition, PartitionState, Readiness, Shares, WorkerId,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A group whose partitions change hands, with what moves them here.
pub(crate) struct Kept {
    pub(crate) group: Arc<Group>,
    pub(crate) parts: Vec<Part>,
}

impl Kept {
    /// Whether the group's build moves only as far as it can be compared, which the steward sees to.
    fn waits(&self) -> bool {
        self.parts.first().is_some_and(|part| part.entry.serving().waits_for_comparison())
    }
}

/// Where a worker of this process stopped at a fact, by group: it does not try again before something has
/// changed. A process with other code may.
#[derive(Clone, Default)]
pub(crate) struct GivenUp(Arc<Mutex<HashMap<(&'static str, Partition), Position>>>);

impl GivenUp {
    /// Has every partition of a group tried again.
    pub(crate) fn forget(&self, group: &Group) {
        self.with(|given_up| given_up.retain(|(name, _), _| *name != group.name()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<(&'static str, Partition), Position>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a keeper needs.
pub(crate) struct KeeperParts {
    pub(crate) worker: WorkerId,
    pub(crate) feeds: Feeds,
    pub(crate) store: Arc<dyn ModelStore>,
    pub(crate) limits: ProjectorLimits,
    pub(crate) kept: Vec<Kept>,
    pub(crate) given_up: GivenUp,
    /// Has the keeper look at once.
    pub(crate) nudge: Arc<Notify>,
}

pub(crate) struct Keeper {
    parts: KeeperParts,
    held: HashMap<Share, Held>,
    /// Since when this process has seen a partition that nobody moves.
    free_since: HashMap<Share, Instant>,
    /// Where each partition stood when it was last looked at.
    seen_at: HashMap<Share, Position>,
    /// Leases that are to be given back, with their groups. Signs of life prolong them until they are.
    owed: Vec<(usize, Lease)>,
}

/// A partition that a worker of this process moves.
struct Held {
    lease: Lease,
    stop: watch::Sender<bool>,
    worker: JoinHandle<Ended>,
    /// Whether its worker has ended or is about to.
    over: Arc<AtomicBool>,
    /// Whether its worker was told to end.
    leaving: bool,
}

impl Held {
    fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.worker.is_finished()
    }
}

impl Keeper {
    pub(crate) fn new(parts: KeeperParts) -> Self {
        let (held, free_since, seen_at) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { parts, held, free_since, seen_at, owed: Vec::new() }
    }

    /// Keeps the share until told to stop, then hands everything over.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (nudge, beat) = (Arc::clone(&self.parts.nudge), self.parts.limits.lease_beat);
        let mut failing = false;
        while !*stop.borrow() {
            self.reap().await;
            let lasting = self.parts.limits.lease_duration;
            match self.parts.store.share(&self.parts.worker, &self.readiness(), lasting).await {
                Ok(shares) => {
                    failing = false;
                    self.settle(&shares).await;
                }
                Err(fault) if !failing => {
                    failing = true;
                    tracing::warn!(%fault, "leases on read models cannot be kept");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(beat) => {}
                () = nudge.notified() => {}
                _ = stop.changed() => {}
            }
        }
        self.hand_over().await;
    }

    /// The groups with whether this process can move them: all of each, or it leaves them to others.
    fn readiness(&self) -> Vec<(Arc<Group>, Readiness)> {
        let ready = |group: &Arc<Group>| {
            let (name, given_up) = (group.name(), &self.parts.given_up);
            let unable = given_up.with(|given_up| given_up.keys().any(|(given_up, _)| *given_up == name));
            let compared = self.parts.kept.iter().any(|kept| kept.group.name() == name && kept.waits());
            if unable || compared { Readiness::Unable } else { Readiness::Able }
        };
        let groups = self.parts.kept.iter().map(|kept| &kept.group);
        groups.map(|group| (Arc::clone(group), ready(group))).collect()
    }

    /// Looks after workers that have ended, and gives their leases back.
    async fn reap(&mut self) {
        let ended = self.held.iter().filter(|(_, held)| held.has_ended());
        let ended: Vec<_> = ended.map(|(share, _)| *share).collect();
        for share in ended {
            self.end(share).await;
        }
        self.give_back().await;
    }

    /// Gives back what is owed; what fails is owed still.
    async fn give_back(&mut self) {
        for (group, lease) in std::mem::take(&mut self.owed) {
            let Kept { group: owed, .. } = &self.parts.kept[group];
            if let Err(fault) = self.parts.store.release(owed, lease).await {
                tracing::warn!(%fault, model = owed.name(), "a lease could not be given back");
                self.owed.push((group, lease));
            }
        }
    }

    /// Waits for a worker, whose lease is to be given back then.
    async fn end(&mut self, share: Share) {
        let Some(Held { lease, stop, worker, .. }) = self.held.remove(&share) else { return };
        stop.send_replace(true);
        let group = self.group(share);
        match worker.await {
            Ok(Ended::Lost) => {
                tracing::info!(model = group.name(), partition = %share.1, "another process moves it now");
                return;
            }
            Ok(Ended::Stopped(position)) => {
                self.parts.given_up.with(|given_up| given_up.insert((group.name(), share.1), position));
            }
            Ok(Ended::Told) => {}
            Err(error) => tracing::error!(%error, model = group.name(), "a projection worker ended badly"),
        }
        self.owed.push((share.0, lease));
    }

    /// Tells a worker to end. Its step may take long, and signs of life must go on meanwhile.
    fn tell_to_end(&mut self, share: Share) {
        if let Some(held) = self.held.get_mut(&share) {
            held.leaving = true;
            held.stop.send_replace(true);
        }
    }

    /// Lets workers go that have lost their lease, and levels the load.
    async fn settle(&mut self, shares: &[Shares]) {
        for (index, shares) in shares.iter().enumerate() {
            for state in &shares.partitions {
                self.look_at((index, state.partition), state);
            }
        }
        let waiting = self.held.keys().copied().filter(|share| self.parts.kept[share.0].waits());
        for share in waiting.collect::<Vec<_>>() {
            self.tell_to_end(share);
        }
        let lasting = self.parts.limits.lease_duration;
        let own = |share: Share| self.own(share, lasting);
        let Moves { claim, release } = moves(&self.parts.worker, shares, own);
        for share in release {
            self.tell_to_end(share);
        }
        for share in claim {
            self.claim(share).await;
        }
        for (index, kept) in self.parts.kept.iter().enumerate() {
            for part in kept.parts.iter().filter(|part| !self.held.contains_key(&(index, part.partition))) {
                part.entry.set_followed_in(part.partition, false);
            }
        }
    }

    fn look_at(&mut self, share: Share, state: &PartitionState) {
        let foreign = state.holder.as_ref().is_some_and(|holder| *holder != self.parts.worker);
        // The lease ran out while this process could not say that it lives, or a switch has ended it. A
        // worker that has nothing to write would not notice.
        let over = self.held.get(&share).is_some_and(|held| held.lease.fence != state.fence);
        if foreign || over {
            self.tell_to_end(share);
        }
        let moved_here = self.held.contains_key(&share);
        if moved_here || state.holder.is_some() {
            self.free_since.remove(&share);
        } else {
            self.free_since.entry(share).or_insert_with(Instant::now);
        }
        let key = (self.group(share).name(), share.1);
        let (position, stopped) = (state.checkpoint.mark.position(), state.checkpoint.stopped.is_some());
        let given_up = self.parts.given_up.with(|given_up| {
            if given_up.get(&key).is_some_and(|at| *at != position || !stopped) {
                given_up.remove(&key);
            }
            given_up.contains_key(&key)
        });
        let before = self.seen_at.insert(share, position);
        let Part { entry, nudge, .. } = self.part(share);
        if before.is_some_and(|before| position < before) {
            // Another process has reset the model: a checkpoint goes back by nothing else.
            entry.reset();
            nudge.notify_one();
        }
        // What this process could not take, another one has.
        if !moved_here && !given_up && entry.health_in(share.1) != Health::Live {
            entry.set_health_in(share.1, Health::Live);
        }
    }

    fn own(&self, share: Share, lasting: Duration) -> Own {
        let key = (self.group(share).name(), share.1);
        let waits = self.parts.kept[share.0].waits();
        if let Some(held) = self.held.get(&share) {
            if held.leaving { Own::Leaves } else { Own::Moves }
        } else if waits || self.parts.given_up.with(|given_up| given_up.contains_key(&key)) {
            Own::Cannot
        } else if self.free_since.get(&share).is_some_and(|since| since.elapsed() > lasting) {
            Own::Overdue
        } else {
            Own::Would
        }
    }

    async fn claim(&mut self, share: Share) {
        let KeeperParts { worker, store, feeds, limits, nudge, .. } = &self.parts;
        let group = self.group(share);
        let lease = match store.claim(group, share.1, worker, limits.lease_duration).await {
            Ok(Some(lease)) => lease,
            // Another process was first.
            Ok(None) => return,
            Err(fault) => {
                tracing::warn!(%fault, model = group.name(), "a read model could not be claimed");
                return;
            }
        };
        tracing::debug!(model = group.name(), partition = %share.1, fence = lease.fence.0, "claimed");
        // From now on, not from when the worker comes to it: who waits listens to this process.
        self.part(share).entry.set_followed_in(share.1, true);
        let (stop, told) = watch::channel(false);
        let working = work_under(self.part(share).clone(), lease, feeds.of(group).watch(), told);
        let (nudge, over) = (Arc::clone(nudge), Arc::new(AtomicBool::new(false)));
        let done = Arc::clone(&over);
        let worker = tokio::spawn(async move {
            let ended = working.await;
            done.store(true, Ordering::Release);
            nudge.notify_one();
            ended
        });
        self.held.insert(share, Held { lease, stop, worker, over, leaving: false });
    }

    fn group(&self, share: Share) -> &Arc<Group> {
        &self.parts.kept[share.0].group
    }

    fn part(&self, share: Share) -> &Part {
        &self.parts.kept[share.0].parts[usize::from(share.1.index())]
    }

    /// Lets every worker finish its transaction, gives the leases back, and is gone.
    async fn hand_over(mut self) {
        self.held.values().for_each(|held| {
            held.stop.send_replace(true);
        });
        let shares: Vec<_> = self.held.keys().copied().collect();
        for share in shares {
            self.end(share).await;
        }
        self.give_back().await;
        if let Err(fault) = self.parts.store.leave(&self.parts.worker).await {
            tracing::warn!(%fault, "could not say that this process moves no read models any more");
        }
    }
}
