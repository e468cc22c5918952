//! Who should move what: a pure look at the partitions, the leases on them, and the workers that live. Every
//! process looks for itself; leases decide where two want the same.

use diptych_query::{Partition, Shares, WorkerId};
use std::collections::HashMap;

/// A partition of a group, by the group's place among those looked at.
pub(crate) type Share = (usize, Partition);

/// What a worker should do about its share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Moves {
    /// To be claimed, in order.
    pub(crate) claim: Vec<Share>,
    /// To be given back, so that another worker can claim it.
    pub(crate) release: Vec<Share>,
}

/// What only the worker itself knows of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Own {
    /// It moves it.
    Moves,
    /// Its worker was told to end and soon will have.
    Leaves,
    /// It would.
    Would,
    /// It would, and nobody has taken it for long: no other worker is asked first.
    Overdue,
    /// It cannot.
    Cannot,
}

/// Levels the load: a worker claims what is free while no other that would take it has less to do, and gives
/// back what leaves it with two more than another has.
pub(crate) fn moves(me: &WorkerId, groups: &[Shares], own: impl Fn(Share) -> Own) -> Moves {
    let mut loads = Loads::of(me, groups, &own);
    let mut moves = Moves::default();
    for (index, shares) in groups.iter().enumerate() {
        for state in &shares.partitions {
            let share = (index, state.partition);
            let others = shares.workers.iter().filter(|worker| *worker != me);
            // A lease of its own that no worker uses is as good as none.
            let holder = state.holder.as_ref().filter(|holder| *holder != me);
            match (own(share), holder) {
                (Own::Would, None) if others.clone().all(|other| loads.get(me) <= loads.get(other)) => {
                    moves.claim.push(share);
                    loads.add(me, 1);
                }
                (Own::Overdue, None) => {
                    moves.claim.push(share);
                    loads.add(me, 1);
                }
                (Own::Moves, _) => {
                    let idlest = others.min_by_key(|other| loads.get(other));
                    if let Some(idlest) = idlest.filter(|idlest| loads.get(idlest) + 2 <= loads.get(me)) {
                        moves.release.push(share);
                        loads.add(me, -1);
                        loads.add(idlest, 1);
                    }
                }
                _ => {}
            }
        }
    }
    moves
}

/// How many partitions each worker moves.
struct Loads<'a>(HashMap<&'a WorkerId, isize>);

impl<'a> Loads<'a> {
    fn of(me: &'a WorkerId, groups: &'a [Shares], own: &impl Fn(Share) -> Own) -> Self {
        let mut loads = Self(HashMap::new());
        for (index, shares) in groups.iter().enumerate() {
            for state in &shares.partitions {
                let holder = match own((index, state.partition)) {
                    Own::Moves => Some(me),
                    Own::Leaves => None,
                    _ => state.holder.as_ref().filter(|holder| *holder != me),
                };
                holder.into_iter().for_each(|holder| loads.add(holder, 1));
            }
        }
        loads
    }

    fn get(&self, worker: &WorkerId) -> isize {
        self.0.get(worker).copied().unwrap_or(0)
    }

    fn add(&mut self, worker: &'a WorkerId, more: isize) {
        *self.0.entry(worker).or_default() += more;
    }
}

#[cfg(test)]
mod tests;
