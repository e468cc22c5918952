//! Keys that are held back: which there are, folding them again in order, and passing over one fact.

use crate::projector::Followed;
use crate::retry::Retry;
use crate::skips::{self, Exceptions};
use crate::trouble::unmended;
use crate::worker::Part;
use crate::{Projector, RowName, Skip, TroubleError};
use diptych_core::Position;
use diptych_query::{AdvanceError, Order, Parked};
use std::time::{Duration, Instant};

/// How often rows are folded on and written again when their model has moved meanwhile in another process.
pub(crate) const MEND_ATTEMPTS_MAX: usize = 100;

/// How many positions are read to see how fast that goes.
const PROBE_POSITIONS_MAX: usize = 1_000;

/// Which parked keys are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keys {
    /// All of a group.
    All,
    /// One.
    One(RowName),
}

/// What folding parked keys again would take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetryPlan {
    /// The keys, with the fact that each waits at.
    pub keys: Vec<Parked>,
    /// How many positions of the log would be read.
    pub positions: u64,
    /// About how long that takes, by how long the first of them took.
    pub about: Duration,
}

/// What folding parked keys again has come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retried {
    /// The keys that are held back no longer.
    pub healed: Vec<Parked>,
    /// Those that still are, with the fact that each waits at now, and why.
    pub parked: Vec<Parked>,
}

