//! One build that answers nobody, followed under leases of its own: up to where it is told to go, step by
//! step.

use crate::alone::Alone;
use crate::follower::{Follower, FollowerParts, Step};
use diptych_core::{Fault, Position};
use diptych_query::{
    BuildId, Feed, Group, Lease, Mode, ModelStore, Partition, Progress, ProgressEntry, Readiness, WorkerId,
};
use std::sync::Arc;
use std::time::Duration;

/// A build that is followed beside the one that answers.
pub(crate) struct Shadow {
    group: Arc<Group>,
    store: Arc<dyn ModelStore>,
    worker: WorkerId,
    lasting: Duration,
    entry: Arc<ProgressEntry>,
    parts: Vec<Part>,
}

struct Part {
    partition: Partition,
    lease: Option<Lease>,
    /// Where it stood after the last step.
    position: Position,
    follower: Alone<Follower>,
}

/// What one step of a shadow did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Followed {
    /// Every partition stands where it was told to go, or beyond.
    There,
    /// One moved; more is to be done.
    Moved,
    /// Another process moves a partition, or infrastructure failed.
    NotNow,
    /// A fact stopped a partition.
    Stopped(String),
}

impl Shadow {
    pub(crate) fn new(
        group: &Group,
        build: BuildId,
        progress: &Progress,
        worker: &WorkerId,
        parts: &FollowerParts,
    ) -> Self {
        let group = Arc::new(group.at(build));
        let own = parts.store.partitions_of(&group).into_iter().map(|partition| {
            let follower = Follower::new(Arc::clone(&group), partition, progress, parts.clone());
            Part { partition, lease: None, position: Position::START, follower: Alone::new(follower) }
        });
        let own = own.collect();
        Self {
            entry: progress.entry(&group.label()),
            group,
            store: Arc::clone(&parts.store),
            worker: worker.clone(),
            lasting: parts.limits.lease_duration,
            parts: own,
        }
    }

    /// The group at the build.
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Reads from another feed from now on.
    pub(crate) fn set_feed(&mut self, feed: &Arc<dyn Feed>) {
        self.parts.iter_mut().for_each(|part| part.follower.get().set_feed(Arc::clone(feed)));
    }

    /// Takes the leases that it has not, and prolongs those it has. Answers whether it has them all.
    pub(crate) async fn hold(&mut self) -> Result<bool, Fault> {
        // The writer of commands moves no build but its own, so nobody else is at one that is pinned.
        if self.group.mode() == Mode::Inline {
            return Ok(true);
        }
        for part in self.parts.iter_mut().filter(|part| part.lease.is_none()) {
            part.lease = self.store.claim(&self.group, part.partition, &self.worker, self.lasting).await?;
            if part.lease.is_some() {
                part.follower.get().set_lease(part.lease);
            }
        }
        self.prolong().await?;
        Ok(self.parts.iter().all(|part| part.lease.is_some()))
    }

    /// Prolongs the leases that it has.
    pub(crate) async fn prolong(&self) -> Result<(), Fault> {
        // Unable, so that nobody leaves shares of the group to a steward.
        let asked = [(Arc::clone(&self.group), Readiness::Unable)];
        self.store.share(&self.worker, &asked, self.lasting).await?;
        Ok(())
    }

    /// Gives its leases back, so that another process need not wait for them to run out.
    pub(crate) async fn let_go(&mut self) -> Result<(), Fault> {
        for part in &mut self.parts {
            if let Some(held) = part.lease.take() {
                part.follower.get().set_lease(None);
                self.store.release(&self.group, held).await?;
            }
        }
        Ok(())
    }

    /// The leases of its partitions, in order; none where the writer keeps others out.
    pub(crate) fn leases(&self) -> impl Iterator<Item = Option<Lease>> + '_ {
        self.parts.iter().map(|part| part.lease)
    }

    /// Forgets where it stands: somebody has moved it by other means.
    pub(crate) fn forget(&mut self) {
        self.parts.iter_mut().for_each(|part| part.follower.get().forget());
    }

    /// Moves the first partition that is not where it should be by one transaction. No target is the head.
    pub(crate) async fn step(&mut self, targets: Option<&[Position]>) -> Followed {
        for (index, part) in self.parts.iter_mut().enumerate() {
            let follower = part.follower.get();
            follower.set_until(targets.and_then(|targets| targets.get(index).copied()));
            let step = follower.step().await;
            part.position = follower.position().max(part.position);
            match step {
                Step::CaughtUp => {}
                Step::Advanced => return Followed::Moved,
                Step::Retry(_) => return Followed::NotNow,
                Step::Lost => {
                    part.lease = None;
                    return Followed::NotNow;
                }
                Step::Stopped => {
                    let health = self.entry.health_in(part.partition);
                    return Followed::Stopped(crate::DrainError::Stopped { health }.to_string());
                }
            }
        }
        Followed::There
    }

    /// Where each partition stood after the last step.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.parts.iter().map(|part| part.position).collect()
    }

    /// Has a partition that stopped at a fact try again.
    pub(crate) async fn try_again(&mut self) -> Result<(), Fault> {
        for part in &mut self.parts {
            part.follower.get().forget();
            self.store.set_stopped(&self.group, part.partition, None).await?;
        }
        Ok(())
    }
}