impl Projector {
    /// The keys of a group that are held back, in order of position.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn parked(&self, name: &str) -> Result<Vec<Parked>, TroubleError> {
        let Followed { group, .. } = self.known(name)?;
        Ok(self.parts.store.parked(group).await?)
    }

    /// The facts that rows of a group have been told to pass over, oldest first.
    ///
    /// # Errors
    /// An unknown name, or a fault.
    pub async fn skipped(&self, name: &str) -> Result<Vec<Skip>, TroubleError> {
        let Followed { group, .. } = self.known(name)?;
        Ok(skips::skipped(&*self.parts.registry, group.name()).await?)
    }

    /// What [`Projector::retry_parked`] would do.
    ///
    /// # Errors
    /// An unknown name, a key that is not parked, or a fault.
    pub async fn plan_retry(&self, name: &str, keys: &Keys) -> Result<RetryPlan, TroubleError> {
        let followed = self.known(name)?;
        let keys = self.chosen(followed, keys).await?;
        let Some(first) = keys.iter().map(|parked| parked.position).min() else {
            return Ok(RetryPlan { keys, positions: 0, about: Duration::ZERO });
        };
        let mut furthest = Position::START;
        for part in &followed.parts {
            let checkpoint = self.parts.store.checkpoint_of(&followed.group, part.partition).await?;
            furthest = furthest.max(checkpoint.mark.position());
        }
        let before = Position(first.0.saturating_sub(1));
        let positions = before.lag_to(furthest);
        let started = Instant::now();
        let block = self.parts.feed.read(before, followed.group.categories(), PROBE_POSITIONS_MAX).await?;
        let probed = before.lag_to(block.through.position()).max(1);
        let about = started.elapsed().mul_f64(positions as f64 / probed as f64);
        Ok(RetryPlan { keys, positions, about })
    }

    /// Folds parked keys again, in order, from the fact that each waits at up to where the model stands.
    /// One that fails again stays parked, at the fact that it fails at now.
    ///
    /// # Errors
    /// An unknown name, a key that is not parked, a model that moves on too fast, or a fault.
    pub async fn retry_parked(&self, name: &str, keys: &Keys) -> Result<Retried, TroubleError> {
        let followed = self.known(name)?;
        let chosen = self.chosen(followed, keys).await?;
        let exceptions = Exceptions::of_skips(&*self.parts.registry, &followed.group).await?;
        let mut retried = Retried::default();
        for part in &followed.parts {
            let own = |parked: &&Parked| part.partition.owns(&parked.row.tenant, &parked.row.key);
            let own: Vec<_> = chosen.iter().filter(own).cloned().collect();
            if own.is_empty() {
                continue;
            }
            let (feed, store) = (&*self.parts.feed, &*self.parts.store);
            let retry = Retry::of(feed, store, &followed.group, own, exceptions.clone()).await?;
            let Retried { healed, parked } = self.mend_parked(followed, part, retry).await?;
            retried.healed.extend(healed);
            retried.parked.extend(parked);
        }
        self.look_at(followed).await?;
        Ok(retried)
    }

    /// Has a parked row pass over the fact that it waits at, now and in every later build, and folds it
    /// again.
    ///
    /// # Errors
    /// As [`Projector::retry_parked`].
    pub async fn skip_parked(
        &self,
        name: &str,
        row: &RowName,
        order: &Order,
    ) -> Result<(Skip, Retried), TroubleError> {
        let keys = Keys::One(row.clone());
        let chosen = self.chosen(self.known(name)?, &keys).await?;
        let Some(parked) = chosen.into_iter().next() else {
            return Err(TroubleError::NotParked { row: row.to_string() });
        };
        let (row, at) = (RowName::of_parked(&parked), self.parts.clock.now());
        let Order { actor, reason } = order.clone();
        let skip = Skip { row, position: parked.position, event: parked.event, actor, reason, at };
        // Before the row is folded on: a row that lacks a fact must never lack the reason.
        skips::add(&*self.parts.registry, name, &skip).await?;
        tracing::warn!(
            row = %skip.row, position = %skip.position, actor = %skip.actor, reason = skip.reason,
            "a row passes over a fact"
        );
        let retried = self.retry_parked(name, &keys).await?;
        Ok((skip, retried))
    }

    /// The parked keys that are meant.
    async fn chosen(&self, followed: &Followed, keys: &Keys) -> Result<Vec<Parked>, TroubleError> {
        let parked = self.parts.store.parked(&followed.group).await?;
        let Keys::One(row) = keys else { return Ok(parked) };
        let missing = || TroubleError::NoSuchRow { row: row.to_string() };
        let (_, named) = row.resolve(&followed.group).ok_or_else(missing)?;
        let own: Vec<_> =
            parked.into_iter().filter(|parked| parked.model == row.model && parked.row == named).collect();
        if own.is_empty() { Err(TroubleError::NotParked { row: row.to_string() }) } else { Ok(own) }
    }

    /// Folds keys to exactly where their partition stands, and writes them there.
    async fn mend_parked(
        &self,
        followed: &Followed,
        part: &Part,
        mut retry: Retry,
    ) -> Result<Retried, TroubleError> {
        let (feed, store, group) = (&*self.parts.feed, &*self.parts.store, &followed.group);
        // Most of the way while the worker goes on.
        let checkpoint = store.checkpoint_of(group, part.partition).await?;
        retry.fold_to(feed, checkpoint.mark.position()).await?;
        let mut follower = part.follower.lock().await;
        let mut lease = follower.lease();
        for _ in 0..MEND_ATTEMPTS_MAX {
            let at = store.checkpoint_of(group, part.partition).await?.mark.position();
            retry.fold_to(feed, at).await?;
            if !retry.stands_at(at) {
                // The model was reset meanwhile.
                break;
            }
            let (mend, healed, parked) = retry.mend((part.partition, at), lease, self.parts.clock.now());
            match store.mend(group, mend).await {
                Ok(()) => {
                    follower.forget();
                    part.nudge.notify_one();
                    return Ok(Retried { healed, parked });
                }
                // INVARIANT: where another process moves the partition, the position decides: a fold that
                // begins after this transaction reads the mended rows, one before has moved it.
                Err(AdvanceError::Moved { .. }) => {}
                Err(AdvanceError::Fenced) => lease = None,
                Err(error) => return Err(unmended(error)),
            }
        }
        Err(TroubleError::Busy { name: group.name().to_owned() })
    }

    pub(crate) fn known(&self, name: &str) -> Result<&Followed, TroubleError> {
        self.followed.get(name).ok_or_else(|| TroubleError::Unknown { name: name.to_owned() })
    }
}
